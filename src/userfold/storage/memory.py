"""A store in memory: for tests, and the plainest reading of what the port asks for. Nothing outlives the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec

from userfold.core.queries import Position, UserQuery, matches, position
from userfold.core.records import COLLECTIONS, Change, Key, Presence, Record, User
from userfold.storage.codec import from_text, to_text
from userfold.storage.port import Conflict, Counters, Fold, Read, Records, T, Write, WriteFailed

ATTEMPTS_MAX = 3


class MemoryStore:
    """Keeps the text of each record, so that what comes out went through the codec as in any other store."""

    def __init__(self) -> None:
        self._committed = _Tables({}, {})
        self.counters = Counters()

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                return self._attempt(make_fold())
            except Conflict:
                continue
        return self._attempt(make_fold())

    def _attempt(self, fold: Fold[T]) -> T:
        tables = self._committed.copy()
        try:
            wish = next(fold)
            while True:
                if isinstance(wish, Read):
                    wish = fold.send(tables.read(wish.keys))
                else:
                    tables.write(wish)
                    wish = fold.send(None)
        except StopIteration as stop:
            self._committed = tables
            self.counters.committed(0.0)
            return cast("T", stop.value)
        except Conflict:
            self.counters.conflicts += 1
            raise
        finally:
            fold.close()

    async def get(self, keys: Sequence[Key]) -> Records:
        return self._committed.read(keys)

    async def list(self, kind: str) -> Sequence[Record]:
        keys = sorted(key for key in self._committed.texts if key.kind == kind)
        return [from_text(kind, self._committed.texts[key]) for key in keys]

    async def users(self, query: UserQuery) -> Sequence[User]:
        found = [
            (position(user, query.order, presence), user)
            for user, presence in self._all_users(query.project_id)
            if matches(user, query, presence)
        ]
        found.sort(key=lambda one: one[0], reverse=query.descending)
        return [user for here, user in found if _is_after(here, query)][query.offset : query.offset + query.limit]

    def _all_users(self, project_id: str) -> Iterator[tuple[User, Presence | None]]:
        for key in self._committed.texts:
            if key.kind == "user" and key.project_id == project_id:
                beside = Key("presence", project_id, key.id)
                user, presence = self._committed.read((key, beside)).values()
                assert isinstance(user, User)
                assert isinstance(presence, Presence | None)
                yield user, presence

    async def count_users(self, query: UserQuery) -> int:
        whole = msgspec.structs.replace(query, after=None, offset=0, limit=len(self._committed.texts))
        return len(await self.users(whole))

    async def of_user(
        self, kind: str, project_id: str, user_id: str, *, after: str | None, descending: bool, limit: int
    ) -> Sequence[Record]:
        keys = sorted(key for key in self._committed.texts if (key.kind, key.project_id) == (kind, project_id))
        found = [from_text(kind, self._committed.texts[key]) for key in (reversed(keys) if descending else keys)]
        own = [record for record in found if getattr(record, "user_id", None) == user_id]
        return [record for record in own if _is_past(record, after, descending)][:limit]

    async def expired(self, kind: str, *, before: int, limit: int) -> Sequence[Key]:
        times = {
            key: getattr(from_text(kind, text), "expires_at", before)
            for key, text in self._committed.texts.items()
            if key.kind == kind
        }
        over = {key: at for key, at in times.items() if at is not None and at <= before}
        return sorted(over, key=lambda key: over[key])[:limit]

    async def history(self, project_id: str, user_id: str, *, after: int, up_to: int, limit: int) -> Sequence[Change]:
        key = Key("changes", project_id, user_id)
        changes = self._committed.collection(key)
        wanted = [c for c in changes if isinstance(c, Change) and after < c.version <= up_to]
        return wanted[:limit]

    async def lease(self, what: str, *, ms: int) -> bool:
        return True

    async def migrate(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _is_past(record: Record, after: str | None, descending: bool) -> bool:
    id_: str = getattr(record, "id", "")
    return after is None or (id_ < after if descending else id_ > after)


def _is_after(here: Position, query: UserQuery) -> bool:
    if query.after is None:
        return True
    return here < query.after if query.descending else here > query.after


class _Tables:
    """What is stored: the text of each record, and of each collection the keys in order."""

    def __init__(self, texts: dict[Key, str], members: dict[Key, list[Key]]) -> None:
        self.texts = texts
        self.members = members

    def copy(self) -> _Tables:
        return _Tables(dict(self.texts), {collection: list(keys) for collection, keys in self.members.items()})

    def read(self, keys: Sequence[Key]) -> Records:
        return {key: self.collection(key) if key.kind in COLLECTIONS else self._record(key) for key in keys}

    def _record(self, key: Key) -> Record | None:
        text = self.texts.get(key)
        return None if text is None else from_text(key.kind, text)

    def collection(self, key: Key) -> tuple[Record, ...]:
        return tuple(from_text(member.kind, self.texts[member]) for member in self._members(key))

    def _members(self, collection: Key) -> list[Key]:
        members = self.members.get(collection, [])
        return members if collection.kind == "changes" else sorted(members)

    def _check(self, write: Write) -> None:
        for key, update in write.updates.items():
            if self.texts.get(key) != to_text(update.before):
                raise Conflict(key)
        for key, record in write.removals.items():
            if record is not None and self.texts.get(key) != to_text(record):
                raise Conflict(key)
        gone = {member for key in write.removals for member in self.members.get(key, [key])}
        for key in write.inserts:
            if key in self.texts and key not in gone:
                raise Conflict(key)

    def write(self, write: Write) -> None:
        """Raises `Conflict`, `WriteFailed`; what was written by then is the transaction's, which ends with it."""
        self._check(write)
        try:
            self._write(write)
        except (TypeError, ValueError) as error:
            raise WriteFailed(f"{type(error).__name__}: {error}") from error

    def _write(self, write: Write) -> None:
        texts = {key: to_text(update.after) for key, update in write.updates.items()}
        texts |= {key: to_text(record) for key, record in write.inserts.items()}
        for key in write.removals:
            for member in self.members.pop(key, []) if key.kind in COLLECTIONS else [key]:
                self.texts.pop(member, None)
                self._leave(member)
        for key, update in write.updates.items():
            left, joined = _collection_of(key, update.before), _collection_of(key, update.after)
            if left is not None and joined is not None and left != joined:
                self._leave(key)
                self.members.setdefault(joined, []).append(key)
        for key, record in write.inserts.items():
            collection = _collection_of(key, record)
            if collection is not None:
                self.members.setdefault(collection, []).append(key)
        self.texts.update(texts)

    def _leave(self, member: Key) -> None:
        for members in self.members.values():
            if member in members:
                members.remove(member)


def _collection_of(key: Key, record: Record) -> Key | None:
    for collection, kind in COLLECTIONS.items():
        if kind == key.kind:
            return Key(collection, key.project_id, getattr(record, "user_id", ""))
    return None
