"""The engine's oracle: one command at a time over a plain dict, and what must be true of any project at rest."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from userfold.core import rules
from userfold.core.applied import Applied
from userfold.core.claims import identifier_key, identifiers_of
from userfold.core.commands import Command
from userfold.core.diff import fold
from userfold.core.errors import DomainError
from userfold.core.records import COLLECTIONS, Change, EffectiveSettings, Identifier, Key, Presence, Record, User
from userfold.storage.codec import to_text


class AllRead(dict[Key, Any]):
    """Records of which none was left unread: what is not here is not anywhere. A collection is what is of its kind."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: Key) -> tuple[Record, ...] | None:
        if key.kind not in COLLECTIONS:
            return None
        return tuple(record for member, record in self.items() if is_member(member, record, key))


def is_member(key: Key, record: Record | None, collection: Key) -> bool:
    """Whether a record belongs to a collection."""
    of_kind = key.kind == COLLECTIONS[collection.kind] and key.project_id == collection.project_id
    return of_kind and getattr(record, "user_id", None) == collection.id


class Model:
    """Applies commands one at a time. `records` is what a store must hold then."""

    def __init__(self) -> None:
        self.records = AllRead()

    def apply(self, command: Command, *, now: int, entropy: int, settings: EffectiveSettings) -> Applied | DomainError:
        try:
            applied = rules.apply(command, self.records, now=now, entropy=entropy, settings=settings)
        except DomainError as refusal:
            return refusal
        for key, record in applied.writes.items():
            if key.kind in COLLECTIONS:
                self._remove_members(key)
            else:
                self.records[key] = record
        return applied

    def of_kind(self, kind: str) -> dict[Key, Record]:
        """The records of a kind that exist."""
        return {key: record for key, record in self.records.items() if key.kind == kind and record is not None}

    def presence(self, project_id: str, user_id: str) -> Presence | None:
        """The presence of a user, if there is one."""
        presence = self.records[Key("presence", project_id, user_id)]
        assert isinstance(presence, Presence | None)
        return presence

    def histories(self) -> dict[str, list[Change]]:
        """{user id: its changes in order}"""
        histories: dict[str, list[Change]] = defaultdict(list)
        for change in self.of_kind("change").values():
            assert isinstance(change, Change)
            histories[change.user_id].append(change)
        return {user_id: sorted(changes, key=lambda made: made.version) for user_id, changes in histories.items()}

    def _remove_members(self, collection: Key) -> None:
        for key, record in self.records.items():
            if is_member(key, record, collection):
                self.records[key] = None


def told(outcome: object) -> object:
    """An outcome as data in which `1`, `1.0` and `true`, or `0.0` and `-0.0`, differ as they do in text."""
    if isinstance(outcome, Applied):
        writes = {key: record and to_text(record) for key, record in outcome.writes.items()}
        shown = [part and to_text(part) for part in (outcome.user, outcome.record, outcome.change)]
        return (writes, shown, outcome.created, outcome.ignored)
    if isinstance(outcome, DomainError):
        return (type(outcome), outcome.data)
    return outcome


def folded(changes: list[Change]) -> Any:
    """The user that a history tells of, as the JSON value that is shown."""
    document: Any = {}
    for change in changes:
        document = fold(document, change.operations) | {"version": change.version, "updated_at": change.at}
    return document


def check_user(user: User, changes: list[Change]) -> None:
    """A user is what its history, without a gap, folds to."""
    assert [change.version for change in changes] == list(range(1, user.version + 1))
    text = msgspec.json.encode(folded(changes), order="sorted")
    assert text == msgspec.json.encode(user, order="sorted")


def check_identifiers(project_id: str, users: list[User], held: dict[Key, Identifier]) -> None:
    """Every identifier of a user names that user, and no identifier names anybody else or nobody."""
    expected = {
        identifier_key(project_id, name): user.id
        for user in users
        for name in (*identifiers_of(user), *(f"external_id|{alias}" for alias in user.external_id_aliases))
    }
    assert {key: identifier.user_id for key, identifier in held.items()} == expected
    assert len(expected) == sum(len(identifiers_of(user)) + len(user.external_id_aliases) for user in users)
