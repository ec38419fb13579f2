"""Records of every kind, and the folds that write them, for tests that need something to store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from userfold.core.records import (
    COLLECTIONS,
    ApiKey,
    AttributeDefinition,
    Bag,
    Change,
    Context,
    EmailAddress,
    Erasure,
    Event,
    Idempotency,
    Identifier,
    Key,
    Mirror,
    Operation,
    PhoneNumber,
    Presence,
    Project,
    ProjectSettings,
    Record,
    Secrets,
    Segment,
    Session,
    SignIn,
    Tombstone,
    User,
    kind_of,
)
from userfold.storage.port import Fold, Read, Records, Store, Update, Write

PROJECT = "prj_1"

EMAIL = EmailAddress(id="idn_1", email_address="zoë@x.org", primary=True, created_at=1, updated_at=2)
PHONE = PhoneNumber(id="idn_2", phone_number="+442079460958", verified=True, created_at=1, updated_at=2)
KEY = ApiKey(id="key_1", project_id=PROJECT, kind="secret", name="one", token_digest="ab", created_at=1)


def user(id_: str = "u1", *, version: int = 1, traits: Bag | None = None) -> User:
    """A user with something in every kind of field."""
    return User(
        id=id_,
        external_id=f"external {id_}",
        usercom_id=2**53 - 1,
        name="Zoë 𝒵",
        email_addresses=(
            EmailAddress(id="idn_1", email_address="zoë@x.org", primary=True, created_at=1, updated_at=2),
        ),
        phone_numbers=(
            PhoneNumber(id="idn_2", phone_number="+442079460958", verified=True, created_at=1, updated_at=2),
        ),
        private_metadata={"null": None, "nested": {"list": [1, 1.0, True, "1", [], {}]}},
        traits={} if traits is None else traits,
        owned=("name",),
        created_at=1_700_000_000_000,
        updated_at=1_700_000_000_001,
        version=version,
    )


def change(user_id: str = "u1", *, version: int = 1, id_: str | None = None) -> Change:
    """The change that made `version` of a user. Ids sort as versions do, as the engine's do."""
    return Change(
        id=id_ or f"chg_{user_id}_{version:06d}",
        user_id=user_id,
        version=version,
        at=1_700_000_000_000 + version,
        source="native",
        actor="key_1",
        trust="backend",
        request_id=f"req_{version}",
        operations=(
            Operation(op="add", path="/traits/a~1b", new=None),
            Operation(op="replace", path="/traits/n", old=0, new=version),
            Operation(op="remove", path="/traits/c", old={}),
            Operation(op="replace", path="/traits/list", at=0, removed=[], added=[None, "x"]),
        ),
    )


EVENT = Event(id="evt_1", user_id="u1", name="order paid", occurred_at=1, created_at=2, source="native", actor="key_1")
ATTRIBUTE = AttributeDefinition(
    id="attr_1", project_id=PROJECT, name="plan", type="integer", created_at=1, updated_at=1
)
SEGMENT = Segment(id="seg_1", project_id=PROJECT, name="Beta", created_at=1, updated_at=1)
SIGN_IN = SignIn(id="ses_1", user_id="u1", token_digest="ab", created_at=1, expires_at=9)
ANSWER = Idempotency(
    id="idk_1",
    request="ab",
    at=1,
    expires_at=9,
    user_id="u1",
    user=user(traits={"a": 1.0}),
    change=change(),
    created=True,
    ignored=(("/traits/a", "read_only"), ("/name", "owned")),
)

# {kind: (a record, the record that it gives way to)}. Users are apart, because each of their versions has a change.
PAIRS: dict[str, tuple[Record, Record]] = {
    "identifier": (
        Identifier(identifier="email|zoë@x.org", user_id="u1", set_by="browser"),
        Identifier(identifier="email|zoë@x.org", user_id="u2", set_by="backend"),
    ),
    "tombstone": (
        Tombstone(id="u1", user_id="u1", at=1, source="native", actor="key_1"),
        Tombstone(id="u1", user_id="u3", at=2, source="milana", actor="ses_1"),
    ),
    "mirror": (Mirror(id="u1", changed_at=1, told_at=2), Mirror(id="u1", changed_at=3, told_at=1 << 52)),
    "idempotency": (
        ANSWER,
        msgspec.structs.replace(
            ANSWER,
            request="cd",
            at=2,
            expires_at=10,
            user=None,
            change=None,
            record_kind="session",
            record={"a": [1.0]},
        ),
    ),
    "erasure": (Erasure(id="u1", project_id=PROJECT, at=1), Erasure(id="u1", project_id=PROJECT, at=2)),
    "secrets": (
        Secrets(id="u1"),
        Secrets(id="u1", password_digest="$argon2id$ü", totp_secret="ab", backup_code_digests=("c", "d"), version=2),
    ),
    "sign_in": (
        SIGN_IN,
        msgspec.structs.replace(
            SIGN_IN, status="revoked", ended_at=2, ip_address="::1", user_agent="Zoë/1 \0", version=2
        ),
    ),
    "presence": (
        Presence(id="u1"),
        Presence(
            id="u1",
            last_active_at=1_700_000_000_000,
            last_sign_in_at=1,
            page_views=3,
            context=Context(
                ip_address="::1",
                user_agent="Zoë/1 \0",
                browser_language="pl",
                timezone="Europe/Warsaw",
                entry_url="https://x.example/?é",
            ),
        ),
    ),
    "session": (
        Session(id="ses_1", created_at=1),
        Session(
            id="ses_1",
            user_id="u1",
            status="ended",
            ended_because="idle",
            sampled=False,
            metadata={"a": [1, 1.0, None]},
            integrations={"sentry": {"replayId": "𝒵"}},
            context=Context(entry_url="https://x/?ü"),
            early_events=(EVENT,),
            created_at=1,
            seen_at=2,
            ended_at=3,
            expires_at=4,
            version=2,
        ),
    ),
    "project": (
        Project(id=PROJECT, name="One", product_id="prd_1", created_at=1),
        Project(
            id=PROJECT,
            name="Two",
            product_id="prd_1",
            settings=ProjectSettings(tombstone_days=1),
            created_at=1,
            version=2,
        ),
    ),
    "event": (
        EVENT,
        msgspec.structs.replace(
            EVENT, session_id="ses_1", name="Zoë 𝒵", properties={"a": [1, 1.0, True, None, "\0", {}]}, source="milana"
        ),
    ),
    "attribute": (
        ATTRIBUTE,
        msgspec.structs.replace(
            ATTRIBUTE, name="Zoë/𝒵", type="choices", choices=("a", "𝒵"), title="t", description="\n", version=2
        ),
    ),
    "segment": (
        SEGMENT,
        msgspec.structs.replace(
            SEGMENT, name="Bêta 𝒵", description="\0\n", updated_at=2, deleted_at=2, deleted_by="key_1", version=2
        ),
    ),
    "api_key": (KEY, msgspec.structs.replace(KEY, revoked_at=2, version=2)),
}


def key_of(record: Record, project_id: str = PROJECT) -> Key:
    """Where a record is kept."""
    if isinstance(record, Identifier):
        return Key("identifier", project_id, record.identifier)
    return Key(kind_of(record), project_id, record.id)  # type: ignore[attr-defined]


def changes_key(user_id: str, project_id: str = PROJECT) -> Key:
    """The collection of a user's changes."""
    return Key("changes", project_id, user_id)


def writing(
    *inserts: Record,
    updates: Sequence[Update] = (),
    removals: Mapping[Key, Record | None] | None = None,
    project_id: str = PROJECT,
) -> Write:
    """A `Write` of these."""
    return Write(
        batch_id="bat_1",
        removals=removals or {},
        updates={key_of(update.after, project_id): update for update in updates},
        inserts={key_of(record, project_id): record for record in inserts},
    )


def folding(*wishes: Read | Write) -> Fold[list[Records]]:
    """Yields each wish, and returns what was read."""
    answers = []
    for wish in wishes:
        answer = yield wish
        if answer is not None:
            answers.append(answer)
    return answers


async def put(store: Store, *inserts: Record, project_id: str = PROJECT) -> None:
    """Insert records in one transaction."""
    await store.run(lambda: folding(writing(*inserts, project_id=project_id)))


async def change_user(store: Store, before: User, after: User, project_id: str = PROJECT) -> None:
    """Give a user its next version, with the change that made it, as every batch does."""
    await store.run(
        lambda: folding(
            Read((key_of(before, project_id),)),
            writing(
                change(after.id, version=after.version),
                updates=[Update(before, after)],
                project_id=project_id,
            ),
        )
    )


async def change_presence(store: Store, before: Presence, after: Presence | None, project_id: str = PROJECT) -> None:
    """Put a presence in the place of another one, or remove it."""
    key = key_of(before, project_id)
    removals: dict[Key, Record | None] = {key: before} if after is None else {}
    updates = [] if after is None else [Update(before, after)]
    write = writing(updates=updates, removals=removals, project_id=project_id)
    await store.run(lambda: folding(Read((key,)), write))


async def remove_user(store: Store, gone: User, project_id: str = PROJECT, presence: Presence | None = None) -> None:
    """Erase a user and all that belongs to it."""
    removals: dict[Key, Record | None] = {Key(kind, project_id, gone.id): None for kind in COLLECTIONS}
    removals[key_of(gone, project_id)] = gone
    removals |= {} if presence is None else {key_of(presence, project_id): presence}
    await store.run(lambda: folding(Read((key_of(gone, project_id),)), writing(removals=removals)))


async def get(store: Store, key: Key) -> Any:
    """What is at one key now."""
    return (await store.get([key]))[key]


async def all_changes(store: Store, user_id: str, project_id: str = PROJECT) -> list[Change]:
    """A user's whole history."""
    return list(await store.history(project_id, user_id, after=0, up_to=10**9, limit=10**6))


def next_version(before: User, **fields: Any) -> User:
    """`before` with these fields, one version later."""
    return msgspec.structs.replace(before, **fields, version=before.version + 1)
