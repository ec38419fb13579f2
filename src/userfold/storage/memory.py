"""A store in memory: for tests, and the plainest reading of what the port asks for. Nothing outlives the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from userfold.core.records import COLLECTIONS, Change, Key, Record
from userfold.storage.codec import from_text, to_text
from userfold.storage.port import Conflict, Fold, Read, Records, T, Write


class MemoryStore:
    """Keeps the text of each record, so that what comes out went through the codec as in any other store."""

    def __init__(self) -> None:
        self._texts: dict[Key, str] = {}
        self._members: dict[Key, list[Key]] = {}

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        fold = make_fold()
        try:
            wish = next(fold)
            while True:
                if isinstance(wish, Read):
                    wish = fold.send(self._read(wish.keys))
                else:
                    self._check(wish)
                    self._write(wish)
                    wish = fold.send(None)
        except StopIteration as stop:
            outcome: T = stop.value
            return outcome
        finally:
            fold.close()

    async def get(self, keys: Sequence[Key]) -> Records:
        return self._read(keys)

    async def list(self, kind: str) -> Sequence[Record]:
        return [from_text(kind, text) for key, text in self._texts.items() if key.kind == kind]

    async def history(self, project_id: str, user_id: str, *, after: int, up_to: int, limit: int) -> Sequence[Change]:
        changes = self._collection(Key("changes", project_id, user_id))
        wanted = [c for c in changes if isinstance(c, Change) and after < c.version <= up_to]
        return wanted[:limit]

    async def migrate(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def _read(self, keys: Sequence[Key]) -> Records:
        return {key: self._collection(key) if key.kind in COLLECTIONS else self._record(key) for key in keys}

    def _record(self, key: Key) -> Record | None:
        text = self._texts.get(key)
        return None if text is None else from_text(key.kind, text)

    def _collection(self, key: Key) -> tuple[Record, ...]:
        return tuple(from_text(member.kind, self._texts[member]) for member in self._members.get(key, []))

    def _check(self, write: Write) -> None:
        for key, update in write.updates.items():
            if self._texts.get(key) != to_text(update.before):
                raise Conflict(key)
        for key, record in write.removals.items():
            if record is not None and self._texts.get(key) != to_text(record):
                raise Conflict(key)
        for key in write.inserts:
            if key in self._texts and key not in write.removals:
                raise Conflict(key)

    def _write(self, write: Write) -> None:
        texts = {key: to_text(update.after) for key, update in write.updates.items()}
        texts |= {key: to_text(record) for key, record in write.inserts.items()}
        for key in write.removals:
            for member in self._members.pop(key, []) if key.kind in COLLECTIONS else [key]:
                self._texts.pop(member, None)
                self._leave(member)
        for key, record in write.inserts.items():
            collection = _collection_of(key, record)
            if collection is not None:
                self._members.setdefault(collection, []).append(key)
        self._texts.update(texts)

    def _leave(self, member: Key) -> None:
        for members in self._members.values():
            if member in members:
                members.remove(member)


def _collection_of(key: Key, record: Record) -> Key | None:
    for collection, kind in COLLECTIONS.items():
        if kind == key.kind:
            return Key(collection, key.project_id, getattr(record, "user_id", ""))
    return None
