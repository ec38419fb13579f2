"""The rules about events: what a user did. Events are many, so they are kept beside the user and never read with it.

A deleted user's events are not deleted in the transaction that deletes the user. They are dead from then on: if there
is a user of that id again, what came before its predecessor was deleted is not its own (`first_id`).
"""

from __future__ import annotations

from userfold.core import identifiers
from userfold.core.applied import Applied
from userfold.core.commands import RecordEvent
from userfold.core.errors import FieldInvalid, SessionClosed, UserDisabled
from userfold.core.fields import check_bag, normal
from userfold.core.ids import ENTROPY_BITS, Mint, make_id
from userfold.core.reading import Records, existing_user, read
from userfold.core.records import EffectiveSettings, Event, Key, Session, Tombstone

OCCURRED_AT_MAX = 253_402_300_799_999  # the last millisecond of the year 9999


def record_event(command: RecordEvent, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    project_id, author = command.project_id, command.author
    user = existing_user(records, project_id, command.user_id)
    if user.disabled and author.trust != "backend":
        raise UserDisabled
    occurred_at = mint.now if command.occurred_at is None else command.occurred_at
    if not 0 <= occurred_at <= OCCURRED_AT_MAX:
        raise FieldInvalid(path="/occurred_at", reason="milliseconds since 1970 are needed, up to the year 9999")
    check_bag(command.properties, "/properties")
    _refuse_foreign_session(command, records)
    event = Event(
        id=mint.id("evt_"),
        user_id=user.id,
        session_id=command.session_id,
        name=normal(identifiers.label, command.name, "/name"),
        properties=command.properties,
        occurred_at=occurred_at,
        created_at=mint.now,
        source=author.source,
        actor=author.actor,
    )
    return Applied(writes={Key("event", project_id, event.id): event}, record=event, created=True)


def first_id(prefix: str, tombstone: Tombstone | None) -> str:
    """After which id the records of a user begin that are its own, where `tombstone` is what one of its id left."""
    return "" if tombstone is None else make_id(prefix, tombstone.at, (1 << ENTROPY_BITS) - 1)


def reads_event(command: RecordEvent) -> tuple[Key, ...]:
    user = Key("user", command.project_id, command.user_id)
    return (user,) if command.session_id is None else (user, Key("session", command.project_id, command.session_id))


def _refuse_foreign_session(command: RecordEvent, records: Records) -> None:
    if command.session_id is None:
        return
    session = read(records, Key("session", command.project_id, command.session_id), Session)
    if session is None or session.status != "active" or session.user_id != command.user_id:
        raise SessionClosed
