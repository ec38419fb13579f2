"""Encryption keys that give way to others: what is encrypted is found, and encrypted anew with the first key.

It runs beside a server, in short transactions; one that was stopped is run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from userfold.core.commands import RenewSharedSecret, RenewTotpSecret
from userfold.core.errors import UserNotFound
from userfold.core.queries import HAS_TOTP, UserQuery, position
from userfold.core.records import ApiKey, EffectiveSettings, Project, Secrets
from userfold.core.trust import Author
from userfold.core.user_secrets import secrets_key
from userfold.encryption import Encryption, SecretUnreadable
from userfold.engine import Engine
from userfold.storage.port import Store
from userfold.tokens import has_secret

PAGE_SIZE = 100

ROTATION = Author(source="cli", actor="operator", trust="backend")


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `unreadable`: users and keys whose secret was encrypted with none of the keys."""

    renewed: int = 0
    current: int = 0
    unreadable: tuple[str, ...] = ()


async def shared_secrets(store: Store) -> list[ApiKey]:
    """The keys that have something encrypted. Raises a `StoreError`."""
    return [record for record in await store.list("api_key") if isinstance(record, ApiKey) and has_secret(record)]


async def pages_of_totp_secrets(store: Store) -> AsyncIterator[list[tuple[str, Secrets]]]:
    """The encrypted secrets of users, with the id of their project, a page at a time. Raises a `StoreError`."""
    for project in await store.list("project"):
        assert isinstance(project, Project)
        query = UserQuery(project_id=project.id, any_terms=(HAS_TOTP,), limit=PAGE_SIZE)
        while users := await store.users(query):
            found = await store.get([secrets_key(project.id, user.id) for user in users])
            kept = [record for record in found.values() if isinstance(record, Secrets)]
            yield [(project.id, secrets) for secrets in kept if secrets.totp_secret is not None]
            query = msgspec.structs.replace(query, after=position(users[-1], query.order))


async def rotate(engine: Engine, store: Store, encryption: Encryption) -> Rotation:
    """Encrypt everything with the first key. Raises a `StoreError`."""
    renewed, current, unreadable = await _rotate_keys(engine, store, encryption)
    async for page in pages_of_totp_secrets(store):
        old = [(project_id, secrets) for project_id, secrets in page if not _is_current(secrets, encryption)]
        outcomes = await asyncio.gather(
            *(_renew(engine, project_id, secrets, encryption) for project_id, secrets in old), return_exceptions=True
        )
        current += len(page) - len(old)
        for (_, secrets), outcome in zip(old, outcomes, strict=True):
            if isinstance(outcome, SecretUnreadable):
                unreadable.append(secrets.id)
            elif outcome is None:
                renewed += 1
            elif not isinstance(outcome, UserNotFound):  # it was deleted meanwhile
                raise outcome
    return Rotation(renewed=renewed, current=current, unreadable=tuple(unreadable))


async def _rotate_keys(engine: Engine, store: Store, encryption: Encryption) -> tuple[int, int, list[str]]:
    """How many were encrypted anew, how many were already, and whose could not be read. They are few."""
    keys = await shared_secrets(store)
    old = [key for key in keys if key.verifier and not encryption.is_current(key.verifier)]
    unreadable = []
    for key in old:
        try:
            await _renew_key(engine, key, encryption)
        except SecretUnreadable:
            unreadable.append(key.id)
    return len(old) - len(unreadable), len(keys) - len(old), unreadable


async def _renew_key(engine: Engine, key: ApiKey, encryption: Encryption) -> None:
    assert key.verifier is not None
    command = RenewSharedSecret(
        project_id=key.project_id,
        author=ROTATION,
        key_id=key.id,
        stored=key.verifier,
        renewed=encryption.encrypt(encryption.decrypt(key.verifier)),
    )
    await engine.run(command, EffectiveSettings())


def _is_current(secrets: Secrets, encryption: Encryption) -> bool:
    assert secrets.totp_secret is not None
    return encryption.is_current(secrets.totp_secret)


async def _renew(engine: Engine, project_id: str, secrets: Secrets, encryption: Encryption) -> None:
    assert secrets.totp_secret is not None
    command = RenewTotpSecret(
        project_id=project_id,
        author=ROTATION,
        user_id=secrets.id,
        stored=secrets.totp_secret,
        renewed=encryption.encrypt(encryption.decrypt(secrets.totp_secret)),
    )
    await engine.run(command, EffectiveSettings())
