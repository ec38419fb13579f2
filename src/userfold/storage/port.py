"""What a store must do: read and write records by key inside a transaction. It knows no rules.

The engine hands a store a *fold*: a generator that yields `Read` and receives `{key: record | None}`, yields `Write`
and receives None, and returns what it has to say. The store drives it, inline, in a thread or over a network: the core
and the engine never see how.

Obligations of every store, which `tests/contract` holds it to:

* One transaction per attempt. All that a fold wrote is there, durably, when `run` returns; if it raises, nothing is,
  except after `OutcomeUnknown`.
* `Read` answers every key that was asked for: None for a record that is absent, an empty tuple for an empty collection.
* An insert of a key that exists, and an update or removal of a record that is not at the version that was read, are a
  `Conflict`: the store rolls back and runs a *new* fold, a bounded number of times.
* Values survive as they were given, in the normal form of `core.jsontext`.
* A `presence` is written after its user: users are found by its times, and those belong to a user who is there.
* Records of one project cannot be reached through another's keys.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from userfold.core.queries import UserQuery
from userfold.core.records import Change, Key, Record, User

Records = Mapping[Key, Record | tuple[Record, ...] | None]


class StoreError(Exception):
    """The store could not do what was asked. The docstring is for the caller; the text is for the log."""

    code: ClassVar[str] = "store_error"
    is_logged = False  # so that one that many wait for is one line


class Conflict(StoreError):
    """Other writers kept getting in between. Nothing was stored."""

    code = "conflict"


class WriteFailed(StoreError):
    """The store refused what was to be written. Nothing was stored."""

    code = "write_failed"


class StoreFull(StoreError):
    """There is no space left where the data is kept. Nothing was stored."""

    code = "store_full"


class StoreUnavailable(StoreError):
    """The store cannot be reached, or cannot do this now. Nothing was stored."""

    code = "store_unavailable"


class Locked(StoreUnavailable):
    """Somebody else keeps locked what this needs. Nothing was stored; try again in a moment."""


class OutcomeUnknown(StoreError):
    """The store was lost while committing. Whether the change was stored cannot be told: read before trying again."""

    code = "outcome_unknown"


class SchemaTooNew(StoreError):
    """The database was made by a newer Userfold (schema {found}; this program knows {known}). Use that program."""

    code = "schema_too_new"

    def __init__(self, *, found: int, known: int) -> None:
        super().__init__((type(self).__doc__ or "").format(found=found, known=known))


class Read(msgspec.Struct, frozen=True):
    """Asks for records. They are as of this transaction, and locked by it if the store has several writers."""

    keys: tuple[Key, ...]


class Update(msgspec.Struct, frozen=True):
    """A record that gives way to another; `before` is what was read."""

    before: Record
    after: Record


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a batch writes, in the order in which it must be done: removals, updates, inserts.

    `batch_id` is unique to the batch and made before the first attempt. A store whose connection can be lost during a
    commit writes it too, and looks for it afterwards: present, the batch was committed; absent, it runs again.
    """

    batch_id: str
    removals: Mapping[Key, Record | None]  # for a collection, None: all of it
    updates: Mapping[Key, Update]
    inserts: Mapping[Key, Record]


COMMIT_MS = (0.1, 0.5, 1.0, 5.0, 20.0, 100.0, 1000.0)


class Counters(msgspec.Struct):
    """What a store did since it was made. Plain numbers: counting must cost nothing."""

    commits: int = 0
    commit_ms: float = 0.0  # all of them together
    commits_by_ms: list[int] = msgspec.field(default_factory=lambda: [0] * (len(COMMIT_MS) + 1))  # not cumulative
    conflicts: int = 0
    log_pages: int = 0  # of a write-ahead log, after the last commit

    def committed(self, ms: float) -> None:
        """One more commit, which took `ms`."""
        self.commits += 1
        self.commit_ms += ms
        self.commits_by_ms[bisect_left(COMMIT_MS, ms)] += 1


T = TypeVar("T")
Fold = Generator[Read | Write, Records | None, T]


class Store(Protocol):
    """One database. Made by its own constructor, ready after `migrate`."""

    @property
    def counters(self) -> Counters:
        """What it did so far; what does not apply to it stays 0."""
        ...

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        """What a fold returned, once all that it wrote is durable. Calls `make_fold` once per attempt.

        Raises a `StoreError`. Called by one caller at a time.
        """
        ...

    async def get(self, keys: Sequence[Key]) -> Records:
        """Records as of now, outside of any transaction. Never waits for a writer."""
        ...

    async def list(self, kind: str) -> Sequence[Record]:
        """All records of all projects of a kind that is few.

        These are `project`, `api_key`, `segment`, `attribute` and `erasure`.
        """
        ...

    async def users(self, query: UserQuery) -> Sequence[User]:
        """The users that `query` asks for, one page of them. Raises `StoreUnavailable` if that takes too long."""
        ...

    async def count_users(self, query: UserQuery) -> int:
        """How many users `query` asks for, whatever its page. Raises `StoreUnavailable` if that takes too long."""
        ...

    async def history(self, project_id: str, user_id: str, *, after: int, up_to: int, limit: int) -> Sequence[Change]:
        """Changes of a user with `after < version <= up_to`, oldest first, at most `limit`."""
        ...

    async def of_user(
        self, kind: str, project_id: str, user_id: str, *, after: str | None, descending: bool, limit: int
    ) -> Sequence[Record]:
        """At most `limit` records of a kind that may be many (`session`, `event`, `sign_in`), of one user, by id."""
        ...

    async def expired(self, kind: str, *, before: int, limit: int) -> Sequence[Key]:
        """Where the records are whose `expires_at` is not after `before` (ms), those first whose time was over first.

        Of a kind (`idempotency`, `session`, `sign_in`). None is never over.
        """
        ...

    async def lease(self, what: str, *, ms: int) -> bool:
        """Whether it is for this process to do `what`, which only one is to do at a time, for the next `ms`.

        Asking again prolongs it. It is not for ever, because a process may die; so what is done must bear being done
        twice. Where no other process can have the store, always true.
        """
        ...

    async def migrate(self) -> None:
        """Bring the schema to what this program knows. A newer one stays; `SchemaTooNew` if it cannot be used."""
        ...

    async def close(self) -> None:
        """Let go of everything. What was committed stays."""
        ...


class Schema(msgspec.Struct, frozen=True):
    """Which schema a database has, 0 for none yet, and which one this program knows.

    What was found may be newer than what is known, if the newer program said that older ones may use it.
    """

    found: int
    known: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody found who looked for trouble, in words for a person. `advice` says what to do about it."""

    about: str
    state: Literal["ok", "warning", "failed"]
    says: str
    advice: str = ""


class MaintainedStore(Store, Protocol):
    """A store with what those need who look after it. These block, so they are not for a server's event loop.

    Beside a running server a store is used without `migrate`, once `schema` has said that it is what is known: the
    server, and only it, brings the schema up to date and keeps the files short.
    """

    def schema(self) -> Schema:
        """The schema as it is; nothing is written. Raises `SchemaTooNew`, `StoreUnavailable`."""
        ...

    def examine(self, *, full: bool) -> Sequence[Finding]:
        """Look for damage: for a few seconds, or with `full` at everything, however long that takes."""
        ...


# (what is being done, how much of it, of how much)
Progress = Callable[[str, int, int], None]


@runtime_checkable
class BacksUp(Protocol):
    """A store that can copy itself into a file. Others have tools of their own."""

    def size(self) -> int:
        """About how many bytes a copy needs."""
        ...

    def backup(self, path: Path, progress: Progress) -> Mapping[str, int]:
        """Copy everything, as of one moment, to the new file `path`; then open the copy and check it.

        Returns how many records of each kind the copy holds. Others write meanwhile. Raises a `StoreError`; `path` may
        then be there and is of no use. Whoever calls syncs the file to the disk.
        """
        ...
