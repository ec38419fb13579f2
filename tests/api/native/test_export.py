"""The native API: all that is held about a user can be taken along, and nothing of anybody else. Over every store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.samples import put
from tests.server import InProcess, in_process
from userfold.core.commands import AssignSegment, CreateUser, Edit, StartSession, UpdateUser, UpsertUser
from userfold.core.ids import make_id
from userfold.core.records import EffectiveSettings, Event, Key, Secrets, Session
from userfold.core.trust import Author
from userfold.storage.port import Records, Store

MEMBERS = ["user", "identifiers", "secrets", "segments", "presence", "sign_ins", "sessions", "changes", "events"]
BROWSER = Author(source="milana", actor="ses_1", trust="browser")
IMPORT = Author(source="import", actor="operator", trust="backend")


class Clock:
    """Time as a test says it is."""

    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(store: Store, runner: asyncio.Runner, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """The application over a store, by that clock."""
    monkeypatch.setattr("userfold.app.clock_ms", clock)
    with in_process(runner, store) as api:
        yield api


def export(api: InProcess, user_id: str) -> dict[str, Any]:
    reply = api.ask("GET", f"/v1/users/{user_id}/export")
    assert reply.status_code == 200, reply.text
    exported: dict[str, Any] = reply.json()
    assert list(exported) == MEMBERS
    return exported


def run(api: InProcess, command: Any) -> Any:
    return api.wait_for(api.app.service.engine.run(command, EffectiveSettings()))


def keep(api: InProcess, *records: Any) -> None:
    """Put records of the project into the store, past all rules."""
    api.wait_for(put(api.store, *records, project_id=api.keys.project_id))


def tracked(api: InProcess, external_id: str) -> str:
    """The id of a tracking session that belongs to the user of that external_id."""
    project_id = api.keys.project_id
    session_id = run(api, StartSession(project_id=project_id, author=BROWSER)).record.id
    naming = UpsertUser(project_id=project_id, author=BROWSER, external_id=external_id, edits=(), session_id=session_id)
    run(api, naming)
    return str(session_id)


def test_a_user_of_whom_little_is_known_has_a_whole_export(api: InProcess) -> None:
    user = api.user()
    exported = export(api, user["id"])
    assert exported["user"] == user
    assert exported["identifiers"] == [{"identifier": f"usercom_id|{user['usercom_id']}", "set_by": "backend"}]
    assert exported["secrets"] == {"password": False, "totp": False, "backup_codes": False}
    assert exported["changes"] == api.history(user["id"])
    assert [exported[name] for name in ("segments", "sign_ins", "sessions", "events")] == [[]] * 4
    assert exported["presence"] == {
        "id": user["id"],
        "last_active_at": None,
        "last_sign_in_at": None,
        "page_views": 0,
        "context": dict.fromkeys(("ip_address", "user_agent", "browser_language", "timezone", "entry_url")),
    }


def test_everything_that_is_held_about_a_user_is_in_it(api: InProcess, clock: Clock) -> None:
    user = api.user(external_id="u-1", username="Ada", email_addresses=["ada@example.com"], traits={"n": 1.0})
    path = f"/v1/users/{user['id']}"
    session_id = tracked(api, "u-1")
    segment = api.ask("POST", "/v1/segments", {"name": "Beta"}).json()
    api.ask("PUT", f"{path}/segments/{segment['id']}")
    events = []
    for number in range(3):
        clock.now += 1
        events.append(api.ask("POST", f"{path}/events", {"name": f"n{number}", "properties": {"a": 1.0}}).json())
    sign_in = api.ask("POST", f"{path}/sessions", {"ip_address": "192.0.2.1"}).json()
    del sign_in["token"]
    exported = export(api, user["id"])
    assert exported["user"] == api.read(user["id"])
    assert {claim["identifier"] for claim in exported["identifiers"]} == {
        "external_id|u-1",
        "username|ada",
        "email|ada@example.com",
        f"usercom_id|{user['usercom_id']}",
    }
    assert exported["segments"] == [{"id": segment["id"], "name": "Beta"}]
    assert exported["sign_ins"] == [sign_in]
    presence = exported["presence"]
    assert (presence["last_active_at"], presence["last_sign_in_at"]) == (clock.now, clock.now)
    assert presence["context"]["ip_address"] == "192.0.2.1"
    assert [session["id"] for session in exported["sessions"]] == [session_id]
    assert exported["changes"] == api.history(user["id"])
    assert exported["events"] == events


def test_an_alias_of_a_user_is_among_its_identifiers(api: InProcess) -> None:
    project_id = api.keys.project_id
    naming = UpsertUser(project_id=project_id, author=BROWSER, external_id="old", edits=())
    user_id = run(api, naming).user.id
    api.ask("PATCH", f"/v1/users/{user_id}", {"name": "Ada"})
    claims = export(api, user_id)["identifiers"]
    assert {"identifier": "external_id|old", "set_by": "browser"} in claims


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5])
def test_what_is_long_is_there_whole_and_in_order(
    api: InProcess, clock: Clock, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("userfold.api.native.export_handlers.PAGE", page)
    user = api.user(external_id="u-1")
    path = f"/v1/users/{user['id']}"
    made: dict[str, list[str]] = {"sign_ins": [], "sessions": [], "events": []}
    for number in range(4):
        clock.now += 1
        api.ask("PATCH", path, {"name": f"n{number}"})
        made["events"].append(api.ask("POST", f"{path}/events", {"name": "a"}).json()["id"])
        made["sign_ins"].append(api.ask("POST", f"{path}/sessions").json()["id"])
        made["sessions"].append(tracked(api, "u-1"))
    exported = export(api, user["id"])
    assert {name: [one["id"] for one in exported[name]] for name in made} == made
    assert [change["version"] for change in exported["changes"]] == [1, 2, 3, 4, 5]


def test_it_is_sent_while_it_is_read_so_that_no_more_than_a_page_is_held(
    api: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("userfold.api.native.export_handlers.PAGE", 2)
    user = api.user()
    for number in range(5):
        api.ask("PATCH", f"/v1/users/{user['id']}", {"name": f"n{number}"})
    read = api.store.history
    events: list[str] = []

    async def watched(*args: Any, **options: Any) -> Any:
        events.append("read")
        return await read(*args, **options)

    async def send(message: Any) -> None:
        if b'"version":' in message.get("body", b"") and b'"operations":' in message["body"]:
            events.append("sent")

    received = [{"type": "http.request"}]

    async def receive() -> Any:
        return received.pop() if received else await asyncio.Event().wait()

    vars(api.store)["history"] = watched
    path = f"/v1/users/{user['id']}/export"
    headers = [(b"authorization", b"Bearer " + api.keys.secret.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    api.wait_for(api.app({**scope, "headers": headers, "client": ("127.0.0.1", 1)}, receive, send))
    assert events == ["read", "sent"] * 3


def test_which_secrets_there_are_is_said_and_never_what_they_are(api: InProcess) -> None:
    user = api.user()
    held = Secrets(id=user["id"], password_digest="$argon2id$hidden", backup_code_digests=("hidden", "hidden too"))
    keep(api, held)
    sign_in = api.ask("POST", f"/v1/users/{user['id']}/sessions").json()
    reply = api.ask("GET", f"/v1/users/{user['id']}/export")
    assert reply.json()["secrets"] == {"password": True, "totp": False, "backup_codes": True}
    assert "hidden" not in reply.text
    assert "digest" not in reply.text
    assert sign_in["token"].partition(".")[2] not in reply.text


def test_nothing_of_anybody_else_is_in_it(api: InProcess) -> None:
    ada, bea = api.user(external_id="ada"), api.user(external_id="bea")
    tracked(api, "bea")
    api.ask("POST", f"/v1/users/{bea['id']}/events", {"name": "a"})
    api.ask("POST", f"/v1/users/{bea['id']}/sessions")
    reply = api.ask("GET", f"/v1/users/{ada['id']}/export")
    assert bea["id"] not in reply.text
    assert [reply.json()[name] for name in ("sign_ins", "sessions", "events")] == [[]] * 3


def test_a_name_that_goes_to_somebody_else_meanwhile_is_not_in_it(api: InProcess) -> None:
    ada, bea = api.user(username="ada"), api.user()
    get = api.store.get

    async def late(keys: Sequence[Key]) -> Records:
        """The name changes hands between the reading of the user and that of its identifiers."""
        if any(key.kind == "identifier" for key in keys):
            for user, name in ((ada, None), (bea, "ada")):
                edits = (Edit("merge_patch", {"username": name}),)
                command = UpdateUser(project_id=api.keys.project_id, author=IMPORT, user_id=user["id"], edits=edits)
                await api.app.service.engine.run(command, EffectiveSettings())
        return await get(keys)

    vars(api.store)["get"] = late
    claims = export(api, ada["id"])["identifiers"]
    assert [claim["identifier"] for claim in claims] == [f"usercom_id|{ada['usercom_id']}"]


def test_a_new_user_does_not_take_along_what_a_deleted_one_of_its_id_left(api: InProcess, clock: Clock) -> None:
    making = CreateUser(project_id=api.keys.project_id, author=IMPORT, edits=(), user_id="u1")
    run(api, making)
    api.ask("POST", "/v1/users/u1/events", {"name": "old"})
    keep(api, Session(id="ses_old", user_id="u1", created_at=clock.now))
    # A browser whose clock is ahead tells of events whose ids are of later than they came.
    ahead = Event(
        id=make_id("evt_", clock.now + 5, 0),
        user_id="u1",
        name="ahead",
        occurred_at=clock.now + 5,
        created_at=clock.now,
        source="milana",
        actor="ses_old",
    )
    keep(api, ahead)
    api.ask("DELETE", "/v1/users/u1")
    clock.now += 1
    run(api, making)
    keep(api, Session(id="ses_new", user_id="u1", created_at=clock.now))
    new = api.ask("POST", "/v1/users/u1/events", {"name": "new"}).json()
    exported = export(api, "u1")
    assert exported["events"] == [new]
    assert [session["id"] for session in exported["sessions"]] == ["ses_new"]
    assert [change["version"] for change in exported["changes"]] == [1]


def test_a_segment_is_named_as_long_as_anything_is_left_of_it(api: InProcess) -> None:
    user = api.user()
    segment = api.ask("POST", "/v1/segments", {"name": "Beta"}).json()
    api.ask("PUT", f"/v1/users/{user['id']}/segments/{segment['id']}")
    api.ask("DELETE", f"/v1/segments/{segment['id']}")
    gone = AssignSegment(project_id=api.keys.project_id, author=IMPORT, user_id=user["id"], segment_id="seg_gone")
    api.wait_for(api.app.service.engine.run(gone, EffectiveSettings(segments=frozenset({"seg_gone"}))))
    assert export(api, user["id"])["segments"] == [
        {"id": segment["id"], "name": "Beta"},
        {"id": "seg_gone", "name": None},
    ]


@pytest.mark.parametrize(
    ("user_id", "name"), [("u1", "u1"), ('a"; x=/../ü', "a___x__..__"), ("x\r\ny", "x__y"), ("x" * 255, "x" * 255)]
)
def test_it_is_a_file_that_is_called_as_the_user_is(api: InProcess, user_id: str, name: str) -> None:
    run(api, CreateUser(project_id=api.keys.project_id, author=IMPORT, edits=(), user_id=user_id))
    reply = api.ask("GET", f"/v1/users/{quote(user_id, safe='')}/export")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-disposition"] == f'attachment; filename="{name}.json"'


def test_only_who_is_there_can_be_exported(api: InProcess) -> None:
    user = api.user()
    api.ask("DELETE", f"/v1/users/{user['id']}")
    for user_id in (user["id"], "user_x"):
        reply = api.ask("GET", f"/v1/users/{user_id}/export")
        assert (reply.status_code, reply.json()["code"]) == (404, "user_not_found")
    assert api.ask("GET", f"/v1/users/{user['id']}/export?nope=1").json()["code"] == "parameter_unknown"
