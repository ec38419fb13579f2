"""Digests are made and verified beside the event loop, a few at a time, and by whatever made them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import argon2
import bcrypt
import pytest

from userfold import secrets
from userfold.core.passwords import check_digest
from userfold.engine import Overloaded
from userfold.secrets import Passwords

PASSWORD = "correct horse ✓"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


def test_a_digest_is_salted_argon2id_and_verifies_its_password_alone(
    passwords: Passwords, runner: asyncio.Runner
) -> None:
    one, other = (runner.run(passwords.hash_password(PASSWORD)) for _ in range(2))
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != other
    check_digest(one, "/password_digest")
    assert runner.run(passwords.verify_password(PASSWORD, one))
    assert not runner.run(passwords.verify_password(PASSWORD + " ", one))
    assert not runner.run(passwords.verify_password("", one))


@pytest.mark.parametrize("kind", [argon2.Type.I, argon2.Type.D, argon2.Type.ID])
def test_digests_of_every_argon2_are_verified(passwords: Passwords, runner: asyncio.Runner, kind: argon2.Type) -> None:
    digest = argon2.PasswordHasher(type=kind, memory_cost=64, time_cost=1).hash(PASSWORD)
    assert runner.run(passwords.verify_password(PASSWORD, digest))
    assert not runner.run(passwords.verify_password("wrong", digest))


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_digests_of_every_bcrypt_are_verified(passwords: Passwords, runner: asyncio.Runner, prefix: str) -> None:
    digest = prefix + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()[4:]
    assert runner.run(passwords.verify_password(PASSWORD, digest))
    assert not runner.run(passwords.verify_password("wrong", digest))


def test_of_a_long_password_bcrypt_counts_the_bytes_that_it_always_counted(
    passwords: Passwords, runner: asyncio.Runner
) -> None:
    digest = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert runner.run(passwords.verify_password("x" * 100, digest))
    assert not runner.run(passwords.verify_password("x" * 71, digest))
    split = "x" * 71 + "é"  # the limit is in the middle of a character
    digest = bcrypt.hashpw(split.encode()[:72], bcrypt.gensalt(4)).decode()
    assert runner.run(passwords.verify_password(split, digest))


@pytest.mark.parametrize("digest", ["", "$2b$nonsense", "$argon2id$nonsense", "$argon2id$v=19$m=1,t=1,p=1$a$b", "x"])
def test_nothing_verifies_against_what_is_no_digest(passwords: Passwords, runner: asyncio.Runner, digest: str) -> None:
    assert not runner.run(passwords.verify_password(PASSWORD, digest))


def test_however_many_arrive_only_a_few_are_hashed_at_once_and_too_many_are_refused(
    passwords: Passwords, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, most, done = set(), [0], threading.Event()

    def watch(password: str, digest: str) -> bool:
        at_work.add(threading.get_ident())
        most[0] = max(most[0], len(at_work))
        done.wait(30)
        return threading.current_thread() is not threading.main_thread()

    monkeypatch.setattr(secrets, "_is_of", watch)

    async def burst() -> list[bool | BaseException]:
        arrived = [passwords.verify_password("x", str(i)) for i in range(secrets.WAITING_MAX + 5)]
        tasks = [asyncio.ensure_future(one) for one in arrived]
        await asyncio.sleep(0)
        done.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = runner.run(burst())
    assert outcomes[: secrets.WAITING_MAX] == [True] * secrets.WAITING_MAX
    assert [type(outcome) for outcome in outcomes[secrets.WAITING_MAX :]] == [Overloaded] * 5
    assert most[0] <= secrets.THREADS
    assert runner.run(passwords.verify_password("x", "y"))  # there is room again
