"""The rules about users: how they are made, changed, named, adopted and erased.

The order of checks is part of the contract, and is tested as a table:
the record exists → its version matches → every field is known and well formed → the author may write it → limits →
identifiers are free.
"""

from __future__ import annotations

from typing import Any

import msgspec

from userfold.core import identifiers
from userfold.core.addresses import list_after
from userfold.core.applied import Applied
from userfold.core.attributes import check_traits
from userfold.core.attribution import ALL_FIELDS, attribute
from userfold.core.claims import (
    claim_identifiers,
    free_usercom_id,
    identifier_key,
    keys_of_external_id,
    keys_of_tombstones,
    may_adopt,
    names_of,
    refuse_taken_id,
    refuse_tombstoned,
    tombstone_id,
    user_named,
    user_to_replace,
)
from userfold.core.commands import (
    Command,
    CreateUser,
    DeleteUser,
    Edit,
    Edits,
    MirrorUser,
    Operate,
    SetsSecrets,
    UpdateUser,
    UpsertUser,
)
from userfold.core.diff import diff, escape
from userfold.core.errors import (
    FieldInvalid,
    FieldReadOnly,
    FieldUnknown,
    OperationInvalid,
    UserDisabled,
    UserNotFound,
)
from userfold.core.fields import check, check_bag, normal, time_ms
from userfold.core.identity import establish, refuse_unproven
from userfold.core.ids import Mint
from userfold.core.jsontext import same_text
from userfold.core.merge import merge_bag
from userfold.core.operations import operate
from userfold.core.reading import Records, Writes, existing_user, match_user, match_version, read, read_all
from userfold.core.records import (
    FIELDS,
    TOLD_BY_CHANGE,
    Change,
    EffectiveSettings,
    Erasure,
    Identifier,
    Image,
    Key,
    Operation,
    Session,
    Tombstone,
    User,
)
from userfold.core.resending import key_of_creation, note_of_creation, user_made_before
from userfold.core.sign_ins import revoke_all
from userfold.core.tracking import keep, link, note_active, open_session
from userfold.core.trust import Author, Ignored, judge, owned_after
from userfold.core.user_secrets import NOTHING, Joined, gives_secrets, join_secrets

_OPERABLE = tuple(name for name, field in FIELDS.items() if field.writer != "system")


def create(command: CreateUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    if command.resendable is None:
        return _create(command, records, mint, settings)
    made_before = user_made_before(command, command.resendable, records, mint.now)
    if made_before is not None:
        return Applied(writes={}, user=made_before)
    applied = _create(command, records, mint, settings)
    note = note_of_creation(command, command.resendable, applied, mint.now)
    return msgspec.structs.replace(applied, writes=applied.writes | note)


def _create(command: CreateUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    external_id = _given_external_id(command.edits)
    if command.user_id is not None:
        normal(identifiers.external_id, command.user_id, "/id")
        if command.replace:
            return _replace(command, command.user_id, records, mint, settings)
        refuse_taken_id(command.project_id, command.user_id, records)
    elif external_id is not None:
        claim = read(records, identifier_key(command.project_id, f"external_id|{external_id}"), Identifier)
        user = existing_user(records, command.project_id, claim.user_id) if claim is not None else None
        if claim is not None and user is not None and may_adopt(claim, user, command.author):
            return _adopt(command, user, external_id, command.edits, records, mint, settings)
    return make(command, command.edits, records, mint, settings, user_id=command.user_id, created_at=command.created_at)


def update(command: UpdateUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    before = existing_user(records, command.project_id, command.user_id)
    if before.external_id is not None:
        refuse_unproven(command.author, settings)
    match_user(before, command.if_match)
    return change(command, before, command.edits, records, mint, settings)


def upsert(command: UpsertUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    normal(identifiers.external_id, command.external_id, "/external_id")
    command, passed_over = establish(command, records, mint.now, settings)
    applied = _upsert(command, records, mint, settings)
    return msgspec.structs.replace(applied, ignored=(*applied.ignored, *passed_over)) if passed_over else applied


def _upsert(command: UpsertUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    external_id = command.external_id
    session = None
    if command.session_id is not None:
        session = open_session(command.project_id, command.session_id, command.author, records, mint.now)
    claim, user = user_named(command.project_id, external_id, records)
    edits = command.edits
    for edit in edits:
        if isinstance(edit, Edit):  # such a request contradicts itself, whatever is stored; operations are done first
            _refuse_another_name(edit.document, external_id)
    if user is None:
        if command.if_match is not None or not command.may_create:
            raise UserNotFound(user_id=external_id)
        fields = _fields(session, "", command.author) | {"external_id"}
        edits = (Edit("replace", {"external_id": external_id}), *edits)
        # Whom another system will tell of is known by its id from the start, so that it finds the user here.
        user_id = external_id if settings.mirrors and external_id.startswith("user_") else None
        applied = make(command, edits, records, mint, settings, user_id=user_id, fields=fields, named=external_id)
        return _link(command, session, applied, records, mint.now)
    match_version(user.version, command.if_match)
    fields = _fields(session, user.id, command.author)
    if claim is not None and may_adopt(claim, user, command.author):
        return _adopt(command, user, external_id, edits, records, mint, settings)
    applied = change(command, user, edits, records, mint, settings, fields, named=external_id)
    return _link(command, session, applied, records, mint.now)


def delete(command: DeleteUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    project_id, author = command.project_id, command.author
    user = existing_user(records, project_id, command.user_id)
    match_user(user, command.if_match)
    # A browser names users by external_id, or by the id itself: both must be known again as deleted.
    external = [tombstone_id(project_id, name) for name in names_of(user) if name.startswith("external_id|")]
    closed = [Key("tombstone", project_id, id_) for id_ in (user.id, *external)]
    # What is too much for one transaction: a sweep finds the rest by this record.
    erasure = Key("erasure", project_id, user.id)
    # Read, because what is written over must be known: an earlier user of that name may have left a tombstone.
    read_all(records, [erasure, *closed])
    writes: Writes = {Key("user", project_id, user.id): None, **removal(project_id, user, records)}
    writes[erasure] = Erasure(id=user.id, project_id=project_id, at=mint.now)
    for key in closed:
        writes[key] = Tombstone(id=key.id, user_id=user.id, at=mint.now, source=author.source, actor=author.actor)
    return Applied(writes=writes)


def removal(project_id: str, user: User, records: Records) -> Writes:
    """The writes that remove everything of a user but its own record."""
    freed = [identifier_key(project_id, name) for name in names_of(user)]
    beside = [Key(kind, project_id, user.id) for kind in ("secrets", "presence", "mirror")]
    kept = read_all(records, [*beside, *freed])
    return {
        Key("changes", project_id, user.id): None,
        Key("answers", project_id, user.id): None,
        Key("sign_ins", project_id, user.id): None,
        **dict.fromkeys(freed),
        **{key: None for key, record in zip(beside, kept, strict=False) if record is not None},
    }


def _replace(command: CreateUser, user_id: str, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    """A new user in the place of one of its id. Typed clients know the old one's usercom_id, so that stays."""
    old = user_to_replace(command.project_id, user_id, records)
    gone = {} if old is None else removal(command.project_id, old, records)
    applied = make(
        command,
        command.edits,
        records,
        mint,
        settings,
        user_id=user_id,
        usercom_id=None if old is None else old.usercom_id,
        created_at=command.created_at,
    )
    return msgspec.structs.replace(applied, writes=gone | applied.writes, created=old is None)


def make(
    command: Command,
    edits: Edits,
    records: Records,
    mint: Mint,
    settings: EffectiveSettings,
    *,
    user_id: str | None = None,
    usercom_id: int | None = None,
    created_at: int | None = None,
    fields: frozenset[str] = ALL_FIELDS,
    named: str | None = None,
) -> Applied:
    """A new user. Its history begins with every field, so that folding needs no knowledge of defaults."""
    project_id, author = command.project_id, command.author
    if created_at is not None:
        time_ms(created_at, "/created_at")
    closed = keys_of_tombstones(project_id, named) if named is not None and author.trust != "backend" else ()
    blank = User(
        id=user_id or mint.id("user_"),
        usercom_id=usercom_id or free_usercom_id(project_id, records, mint, closed),
        created_at=mint.now if created_at is None else created_at,
        updated_at=mint.now,
    )
    changed, _, ignored = _edited(blank, edits, author, mint, settings, fields, named)
    if "external_id" in changed:
        refuse_unproven(author, settings)
    secrets, not_permitted = _secrets(command, blank, records, mint)
    user = _next_version(blank, changed | secrets.fields, author, mint)
    if author.trust != "backend":
        refuse_tombstoned(project_id, user.external_id, records, mint.now, settings)
    writes = claim_identifiers(project_id, None, user, author, records) | secrets.writes
    operations = tuple(
        Operation(op="add", path=f"/{name}", new=json_value(user, name))
        for name in FIELDS
        if name not in TOLD_BY_CHANGE
    )
    return changed_user(command, user, writes, operations, mint, created=True, ignored=(*ignored, *not_permitted))


def change(
    command: Command,
    before: User,
    edits: Edits,
    records: Records,
    mint: Mint,
    settings: EffectiveSettings,
    fields: frozenset[str] = ALL_FIELDS,
    *,
    named: str | None = None,
    adopted: bool = False,
) -> Applied:
    """The next version of a user, if it comes out different."""
    if before.disabled and command.author.trust != "backend":
        raise UserDisabled
    changed, operations, ignored = _edited(before, edits, command.author, mint, settings, fields, named)
    secrets, not_permitted = _secrets(command, before, records, mint)
    ignored += not_permitted
    changed |= _created_at(command, before)
    after = _next_version(before, changed | secrets.fields, command.author, mint, adopted=adopted)
    for name in ("owned", "external_id_aliases", "created_at"):
        if getattr(before, name) is not getattr(after, name):
            operations += tuple(diff(json_value(before, name), json_value(after, name), f"/{name}"))
    operations += secrets.operations
    if not operations:
        return Applied(writes={}, user=before, ignored=ignored)
    if "external_id" in changed:
        refuse_unproven(command.author, settings)
    named_anew = "external_id" in changed and after.external_id not in before.external_id_aliases
    if named_anew and command.author.trust != "backend":
        refuse_tombstoned(command.project_id, after.external_id, records, mint.now, settings)
    writes = claim_identifiers(command.project_id, before, after, command.author, records) | secrets.writes
    if after.disabled and not before.disabled:
        writes |= revoke_all(command.project_id, before.id, records, mint.now)
    return changed_user(command, after, writes, operations, mint, created=adopted, ignored=ignored)


def _adopt(
    command: Command,
    user: User,
    external_id: str,
    edits: Edits,
    records: Records,
    mint: Mint,
    settings: EffectiveSettings,
) -> Applied:
    """A backend takes over a record that a browser began: to the backend it is a creation."""
    edits = (Edit("replace", {"external_id": external_id}), *edits)
    applied = change(command, user, edits, records, mint, settings, named=external_id, adopted=True)
    name = f"external_id|{external_id}"
    claimed = Identifier(identifier=name, user_id=user.id, set_by=command.author.trust)
    writes = {**applied.writes, identifier_key(command.project_id, name): claimed}
    return msgspec.structs.replace(applied, writes=writes, created=True)


def _secrets(command: Command, user: User, records: Records, mint: Mint) -> tuple[Joined, tuple[Ignored, ...]]:
    """What the secrets that come with a command come to, and that they are left alone where only a backend may."""
    if not isinstance(command, SetsSecrets) or not gives_secrets(command):
        return NOTHING, ()
    if command.author.trust != "backend":
        return NOTHING, (Ignored("/password", "not_permitted"),)
    return join_secrets(command, user, records, mint.now), ()


def _created_at(command: Command, before: User) -> dict[str, int]:
    """When the user was created elsewhere, if a backend says so and it is not known yet."""
    given = command.created_at if isinstance(command, CreateUser | MirrorUser | UpdateUser) else None
    if given is None or command.author.trust != "backend":
        return {}
    return {"created_at": time_ms(given, "/created_at")} if given != before.created_at else {}


def _edited(
    before: User,
    edits: Edits,
    author: Author,
    mint: Mint,
    settings: EffectiveSettings,
    fields: frozenset[str],
    named: str | None,
) -> tuple[dict[str, Any], tuple[Operation, ...], tuple[Ignored, ...]]:
    """The fields that come out different and may be written by `author`, how they differ, and what was left alone.

    `named` is the external_id by which the request names the user; it cannot give it another one.
    """
    values: dict[str, Any] = {}
    made: list[Operation] = []
    ignored: list[Ignored] = []
    for edit in edits:
        if isinstance(edit, Operate):
            edit = _as_edit(edit, before, values)
        elif not isinstance(edit, Edit):
            current = msgspec.structs.replace(before, **values)
            edit = Edit("replace", {edit.field: list_after(edit, current, getattr(current, edit.field))})
        for name, given in edit.document.items():
            stored = values[name] if name in values else getattr(before, name, None)
            values[name] = _join(name, stored, given, edit.mode, mint)
    if named is not None:
        _refuse_another_name(values, named)
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
    if "traits" in changed:
        check_traits(before.traits, changed["traits"], settings.attributes)
    return changed, tuple(made), tuple(ignored)


def _refuse_another_name(values: dict[str, Any], named: str) -> None:
    if values.get("external_id", named) != named:
        raise FieldInvalid(path="/external_id", reason="it is not the external_id that the request names")


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
        updated_at=mint.after(before.updated_at),
        version=before.version + 1,
    )


def changed_user(
    command: Command,
    user: User,
    writes: Writes,
    operations: tuple[Operation, ...],
    mint: Mint,
    *,
    created: bool = False,
    ignored: tuple[Ignored, ...] = (),
) -> Applied:
    """The next version of a user, which `operations` made, with the change that its history gets for it."""
    author, project_id = command.author, command.project_id
    change = Change(
        id=mint.id("chg_"),
        user_id=user.id,
        version=user.version,
        at=user.updated_at,
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


def _link(command: UpsertUser, session: Session | None, applied: Applied, records: Records, now: int) -> Applied:
    """With what becomes of the session: it was seen, and if it was nobody's, it is the user's from now on."""
    assert applied.user is not None
    if session is None:
        return applied
    if attribute(session, applied.user.id).links:
        session, noted = link(command.project_id, session, applied.user.id, records, now)
    else:
        noted = note_active(command.project_id, session, records, now)
    _, kept = keep(command.project_id, session, records)
    return msgspec.structs.replace(applied, writes={**applied.writes, **noted, **kept})


def _fields(session: Session | None, user_id: str, author: Author) -> frozenset[str]:
    """What may be written of a user from a session. What the app's backend signed holds whosever the session is."""
    signed = {"public_metadata"} if author.signed else set()
    return attribute(session, user_id).fields | signed


def json_value(user: User, name: str) -> Any:
    """The field as the JSON value that is stored and shown."""
    return _builtins(getattr(user, name))


def _builtins(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(msgspec.to_builtins(value))
    return msgspec.to_builtins(value) if isinstance(value, Image) else value


def _given_external_id(edits: Edits) -> str | None:
    """The external_id that the edits leave, or None."""
    for edit in reversed(edits):
        if isinstance(edit, Edit) and "external_id" in edit.document:
            given = edit.document["external_id"]
            return None if given is None else normal(identifiers.external_id, given, "/external_id")
    return None


def reads_deleted(command: DeleteUser) -> tuple[Key, ...]:
    return tuple(Key(kind, command.project_id, command.user_id) for kind in ("user", "secrets", "mirror", "erasure"))


def reads_named(command: UpsertUser) -> tuple[Key, ...]:
    keys = keys_of_external_id(command.project_id, command.external_id)
    if command.session_id is None:
        return keys
    return (*keys, Key("session", command.project_id, command.session_id))


def reads_new(command: CreateUser) -> tuple[Key, ...]:
    documents = [edit.document for edit in command.edits if isinstance(edit, Edit)]
    given = [command.user_id, *(document.get("external_id") for document in documents)]
    names = [name for name in given if isinstance(name, str)]
    keys = [key for name in names for key in keys_of_external_id(command.project_id, name)]
    if command.author.trust != "backend":
        keys += [key for name in names for key in keys_of_tombstones(command.project_id, name)]
    if command.resendable is not None:
        keys.append(key_of_creation(command.project_id, command.resendable))
    return tuple(keys)
