"""One line of an export as a value, and back: its shape, and all checks of it that need no other record.

    {"user": {…}, "system": {"identifiers": {…}}, "changes": [{…}, …], "secrets": {…}}

With `changes`, the line is a user with its whole history, to be written as it is. Without, `user` holds the fields of
a new user, as people bring them from other systems. Paths in refusals are those of the user's own fields, or begin
with `/system`, `/changes` or `/secrets`, which no field is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType
from typing import Any, TypeVar, get_args

import msgspec

from userfold.core import identifiers
from userfold.core.claims import USERCOM_ID_BITS, names_of
from userfold.core.commands import BackupCodeDigests, PasswordDigest, TotpSecret, UserLine
from userfold.core.diff import escape, fold
from userfold.core.errors import FieldFormatInvalid, FieldInvalid, FieldUnknown, HistoryInvalid
from userfold.core.fields import ADDRESSES_MAX, check_bag, count, normal, time_ms
from userfold.core.image_names import content_type_of_image, is_image_name, user_of_image
from userfold.core.jsontext import encode, encode_sorted
from userfold.core.passwords import check_digest
from userfold.core.presence import LENGTHS_MAX
from userfold.core.queries import PRESENCE_TIMES
from userfold.core.records import (
    FIELDS,
    TOLD_BY_CHANGE,
    Change,
    Context,
    EmailAddress,
    Identifier,
    Image,
    Operation,
    PhoneNumber,
    Presence,
    Secrets,
    User,
)
from userfold.core.second_factors import check_backup_code_digest, check_number_of_backup_codes, totp_secret
from userfold.core.trust import OWNABLE, Level
from userfold.core.user_secrets import TOLD

NO_SEGMENTS: Mapping[str, str] = MappingProxyType({})

_PARTS = frozenset({"user", "system", "changes", "secrets"})
_SYSTEM = frozenset({"identifiers", "segments", "presence"})
_PRESENCE = frozenset(Presence.__struct_fields__) - {"id"}
_CONTEXT = frozenset(Context.__struct_fields__)
_SECRETS = frozenset(Secrets.__struct_fields__) - {"id"}
_LEVELS = frozenset(get_args(Level))
_CHANGE = frozenset(Change.__struct_fields__)
_OPERATION = frozenset(Operation.__struct_fields__)
_IMAGE = frozenset(Image.__struct_fields__)
_ADDRESSES = {
    "email_addresses": ("email_address", identifiers.email, frozenset(EmailAddress.__struct_fields__)),
    "phone_numbers": ("phone_number", identifiers.phone, frozenset(PhoneNumber.__struct_fields__)),
}
_WHERE = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)

T = TypeVar("T")


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A line without history: what a creation takes."""

    fields: dict[str, Any]
    id: str | None
    created_at: int | None
    password_digest: PasswordDigest = msgspec.UNSET
    totp_secret: TotpSecret = msgspec.UNSET  # not encrypted
    backup_code_digests: BackupCodeDigests = msgspec.UNSET


def write_head(
    user: User,
    claims: Iterable[Identifier],
    segments: Mapping[str, str] = NO_SEGMENTS,
    presence: Presence | None = None,
) -> bytes:
    """The beginning of a line. Encoded changes follow, with commas between them, and then `write_tail`.

    `segments`: {id: name} of all that the project has.
    """
    system: dict[str, Any] = {"identifiers": {claim.identifier: claim.set_by for claim in claims}}
    named = {id_: segments[id_] for id_ in user.segments if id_ in segments}
    system |= {"segments": named} if named else {}
    system |= {} if presence is None else {"presence": _without_id(presence)}
    return b'{"user":' + encode(user) + b',"system":' + encode(system) + b',"changes":['


def write_tail(secrets: Secrets | None) -> bytes:
    """The end of a line. `secrets.totp_secret` is not encrypted: whoever imports has another key."""
    if secrets is None:
        return b"]}\n"
    return b'],"secrets":' + encode(_without_id(secrets)) + b"}\n"


def _without_id(record: Presence | Secrets) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__ if name != "id"}


def read_line(value: Any) -> UserLine | NewUser:
    """What a line says. Raises an `InputError`."""
    line = _object(value, "")
    _refuse_unknown(line, _PARTS, "")
    document = _object(line.get("user"), "/user")
    if "changes" not in line and "system" not in line:
        return _new_user(document, line.get("secrets"))
    _refuse_unknown(document, FIELDS.keys(), "")
    user = _converted(document, User, "")
    _check_user(user, document)
    changes = _changes(line.get("changes"), user)
    _check_history(user, document, changes)
    secrets = _secrets(line["secrets"], user) if line.get("secrets") is not None else None
    names = names_of(user)
    system = _object(line.get("system", {}), "/system")
    _refuse_unknown(system, _SYSTEM, "/system")
    return UserLine(
        user=user,
        names=names,
        set_by=_set_by(system, names),
        segments=_segments(system, user),
        changes=changes,
        presence=_presence(system["presence"], user) if system.get("presence") is not None else None,
        secrets=secrets,
    )


def _new_user(document: dict[str, Any], secrets: Any) -> NewUser:
    fields = dict(document)
    id_, created_at = fields.pop("id", None), fields.pop("created_at", None)
    if id_ is None and fields.get("external_id") is None:
        reason = "an id or an external_id is needed, by which the user is known again if the import is run again"
        raise FieldInvalid(path="/id", reason=reason)
    if id_ is not None and not isinstance(id_, str):
        raise FieldInvalid(path="/id", reason="a string is needed")
    if created_at is not None:
        time_ms(created_at, "/created_at")
    new = NewUser(fields=fields, id=id_, created_at=created_at)
    if secrets is None:
        return new
    _refuse_unknown(_object(secrets, "/secrets"), TOLD.keys(), "/secrets")
    return _with_secrets(new, secrets)


def _with_secrets(new: NewUser, secrets: dict[str, Any]) -> NewUser:
    told = _converted({**secrets, "id": ""}, Secrets, "/secrets")
    _check_digests(told)
    given: dict[str, Any] = {name: getattr(told, name) for name in secrets}
    if told.totp_secret is not None:
        given["totp_secret"] = totp_secret(told.totp_secret, "/secrets/totp_secret")
    return msgspec.structs.replace(new, **given)


def _check_digests(secrets: Secrets) -> None:
    if secrets.password_digest is not None:
        check_digest(secrets.password_digest, "/secrets/password_digest")
    codes, path = secrets.backup_code_digests, "/secrets/backup_code_digests"
    check_number_of_backup_codes(len(codes), path)
    for index, digest in enumerate(codes):
        check_backup_code_digest(digest, f"{path}/{index}")
    if _has_twins(codes):
        raise FieldInvalid(path=path, reason="a digest stands in the list twice")


# The user. What its fields accept is what every write accepts, and all of it must be in its normal form already.


def _check_user(user: User, document: dict[str, Any]) -> None:
    for name, field in FIELDS.items():
        value, path = getattr(user, name), f"/{name}"
        if field.kind == "bag":
            check_bag(value, path)
        elif isinstance(value, str):
            _text(value, path)
        elif field.kind in ("time", "count") and value is not None:
            (time_ms if field.kind == "time" else count)(value, path)
    _text(user.id, "/id", identifiers.external_id)
    for name in ("external_id", "username"):
        if getattr(user, name) is not None:
            normal(getattr(identifiers, name), getattr(user, name), f"/{name}")
    for name, (value_name, normalise, known) in _ADDRESSES.items():
        for index, address in enumerate(document.get(name, ())):
            _refuse_unknown(address, known, f"/{name}/{index}")
        _check_addresses(getattr(user, name), value_name, normalise, f"/{name}")
    if user.image is not None:
        _refuse_unknown(document["image"], _IMAGE, "/image")
        _check_image(user.image, user.id)
    for name in ("created_at", "updated_at", "second_factor_enabled_at", "second_factor_disabled_at"):
        if getattr(user, name) is not None:
            time_ms(getattr(user, name), f"/{name}")
    if user.password_compromised and not user.password_enabled:
        raise FieldInvalid(path="/password_compromised", reason="there is no password")
    if user.usercom_id is not None and not 0 < user.usercom_id < 1 << USERCOM_ID_BITS:
        raise FieldInvalid(path="/usercom_id", reason="a positive integer below 2^53 is needed")
    for index, segment in enumerate(user.segments):
        _text(segment, f"/segments/{index}")
    if not OWNABLE.issuperset(user.owned):
        raise FieldInvalid(path="/owned", reason="only fields that a backend can own may stand here")
    for index, alias in enumerate(user.external_id_aliases):
        _text(alias, f"/external_id_aliases/{index}", identifiers.external_id)
    if user.external_id in user.external_id_aliases or _has_twins(user.external_id_aliases):
        raise FieldInvalid(path="/external_id_aliases", reason="an external_id stands here twice")


def _check_addresses(addresses: tuple[Any, ...], value_name: str, normalise: Any, path: str) -> None:
    if len(addresses) > ADDRESSES_MAX:
        raise FieldInvalid(path=path, reason=f"at most {ADDRESSES_MAX} are allowed")
    for index, address in enumerate(addresses):
        value, here = getattr(address, value_name), f"{path}/{index}"
        if normal(normalise, value, f"{here}/{value_name}") != value:
            raise FieldFormatInvalid(path=f"{here}/{value_name}", reason="it is not in its normal form")
        _text(address.id, f"{here}/id", identifiers.external_id)
        time_ms(address.created_at, f"{here}/created_at")
        time_ms(address.updated_at, f"{here}/updated_at")
    if _has_twins([getattr(address, value_name) for address in addresses]):
        raise FieldInvalid(path=path, reason="an address stands in the list twice")
    if addresses and sum(address.primary for address in addresses) != 1:
        raise FieldInvalid(path=path, reason="one must be primary")


def _check_image(image: Image, user_id: str) -> None:
    if not is_image_name(image.name) or user_of_image(image.name) != user_id:
        raise FieldInvalid(path="/image/name", reason="it is not one that an image of this user can have")
    if image.content_type != content_type_of_image(image.name):
        raise FieldInvalid(path="/image/content_type", reason="the name says otherwise")
    for name in ("size", "width", "height"):
        if getattr(image, name) < 1:
            raise FieldInvalid(path=f"/image/{name}", reason="a positive integer is needed")
    if not re.fullmatch(r"[0-9a-f]{64}", image.sha256):
        raise FieldInvalid(path="/image/sha256", reason="64 hexadecimal digits are needed")
    time_ms(image.created_at, "/image/created_at")


# The history.


def _changes(given: Any, user: User) -> tuple[Change, ...]:
    if not isinstance(given, list):
        raise FieldInvalid(path="/changes", reason="a list is needed")
    changes = _converted(given, tuple[Change, ...], "/changes")
    at = 0
    for index, (change, document) in enumerate(zip(changes, given, strict=True)):
        path = f"/changes/{index}"
        _refuse_unknown(document, _CHANGE, path)
        for number, operation in enumerate(document["operations"]):
            _refuse_unknown(operation, _OPERATION, f"{path}/operations/{number}")
        _text(change.id, f"{path}/id", identifiers.external_id)
        for name in ("source", "actor", "request_id"):
            _text(getattr(change, name), f"{path}/{name}")
        if change.trust not in _LEVELS:
            raise FieldInvalid(path=f"{path}/trust", reason=f"one of {', '.join(sorted(_LEVELS))} is needed")
        time_ms(change.at, f"{path}/at")
        if change.user_id != user.id:
            raise HistoryInvalid(path=f"{path}/user_id", reason="it is of another user")
        if change.version != index + 1:
            raise HistoryInvalid(path=f"{path}/version", reason=f"{index + 1} is the next version")
        if change.at < at:
            raise HistoryInvalid(path=f"{path}/at", reason="it is earlier than the change before")
        at = change.at
    if _has_twins([change.id for change in changes]):
        raise HistoryInvalid(path="/changes", reason="two have the same id")
    return changes


def _check_history(user: User, document: dict[str, Any], changes: tuple[Change, ...]) -> None:
    if not changes or (user.version, user.updated_at) != (changes[-1].version, changes[-1].at):
        raise HistoryInvalid(path="/changes", reason="the last one did not make this version of the user")
    folded: Any = {}
    try:
        for change in changes:
            folded = fold(folded, change.operations)
        same = folded.keys() <= FIELDS.keys() and _same(user, document, folded)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, msgspec.ValidationError):
        same = False
    if not same:
        raise HistoryInvalid(path="/changes", reason="they do not lead to this user")


def _same(user: User, document: dict[str, Any], folded: dict[str, Any]) -> bool:
    told = {name: getattr(user, name) for name in TOLD_BY_CHANGE}
    if encode_sorted({**folded, **told}) == encode_sorted(document):
        return True
    # Fields that were added since have their defaults, wherever they are missing.
    return encode_sorted(msgspec.convert({**folded, **told}, User)) == encode_sorted(user)


# The rest.


def _segments(system: dict[str, Any], user: User) -> dict[str, str]:
    names = _object(system.get("segments", {}), "/system/segments")
    _refuse_unknown(names, frozenset(user.segments), "/system/segments")
    return {id_: normal(identifiers.label, name, f"/system/segments/{escape(id_)}") for id_, name in names.items()}


def _presence(given: Any, user: User) -> Presence:
    path = "/system/presence"
    _refuse_unknown(_object(given, path), _PRESENCE, path)
    _refuse_unknown(_object(given.get("context", {}), f"{path}/context"), _CONTEXT, f"{path}/context")
    presence = _converted({**given, "id": user.id}, Presence, path)
    for time in PRESENCE_TIMES:
        time_ms(getattr(presence, time) or 0, f"{path}/{time}")
    count(presence.page_views, f"{path}/page_views")
    for name, length_max in LENGTHS_MAX.items():
        if len(getattr(presence.context, name) or "") > length_max:
            raise FieldFormatInvalid(
                path=f"{path}/context/{name}", reason=f"at most {length_max} characters are allowed"
            )
    return presence


def _set_by(system: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    levels = _object(system.get("identifiers", {}), "/system/identifiers")
    _refuse_unknown(levels, names.keys(), "/system/identifiers")
    for name, level in levels.items():
        if not isinstance(level, str) or level not in _LEVELS:
            path = f"/system/identifiers/{escape(name)}"
            raise FieldInvalid(path=path, reason=f"one of {', '.join(sorted(_LEVELS))} is needed")
    return dict.fromkeys(names, "backend") | levels


def _secrets(given: Any, user: User) -> Secrets:
    _refuse_unknown(_object(given, "/secrets"), _SECRETS, "/secrets")
    secrets = _converted({**given, "id": user.id}, Secrets, "/secrets")
    _check_digests(secrets)
    for name, (flag, _) in TOLD.items():
        if getattr(user, flag) != bool(getattr(secrets, name)):
            raise FieldInvalid(path=f"/secrets/{name}", reason=f"the user's {flag} says otherwise")
    secret, path = secrets.totp_secret, "/secrets/totp_secret"
    if secret is not None and totp_secret(secret, path) != secret:
        raise FieldFormatInvalid(path=path, reason="it is not in its normal form")
    if secrets.totp_step is not None:
        count(secrets.totp_step, "/secrets/totp_step")
    return secrets


def _object(given: Any, path: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise FieldInvalid(path=path, reason="an object is needed")
    return given


def _refuse_unknown(given: dict[str, Any], known: Set[str], path: str) -> None:
    if not given.keys() <= known:
        name = next(name for name in given if name not in known)
        raise FieldUnknown(path=f"{path}/{escape(name[:255])}")


def _converted(given: Any, kind: type[T], path: str) -> T:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        matched = _WHERE.match(str(error))
        assert matched is not None
        reason, where = matched.groups()
        # `$.email_addresses[0].id` as a pointer; `[...]` is a member of an object, and where we cannot go further.
        inner = re.sub(r"\[(\d+)\]", r".\1", (where or "").partition("[...]")[0]).replace(".", "/")
        raise FieldInvalid(path=path + inner, reason=reason[:1].lower() + reason[1:]) from None


def _text(value: str, path: str, normalise: Any = identifiers.bounded) -> None:
    normal(normalise, value, path)


def _has_twins(values: Iterable[Any]) -> bool:
    listed = list(values)
    return len(set(listed)) != len(listed)
