"""The native API: sign-ins are begun, listed, verified and ended; a token is shown once. Over every store."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import InProcess, Keys, in_process
from userfold.core.commands import AboutSession, DeleteUser, StartSession, UpdateFromSession
from userfold.core.records import Context, EffectiveSettings
from userfold.core.sign_ins import LIVE_MAX
from userfold.core.tracking import IDLE_MS
from userfold.core.trust import Author
from userfold.storage.port import Store, StoreFull

DAY_S = 86_400
SHOWN = {"id", "user_id", "status", "created_at", "expires_at", "ended_at", "ip_address", "user_agent"}


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


def sign_in(api: InProcess, user_id: str, **document: Any) -> dict[str, Any]:
    """A session that was just begun, with its token."""
    reply = api.ask("POST", f"/v1/users/{user_id}/sessions", document)
    assert reply.status_code == 201, reply.text
    session: dict[str, Any] = reply.json()
    return session


def verify(api: InProcess, token: str, key: str | None = None) -> dict[str, Any]:
    reply = api.ask("POST", "/v1/sessions/verify", {"token": token}, key=key)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def sessions(api: InProcess, user_id: str) -> list[dict[str, Any]]:
    page = api.ask("GET", f"/v1/users/{user_id}/sessions").json()
    assert set(page) == {"data", "next_cursor"}
    found: list[dict[str, Any]] = page["data"]
    return found


def test_a_session_begins_with_a_token_and_lasts_for_thirty_days(api: InProcess, clock: Clock) -> None:
    user = api.user()
    reply = api.ask("POST", f"/v1/users/{user['id']}/sessions")
    assert reply.status_code == 201
    session = reply.json()
    assert set(session) == SHOWN | {"token"}
    assert session["token"].startswith(session["id"] + ".")
    assert (session["user_id"], session["status"], session["ended_at"]) == (user["id"], "active", None)
    assert (session["created_at"], session["expires_at"]) == (clock.now, clock.now + 30 * DAY_S * 1000)
    assert reply.headers["location"] == f"/v1/sessions/{session['id']}"
    del session["token"]
    assert api.ask("GET", f"/v1/sessions/{session['id']}").json() == session
    assert sessions(api, user["id"]) == [session]


def test_a_session_takes_its_length_and_where_it_began(api: InProcess, clock: Clock) -> None:
    user = api.user()
    session = sign_in(api, user["id"], expires_in_seconds=60, ip_address="192.0.2.1", user_agent="curl")
    assert session["expires_at"] == clock.now + 60_000
    assert (session["ip_address"], session["user_agent"]) == ("192.0.2.1", "curl")


def test_beginning_a_session_is_no_change_of_the_user(api: InProcess) -> None:
    user = api.user()
    sign_in(api, user["id"])
    assert api.read(user["id"]) == user
    assert len(api.history(user["id"])) == 1


def presence(api: InProcess, user_id: str) -> dict[str, Any]:
    """When and where a user was last there, once all that was begun is done."""
    api.user()
    found: dict[str, Any] = api.ask("GET", f"/v1/users/{user_id}/export").json()["presence"]
    return found


def presence_at(api: InProcess, user_id: str) -> int:
    """When a user was last active, as it is stored."""
    at: int = api.ask("GET", f"/v1/users/{user_id}/export").json()["presence"]["last_active_at"]
    return at


def test_whose_token_is_verified_is_active_and_that_is_written_once_a_minute(api: InProcess, clock: Clock) -> None:
    user = api.user()
    begun = clock.now
    session = sign_in(api, user["id"], ip_address="192.0.2.1")
    for later, noted in ((59_999, 0), (60_000, 60_000), (60_001, 60_000), (119_999, 60_000), (120_000, 120_000)):
        clock.now = begun + later
        assert verify(api, session["token"])["user"] == user
        assert verify(api, session["token"])["active"] is True
        assert presence(api, user["id"])["last_active_at"] == begun + noted
    assert presence(api, user["id"])["last_sign_in_at"] == begun
    assert presence(api, user["id"])["context"]["ip_address"] == "192.0.2.1"
    reply = api.ask("GET", f"/v1/users/{user['id']}")
    assert (reply.json(), reply.headers["etag"]) == (user, '"1"')
    assert len(api.history(user["id"])) == 1


def test_a_verification_that_says_nothing_new_writes_nothing(api: InProcess, clock: Clock) -> None:
    live, ended = (sign_in(api, api.user()["id"]) for _ in range(2))
    api.ask("DELETE", f"/v1/sessions/{ended['id']}")
    counters = api.app.service.engine.counters
    before = api.writes, counters.commands
    verify(api, live["token"])
    clock.now += 60_000
    assert verify(api, ended["token"]) == verify(api, "ses_x.nobody") == {"active": False}
    api.wait_for(api.app.service.engine.close())
    assert (api.writes, counters.commands) == before


def test_a_token_is_verified_although_the_disk_is_full(
    api: InProcess, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = sign_in(api, api.user()["id"])
    clock.now += 60_000

    async def full(_: object) -> None:
        raise StoreFull("the disk is full")

    monkeypatch.setattr(api.store, "run", full)
    assert verify(api, session["token"])["active"] is True
    api.wait_for(api.app.service.engine.close())
    assert presence_at(api, session["user_id"]) == clock.now - 60_000
    assert [record.name for record in caplog.records] == ["userfold.engine"]
    caplog.clear()  # the records hold on to the error, and that to the answer
    gc.collect()  # an answer that nobody looked at complains when it goes
    assert caplog.records == []


def test_a_token_is_verified_although_nothing_more_can_be_written(api: InProcess, clock: Clock) -> None:
    session = sign_in(api, api.user()["id"])
    clock.now += 60_000
    api.wait_for(api.app.service.engine.close())
    assert verify(api, session["token"])["active"] is True


BAD: list[tuple[Any, int, str, str | None]] = [
    ({"nope": 1}, 422, "field_unknown", "/nope"),
    ({"id": "ses_1"}, 422, "field_unknown", "/id"),
    *(({"expires_in_seconds": v}, 422, "field_invalid", "/expires_in_seconds") for v in (0, -1, 1.5, "60", True, None)),
    ({"expires_in_seconds": 366 * DAY_S + 1}, 422, "field_invalid", "/expires_in_seconds"),
    ({"ip_address": 1}, 422, "field_invalid", "/ip_address"),
    ({"user_agent": "x" * 513}, 422, "field_invalid", "/user_agent"),
    ([], 400, "body_not_object", None),
]


@pytest.mark.parametrize(("document", "status", "code", "path"), BAD)
def test_a_bad_wish_for_a_session_is_refused(
    api: InProcess, document: Any, status: int, code: str, path: str | None
) -> None:
    user = api.user()
    before = api.writes
    problem = api.ask("POST", f"/v1/users/{user['id']}/sessions", document).json()
    assert (problem["status"], problem["code"], problem.get("path")) == (status, code, path)
    assert api.writes == before
    assert sessions(api, user["id"]) == []


@pytest.mark.parametrize(("flag", "code"), [("disabled", "user_disabled"), ("locked", "user_locked")])
def test_who_is_disabled_or_locked_gets_no_session(api: InProcess, flag: str, code: str) -> None:
    user = api.user(**{flag: True})
    before = api.writes
    reply = api.ask("POST", f"/v1/users/{user['id']}/sessions", {})
    assert (reply.status_code, reply.json()["code"]) == (403, code)
    assert api.writes == before


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/v1/users/user_x/sessions", "user_not_found"),
        ("GET", "/v1/users/user_x/sessions", "user_not_found"),
        ("DELETE", "/v1/users/user_x/sessions", "user_not_found"),
        ("GET", "/v1/sessions/ses_x", "session_not_found"),
        ("DELETE", "/v1/sessions/ses_x", "session_not_found"),
    ],
)
def test_what_is_not_there_is_not_found(api: InProcess, method: str, path: str, code: str) -> None:
    reply = api.ask(method, path)
    assert (reply.status_code, reply.json()["code"]) == (404, code)


# Verify.


def test_a_good_token_says_whose_it_is(api: InProcess) -> None:
    user = api.user(name="Ada")
    session = sign_in(api, user["id"])
    answer = verify(api, session.pop("token"))
    assert answer == {
        "active": True,
        "sub": user["id"],
        "iat": session["created_at"] // 1000,
        "exp": session["expires_at"] // 1000,
        "session": session,
        "user": user,
    }


def test_what_is_no_good_token_says_nothing_more(api: InProcess, other: Keys) -> None:
    user = api.user()
    token = sign_in(api, user["id"])["token"]
    name, _, secret = token.partition(".")
    wrong = "B" if secret[5] == "A" else "A"
    tokens = [
        "",
        ".",
        name,
        f"{name}.",
        token[:-1],
        token + "A",
        f" {token}",
        f"{name}.{secret[:5]}{wrong}{secret[6:]}",
    ]
    tokens += [f"ses_x.{secret}", secret, token.upper(), api.keys.secret, f"{name}\0.{secret}", "x" * 100_000, "ü" * 40]
    for bad in tokens:
        assert verify(api, bad) == {"active": False}, bad[:80]
    assert verify(api, token, other.secret) == {"active": False}
    assert verify(api, token)["active"] is True


@pytest.mark.parametrize("document", [{}, {"token": None}, {"token": 1}, {"token": ["x"]}])
def test_a_token_to_verify_is_a_string(api: InProcess, document: Any) -> None:
    reply = api.ask("POST", "/v1/sessions/verify", document)
    assert (reply.status_code, reply.json()["code"], reply.json()["path"]) == (422, "field_invalid", "/token")


def test_a_token_is_good_up_to_its_last_millisecond(api: InProcess, clock: Clock) -> None:
    session = sign_in(api, api.user()["id"], expires_in_seconds=60)
    clock.now = session["expires_at"] - 1
    assert verify(api, session["token"])["active"] is True
    clock.now += 1
    assert verify(api, session["token"]) == {"active": False}
    assert api.ask("GET", f"/v1/sessions/{session['id']}").json()["status"] == "expired"
    before = api.writes
    assert api.ask("DELETE", f"/v1/sessions/{session['id']}").status_code == 204
    assert api.writes == before


def test_a_revoked_session_stays_revoked(api: InProcess, clock: Clock) -> None:
    user = api.user()
    first, second = sign_in(api, user["id"]), sign_in(api, user["id"])
    clock.now += 5
    assert api.ask("DELETE", f"/v1/sessions/{first['id']}").status_code == 204
    shown = api.ask("GET", f"/v1/sessions/{first['id']}").json()
    assert (shown["status"], shown["ended_at"]) == ("revoked", clock.now)
    assert verify(api, first["token"]) == {"active": False}
    assert verify(api, second["token"])["active"] is True
    before = api.writes
    assert api.ask("DELETE", f"/v1/sessions/{first['id']}").status_code == 204
    assert api.writes == before


def test_all_sessions_of_a_user_end_at_once_and_nobody_elses(api: InProcess, clock: Clock) -> None:
    ada, bea = api.user(), api.user()
    ended = []
    for _ in range(3):
        clock.now += 1
        ended.append(sign_in(api, ada["id"]))
    stays = sign_in(api, bea["id"])
    assert api.ask("DELETE", f"/v1/users/{ada['id']}/sessions").status_code == 204
    assert [verify(api, session["token"])["active"] for session in [*ended, stays]] == [False] * 3 + [True]
    assert [session["status"] for session in sessions(api, ada["id"])] == ["revoked"] * 3
    assert [session["id"] for session in sessions(api, ada["id"])] == [session["id"] for session in ended[::-1]]


@pytest.mark.parametrize("how", ["merge", "operation", "delete"])
def test_disabling_or_deleting_a_user_ends_its_sessions(api: InProcess, how: str) -> None:
    user = api.user()
    path, session = f"/v1/users/{user['id']}", sign_in(api, user["id"])
    if how == "merge":
        api.ask("PATCH", path, {"disabled": True})
    elif how == "operation":
        operation = {"op": "set", "path": "/disabled", "value": True}
        api.ask("PATCH", path, [operation], content_type="application/vnd.userfold.operations+json")
    else:
        api.ask("DELETE", path)
    assert verify(api, session["token"]) == {"active": False}
    if how != "delete":
        api.ask("PATCH", path, {"disabled": False})
        assert verify(api, session["token"]) == {"active": False}
    else:
        assert api.ask("GET", f"/v1/sessions/{session['id']}").status_code == 404


def test_locking_a_user_leaves_its_sessions(api: InProcess) -> None:
    user = api.user()
    session = sign_in(api, user["id"])
    api.ask("PATCH", f"/v1/users/{user['id']}", {"locked": True})
    assert verify(api, session["token"])["active"] is True


def test_one_session_too_many_ends_the_oldest(api: InProcess, clock: Clock) -> None:
    user = api.user()
    made = []
    for _ in range(LIVE_MAX + 1):
        clock.now += 1
        made.append(sign_in(api, user["id"]))
    live = [session["id"] for session in sessions(api, user["id"]) if session["status"] == "active"]
    assert live == [session["id"] for session in reversed(made[1:])]
    assert verify(api, made[0]["token"]) == {"active": False}


def test_a_token_is_in_no_other_reply_and_never_in_the_log(api: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    user = api.user()
    session = sign_in(api, user["id"])
    token = session["token"]
    secret = token.partition(".")[2]
    replies: list[httpx.Response] = [api.ask("POST", "/v1/sessions/verify", {"token": token})]
    replies += [api.ask("POST", "/v1/sessions/verify", {"token": token, "nope": token})]
    for path in ("", "/sessions", "/history"):
        replies.append(api.ask("GET", f"/v1/users/{user['id']}{path}"))
    for method in ("GET", "DELETE", "GET"):
        replies.append(api.ask(method, f"/v1/sessions/{session['id']}"))
    for reply in replies:
        assert secret not in reply.text
        assert "digest" not in reply.text
    assert secret not in caplog.text


def test_a_browsers_session_is_shown_until_its_user_is_deleted(api: InProcess, clock: Clock) -> None:
    run, project_id = api.app.service.engine.run, api.keys.project_id
    page = Author(source="milana", actor="ses_1", trust="browser")
    begin = StartSession(
        project_id=project_id, author=page, about=AboutSession(metadata={"a": None}, context=Context(timezone="UTC"))
    )
    begun: Any = api.wait_for(run(begin, EffectiveSettings())).record
    shown = {
        "id": begun.id,
        "kind": "tracking",
        "user_id": None,
        "status": "active",
        "ended_because": None,
        "sampled": True,
        "environment": None,
        "release": None,
        "app_session_id": None,
        "metadata": {"a": None},
        "integrations": {},
        "context": {
            "ip_address": None,
            "user_agent": None,
            "browser_language": None,
            "timezone": "UTC",
            "entry_url": None,
        },
        "early_events": [],
        "created_at": clock.now,
        "seen_at": clock.now,
        "ended_at": None,
        "expires_at": clock.now + IDLE_MS,
        "version": 1,
    }
    path = f"/v1/sessions/{begun.id}"
    assert api.ask("GET", path).json() == shown
    named = UpdateFromSession(project_id=project_id, author=page, session_id=begun.id, external_id="u-1")
    user: Any = api.wait_for(run(named, EffectiveSettings())).user
    assert api.ask("GET", path).json() == shown | {"user_id": user.id, "version": 2}
    assert api.ask("DELETE", path).status_code == 404  # it is no sign-in
    api.wait_for(run(DeleteUser(project_id=project_id, author=page, user_id=user.id), EffectiveSettings()))
    gone = api.ask("GET", path)
    assert (gone.status_code, gone.json()["code"]) == (404, "session_not_found")
