"""Makes digests of passwords and verifies passwords against them, beside the event loop and a few at a time.

New digests are Argon2id with 19 MiB, two passes and one lane, which OWASP's cheat sheet on password storage gives as a
minimum. The second choice of RFC 9106 (64 MiB, three passes, four lanes) is for machines that do little else: here the
server that waits for it also answers everybody else, on as few as one core. A digest names its parameters, so those of
one day do not bind those of the next.

Digests made elsewhere, by any Argon2 or by bcrypt, are verified as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
import bcrypt

from userfold.engine import Overloaded

THREADS = 2  # so hashing holds twice a digest's memory, whatever arrives
WAITING_MAX = 256
BCRYPT_BYTES_MAX = 72

T = TypeVar("T")

_hasher = argon2.PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)


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

    def close(self) -> None:
        """Let go of the threads, once they have done what they are at."""
        self._threads.shutdown()

    async def _beside_the_loop(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= WAITING_MAX:
            raise Overloaded
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


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
