"""Looks for trouble before it is somebody's night: settings, folder, lock, store, clock, keys. Changes nothing."""

from __future__ import annotations

import difflib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from userfold.encryption import Encryption, SecretUnreadable
from userfold.engine import CLOCK_BEHIND_MS_MAX
from userfold.first_start import KEYS_FILE
from userfold.key_rotation import pages_of_totp_secrets, shared_secrets
from userfold.locks import FOLDER_LOCK, CannotLock, holder, lock_of
from userfold.opening import newest_change, open_encryption, open_store
from userfold.settings import Settings, variables
from userfold.storage.port import Finding, MaintainedStore, SchemaTooNew, StoreError

PREFIX = "USERFOLD_"
FREE_BYTES_LOW = 1 << 30
FREE_BYTES_NONE = 64 << 20  # the log of one busy minute
SECRETS_LOOKED_AT = 1_000
UNREADABLE = (
    "check --data and USERFOLD_DATABASE_URL, and the owner and the mode of the file and its folder; if it is damaged: "
    "keep the files as they are, and restore the last backup beside them"
)
UNREACHABLE = "check USERFOLD_DATABASE_URL, that its server runs, and that it lets this user into this database"
NOT_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


async def examine(settings: Settings, environment: Mapping[str, str], now: int, *, full: bool) -> list[Finding]:
    """What there is to say, good news too. `now`: the clock, in ms since the epoch. `full`: look at every page."""
    findings = [*_variables(environment), _public_url(settings.public_url), *_folder(settings.data)]
    findings += [_private(path) for path in _secret_files(settings) if path.is_file()]
    findings += [_free_space(folder) for folder in _folders(settings)]
    findings += _images(settings.images)
    file = settings.database_file
    if file is not None:
        findings += [_lock(settings.data, file)]
        if not file.exists():
            advice = "`userfold serve` makes one; if there should be one, check --data and USERFOLD_DATABASE_URL"
            return [*findings, _warning("store", f"there is no database {file}", advice)]
        if not os.access(file, os.W_OK):
            says = f"{file} cannot be written to by this user"
            findings += [_failed("store", says, "check its owner, its mode, and whether its disk is read-only")]
    return [*findings, *await _store(settings, now, full=full)]


# Settings.


def _variables(environment: Mapping[str, str]) -> Iterator[Finding]:
    known = variables()
    given = sorted(name for name in environment if name.startswith(PREFIX))
    for name in given:
        if name not in known:
            endings = [each.removeprefix(PREFIX) for each in known]
            close = difflib.get_close_matches(name.removeprefix(PREFIX), endings, 1)
            meant = f"was {PREFIX}{close[0]} meant?" if close else "docs/reference/settings.md has those that exist"
            yield _warning("settings", f"{name} is set, and is no setting of Userfold", meant)
    used = ", ".join(name for name in given if name in known) or "none; all have their defaults"
    yield _ok("settings", f"taken from the environment: {used}")


def _public_url(url: str | None) -> Finding:
    if url is None:
        says = "not set: addresses that are handed out name the address that the server listens at"
        return _ok("public URL", says, "set USERFOLD_PUBLIC_URL if clients reach it by another one")
    parts = urlsplit(url)
    if not parts.hostname or parts.query or parts.fragment:
        return _failed("public URL", f"{url} cannot begin an address", "give a scheme and a host, and at most a path")
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        return _warning("public URL", f"{url} is not encrypted: keys can be read on the way", "serve it over https")
    return _ok("public URL", url)


# Files.


def _folder(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        yield _warning("data folder", f"there is no {folder}", "`userfold serve` makes it; else check --data")
        return
    if not folder.is_dir():
        yield _failed("data folder", f"{folder} is not a folder", "name another one with --data")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield _failed(
            "data folder",
            f"{folder} cannot be written to by this user",
            "check its owner, its mode, and whether its disk is read-only",
        )
    else:
        yield _ok("data folder", f"{folder.absolute()} can be read and written")
    yield _private(folder)


def _private(path: Path) -> Finding:
    """Whether only we can get at what is secret."""
    about = path.stat()
    if about.st_uid != os.geteuid():
        says = f"{path} belongs to user {about.st_uid}, and this is user {os.geteuid()}"
        return _warning("owner", says, "run this command, and the server, as the owner of the data")
    if about.st_mode & NOT_FOR_OTHERS:
        mode = f"{'700' if path.is_dir() else '600'}"
        return _warning("mode", f"others can get at {path} (mode {about.st_mode & 0o777:o})", f"chmod {mode} {path}")
    if path.name == KEYS_FILE:
        return _warning("keys", f"{path} still holds the first keys", "keep them where your secrets are, and delete it")
    return _ok("mode", f"only its owner can get at {path}")


def _secret_files(settings: Settings) -> tuple[Path, ...]:
    kept = (settings.data / KEYS_FILE, settings.encryption_key_file)
    file = settings.database_file
    # In the data folder, the folder's own mode protects the database.
    return kept if file is None or file.parent == settings.data else (*kept, file)


def _folders(settings: Settings) -> list[Path]:
    """Where data is written: the folder, and that of the database if it is another."""
    file = settings.database_file
    folders = (settings.data,) if file is None else (settings.data, file.parent)
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _free_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    says = f"{free / 2**30:.1f} GiB where {folder} is"
    if free < FREE_BYTES_NONE:
        return _failed("free space", says, "make room now: without it nothing can be stored")
    if free < FREE_BYTES_LOW:
        return _warning("free space", says, "make room soon: a backup and the write-ahead log need some too")
    return _ok("free space", says)


def _images(folder: Path) -> Iterator[Finding]:
    """Whether users can be given images: the server writes nothing there until one is."""
    if folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield _ok("images", f"{folder} can be read and written")
    elif os.path.lexists(folder):
        says = f"{folder} is no folder that this user can write to"
        yield _failed("images", says, "check its owner, its mode, and whether its disk is read-only")


def _lock(data: Path, database: Path) -> Finding:
    try:
        for path in (data / FOLDER_LOCK, lock_of(database)):
            process = holder(path)
            if process is not None:
                return _ok("lock", f"held by {process}: a server is running")
    except CannotLock as error:
        return _failed("lock", str(error), "check its owner and its mode")
    return _ok("lock", "nobody holds it: no server is running")


# The store and the clock.


async def _store(settings: Settings, now: int, *, full: bool) -> list[Finding]:
    advice = UNREACHABLE if settings.database_file is None else UNREADABLE
    try:
        store = open_store(settings)
    except StoreError as error:
        return [_failed("store", str(error), advice)]
    findings: list[Finding] = []
    try:
        findings += store.examine(full=full)
        schema = store.schema()
        if schema.found >= schema.known:  # else users cannot be read
            findings.append(await _clock(store, now))
            findings.append(await _encryption(settings, store, full=full))
    except SchemaTooNew as error:
        findings.append(
            _failed("store", str(error), "install the newer Userfold again, or restore a backup made before")
        )
    except StoreError as error:
        findings.append(_failed("store", str(error), advice))
    finally:
        await store.close()
    return findings


async def _encryption(settings: Settings, store: MaintainedStore, *, full: bool) -> Finding:
    """Whether the keys are there, and are those of this database."""
    restore = "put back the key that this database had: into USERFOLD_ENCRYPTION_KEY, or as a line of the key file"
    try:
        encryption = open_encryption(settings, make=False)
    except StoreError as error:
        if [page async for page in _some_pages(store, full=False)]:
            return _failed("encryption", f"{error}; there are secrets that cannot be read without it", restore)
        if settings.encryption_key_file.exists():
            return _failed("encryption", str(error), restore)
        return _ok("encryption", "there is no key yet, and nothing is encrypted", "`userfold serve` makes one")
    looked_at = unreadable = old = 0
    async for page in _some_pages(store, full=full):
        for secret in page:
            looked_at += 1
            unreadable += not _reads(encryption, secret)
            old += not encryption.is_current(secret)
    if unreadable:
        return _failed("encryption", f"none of the keys can read {unreadable} of {looked_at} secrets", restore)
    if old:
        advice = "`userfold encryption rotate` encrypts them with the first; then the others can go"
        return _warning("encryption", f"{old} of {looked_at} secrets were not encrypted with the first key", advice)
    return _ok("encryption", f"the first key reads all {looked_at} secrets that were looked at")


async def _some_pages(store: MaintainedStore, *, full: bool) -> AsyncIterator[list[str]]:
    """What is encrypted, a page at a time, and not all of it unless `full`."""
    shared = [key.verifier for key in await shared_secrets(store) if key.verifier is not None]
    if shared:
        yield shared
    left = SECRETS_LOOKED_AT
    async for page in pages_of_totp_secrets(store):
        yield [secrets.totp_secret for _, secrets in page if secrets.totp_secret is not None]
        left -= len(page)
        if left <= 0 and not full:
            return


def _reads(encryption: Encryption, secret: str) -> bool:
    try:
        encryption.decrypt(secret)
    except SecretUnreadable:
        return False
    return True


async def _clock(store: MaintainedStore, now: int) -> Finding:
    ahead = await newest_change(store) - now
    if ahead > CLOCK_BEHIND_MS_MAX:
        says = f"this machine's clock is {ahead / 1000:,.0f} s behind the newest change in the store"
        advice = "set the clock before the server starts again: new users would seem older than those before them"
        return _failed("clock", says, advice)
    return _ok("clock", "not behind the newest change in the store")


def _ok(about: str, says: str, advice: str = "") -> Finding:
    return Finding(about=about, state="ok", says=says, advice=advice)


def _warning(about: str, says: str, advice: str) -> Finding:
    return Finding(about=about, state="warning", says=says, advice=advice)


def _failed(about: str, says: str, advice: str) -> Finding:
    return Finding(about=about, state="failed", says=says, advice=advice)
