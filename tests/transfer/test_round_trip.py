"""What is exported here and imported there is the same users, to every API and to the byte."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pyotp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Constructor
from tests.server import InProcess, make_project
from tests.strategies import PROJECT, SESSION_IDS, commands
from tests.transfer.moving import (
    PASSWORD,
    clerk_user,
    exported,
    import_into,
    lines_of,
    verifies,
)
from userfold import transfer
from userfold.clock import clock_ms
from userfold.core.commands import Command, DeleteUser, Edit, UpdateUser
from userfold.core.errors import DomainError
from userfold.core.records import EffectiveSettings, Key, Secrets, Session
from userfold.encryption import Encryption, SecretUnreadable, encryption_in_memory
from userfold.engine import Engine
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Fold, Records, Write
from userfold.transfer import Digest, digest_of, digest_of_all, export_lines, import_lines

TOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
BACKUP_CODES = ["first-code", "second-code", "$2b$04$JfUj.VHR58ATmZ7lXg7k4.TAAdyoTqVavtGj0bBA1ueCb4tZj1cVS"]


def make_users(api: InProcess) -> list[str]:
    """Users with everything that a user can have, made and changed through two APIs."""
    made = [
        clerk_user(
            api,
            email_address=["Ada@Example.com", "a.l@example.org"],
            phone_number=["+442079460958"],
            username="Ada_L",
            external_id="ext-1",
            password=PASSWORD,
            totp_secret=TOTP_SECRET,
            backup_codes=BACKUP_CODES,
            legal_accepted_at="2024-01-02T03:04:05.678Z",
            delete_self_enabled=False,
            public_metadata={"b": 1, "a": [1.0, None, {"n": 12345678901234567890123}], "é": "\0"},
            created_at="2024-01-02T03:04:05.678Z",
        )["id"],
        clerk_user(api, first_name="Bob", locked=True)["id"],
        clerk_user(api, first_name="Eve", password=PASSWORD)["id"],
        api.user(external_id="claimed", traits={"plan": None})["id"],
    ]
    for number in range(3):
        api.ask("PATCH", f"/v1/users/{made[0]}", {"private_metadata": {"n": number}})
    session = {"ip_address": "2001:db8::1", "user_agent": "Zoë/1 \0"}
    assert api.ask("POST", f"/v1/users/{made[0]}/sessions", session).status_code == 201
    api.ask("PATCH", f"/v1/users/{made[3]}", {"external_id": "renamed", "disabled": True})
    api.ask("POST", f"/clerk/v1/users/{made[2]}/remove_password")
    return made


def test_a_second_export_is_the_first_to_the_byte(here: InProcess, there: InProcess) -> None:
    make_users(here)
    first = exported(here)
    report = import_into(there, first)
    assert (report.lines, report.created, report.replaced, report.skipped) == (4, 4, 0, 0)
    assert exported(there) == first


def test_the_new_server_answers_what_the_old_one_answered(here: InProcess, there: InProcess) -> None:
    made = make_users(here)
    import_into(there, exported(here))
    for user_id in made:
        assert there.read(user_id) == here.read(user_id)
        assert there.history(user_id) == here.history(user_id)
        version = here.ask("GET", f"/v1/users/{user_id}?version=1").json()
        assert there.ask("GET", f"/v1/users/{user_id}?version=1").json() == version
        assert (
            there.ask("GET", f"/clerk/v1/users/{user_id}").json()
            == here.ask("GET", f"/clerk/v1/users/{user_id}").json()
        )
    for query in ("last_active_at_after=0", "order_by=-last_sign_in_at&limit=1"):
        assert [user["id"] for user in there.ask("GET", f"/clerk/v1/users?{query}").json()] == made[:1]
    for wanted in ("external_id=ext-1", "email=a.l@example.org", "username=ada_l", "query=958", "external_id=renamed"):
        found = here.ask("GET", f"/v1/users?{wanted}").json()
        assert len(found["data"]) == 1
        assert there.ask("GET", f"/v1/users?{wanted}").json() == found


def test_an_imported_name_is_taken_and_is_free_once_its_user_gives_it_up(here: InProcess, there: InProcess) -> None:
    made = make_users(here)
    import_into(there, exported(here))
    assert there.ask("POST", "/v1/users", {"email_addresses": ["ADA@example.com"]}).status_code == 409
    assert there.ask("PATCH", f"/v1/users/{made[0]}", {"email_addresses": []}).status_code == 200
    assert there.ask("POST", "/v1/users", {"email_addresses": ["ADA@example.com"]}).status_code == 201


def test_passwords_verify_at_the_new_server(here: InProcess, there: InProcess) -> None:
    made = make_users(here)
    import_into(there, exported(here))
    assert verifies(there, made[0], PASSWORD)
    assert not verifies(there, made[0], "wrong")
    assert not verifies(there, made[2], PASSWORD)  # it was removed


def test_second_factors_are_good_at_the_new_server_whose_key_is_another_one(here: InProcess, there: InProcess) -> None:
    made, _, _, _ = make_users(here)
    path = f"/clerk/v1/users/{made}/verify_totp"
    code = pyotp.TOTP(TOTP_SECRET).now()
    assert here.ask("POST", path, {"code": code}).json() == {"verified": True, "code_type": "totp"}
    assert here.ask("POST", path, {"code": BACKUP_CODES[0]}).status_code == 200
    text = exported(here)
    import_into(there, text)
    assert exported(there) == text
    assert lines_of(text)[0]["secrets"]["totp_secret"] == TOTP_SECRET
    # Neither what was accepted there is good here.
    for used in (code, BACKUP_CODES[0]):
        assert there.ask("POST", path, {"code": used}).status_code == 422
    assert there.ask("POST", path, {"code": BACKUP_CODES[1]}).json()["code_type"] == "backup_code"
    at = Key("secrets", there.keys.project_id, made)
    kept = there.wait_for(there.store.get((at,)))[at]
    assert isinstance(kept, Secrets)
    assert kept.totp_secret is not None
    assert there.app.service.encryption.decrypt(kept.totp_secret) == TOTP_SECRET
    with pytest.raises(SecretUnreadable):
        here.app.service.encryption.decrypt(kept.totp_secret)


def test_without_secrets_an_export_holds_none_and_an_import_says_so(here: InProcess, there: InProcess) -> None:
    made = make_users(here)
    text = exported(here, with_secrets=False)
    assert b"argon2" not in text
    assert TOTP_SECRET.encode() not in text
    assert all("secrets" not in line for line in lines_of(text))
    import_into(there, text)
    user = there.read(made[0])
    assert [user[name] for name in ("password_enabled", "totp_enabled", "backup_codes_enabled")] == [False] * 3
    assert user["second_factor_disabled_at"] == user["updated_at"]
    assert user["version"] == here.read(made[0])["version"] + 1
    assert there.history(made[0])[-1]["source"] == "import"
    assert not verifies(there, made[0], PASSWORD)


def test_an_export_is_of_one_project_and_goes_into_any_other(here: InProcess) -> None:
    make_users(here)
    other = here.runner.run(make_project(here.app))
    text = exported(here)
    assert exported(here, project_id=other.project_id) == b""
    import_into(here, text, project_id=other.project_id)
    assert exported(here, project_id=other.project_id) == text
    assert exported(here) == text


def test_who_claimed_a_name_is_exported(here: InProcess) -> None:
    make_users(here)
    system = [line["system"]["identifiers"] for line in lines_of(exported(here))]
    assert {level for names in system for level in names.values()} == {"backend"}
    # Users of one millisecond may come in any order.
    assert sorted(len(names) for names in system) == [1, 1, 2, 6]


def test_users_come_oldest_first_and_each_on_a_line(here: InProcess) -> None:
    for number in range(transfer.PAGE_SIZE * 2 + 3):
        clerk_user(here, first_name=str(number), created_at=f"2024-01-02T03:04:05.{999 - number:03}Z")
    text = exported(here)
    times = [line["user"]["created_at"] for line in lines_of(text)]
    assert times == sorted(times)
    assert len(set(times)) == len(times) == text.count(b"\n") == transfer.PAGE_SIZE * 2 + 3


def test_a_long_history_is_written_in_parts_and_is_whole(here: InProcess, there: InProcess) -> None:
    user = here.user(first_name="Ada")
    versions = transfer.HISTORY_AT_ONCE_MAX * 2 + 3

    async def update() -> None:
        engine, author = here.app.service.engine, transfer.IMPORT
        for number in range(2, versions + 1):
            edits = (Edit("merge_patch", {"traits": {"n": number}}),)
            command = UpdateUser(project_id=here.keys.project_id, author=author, user_id=user["id"], edits=edits)
            await engine.run(command, EffectiveSettings())

    here.runner.run(update())
    text = exported(here)
    (line,) = lines_of(text)
    assert [change["version"] for change in line["changes"]] == list(range(1, versions + 1))
    import_into(there, text)
    assert exported(there) == text


class Meanwhile:
    """A store in which something happens right after each of the first readings of a user."""

    def __init__(self, api: InProcess, *happenings: Any) -> None:
        self._store = api.store
        self._happenings = list(happenings)

    async def get(self, keys: Any) -> Records:
        found = await self._store.get(keys[:-1])
        if self._happenings:
            await self._happenings.pop(0)()
        return {**found, **await self._store.get(keys[-1:])}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def digest(api: InProcess, project_id: str | None = None) -> Digest:
    service = api.app.service
    return api.wait_for(digest_of(api.store, project_id or api.keys.project_id, service.encryption))


def test_the_digest_of_a_project_is_that_of_its_export_with_secrets(
    here: InProcess, there: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "HISTORY_AT_ONCE_MAX", 3)
    made = make_users(here)
    text = exported(here)
    changes = sum(len(line["changes"]) for line in lines_of(text))
    assert digest(here) == Digest(users=4, changes=changes, sha256=hashlib.sha256(text).hexdigest())
    import_into(there, text)
    assert digest(there) == digest(here)
    there.ask("PATCH", f"/v1/users/{made[1]}", {"traits": {"n": 1}})
    assert digest(there) != digest(here)


def test_a_secret_that_was_encrypted_anew_leaves_the_digest_and_another_one_does_not(here: InProcess) -> None:
    clerk_user(here, first_name="Ada", totp_secret=TOTP_SECRET)
    before = digest(here)
    service = here.app.service
    (text,) = [write for write in exported(here).splitlines() if TOTP_SECRET.encode() in write]
    assert service.encryption.encrypt(TOTP_SECRET) != service.encryption.encrypt(TOTP_SECRET)
    import_into(here, text + b"\n", "replace")
    assert digest(here) == before
    import_into(here, text.replace(TOTP_SECRET.encode(), TOTP_SECRET[::-1].encode()) + b"\n", "replace")
    assert digest(here) != before


def test_all_projects_together_have_one_digest_whatever_they_are_called(here: InProcess) -> None:
    make_users(here)
    other, empty = (here.runner.run(make_project(here.app)).project_id for _ in range(2))
    here.ask("POST", "/v1/users", {"name": "Ada"})
    import_into(here, exported(here).splitlines(keepends=True)[0], project_id=other)
    one, two, none = digest(here), digest(here, other), digest(here, empty)
    assert len({one.sha256, two.sha256}) == 2
    together = digest_of_all([one, two, none])
    assert (together.users, together.changes) == (6, one.changes + two.changes)
    assert together == digest_of_all([two, none, one]) == digest_of_all([two, one])
    assert together != digest_of_all([one, one])


def test_a_line_is_of_one_moment_though_the_user_is_updated_while_it_is_read(here: InProcess) -> None:
    user = here.user(first_name="Ada")
    numbers = itertools.count()

    async def update() -> None:
        edits = (Edit("merge_patch", {"external_id": f"e{next(numbers)}"}),)
        command = UpdateUser(project_id=here.keys.project_id, author=transfer.IMPORT, user_id=user["id"], edits=edits)
        await here.app.service.engine.run(command, EffectiveSettings())

    store: Any = Meanwhile(here, update, update)

    async def export() -> bytes:
        return b"".join(
            [p async for p in export_lines(store, here.keys.project_id, secrets_by=here.app.service.encryption)]
        )

    (line,) = lines_of(here.runner.run(export()))
    assert line["user"]["version"] == 3
    assert [change["version"] for change in line["changes"]] == [1, 2, 3]
    assert "external_id|e1" in line["system"]["identifiers"]
    assert "external_id|e0" not in line["system"]["identifiers"]


def test_whoever_is_deleted_while_it_is_read_is_left_out(here: InProcess) -> None:
    user, other = here.user(first_name="Ada"), here.user(first_name="Eve")

    async def delete() -> None:
        command = deletion(here, user["id"])
        await here.app.service.engine.run(command, EffectiveSettings())

    store: Any = Meanwhile(here, delete)

    async def export() -> bytes:
        return b"".join(
            [p async for p in export_lines(store, here.keys.project_id, secrets_by=here.app.service.encryption)]
        )

    assert [line["user"]["id"] for line in lines_of(here.runner.run(export()))] == [other["id"]]


def deletion(api: InProcess, user_id: str) -> Command:
    return DeleteUser(project_id=api.keys.project_id, author=transfer.IMPORT, user_id=user_id)


# Whatever users come to be.


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(commands(), min_size=1, max_size=15))
def test_any_users_survive_the_way_and_come_back_the_same(
    constructor: Constructor, tmp_path_factory: Any, runner: asyncio.Runner, drawn: list[Command]
) -> None:
    folder: Path = tmp_path_factory.mktemp("stores")

    async def check() -> None:
        source, target = MemoryStore(), constructor(folder)
        await target.migrate()
        try:
            engine = Engine(source, clock_ms=clock_ms)
            await source.run(sessions)
            outcomes = [await outcome(engine, command) for command in drawn]
            assert len(outcomes) == len(drawn)
            here, there = encryption_in_memory(), encryption_in_memory()
            text = await export(source, here)
            lines = text.splitlines(keepends=True)
            await import_lines(Engine(target, clock_ms=clock_ms), PROJECT, EffectiveSettings(), lines, there)
            assert await export(target, there) == text
        finally:
            await target.close()

    runner.run(check())


async def outcome(engine: Engine, command: Command) -> object:
    try:
        return await engine.run(command, EffectiveSettings())
    except DomainError as refusal:
        return refusal


async def export(store: Any, encryption: Encryption) -> bytes:
    return b"".join([piece async for piece in export_lines(store, PROJECT, secrets_by=encryption)])


def sessions() -> Fold[None]:
    inserts = {Key("session", PROJECT, id_): Session(id=id_, created_at=1) for id_ in SESSION_IDS}
    yield Write(batch_id="bat_1", removals={}, updates={}, inserts=inserts)


def test_segments_are_there_too_with_their_ids_and_names(here: InProcess, there: InProcess) -> None:
    segment = here.ask("POST", "/v1/segments", {"name": "Beta"}).json()["id"]
    users = [here.user(name=name)["id"] for name in ("Ada", "Eve")]
    for user_id in users:
        assert here.ask("PUT", f"/v1/users/{user_id}/segments/{segment}").status_code == 200
    first = exported(here)
    assert [line["system"]["segments"] for line in lines_of(first)] == [{segment: "Beta"}] * 2
    import_into(there, first)
    assert exported(there) == first
    found = there.ask("GET", f"/v1/segments/{segment}").json()
    assert (found["id"], found["name"]) == (segment, "Beta")
    there.app.service.directory.forget()
    left = there.ask("DELETE", f"/v1/users/{users[0]}/segments/{segment}")
    assert (left.status_code, there.read(users[0])["segments"]) == (200, [])
