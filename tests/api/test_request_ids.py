"""A request's id: the caller gets it, the history and an error have it, and so has every line of the log about it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest

from tests.server import InProcess, in_process
from userfold import engine
from userfold.logs import formatter
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Conflict, StoreFull, StoreUnavailable, WriteFailed


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What was logged, as a JSON log has it."""
    return [json.loads(formatter("json").format(record)) for record in caplog.records]


def test_the_history_has_the_id_that_the_caller_got(api: InProcess) -> None:
    given = api.ask("POST", "/v1/users", {}, headers={"x-request-id": "trace/1"})
    made = api.ask("PATCH", f"/v1/users/{given.json()['id']}", {"name": "Ada"})
    assert given.headers["x-request-id"] == "trace/1"
    ids = [change["request_id"] for change in api.history(given.json()["id"])]
    assert ids == ["trace/1", made.headers["x-request-id"]]


@pytest.mark.parametrize(("path", "member"), [("/v1/users/x", "request_id"), ("/clerk/v1/users/x", "clerk_trace_id")])
def test_an_error_has_the_id_in_its_body(api: InProcess, path: str, member: str) -> None:
    reply = api.ask("GET", path, headers={"x-request-id": "trace-1"})
    assert (reply.json()[member], reply.headers["x-request-id"]) == ("trace-1", "trace-1")
    reply = api.ask("GET", path)
    assert reply.json()[member] == reply.headers["x-request-id"]


def test_the_line_about_an_unknown_path_has_the_id(api: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="userfold.api")
    reply = api.ask("GET", "/v1/nope")
    assert [line["request_id"] for line in lines(caplog)] == [reply.headers["x-request-id"]]


def test_the_line_about_a_defect_of_a_rule_has_the_id(
    api: InProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a defect")

    user = api.user()
    monkeypatch.setattr(engine, "apply", broken)
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Ada"}, headers={"x-request-id": "trace-1"})
    assert reply.status_code == 500
    (line,) = lines(caplog)
    assert (line["request_id"], line["message"]) == ("trace-1", "UpdateUser broke")
    assert "ValueError: a defect" in line["exception"]


class Failing(MemoryStore):
    """A store that fails as it is told to."""

    error: Exception | None = None

    async def run(self, make_fold: Any) -> Any:
        if self.error is not None:
            raise self.error
        return await super().run(make_fold)


@pytest.mark.parametrize("error", [StoreFull("no space"), OSError("what nobody named")])
def test_the_line_about_a_batch_has_the_ids_of_all_its_requests(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    store = Failing()
    with in_process(runner, store) as api:
        store.error = error
        replies = at_once(api, ["trace-1", "trace-2", "trace-3"])
    assert [reply.status_code >= 500 for reply in replies] == [True] * 3
    assert [line["request_ids"] for line in lines(caplog)] == [["trace-1", "trace-2", "trace-3"]]


def test_a_read_that_the_store_cannot_answer_is_a_line_with_the_id_of_who_was_first(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that many wait for fails once."""
    store, error = Failing(), StoreUnavailable("the disk is gone")

    async def fail(keys: Any) -> Any:
        raise error

    with in_process(runner, store) as api:
        assert api.ask("GET", "/v1/users/u1").status_code == 404
        monkeypatch.setattr(store, "get", fail)
        for number in (1, 2):
            reply = api.ask("GET", "/v1/users/u1", headers={"x-request-id": f"trace-{number}"})
            assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")
            assert "disk" not in reply.text
    (line,) = lines(caplog)
    assert (line["request_id"], line["message"]) == (
        "trace-1",
        "GET '/v1/users/u1' could not be answered: StoreUnavailable: the disk is gone",
    )


@pytest.mark.parametrize("error", [WriteFailed("no"), Conflict("again and again")])
def test_the_line_about_a_write_that_was_refused_has_the_id(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    store = Failing()
    with in_process(runner, store) as api:
        store.error = error
        at_once(api, ["trace-1", "trace-2"])
    assert [line["request_id"] for line in lines(caplog)] == ["trace-1", "trace-2"]


def at_once(api: InProcess, request_ids: list[str]) -> list[httpx.Response]:
    """The replies to as many new users, asked for in one turn of the loop."""

    async def create(request_id: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {api.keys.secret}", "x-request-id": request_id}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), headers=headers) as client:
            return await client.post("http://userfold.test/v1/users", json={})

    async def all_of_them() -> list[httpx.Response]:
        return await asyncio.gather(*(create(request_id) for request_id in request_ids))

    return api.runner.run(all_of_them())
