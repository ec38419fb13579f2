"""What the settings name, opened: the store, and the keys that encrypt."""

from __future__ import annotations

import logging

from userfold.encryption import Encryption, make_key_file, read_keys
from userfold.settings import PostgresAddress, Settings
from userfold.storage.port import MaintainedStore, StoreUnavailable

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
