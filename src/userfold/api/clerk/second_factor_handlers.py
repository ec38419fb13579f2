"""What the routes about second factors and compromised passwords do."""

from __future__ import annotations

from typing import Any

from userfold.api.clerk import wire
from userfold.api.clerk.handlers import SOURCE, command_of, update_of, user_reply
from userfold.api.wire import Handler, Reply, Request, Service, json_reply
from userfold.core.commands import AcceptTotp, MarkPassword, UseBackupCode
from userfold.core.errors import SecondFactorNotSet, SecondFactorWrong, UserNotFound
from userfold.core.records import Key, Secrets, User
from userfold.core.second_factors import good_steps, is_totp_code
from userfold.core.user_secrets import has_second_factor
from userfold.secrets import totp_step_of


async def verify_totp(service: Service, request: Request) -> Reply:
    """`verifyTOTP`: which kind of code it is. It is not good once more."""
    code = wire.code_to_verify(request)
    keys = [Key(kind, request.project_id, request.params["id"]) for kind in ("user", "secrets")]
    user, kept = (await service.store.get(keys)).values()
    if not isinstance(user, User):
        raise UserNotFound(user_id=request.params["id"])
    if not has_second_factor(user) or not isinstance(kept, Secrets):
        raise SecondFactorNotSet
    use = _totp(service, request, kept, code) or await _backup_code(service, request, kept, code)
    if use is None:
        raise SecondFactorWrong(path="/code")
    await service.run(request, use)
    return json_reply(200, {"verified": True, "code_type": "totp" if isinstance(use, AcceptTotp) else "backup_code"})


def removing(*, totp: bool = False, backup_codes: bool = False) -> Handler:
    """`disableUserMFA`, `deleteUserTOTP`, `deleteUserBackupCodes`: a handler. Removing them again changes nothing."""
    nothing: dict[str, Any] = ({"totp_secret": None} if totp else {}) | (
        {"backup_code_digests": ()} if backup_codes else {}
    )

    async def handler(service: Service, request: Request) -> Reply:
        body = wire.body_or_nothing(request)
        if_match = wire.condition(request, body)
        wire.refuse_unknown(body)
        await service.run(request, update_of(request, edits=(), if_match=if_match, **nothing))
        return json_reply(200, {"user_id": request.params["id"]})

    return handler


def marking(*, compromised: bool) -> Handler:
    """`setPasswordCompromised`, `unsetPasswordCompromised`: a handler."""
    known = ("revoke_all_sessions",) if compromised else ()

    async def handler(service: Service, request: Request) -> Reply:
        body = wire.body_or_nothing(request)
        if_match = wire.condition(request, body)
        wire.refuse_unknown(body, *known)
        command = command_of(
            request,
            MarkPassword,
            user_id=request.params["id"],
            if_match=if_match,
            compromised=compromised,
            sign_out=wire.flag(body, "revoke_all_sessions") is True,
        )
        return await user_reply(service, request, await service.run(request, command))

    return handler


def _totp(service: Service, request: Request, kept: Secrets, code: str) -> AcceptTotp | None:
    """What accepts a code of TOTP, if it is one. Raises `SecretUnreadable`."""
    if kept.totp_secret is None or not is_totp_code(code):
        return None
    secret = service.encryption.decrypt(kept.totp_secret)
    step = totp_step_of(code, secret, good_steps(service.engine.now(), kept.totp_step))
    if step is None:
        return None
    author = request.author(SOURCE)
    return AcceptTotp(project_id=request.project_id, author=author, user_id=kept.id, secret=kept.totp_secret, step=step)


async def _backup_code(service: Service, request: Request, kept: Secrets, code: str) -> UseBackupCode | None:
    """What accepts a backup code, if it is one."""
    digest = await service.passwords.find_backup_code(code, kept.backup_code_digests)
    if digest is None:
        return None
    author = request.author(SOURCE)
    return UseBackupCode(project_id=request.project_id, author=author, user_id=kept.id, digest=digest)
