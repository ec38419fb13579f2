"""The rules: a command and the records it looks at give the records to write, or a refusal.

`apply` is pure: it reads through `records`, and raises `Unread` when it needs a key that was not read yet; the engine
reads it and applies again. The order of checks is part of the contract, and is tested as a table:
the record exists → its version matches → every field is known and well formed → the author may write it → limits →
identifiers are free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from userfold.core import identifiers
from userfold.core.attribution import ALL_FIELDS, attribute
from userfold.core.claims import (
    DAY_MS,
    claim_identifiers,
    free_usercom_id,
    identifier_key,
    identifiers_of,
    keys_of_external_id,
    keys_of_tombstones,
    may_adopt,
    refuse_taken_id,
    refuse_tombstoned,
    tombstone_id,
)
from userfold.core.commands import (
    Command,
    CreateKey,
    CreateProject,
    CreateUser,
    DeleteUser,
    Edit,
    Edits,
    IfMatch,
    Once,
    Operate,
    RevokeKey,
    RevokeSignIn,
    RevokeSignIns,
    SignInUser,
    StartSession,
    UpdateProject,
    UpdateUser,
    UpsertUser,
)
from userfold.core.diff import diff, escape
from userfold.core.errors import (
    FieldInvalid,
    FieldReadOnly,
    FieldUnknown,
    IdempotencyKeyReused,
    KeyNotFound,
    OperationInvalid,
    ProjectNotFound,
    SessionClosed,
    SessionNotFound,
    UserDisabled,
    UserLocked,
    UserNotFound,
    VersionMismatch,
)
from userfold.core.fields import check, check_bag, normal
from userfold.core.ids import Mint
from userfold.core.jsontext import same_text
from userfold.core.merge import merge_bag
from userfold.core.operations import operate
from userfold.core.reading import Records, Writes, read, read_all
from userfold.core.records import (
    FIELDS,
    TOLD_BY_CHANGE,
    ApiKey,
    Change,
    Idempotency,
    Identifier,
    Key,
    Operation,
    Project,
    ProjectSettings,
    Record,
    Session,
    SignIn,
    Tombstone,
    User,
)
from userfold.core.sign_ins import revoke_all, revoked, sign_in
from userfold.core.trust import Author, Ignored, judge, owned_after

ONCE_MS = DAY_MS  # how long the answer to an idempotency key is kept

_OPERABLE = tuple(name for name, field in FIELDS.items() if field.writer != "system")


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a command came to. `user` is as of this command; `change` is None where nothing was different."""

    writes: Writes
    user: User | None = None
    record: Record | None = None  # for commands about something other than a user
    change: Change | None = None
    created: bool = False
    ignored: tuple[Ignored, ...] = ()


def reads(command: Command) -> tuple[Key, ...]:
    """The keys that `command` will surely look at: a hint, so that most commands need one round of reading."""
    keys = _RULES[type(command)][0](command)
    return keys if command.once is None else (*keys, Key("idempotency", command.project_id, command.once.id))


def apply(command: Command, records: Records, *, now: int, entropy: int, settings: ProjectSettings) -> Applied:
    """What `command` comes to at `now` (ms). `entropy`: fresh random bits, at least 133.

    Raises a `DomainError` if it is refused, `Unread` if `records` lacks a key.
    """
    rule = _RULES[type(command)][1]
    if command.once is None:
        return rule(command, records, Mint(now, entropy), settings)
    at = Key("idempotency", command.project_id, command.once.id)
    answered = read(records, at, Idempotency)
    if answered is not None and now < answered.at + ONCE_MS:
        return _same_answer(answered, command.once)
    applied = rule(command, records, Mint(now, entropy), settings)
    return msgspec.structs.replace(applied, writes={**applied.writes, at: _answer(command.once, applied, now)})


def _same_answer(answered: Idempotency, once: Once) -> Applied:
    if answered.request != once.request:
        raise IdempotencyKeyReused
    return Applied(
        writes={},
        user=answered.user,
        change=answered.change,
        created=answered.created,
        ignored=tuple(Ignored(path, code) for path, code in answered.ignored),
    )


def _answer(once: Once, applied: Applied, now: int) -> Idempotency:
    return Idempotency(
        id=once.id,
        request=once.request,
        at=now,
        user_id=applied.user.id if applied.user is not None else "",
        user=applied.user,
        change=applied.change,
        created=applied.created,
        ignored=tuple((ignored.path, ignored.code) for ignored in applied.ignored),
    )


def _create(command: CreateUser, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    external_id = _given_external_id(command.edits)
    if command.user_id is not None:
        normal(identifiers.external_id, command.user_id, "/id")
        refuse_taken_id(command.project_id, command.user_id, records)
    elif external_id is not None:
        claim = read(records, identifier_key(command.project_id, f"external_id|{external_id}"), Identifier)
        user = _existing(records, command.project_id, claim.user_id) if claim is not None else None
        if claim is not None and user is not None and may_adopt(claim, user, command.author):
            return _adopt(command, user, external_id, command.edits, records, mint, settings)
    return _make(
        command, command.edits, records, mint, settings, user_id=command.user_id, created_at=command.created_at
    )


def _update(command: UpdateUser, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    before = _existing(records, command.project_id, command.user_id)
    _match_version(before, command.if_match)
    return _change(command, before, command.edits, records, mint, settings)


def _upsert(command: UpsertUser, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    external_id = normal(identifiers.external_id, command.external_id, "/external_id")
    session = _open_session(command, records)
    claim, user = _named(command.project_id, external_id, records)
    edits = command.edits
    if any(isinstance(e, Edit) and e.document.get("external_id", external_id) != external_id for e in edits):
        raise FieldInvalid(path="/external_id", reason="it is not the external_id that the request names")
    if user is None:
        if command.if_match is not None or not command.may_create:
            raise UserNotFound(user_id=external_id)
        named = Edit("replace", {"external_id": external_id})
        fields = attribute(session, "").fields | {"external_id"}
        applied = _make(command, (*edits, named), records, mint, settings, fields=fields)
        return _link(command, session, applied)
    _match_version(user, command.if_match)
    fields = attribute(session, user.id).fields
    if claim is not None and may_adopt(claim, user, command.author):
        return _adopt(command, user, external_id, edits, records, mint, settings)
    return _link(command, session, _change(command, user, edits, records, mint, settings, fields))


def _delete(command: DeleteUser, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    project_id, author = command.project_id, command.author
    user = _existing(records, project_id, command.user_id)
    _match_version(user, command.if_match)
    names = [*identifiers_of(user), *(f"external_id|{alias}" for alias in user.external_id_aliases)]
    freed = [identifier_key(project_id, name) for name in names]
    # A browser names users by external_id, or by the id itself: both must be known again as deleted.
    external = [tombstone_id(project_id, name) for name in names if name.startswith("external_id|")]
    closed = [Key("tombstone", project_id, id_) for id_ in (user.id, *external)]
    # Read, because what is written over must be known: an earlier user of that name may have left a tombstone.
    read_all(records, [*freed, *closed])
    writes: Writes = {
        Key("user", project_id, user.id): None,
        Key("changes", project_id, user.id): None,
        Key("answers", project_id, user.id): None,
        Key("sign_ins", project_id, user.id): None,
        **dict.fromkeys(freed),
    }
    for key in closed:
        writes[key] = Tombstone(id=key.id, user_id=user.id, at=mint.now, source=author.source, actor=author.actor)
    return Applied(writes=writes)


def _make(
    command: Command,
    edits: Edits,
    records: Records,
    mint: Mint,
    settings: ProjectSettings,
    *,
    user_id: str | None = None,
    created_at: int | None = None,
    fields: frozenset[str] = ALL_FIELDS,
) -> Applied:
    """A new user. Its history begins with every field, so that folding needs no knowledge of defaults."""
    project_id, author = command.project_id, command.author
    blank = User(
        id=user_id or mint.id("user_"),
        usercom_id=free_usercom_id(project_id, records, mint),
        created_at=mint.now if created_at is None else created_at,
        updated_at=mint.now,
    )
    changed, _, ignored = _edited(blank, edits, author, mint, fields)
    user = _next_version(blank, changed, author, mint)
    if author.trust != "backend":
        refuse_tombstoned(project_id, user.external_id, records, mint.now, settings)
    writes = claim_identifiers(project_id, None, user, author, records)
    operations = tuple(
        Operation(op="add", path=f"/{name}", new=json_value(user, name))
        for name in FIELDS
        if name not in TOLD_BY_CHANGE
    )
    return _applied(command, user, writes, operations, mint, created=True, ignored=ignored)


def _change(
    command: Command,
    before: User,
    edits: Edits,
    records: Records,
    mint: Mint,
    settings: ProjectSettings,
    fields: frozenset[str] = ALL_FIELDS,
    *,
    adopted: bool = False,
) -> Applied:
    if before.disabled and command.author.trust != "backend":
        raise UserDisabled
    changed, operations, ignored = _edited(before, edits, command.author, mint, fields)
    after = _next_version(before, changed, command.author, mint, adopted=adopted)
    for name in ("owned", "external_id_aliases"):
        if getattr(before, name) is not getattr(after, name):
            operations += tuple(diff(json_value(before, name), json_value(after, name), f"/{name}"))
    if not operations:
        return Applied(writes={}, user=before, ignored=ignored)
    named_anew = "external_id" in changed and after.external_id not in before.external_id_aliases
    if named_anew and command.author.trust != "backend":
        refuse_tombstoned(command.project_id, after.external_id, records, mint.now, settings)
    writes = claim_identifiers(command.project_id, before, after, command.author, records)
    if after.disabled and not before.disabled:
        writes |= revoke_all(command.project_id, before.id, records, mint.now)
    return _applied(command, after, writes, operations, mint, created=adopted, ignored=ignored)


def _adopt(
    command: Command,
    user: User,
    external_id: str,
    edits: Edits,
    records: Records,
    mint: Mint,
    settings: ProjectSettings,
) -> Applied:
    """A backend takes over a record that a browser began: to the backend it is a creation."""
    edits = (*edits, Edit("replace", {"external_id": external_id}))
    applied = _change(command, user, edits, records, mint, settings, adopted=True)
    name = f"external_id|{external_id}"
    claimed = Identifier(identifier=name, user_id=user.id, set_by=command.author.trust)
    writes = {**applied.writes, identifier_key(command.project_id, name): claimed}
    return msgspec.structs.replace(applied, writes=writes, created=True)


def _edited(
    before: User, edits: Edits, author: Author, mint: Mint, fields: frozenset[str]
) -> tuple[dict[str, Any], tuple[Operation, ...], tuple[Ignored, ...]]:
    """The fields that come out different and may be written by `author`, how they differ, and what was left alone."""
    values: dict[str, Any] = {}
    made: list[Operation] = []
    ignored: list[Ignored] = []
    for edit in edits:
        if isinstance(edit, Operate):
            edit = _as_edit(edit, before, values)
        for name, given in edit.document.items():
            stored = values[name] if name in values else getattr(before, name, None)
            values[name] = _join(name, stored, given, edit.mode, mint)
    changed = {}
    for name, value in values.items():
        path = f"/{name}"
        operations = tuple(diff(json_value(before, name), _builtins(value), path))
        if not operations:
            continue
        reason = judge(name, before, operations, author) if name in fields else "session_of_another_user"
        if reason is not None:
            ignored.append(Ignored(path, reason))
            continue
        changed[name] = value
        made += operations
    for name, value in changed.items():
        if FIELDS[name].kind == "bag":
            check_bag(value, f"/{name}")
    return changed, tuple(made), tuple(ignored)


def _as_edit(edit: Operate, before: User, values: dict[str, Any]) -> Edit:
    """What operations come to: the fields that they left different, to be set.

    They address the user as the native API shows it. What only Userfold writes does not exist for them.
    """
    current = {name: _builtins(values.get(name, getattr(before, name))) for name in _OPERABLE}
    after = operate(current, edit.operations, edit.allowed)
    if not isinstance(after, dict):
        raise OperationInvalid(path="", reason="the user must stay an object")
    for name in after:
        if name not in current:
            raise FieldUnknown(path=f"/{escape(name[:255])}")
    return Edit("replace", {name: after.get(name) for name in current if after.get(name) is not current[name]})


def _join(name: str, stored: Any, given: Any, mode: str, mint: Mint) -> Any:
    field = FIELDS.get(name)
    if field is None:
        raise FieldUnknown(path=f"/{escape(name[:255])}")
    path = f"/{name}"
    if field.kind == "bag":
        return merge_bag(mode, stored, given, path=path)
    if field.kind == "system":
        # A document that was read, edited and sent back whole carries these: as they were, they do no harm.
        if not same_text(_builtins(stored), given):
            raise FieldReadOnly(path=path)
        return stored
    return check(field, given, stored, path, mint)


def _next_version(before: User, changed: dict[str, Any], author: Author, mint: Mint, *, adopted: bool = False) -> User:
    touched = {*changed, "external_id"} if adopted else set(changed)
    aliases = before.external_id_aliases
    if "external_id" in changed:
        # Only a secret key releases an id; what a browser overwrites goes on naming this user.
        left = before.external_id if author.trust != "backend" else None
        aliases = tuple(a for a in (*aliases, left) if a is not None and a != changed["external_id"])
    return msgspec.structs.replace(
        before,
        **changed,
        owned=owned_after(before.owned, touched, author.trust),
        external_id_aliases=aliases,
        updated_at=mint.now,
        version=before.version + 1,
    )


def _applied(
    command: Command,
    user: User,
    writes: Writes,
    operations: tuple[Operation, ...],
    mint: Mint,
    *,
    created: bool,
    ignored: tuple[Ignored, ...],
) -> Applied:
    author, project_id = command.author, command.project_id
    change = Change(
        id=mint.id("chg_"),
        user_id=user.id,
        version=user.version,
        at=mint.now,
        source=author.source,
        actor=author.actor,
        trust=author.trust,
        request_id=author.request_id,
        operations=operations,
    )
    writes = {
        **writes,
        Key("user", project_id, user.id): user,
        Key("change", project_id, change.id): change,
    }
    return Applied(writes=writes, user=user, change=change, created=created, ignored=ignored)


def _start_session(command: StartSession, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    session = Session(id=mint.id("ses_"), created_at=mint.now)
    return Applied(writes={Key("session", command.project_id, session.id): session}, record=session)


def _open_session(command: UpsertUser, records: Records) -> Session | None:
    if command.session_id is None:
        return None
    session = read(records, Key("session", command.project_id, command.session_id), Session)
    if session is None:
        raise SessionClosed
    # A deleted user's sessions are not deleted with it: they are dead from then on.
    if session.user_id is not None and not read(records, Key("user", command.project_id, session.user_id), User):
        raise SessionClosed
    return session


def _link(command: UpsertUser, session: Session | None, applied: Applied) -> Applied:
    assert applied.user is not None
    if session is None or not attribute(session, applied.user.id).links:
        return applied
    linked = msgspec.structs.replace(session, user_id=applied.user.id, version=session.version + 1)
    writes = {**applied.writes, Key("session", command.project_id, session.id): linked}
    return msgspec.structs.replace(applied, writes=writes)


def _sign_in(command: SignInUser, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    user = _existing(records, command.project_id, command.user_id)
    if user.disabled:
        raise UserDisabled
    if user.locked:
        raise UserLocked
    new = SignIn(
        id=command.session_id,
        user_id=user.id,
        token_digest=command.token_digest,
        created_at=mint.now,
        expires_at=mint.now + command.lifetime_ms,
        ip_address=command.ip_address,
        user_agent=command.user_agent,
    )
    return Applied(writes=sign_in(command.project_id, new, records, mint.now), user=user, record=new)


def _revoke_sign_in(command: RevokeSignIn, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    at = Key("sign_in", command.project_id, command.session_id)
    found = read(records, at, SignIn)
    if found is None:
        raise SessionNotFound(session_id=command.session_id)
    _existing(records, command.project_id, found.user_id)  # whoever changes a user's sign-in holds the user
    if not found.is_live(mint.now):
        return Applied(writes={}, record=found)
    ended = revoked(found, mint.now)
    return Applied(writes={at: ended}, record=ended)


def _revoke_sign_ins(command: RevokeSignIns, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    user = _existing(records, command.project_id, command.user_id)
    return Applied(writes=revoke_all(command.project_id, user.id, records, mint.now), user=user)


def _create_project(command: CreateProject, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    project = command.project
    writes: Writes = {Key("project", project.id, project.id): project}
    writes |= {Key("api_key", project.id, key.id): key for key in command.keys}
    return Applied(writes=writes, record=project)


def _update_project(command: UpdateProject, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    at = Key("project", command.project_id, command.project_id)
    before = read(records, at, Project)
    if before is None:
        raise ProjectNotFound
    after = msgspec.structs.replace(
        before,
        name=before.name if command.name is None else normal(identifiers.external_id, command.name, "/name"),
        settings=_changed_settings(before.settings, command.settings or {}),
    )
    if after == before:
        return Applied(writes={}, record=before)
    after = msgspec.structs.replace(after, version=before.version + 1)
    return Applied(writes={at: after}, record=after)


def _changed_settings(before: ProjectSettings, given: dict[str, Any]) -> ProjectSettings:
    for name in given:
        if name not in ProjectSettings.__struct_fields__:
            raise FieldUnknown(path=f"/settings/{escape(name[:255])}")
    try:
        return msgspec.convert({**msgspec.to_builtins(before), **given}, ProjectSettings)
    except msgspec.ValidationError as error:
        raise FieldInvalid(path="/settings", reason=str(error)) from None


def _create_key(command: CreateKey, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    return Applied(writes={Key("api_key", command.project_id, command.key.id): command.key}, record=command.key)


def _revoke_key(command: RevokeKey, records: Records, mint: Mint, settings: ProjectSettings) -> Applied:
    at = Key("api_key", command.project_id, command.key_id)
    key = read(records, at, ApiKey)
    if key is None:
        raise KeyNotFound(key_id=command.key_id)
    if key.revoked_at is not None:
        return Applied(writes={}, record=key)
    revoked = msgspec.structs.replace(key, revoked_at=mint.now, version=key.version + 1)
    return Applied(writes={at: revoked}, record=revoked)


def json_value(user: User, name: str) -> Any:
    """The field as the JSON value that is stored and shown."""
    return _builtins(getattr(user, name))


def _builtins(value: Any) -> Any:
    return list(msgspec.to_builtins(value)) if isinstance(value, tuple) else value


def _given_external_id(edits: Edits) -> str | None:
    """The external_id that the edits leave, or None."""
    for edit in reversed(edits):
        if isinstance(edit, Edit) and "external_id" in edit.document:
            given = edit.document["external_id"]
            return None if given is None else normal(identifiers.external_id, given, "/external_id")
    return None


def _existing(records: Records, project_id: str, user_id: str) -> User:
    user = read(records, Key("user", project_id, user_id), User)
    if user is None:
        raise UserNotFound(user_id=user_id)
    return user


def _named(project_id: str, external_id: str, records: Records) -> tuple[Identifier | None, User | None]:
    """The user whom `external_id` names, by its own id or by a claim, and that claim."""
    user, claim = read_all(records, [*keys_of_external_id(project_id, external_id)])
    if isinstance(user, User):
        return None, user
    if isinstance(claim, Identifier):
        return claim, _existing(records, project_id, claim.user_id)
    return None, None


def _match_version(user: User, versions: IfMatch) -> None:
    if versions is not None and versions != "*" and user.version not in versions:
        raise VersionMismatch(current=user.version)


def _reads_user(command: Any) -> tuple[Key, ...]:
    return (Key("user", command.project_id, command.user_id),)


def _reads_user_and_sign_ins(command: Any) -> tuple[Key, ...]:
    return (*_reads_user(command), Key("sign_ins", command.project_id, command.user_id))


def _reads_sign_in(command: RevokeSignIn) -> tuple[Key, ...]:
    return (Key("sign_in", command.project_id, command.session_id),)


def _reads_named(command: UpsertUser) -> tuple[Key, ...]:
    keys = keys_of_external_id(command.project_id, command.external_id)
    if command.session_id is None:
        return keys
    return (*keys, Key("session", command.project_id, command.session_id))


def _reads_new(command: CreateUser) -> tuple[Key, ...]:
    documents = [edit.document for edit in command.edits if isinstance(edit, Edit)]
    given = [command.user_id, *(document.get("external_id") for document in documents)]
    names = [name for name in given if isinstance(name, str)]
    keys = [key for name in names for key in keys_of_external_id(command.project_id, name)]
    if command.author.trust != "backend":
        keys += [key for name in names for key in keys_of_tombstones(command.project_id, name)]
    return tuple(keys)


def _reads_nothing(command: Command) -> tuple[Key, ...]:
    return ()


def _reads_project(command: UpdateProject) -> tuple[Key, ...]:
    return (Key("project", command.project_id, command.project_id),)


def _reads_key(command: RevokeKey) -> tuple[Key, ...]:
    return (Key("api_key", command.project_id, command.key_id),)


Reads = Callable[[Any], tuple[Key, ...]]
Rule = Callable[[Any, Records, Mint, ProjectSettings], Applied]

_RULES: dict[type[Command], tuple[Reads, Rule]] = {
    CreateUser: (_reads_new, _create),
    UpdateUser: (_reads_user, _update),
    UpsertUser: (_reads_named, _upsert),
    DeleteUser: (_reads_user, _delete),
    StartSession: (_reads_nothing, _start_session),
    SignInUser: (_reads_user_and_sign_ins, _sign_in),
    RevokeSignIn: (_reads_sign_in, _revoke_sign_in),
    RevokeSignIns: (_reads_user_and_sign_ins, _revoke_sign_ins),
    CreateProject: (_reads_nothing, _create_project),
    UpdateProject: (_reads_project, _update_project),
    CreateKey: (_reads_nothing, _create_key),
    RevokeKey: (_reads_key, _revoke_key),
}
