"""The rules about what browsers say in their tracking sessions: of the visit, of its user, and of what was done."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from userfold.core import identifiers
from userfold.core.applied import Applied
from userfold.core.claims import keys_of_external_id
from userfold.core.commands import (
    AboutSession,
    BrowserEvent,
    ExpireSessions,
    RecordFromSession,
    StartSession,
    UpdateFromSession,
    UpsertUser,
)
from userfold.core.errors import InputError, SessionNotSampled
from userfold.core.event_rules import OCCURRED_AT_MAX
from userfold.core.fields import check_bag, normal
from userfold.core.ids import ENTROPY_BITS, Mint, make_id
from userfold.core.jsontext import encode_sorted
from userfold.core.merge import merge_bag
from userfold.core.presence import context
from userfold.core.reading import Records, Writes, read_all
from userfold.core.records import Bag, Context, EffectiveSettings, Event, Key, Session
from userfold.core.redaction import redacted, redacted_in
from userfold.core.tracking import IDLE_MS, ended, is_due, keep, note_active, open_session, session_to_resume
from userfold.core.trust import Author
from userfold.core.user_rules import upsert

EVENTS_MAX = 500  # of one command; more are left out
EARLY_EVENTS_MAX = 50  # of a session that is nobody's yet; they are part of its record
EARLY_EVENTS_BYTES_MAX = 64 * 1024
CLOCK_OFF_MS_MAX = 86_400_000  # a clock that is wrong by more says nothing about when

_DRAW_BITS = 53


def start_session(command: StartSession, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    project_id, now = command.project_id, mint.now
    resumed = command.resumes and session_to_resume(project_id, command.resumes, records, now)
    session = resumed or Session(
        id=mint.id("ses_"),
        created_at=now,
        seen_at=now,
        expires_at=now + IDLE_MS,
        sampled=_is_drawn(mint, settings.sampling_rate),
    )
    if command.forced:
        session = msgspec.structs.replace(session, sampled=True)
    if _is_applied(session, settings):
        session = _told(session, command.about)
    if not resumed:
        return Applied(writes={Key("session", project_id, session.id): session}, record=session, created=True)
    session, writes = keep(project_id, session, records)
    writes |= note_active(project_id, session, records, now, where=session.context)
    return Applied(writes=writes, record=session)


def update_from_session(
    command: UpdateFromSession, records: Records, mint: Mint, settings: EffectiveSettings
) -> Applied:
    project_id, author = command.project_id, command.author
    session = _writable(project_id, command.session_id, author, records, mint.now, settings, forced=command.forced)
    applied = Applied(writes=note_active(project_id, session, records, mint.now))
    if command.external_id is not None:
        named = UpsertUser(
            project_id=project_id,
            author=author,
            external_id=command.external_id,
            edits=command.edits,
            session_id=command.session_id,
            may_create=command.may_create,
            evidence=command.evidence,
        )
        applied = upsert(named, records, mint, settings)
        assert applied.user is not None
        if session.user_id is None:
            session = msgspec.structs.replace(session, user_id=applied.user.id, early_events=())
    session, kept = keep(project_id, _told(session, command.about), records)
    return msgspec.structs.replace(applied, writes=applied.writes | kept, record=session)


def record_from_session(
    command: RecordFromSession, records: Records, mint: Mint, settings: EffectiveSettings
) -> Applied:
    project_id, author = command.project_id, command.author
    session = _writable(project_id, command.session_id, author, records, mint.now, settings)
    events = _new_events(command, session, records, mint.now)
    writes: Writes = {}
    if session.user_id is None:
        session = msgspec.structs.replace(session, early_events=_early((*session.early_events, *events)))
    else:
        writes = {Key("event", project_id, event.id): event for event in events}
        writes |= note_active(project_id, session, records, mint.now, events)
    if command.ends:
        session = ended(session, "client_abort", mint.now)
    session, kept = keep(project_id, session, records)
    return Applied(writes=writes | kept, record=session)


def expire_sessions(command: ExpireSessions, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    """Judges each session again: since somebody looked for those whose time is over, something may have come."""
    writes: Writes = {}
    for key, session in zip(command.keys, read_all(records, list(command.keys)), strict=True):
        if not isinstance(session, Session) or session.expires_at is None or not is_due(session, mint.now):
            continue
        if session.status == "ended":
            writes[key] = None
        else:
            writes |= keep(command.project_id, ended(session, "idle", session.expires_at), records)[1]
    return Applied(writes=writes)


def event_id(session: Session, name: str, properties: Bag, occurred_at: int) -> str:
    """The id of an event of a session: the same for the same name, properties and time, so that it is kept once.

    It sorts by when the event occurred. Where the browser's clock is far out, it sorts with the begin of the session,
    and among the others of that clock as that has it.
    """
    content = encode_sorted([session.id, occurred_at, name, properties])
    digest = int.from_bytes(hashlib.sha256(content).digest()[:10])
    if session.created_at - CLOCK_OFF_MS_MAX <= occurred_at <= session.seen_at + CLOCK_OFF_MS_MAX:
        return make_id("evt_", occurred_at, digest)
    by_its_clock = occurred_at << ENTROPY_BITS - OCCURRED_AT_MAX.bit_length()
    return make_id("evt_", session.created_at, by_its_clock | digest >> OCCURRED_AT_MAX.bit_length())


def reads_started(command: StartSession) -> tuple[Key, ...]:
    return () if not command.resumes else (Key("session", command.project_id, command.resumes),)


def reads_from_session(command: UpdateFromSession | RecordFromSession) -> tuple[Key, ...]:
    session = Key("session", command.project_id, command.session_id)
    if isinstance(command, RecordFromSession) or command.external_id is None:
        return (session,)
    return (session, *keys_of_external_id(command.project_id, command.external_id))


def reads_expired(command: ExpireSessions) -> tuple[Key, ...]:
    return command.keys


def _writable(
    project_id: str,
    session_id: str,
    author: Author,
    records: Records,
    now: int,
    settings: EffectiveSettings,
    *,
    forced: bool = False,
) -> Session:
    session = open_session(project_id, session_id, author, records, now)
    if forced:
        session = msgspec.structs.replace(session, sampled=True)
    if not _is_applied(session, settings):
        raise SessionNotSampled
    return session


def _is_applied(session: Session, settings: EffectiveSettings) -> bool:
    return session.sampled or settings.unsampled_updates == "apply"


def _is_drawn(mint: Mint, rate: float) -> bool:
    """Whether a session is one of the share `rate` that is sampled. The bits are none that an id is made of."""
    return mint.entropy >> 80 & (1 << _DRAW_BITS) - 1 < rate * (1 << _DRAW_BITS)


def _told(session: Session, about: AboutSession) -> Session:
    """The session once it was said to be so. Raises an `InputError`."""
    return msgspec.structs.replace(
        session,
        environment=_text(about.environment, session.environment, "/environment"),
        release=_text(about.release, session.release, "/release"),
        app_session_id=_text(about.app_session_id, session.app_session_id, "/app_session_id"),
        metadata=_joined(session.metadata, about.metadata, "/metadata"),
        integrations=_joined(session.integrations, about.integrations, "/integrations"),
        context=session.context if about.context is None else _clean(about.context),
    )


def _text(given: str | None, stored: str | None, path: str) -> str | None:
    return stored if given is None else normal(identifiers.bounded, given, path)


def _joined(stored: Bag, given: Bag | None, path: str) -> Bag:
    if given is None:
        return stored
    bag = merge_bag("shallow", stored, given, path=path)
    check_bag(bag, path)
    return bag


def _clean(told: Context) -> Context:
    texts = msgspec.structs.asdict(told)
    return context(**texts | {"entry_url": told.entry_url and redacted(told.entry_url)})


def _clean_property(name: str, value: Any) -> Any:
    """A value without the secrets of the addresses in it. A `url` is one, also if it begins with its path."""
    if isinstance(value, dict):
        return {inner: _clean_property(inner, given) for inner, given in value.items()}
    if isinstance(value, list):
        return [_clean_property(name, given) for given in value]
    if not isinstance(value, str):
        return value
    return redacted(value) if name == "url" else redacted_in(value)


def _new_events(command: RecordFromSession, session: Session, records: Records, now: int) -> list[Event]:
    """Those of a command's events that can be kept and were not noted before, each once."""
    made = [_event(command.author, session, given, now) for given in command.events[:EVENTS_MAX]]
    events = {event.id: event for event in made if event is not None}
    if session.user_id is None:
        noted = {event.id for event in session.early_events}
    else:
        found = read_all(records, [Key("event", command.project_id, id_) for id_ in events])
        noted = {event.id for event in found if isinstance(event, Event)}
    return [event for event in events.values() if event.id not in noted]


def _event(author: Author, session: Session, given: BrowserEvent, now: int) -> Event | None:
    properties = {name: _clean_property(name, value) for name, value in given.properties.items()}
    try:
        name = normal(identifiers.label, redacted_in(given.name), "/name")
        check_bag(properties, "/properties")
    except InputError:
        return None
    occurred_at = min(max(given.occurred_at, 0), OCCURRED_AT_MAX)
    return Event(
        id=event_id(session, name, properties, occurred_at),
        user_id=session.user_id or "",
        session_id=session.id,
        name=name,
        properties=properties,
        occurred_at=occurred_at,
        created_at=now,
        source=author.source,
        actor=author.actor,
    )


def _early(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """As many of the first ones as a session's record has room for."""
    kept: list[Event] = []
    size = 0
    for event in events[:EARLY_EVENTS_MAX]:
        size += len(encode_sorted(event.properties))
        if size <= EARLY_EVENTS_BYTES_MAX:
            kept.append(event)
    return tuple(kept)
