"""How secrets join the user they belong to.

They are kept in the user's `Secrets`, and nothing else ever holds them: the user says only which there are, and the
history only that they changed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from userfold.core.commands import SetsSecrets
from userfold.core.passwords import check_digest
from userfold.core.reading import Records, Writes, read
from userfold.core.records import Key, Operation, Secrets, User
from userfold.core.second_factors import check_backup_code_digest, check_number_of_backup_codes

# Field of `Secrets` → (the user's flag that says whether it is there, the path by which the history says it changed).
TOLD = {
    "password_digest": ("password_enabled", "/password"),
    "totp_secret": ("totp_enabled", "/totp_secret"),
    "backup_code_digests": ("backup_codes_enabled", "/backup_codes"),
}


class Joined(NamedTuple):
    """What other secrets come to: writes, what the history says, and the user's fields that change."""

    writes: Writes
    operations: tuple[Operation, ...]
    fields: dict[str, Any]


NOTHING = Joined({}, (), {})


def gives_secrets(command: SetsSecrets) -> bool:
    """Whether the command says anything about secrets."""
    return bool(_given(command))


def join_secrets(command: SetsSecrets, user: User, records: Records, now: int) -> Joined:
    """What it comes to that `user` gets the secrets of `command` at `now` (ms)."""
    given = _given(command)
    if not given:
        return NOTHING
    _check(given)
    stored = secrets_of(command.project_id, user.id, records)
    # A user that is just being made has no past, though it may take the place of one that has.
    before = stored if stored is not None and user.version > 0 else Secrets(id=user.id, version=0)
    if "totp_secret" in given and given["totp_secret"] != before.totp_secret:
        given["totp_step"] = None  # codes of the secret before say nothing about those of this one
    return change_secrets(command.project_id, user, before, now, **given)


def change_secrets(project_id: str, user: User, before: Secrets, now: int, **given: Any) -> Joined:
    """What it comes to that of the secrets `before` these fields change."""
    after = msgspec.structs.replace(before, **given)
    if after == before:
        return NOTHING
    after = msgspec.structs.replace(after, version=before.version + 1)
    fields = _fields_after(user, before, after, now)
    operations = [
        Operation(op="replace", path=f"/{name}", old=getattr(user, name), new=value) for name, value in fields.items()
    ]
    for name, (flag, path) in TOLD.items():
        if getattr(before, name) != getattr(after, name) and flag not in fields:
            operations.append(Operation(op="replace", path=path))
    return Joined({secrets_key(project_id, user.id): after}, tuple(operations), fields)


def fields_without_secrets(user: User, now: int) -> dict[str, Any]:
    """The fields of `user` that change when all of its secrets are gone."""
    nothing = Secrets(id=user.id)
    return _fields_after(user, nothing, nothing, now)


def has_second_factor(user: User) -> bool:
    """Whether there is any code that the user could be asked for beside a password."""
    return user.totp_enabled or user.backup_codes_enabled


def secrets_of(project_id: str, user_id: str, records: Records) -> Secrets | None:
    """The secrets of a user, or None. Raises `Unread`."""
    return read(records, secrets_key(project_id, user_id), Secrets)


def secrets_key(project_id: str, user_id: str) -> Key:
    """Where the secrets of a user are kept."""
    return Key("secrets", project_id, user_id)


def _given(command: SetsSecrets) -> dict[str, Any]:
    return {name: value for name in TOLD if (value := getattr(command, name)) is not msgspec.UNSET}


def _check(given: dict[str, Any]) -> None:
    if given.get("password_digest") is not None:
        check_digest(given["password_digest"], "/password_digest")
    codes = given.get("backup_code_digests", ())
    check_number_of_backup_codes(len(codes), "/backup_codes")
    for index, digest in enumerate(codes):
        check_backup_code_digest(digest, f"/backup_codes/{index}")


def _fields_after(user: User, before: Secrets, after: Secrets, now: int) -> dict[str, Any]:
    """The fields of the user that are different once its secrets are `after`."""
    fields: dict[str, Any] = {flag: bool(getattr(after, name)) for name, (flag, _) in TOLD.items()}
    # Another password is not the one that somebody else may have.
    kept = after.password_digest is not None and after.password_digest == before.password_digest
    fields["password_compromised"] = user.password_compromised and kept
    had, has = has_second_factor(user), fields["totp_enabled"] or fields["backup_codes_enabled"]
    if had != has:
        fields["second_factor_enabled_at" if has else "second_factor_disabled_at"] = now
    return {name: value for name, value in fields.items() if value != getattr(user, name)}
