"""Users out of a store and into one, as lines of JSON: what `userfold export` and `userfold import` do.

Both hold a bounded part in memory, however many users there are. An export is a reader beside everybody else; an import
is a writer beside everybody else, whose transactions are short.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal

import msgspec

from userfold.core.applied import Applied
from userfold.core.claims import identifier_key, names_of
from userfold.core.commands import Command, CreateUser, Edit, ImportUser, MirrorUser, TotpSecret
from userfold.core.errors import DomainError, IdentifierTaken, InputError
from userfold.core.export_line import NewUser, read_line, write_head, write_tail
from userfold.core.jsontext import decode, encode
from userfold.core.presence import presence_key
from userfold.core.queries import UserQuery, position
from userfold.core.records import Change, EffectiveSettings, Identifier, Key, Presence, Record, Secrets, Segment, User
from userfold.core.trust import Author
from userfold.encryption import Encryption
from userfold.engine import Busy, Engine
from userfold.storage.port import Store, StoreError, StoreUnavailable

PAGE_SIZE = 200  # of users
HISTORY_AT_ONCE_MAX = 500  # changes; a longer history is read page by page
READINGS_MAX = 100  # of one user who is updated while it is read
WINDOW_LINES_MAX = 128  # what one transaction takes, so that it is over in well under 50 ms
WINDOW_BYTES_MAX = 1 << 20
LINE_BYTES_MAX = 256 << 20

IMPORT = Author(source="import", actor="operator", trust="backend")

# What to do with a user whose id is there already.
OnTaken = Literal["refuse", "skip", "replace"]

# What a line asks for. Raises a `DomainError`.
ToCommand = Callable[[bytes], Command]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import: lines that were read, and how many of them made, replaced or left alone a user."""

    lines: int = 0
    bytes: int = 0
    created: int = 0
    replaced: int = 0
    skipped: int = 0


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """Of users with all that an export carries; `sha256` in hexadecimal digits."""

    users: int
    changes: int
    sha256: str


class ImportStopped(Exception):
    """A line could not be imported. All lines before it are in, and maybe some of those soon after it."""

    def __init__(self, line: int, reason: DomainError | StoreError | Busy, report: Report) -> None:
        super().__init__(line, reason, report)
        self.line = line
        self.reason = reason
        self.report = report


class LineTooLong(InputError):
    """The line is longer than {size_max} bytes."""

    code = "line_too_long"


# Out.


async def export_lines(store: Store, project_id: str, *, secrets_by: Encryption | None) -> AsyncIterator[bytes]:
    """All users of a project, oldest first. Each piece is a whole line, or, of a long history, a part of one.
    With their secrets, if it is said by what these can be decrypted.

    Each line is a user as of one moment; an export while others write is not as of one moment as a whole. Whoever
    is deleted meanwhile may be missing. Raises a `StoreError`.
    """
    async for piece, _ in _pieces(store, project_id, secrets_by):
        yield piece


async def digest_of(store: Store, project_id: str, secrets_by: Encryption) -> Digest:
    """Of what an export with secrets would write, so it is the same wherever the same users are. Raises a `StoreError`.

    Secrets go into it as they are, not as they are encrypted. That tells nobody what they are: TOTP secrets are random,
    and all others are digests already.
    """
    hashed, users, changes = hashlib.sha256(), 0, 0
    async for piece, of_history in _pieces(store, project_id, secrets_by):
        hashed.update(piece)
        users += piece.endswith(b"\n")
        changes += of_history
    return Digest(users=users, changes=changes, sha256=hashed.hexdigest())


def digest_of_all(digests: Iterable[Digest]) -> Digest:
    """Of several projects, in whatever order and with whatever ids. One without users changes nothing."""
    some = [digest for digest in digests if digest.users]
    text = "".join(f"{sha256}\n" for sha256 in sorted(digest.sha256 for digest in some))
    return Digest(
        users=sum(digest.users for digest in some),
        changes=sum(digest.changes for digest in some),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


async def _pieces(store: Store, project_id: str, secrets_by: Encryption | None) -> AsyncIterator[tuple[bytes, int]]:
    """Pieces of lines, each with the number of changes that it holds."""
    segments = {
        record.id: record.name
        for record in await store.list("segment")
        if isinstance(record, Segment) and record.project_id == project_id and record.deleted_at is None
    }
    after = None
    while True:
        page = await store.users(UserQuery(project_id=project_id, after=after, limit=PAGE_SIZE))
        for user in page:
            async for piece in _line(store, project_id, user, segments, secrets_by):
                yield piece
        if len(page) < PAGE_SIZE:
            return
        after = position(page[-1], "created_at")


async def _line(
    store: Store, project_id: str, listed: User, segments: Mapping[str, str], secrets_by: Encryption | None
) -> AsyncIterator[tuple[bytes, int]]:
    found = await _as_of_one_moment(store, project_id, listed)
    if found is None:
        return
    user, records = found
    claims = [record for record in records if isinstance(record, Identifier)]
    secrets = next((record for record in records if isinstance(record, Secrets)), None)
    presence = next((record for record in records if isinstance(record, Presence)), None)
    told = None if secrets_by is None else _decrypted(secrets, secrets_by)
    head, tail = write_head(user, claims, segments, presence), write_tail(told)
    changes = [record for record in records if isinstance(record, Change)]
    if changes:
        yield head + b",".join(map(encode, changes)) + tail, len(changes)
        return
    yield head, 0
    async for page in _pages_of_history(store, project_id, user):
        yield b"," * (page[0].version > 1) + b",".join(map(encode, page)), len(page)
    yield tail, 0


async def _as_of_one_moment(store: Store, project_id: str, listed: User) -> tuple[User, list[Record]] | None:
    """The user and what is kept beside it, or None if it is gone. A long history is left out."""
    user, at = listed, Key("user", project_id, listed.id)
    for _ in range(READINGS_MAX):
        keys = [identifier_key(project_id, name) for name in names_of(user)]
        keys += [Key("secrets", project_id, user.id), presence_key(project_id, user.id)]
        if user.version <= HISTORY_AT_ONCE_MAX:
            keys.append(Key("changes", project_id, user.id))
        # The user last: if it is still the same, nothing of the others changed while they were read.
        found = await store.get([*keys, at])
        now = found[at]
        if now == user:
            return user, list(_flat(found[key] for key in keys))
        if not isinstance(now, User):
            return None
        user = now
    raise StoreUnavailable(f"the user {listed.id} is updated faster than it can be read")


def _flat(found: Iterable[Record | tuple[Record, ...] | None]) -> Iterator[Record]:
    for one in found:
        if isinstance(one, tuple):
            yield from one
        elif one is not None:
            yield one


async def _pages_of_history(store: Store, project_id: str, user: User) -> AsyncIterator[list[Change]]:
    read = 0
    while read < user.version:
        page = await store.history(project_id, user.id, after=read, up_to=user.version, limit=HISTORY_AT_ONCE_MAX)
        if not page:
            raise StoreUnavailable(f"the user {user.id} was deleted while its history was read; export again")
        yield list(page)
        read = page[-1].version


# In.


async def import_lines(
    engine: Engine,
    project_id: str,
    settings: EffectiveSettings,
    lines: Iterable[bytes],
    encryption: Encryption,
    *,
    on_taken: OnTaken = "refuse",
    to_command: ToCommand | None = None,
    noted: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Take over the users of an export, or make new ones. `noted` is told now and then how far it got.

    `to_command`: what lines ask for that are not Userfold's own.

    Raises `ImportStopped` at the first line that cannot be taken.
    """
    report = Report()
    to_command = to_command or partial(_command, project_id, encryption, on_taken)
    for window in _windows(lines):
        report = await _import_window(engine, to_command, settings, window, on_taken, report)
        noted(report)
    return report


async def _import_window(
    engine: Engine,
    to_command: ToCommand,
    settings: EffectiveSettings,
    window: list[tuple[int, bytes]],
    on_taken: OnTaken,
    report: Report,
) -> Report:
    commands: list[tuple[int, Command]] = []
    stopped: tuple[int, DomainError | StoreError | Busy] | None = None
    for number, text in window:
        try:
            commands.append((number, _checked(to_command, text)))
        except DomainError as refusal:
            stopped = number, refusal
            break
    runs = [engine.run(command, settings) for _, command in commands]
    outcomes = await asyncio.gather(*runs, return_exceptions=True)
    created = replaced = skipped = 0
    for (number, command), outcome in zip(commands, outcomes, strict=True):
        if isinstance(command, MirrorUser) and isinstance(outcome, Applied) and outcome.change is None:
            skipped += 1  # it is here as it is there, or was deleted, or is newer here
        elif not isinstance(outcome, BaseException):
            created, replaced = created + outcome.created, replaced + (not outcome.created)
        elif on_taken == "skip" and _is_there_already(command, outcome):
            skipped += 1
        elif isinstance(outcome, DomainError | StoreError | Busy):
            stopped = number, outcome
            break
        else:
            raise outcome
    report = Report(
        lines=report.lines + len(window),
        bytes=report.bytes + sum(len(text) for _, text in window),
        created=report.created + created,
        replaced=report.replaced + replaced,
        skipped=report.skipped + skipped,
    )
    if stopped is not None:
        raise ImportStopped(*stopped, report)
    return report


def _windows(lines: Iterable[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """The lines with their numbers, as many at a time as one transaction takes."""
    window: list[tuple[int, bytes]] = []
    size = 0
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        window.append((number, text))
        size += len(text)
        if len(window) == WINDOW_LINES_MAX or size >= WINDOW_BYTES_MAX:
            yield window
            window, size = [], 0
    if window:
        yield window


def _checked(to_command: ToCommand, text: bytes) -> Command:
    if len(text) > LINE_BYTES_MAX:
        raise LineTooLong(size_max=LINE_BYTES_MAX)
    return to_command(text)


def _command(project_id: str, encryption: Encryption, on_taken: OnTaken, text: bytes) -> Command:
    line, replace = read_line(decode(text)), on_taken == "replace"
    if not isinstance(line, NewUser):
        if line.secrets is not None:
            encrypted = _encrypted(line.secrets.totp_secret, encryption)
            line = msgspec.structs.replace(line, secrets=msgspec.structs.replace(line.secrets, totp_secret=encrypted))
        return ImportUser(project_id=project_id, author=IMPORT, line=line, replace=replace)
    return CreateUser(
        project_id=project_id,
        author=IMPORT,
        edits=(Edit("replace", line.fields),),
        user_id=line.id,
        created_at=line.created_at,
        password_digest=line.password_digest,
        totp_secret=_encrypted(line.totp_secret, encryption),
        backup_code_digests=line.backup_code_digests,
        replace=replace,
    )


def _encrypted(secret: TotpSecret, encryption: Encryption) -> TotpSecret:
    """A secret of a line as the store keeps it."""
    return encryption.encrypt(secret) if isinstance(secret, str) else secret


def _decrypted(secrets: Secrets | None, encryption: Encryption) -> Secrets | None:
    """Secrets as a line has them. Raises `SecretUnreadable`."""
    if secrets is None or secrets.totp_secret is None:
        return secrets
    return msgspec.structs.replace(secrets, totp_secret=encryption.decrypt(secrets.totp_secret))


def _is_there_already(command: Command, outcome: BaseException) -> bool:
    """Whether a line was refused because its user is there: by its id, or, where it has none, by its external_id."""
    known_by = "/external_id" if isinstance(command, CreateUser) and command.user_id is None else "/id"
    return isinstance(outcome, IdentifierTaken) and outcome.path == known_by
