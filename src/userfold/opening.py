"""What the settings name, opened: the store, and the keys that encrypt; and how new what is in it is."""

from __future__ import annotations

import logging

from userfold.core.queries import UserQuery
from userfold.core.records import Project
from userfold.encryption import Encryption, make_key_file, read_keys
from userfold.settings import PostgresAddress, Settings
from userfold.storage.port import MaintainedStore, Store, StoreUnavailable

log = logging.getLogger("userfold.opening")


def open_store(settings: Settings) -> MaintainedStore:
    """The store that the settings name. Raises `StoreUnavailable`."""
    # A driver is imported where it is needed: importing both is a quarter of the time that a short command takes.
    if isinstance(settings.database, PostgresAddress):
        from userfold.storage.postgres.store import PostgresStore

        return PostgresStore(settings.database.url)
    from userfold.storage.sqlite.store import SQLiteStore

    return SQLiteStore(settings.database)


def open_encryption(settings: Settings, *, make: bool) -> Encryption:
    """With the keys that the settings name. `make` a key if there is none. Raises `StoreUnavailable`."""
    if settings.encryption_keys:
        return Encryption(settings.encryption_keys)
    if settings.database_file is None:
        raise StoreUnavailable(
            "over PostgreSQL, USERFOLD_ENCRYPTION_KEY must be set, and the same for every process;"
            " `userfold encryption new-key` prints one"
        )
    file = settings.encryption_key_file
    if make and make_key_file(file):
        log.info("a new encryption key was made: %s. Keep a copy of it, apart from the backups", file)
    return Encryption(read_keys(file))


async def newest_change(store: Store) -> int:
    """When a user or a project was changed or made last, by the clock of whoever did it (ms); 0 if there are none."""
    newest = 0
    for project in await store.list("project"):
        assert isinstance(project, Project)
        query = UserQuery(project_id=project.id, order="updated_at", descending=True, limit=1)
        users = await store.users(query)
        newest = max([newest, project.created_at, *(user.updated_at for user in users)])
    return newest
