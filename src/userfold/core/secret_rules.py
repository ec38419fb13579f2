"""The rules about secrets that are used: a code that is good once, a password that is good no more."""

from __future__ import annotations

import msgspec

from userfold.core.applied import Applied
from userfold.core.commands import AcceptTotp, Command, MarkPassword, RenewTotpSecret, UseBackupCode
from userfold.core.errors import PasswordNotSet, SecondFactorWrong
from userfold.core.ids import Mint
from userfold.core.reading import Records, Writes, existing_user, match_user
from userfold.core.records import EffectiveSettings, Key, Operation, Secrets, User
from userfold.core.sign_ins import revoke_all
from userfold.core.trust import Ignored
from userfold.core.user_rules import changed_user
from userfold.core.user_secrets import change_secrets, secrets_key, secrets_of


def accept_totp(command: AcceptTotp, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user, secrets = _user_and_secrets(command, command.user_id, records)
    used_up = secrets.totp_step is not None and command.step <= secrets.totp_step
    if secrets.totp_secret != command.secret or used_up:
        raise SecondFactorWrong(path="/code")
    after = msgspec.structs.replace(secrets, totp_step=command.step, version=secrets.version + 1)
    return Applied(writes={secrets_key(command.project_id, user.id): after}, user=user)


def use_backup_code(command: UseBackupCode, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user, secrets = _user_and_secrets(command, command.user_id, records)
    if command.digest not in secrets.backup_code_digests:
        raise SecondFactorWrong(path="/code")
    left = tuple(digest for digest in secrets.backup_code_digests if digest != command.digest)
    joined = change_secrets(command.project_id, user, secrets, mint.now, backup_code_digests=left)
    after = msgspec.structs.replace(
        user, **joined.fields, updated_at=mint.after(user.updated_at), version=user.version + 1
    )
    return changed_user(command, after, joined.writes, joined.operations, mint)


def mark_password(command: MarkPassword, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user = existing_user(records, command.project_id, command.user_id)
    match_user(user, command.if_match)
    if command.author.trust != "backend":
        return Applied(writes={}, user=user, ignored=(Ignored("/password_compromised", "not_permitted"),))
    if command.compromised and not user.password_enabled:
        raise PasswordNotSet
    writes: Writes = revoke_all(command.project_id, user.id, records, mint.now) if command.sign_out else {}
    if user.password_compromised == command.compromised:
        return Applied(writes=writes, user=user)
    after = msgspec.structs.replace(
        user, password_compromised=command.compromised, updated_at=mint.after(user.updated_at), version=user.version + 1
    )
    marked = Operation(
        op="replace", path="/password_compromised", old=user.password_compromised, new=command.compromised
    )
    return changed_user(command, after, writes, (marked,), mint)


def renew_totp_secret(command: RenewTotpSecret, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user, secrets = _user_and_secrets(command, command.user_id, records)
    if secrets.totp_secret != command.stored:
        return Applied(writes={}, user=user)
    after = msgspec.structs.replace(secrets, totp_secret=command.renewed, version=secrets.version + 1)
    return Applied(writes={secrets_key(command.project_id, user.id): after}, user=user)


def reads_secrets(command: AcceptTotp | UseBackupCode | RenewTotpSecret) -> tuple[Key, ...]:
    return Key("user", command.project_id, command.user_id), secrets_key(command.project_id, command.user_id)


def _user_and_secrets(command: Command, user_id: str, records: Records) -> tuple[User, Secrets]:
    """Whoever uses a user's secrets holds the user."""
    user = existing_user(records, command.project_id, user_id)
    return user, secrets_of(command.project_id, user_id, records) or Secrets(id=user_id)
