"""Who may call, and by which settings: projects, their keys and what they define, kept in the process and read again
once they are a second old.

Commands never lock these records. A key that is revoked through this process is refused at once, through another one
within a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec

from userfold.core.project_rules import effective_settings
from userfold.core.records import ApiKey, EffectiveSettings, Project
from userfold.identity_tokens import VerificationKey, verification_key
from userfold.storage.port import Store, StoreError, StoreUnavailable
from userfold.tokens import digest, has_secret

log = logging.getLogger("userfold.directory")

AGE_S_MAX = 1.0
# What the history calls the webhook key of the first project that comes from the environment.
WEBHOOK_KEY_OF_SETTINGS = "environment"
NEVER = float("-inf")


class Caller(msgspec.Struct, frozen=True):
    """Whose key a request came with, and by what its commands are judged."""

    project: Project
    key: ApiKey
    settings: EffectiveSettings
    identity_keys: tuple[VerificationKey, ...] = ()  # of the project: they verify who its browsers' users are


class Signer(msgspec.Struct, frozen=True):
    """Another system that tells of its users, and the secret with which it signs that."""

    caller: Caller
    secret: str


def _cannot_decrypt(encrypted: str) -> str:
    raise StoreUnavailable("no encryption key was given")


def _key_of_settings(project: Project, secret: str) -> ApiKey:
    return ApiKey(
        id=WEBHOOK_KEY_OF_SETTINGS,
        project_id=project.id,
        kind="webhook",
        name=WEBHOOK_KEY_OF_SETTINGS,
        token_digest=digest(secret),
        created_at=project.created_at,
    )


class Directory:
    """Looks keys up. One per process; use it from one event loop."""

    def __init__(
        self,
        store: Store,
        *,
        decrypt: Callable[[str], str] = _cannot_decrypt,
        webhook_secret: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`decrypt`: reads what is kept encrypted of keys; may raise a `StoreError`."""
        self._store = store
        self._decrypt = decrypt
        self._monotonic = monotonic
        self._callers: dict[str, Caller] = {}
        self._webhook_secret = webhook_secret
        self._signers: tuple[Signer, ...] = ()
        self._used: set[tuple[str, str]] = set()
        self._unreadable: set[str] = set()
        self._stale_at = NEVER
        self._changes = 0
        self._reading: asyncio.Task[None] | None = None

    async def caller(self, token: str) -> Caller | None:
        """Whose key `token` is, or None if it is nobody's, or revoked. Raises a `StoreError`."""
        await self._keep_fresh()
        caller = self._callers.get(digest(token))
        if caller is not None:
            self._used.add((caller.project.id, caller.key.id))
        return caller

    async def signers(self) -> tuple[Signer, ...]:
        """Who may tell of their users by webhooks. Raises a `StoreError`."""
        await self._keep_fresh()
        return self._signers

    def note_use(self, caller: Caller) -> None:
        """A key that is found in another way than by its token was used."""
        if caller.key.id != WEBHOOK_KEY_OF_SETTINGS:
            self._used.add((caller.project.id, caller.key.id))

    def take_used(self) -> set[tuple[str, str]]:
        """(project id, key id) of the keys that came with a request since this was last asked."""
        used, self._used = self._used, set()
        return used

    def forget(self) -> None:
        """A key, a project or what it defines was changed by this process: read again before the next answer."""
        self._stale_at = NEVER
        self._changes += 1  # what is being read just now may be from before

    async def _keep_fresh(self) -> None:
        if self._monotonic() >= self._stale_at:
            await self._refresh()
            while self._stale_at == NEVER:  # something was changed while it was read
                await self._refresh()

    async def _refresh(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._has_read)
        # Shielded, because others wait for the same task: one of them going away must not take it along.
        await asyncio.shield(self._reading)

    def _has_read(self, task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read(self) -> None:
        started, changes = self._monotonic(), self._changes
        projects = {record.id: record for record in await self._store.list("project") if isinstance(record, Project)}
        segments, attributes = await self._store.list("segment"), await self._store.list("attribute")
        keys = [
            record
            for record in await self._store.list("api_key")
            if isinstance(record, ApiKey) and record.revoked_at is None and record.project_id in projects
        ]
        of_settings = self._keys_of_settings(projects.values())
        settings = effective_settings(projects.values(), segments, attributes, (*keys, *of_settings))
        verifying = self._verifying(keys)
        self._callers = {
            key.token_digest: Caller(
                projects[key.project_id], key, settings[key.project_id], tuple(verifying[key.project_id])
            )
            for key in keys
        }
        signers = [
            Signer(caller, secret)
            for caller in self._callers.values()
            if caller.key.kind == "webhook" and (secret := self._readable(caller.key)) is not None
        ]
        for key, secret in of_settings.items():
            signers.append(Signer(Caller(projects[key.project_id], key, settings[key.project_id]), secret))
        self._signers = tuple(signers)
        # Only now, so that nobody is judged by what was there before; and counted from when the reading began.
        self._stale_at = started + AGE_S_MAX if changes == self._changes else NEVER

    def _keys_of_settings(self, projects: Iterable[Project]) -> dict[ApiKey, str]:
        """{webhook key of the first project: its secret}, if the settings have one."""
        secret, first = self._webhook_secret, next(iter(projects), None)
        return {} if secret is None or first is None else {_key_of_settings(first, secret): secret}

    def _verifying(self, keys: Iterable[ApiKey]) -> dict[str, list[VerificationKey]]:
        """{project id: its keys that verify identity tokens}"""
        found: dict[str, list[VerificationKey]] = defaultdict(list)
        for key in keys:
            if key.algorithm is None:
                continue
            verifier = self._readable(key) if has_secret(key) else key.verifier
            if verifier is not None:
                found[key.project_id].append(verification_key(key.algorithm, verifier))
        return found

    def _readable(self, key: ApiKey) -> str | None:
        """The secret that a key keeps encrypted; None if it cannot be read, which is said once: the directory is read
        every second, and everybody else's requests go on.
        """
        assert key.verifier is not None, "it has a secret"
        try:
            return self._decrypt(key.verifier)
        except StoreError as error:
            if key.id not in self._unreadable:
                self._unreadable.add(key.id)
                log.error("the %s key %s verifies nothing: %s", key.kind, key.id, error)
            return None
