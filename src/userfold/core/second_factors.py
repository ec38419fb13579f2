"""Second factors: what a TOTP secret and a backup code may be, and when a code of which time step is good.

Codes are those of RFC 6238 as every authenticator makes them: SHA-1, six digits, a new one every 30 seconds. The
secrets themselves never get here: whoever asks has encrypted them, or made digests of them.
"""

from __future__ import annotations

import base64
import binascii
import re

from userfold.core.errors import FieldFormatInvalid, FieldInvalid, TotpSecretInvalid
from userfold.core.passwords import check_digest

STEP_MS = 30_000
STEPS_AROUND = 1  # RFC 6238, 5.2: one step for a clock that is off, and for a person who types
# RFC 4226 asks for 16; many an authenticator was set up with 10.
SECRET_BYTES_MIN = 10
SECRET_BYTES_MAX = 64

BACKUP_CODES_MAX = 20  # all of them may have to be tried
BACKUP_CODE_LENGTH_MIN = 6
BACKUP_CODE_LENGTH_MAX = 64
BACKUP_CODE_BCRYPT_COST_MAX = 12  # each of them has a salt of its own: 20 cost 5 seconds

_TOTP_CODE = re.compile(r"[0-9]{6}")
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$.*")


def is_totp_code(code: str) -> bool:
    """Whether a code could be one of TOTP."""
    return _TOTP_CODE.fullmatch(code) is not None


def good_steps(now: int, last: int | None) -> tuple[int, ...]:
    """The time steps whose codes are good at `now` (ms), once one of the step `last` was accepted."""
    current = now // STEP_MS
    steps = range(current - STEPS_AROUND, current + STEPS_AROUND + 1)
    return tuple(step for step in steps if last is None or step > last)


def totp_secret(given: str, path: str) -> str:
    """A secret in its normal form: base 32 in capitals, without blanks, hyphens and padding."""
    text = re.sub(r"[\s-]", "", given).rstrip("=").upper()
    try:
        # What is left over of the last letter counts for nothing, so it is written as nothing.
        secret = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise TotpSecretInvalid(path=path, reason="it is not base 32") from None
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise TotpSecretInvalid(path=path, reason=f"{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes are needed")
    return base64.b32encode(secret).decode().rstrip("=")


def check_backup_code(given: str, path: str) -> None:
    """Refuse what is neither a backup code nor a digest of one."""
    if given.startswith("$"):
        check_backup_code_digest(given, path)
    elif not BACKUP_CODE_LENGTH_MIN <= len(given) <= BACKUP_CODE_LENGTH_MAX:
        limits = f"{BACKUP_CODE_LENGTH_MIN} to {BACKUP_CODE_LENGTH_MAX} characters"
        raise FieldFormatInvalid(path=path, reason=f"{limits}, or a digest made by bcrypt, are needed")


def check_backup_code_digest(digest: str, path: str) -> None:
    """Refuse a digest that could not be verified, or not with nineteen others."""
    check_digest(digest, path)
    bcrypt = _BCRYPT.fullmatch(digest)
    if bcrypt is not None and int(bcrypt[1]) > BACKUP_CODE_BCRYPT_COST_MAX:
        raise FieldFormatInvalid(
            path=path, reason=f"of backup codes a cost up to {BACKUP_CODE_BCRYPT_COST_MAX} is taken"
        )


def check_number_of_backup_codes(count: int, path: str) -> None:
    """Refuse more than anybody needs."""
    if count > BACKUP_CODES_MAX:
        raise FieldInvalid(path=path, reason=f"at most {BACKUP_CODES_MAX} are allowed")
