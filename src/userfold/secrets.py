"""Makes digests of passwords and backup codes and verifies them, beside the event loop and a few at a time.

New digests are Argon2id with 19 MiB, two passes and one lane, which OWASP's cheat sheet on password storage gives as a
minimum. The second choice of RFC 9106 (64 MiB, three passes, four lanes) is for machines that do little else: here the
server that waits for it also answers everybody else, on as few as one core. A digest names its parameters, so those of
one day do not bind those of the next.

Digests made elsewhere, by any Argon2 or by bcrypt, are verified as they are.

The backup codes of a user share a salt, so that one digest has to be made to find which of them a code is, or that it
is none. What is gained by whoever has stolen the digests is a factor of the number of codes, not more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
import bcrypt
import pyotp
from argon2.low_level import hash_secret

from userfold.core.second_factors import STEP_MS
from userfold.engine import Overloaded

THREADS = 2  # so hashing holds twice a digest's memory, whatever arrives
WAITING_MAX = 256
BCRYPT_BYTES_MAX = 72

SALT_BYTES = 16  # RFC 9106, 3.1
ZERO_FILLED_LENGTH = 32  # 160 bits in base 32

T = TypeVar("T")

_hasher = argon2.PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
_PARAMETERS = argon2.Parameters(
    type=argon2.Type.ID,
    version=argon2.low_level.ARGON2_VERSION,
    salt_len=SALT_BYTES,
    hash_len=32,
    time_cost=_hasher.time_cost,
    memory_cost=_hasher.memory_cost,
    parallelism=_hasher.parallelism,
)


class Passwords:
    """Hashes and verifies. One per process; use it from one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="userfold-passwords")
        self._waiting = 0

    async def hash_password(self, password: str) -> str:
        """A digest of `password` as a PHC string. Raises `Overloaded`."""
        return await self._beside_the_loop(_hasher.hash, password)

    async def verify_password(self, password: str, digest: str) -> bool:
        """Whether `digest` was made of `password`. Raises `Overloaded`."""
        return await self._beside_the_loop(_is_of, password, digest)

    async def hash_backup_codes(self, codes: Sequence[str]) -> tuple[str, ...]:
        """Digests of `codes`, each once; what is a digest already stays. Raises `Overloaded`."""
        return await self._beside_the_loop(_digests_of, codes)

    async def find_backup_code(self, code: str, digests: Sequence[str]) -> str | None:
        """Which of `digests` was made of `code`, or None. Raises `Overloaded`."""
        return await self._beside_the_loop(_digest_of, code, digests)

    def close(self) -> None:
        """Let go of the threads, once they have done what they are at."""
        self._threads.shutdown()

    async def _beside_the_loop(self, work: Callable[..., T], *arguments: str | Sequence[str]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Overloaded
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


def totp_step_of(code: str, secret: str, steps: Sequence[int]) -> int | None:
    """The first of these time steps in which a TOTP secret (base 32) has this code, or None."""
    # The library refuses fewer than 112 bits, and authenticators were set up with 80. HMAC fills a key up with zeros
    # (RFC 2104, 2), which is what A is in base 32, so these codes are the same.
    totp = pyotp.TOTP(secret.ljust(ZERO_FILLED_LENGTH, "A"), interval=STEP_MS // 1000)
    return next((step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)), None)


def _digests_of(codes: Sequence[str]) -> tuple[str, ...]:
    salt = secrets.token_bytes(SALT_BYTES)
    return tuple(code if code.startswith("$") else _argon2(code, salt, _PARAMETERS) for code in dict.fromkeys(codes))


def _digest_of(code: str, digests: Sequence[str]) -> str | None:
    made: dict[tuple[str, str], str] = {}  # by parameters and salt
    for digest in digests:
        if not digest.startswith("$argon2"):
            if _is_of(code, digest):
                return digest
            continue
        settings, _, salt = digest.rpartition("$")[0].rpartition("$")
        if (settings, salt) not in made:
            salted = b64decode(salt + "=" * (-len(salt) % 4))
            made[settings, salt] = _argon2(code, salted, argon2.extract_parameters(digest))
        if hmac.compare_digest(made[settings, salt], digest):
            return digest
    return None


def _argon2(text: str, salt: bytes, parameters: argon2.Parameters) -> str:
    return hash_secret(
        text.encode(),
        salt,
        time_cost=parameters.time_cost,
        memory_cost=parameters.memory_cost,
        parallelism=parameters.parallelism,
        hash_len=parameters.hash_len,
        type=parameters.type,
        version=parameters.version,
    ).decode()


def _is_of(password: str, digest: str) -> bool:
    if digest.startswith("$argon2"):
        with contextlib.suppress(argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return _hasher.verify(digest, password)
        return False
    # bcrypt never saw more than 72 bytes of a password; the library refuses more than other programs passed over.
    try:
        return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES_MAX], digest.encode())
    except ValueError:  # no digest of bcrypt
        return False
