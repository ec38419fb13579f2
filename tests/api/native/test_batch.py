"""The native API: many writes in one request. Over every store, and over real HTTP what only a socket shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h11
import httpx
import msgspec
import pytest

from tests.server import BOUND_S, InProcess, Keys, Server, serving, wait_until
from userfold.api.bodies import LINE_BYTES_MAX
from userfold.api.native.shapes import BATCH_ITEMS_MAX as ITEMS_MAX
from userfold.app import App
from userfold.clock import clock_ms
from userfold.engine import Engine, Limits

NDJSON = "application/x-ndjson"
INCREMENT = [{"op": "increment", "path": "/traits/n"}]


def lines(items: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def results_of(reply: httpx.Response) -> list[dict[str, Any]]:
    assert reply.status_code == 200, reply.text
    if reply.headers["content-type"] == NDJSON:
        return [json.loads(line) for line in reply.content.splitlines()]
    data: list[dict[str, Any]] = reply.json()["data"]
    return data


def batch(api: InProcess, items: Iterable[Any], *, query: str = "", **asked: Any) -> list[dict[str, Any]]:
    """The results of a batch of lines."""
    return results_of(api.ask("POST", f"/v1/batch{query}", content=lines(items), content_type=NDJSON, **asked))


def send(api: InProcess, form: str, items: list[Any]) -> list[dict[str, Any]]:
    """The results of a batch in either form."""
    return batch(api, items) if form == "lines" else results_of(api.ask("POST", "/v1/batch", items))


def outcome(result: dict[str, Any]) -> tuple[int, str | None]:
    return result["status"], result.get("error", {}).get("code")


def update(user_id: str, **user: Any) -> dict[str, Any]:
    return {"action": "update", "id": user_id, "user": user}


# What an item is, and what it comes to.


@pytest.mark.parametrize("form", ["lines", "list"])
def test_an_item_comes_to_what_its_own_request_would(api: InProcess, form: str) -> None:
    ada, bea, cleo = (api.user(name=name, external_id=f"u-{name}", traits={"n": 1}) for name in ("Ada", "Bea", "Cleo"))
    results = send(
        api,
        form,
        [
            {"action": "create", "user": {"name": "Dora"}},
            update(ada["id"], traits={"plan": "pro"}),
            {"action": "update", "id": bea["id"], "operations": INCREMENT, "if_match": 1},
            {"action": "upsert", "external_id": "u-Cleo", "user": {"name": None}, "if_match": [9, 1]},
            {"action": "upsert", "external_id": "u-new", "user": {}},
            {"action": "delete", "id": cleo["id"], "if_match": "*"},
            update(ada["id"]),
        ],
    )
    assert [result["index"] for result in results] == list(range(7))
    assert [result["status"] for result in results] == [201, 200, 200, 200, 201, 204, 200]
    assert [result.get("user", {}).get("version") for result in results] == [1, 2, 2, 2, 1, None, 2]
    assert set(results[5]) == {"index", "status"}
    assert results[0]["user"] == api.read(results[0]["user"]["id"])
    assert results[1]["user"] == api.read(ada["id"])
    assert results[2]["user"]["traits"] == {"n": 2}
    assert results[2]["changes"] == [{"op": "replace", "path": "/traits/n", "old": 1, "new": 2}]
    assert results[3]["user"]["name"] is None
    assert results[6]["changes"] == []
    assert api.ask("GET", f"/v1/users/{cleo['id']}").status_code == 404


def test_a_reply_may_be_sent_back_as_an_item(api: InProcess) -> None:
    (made,) = batch(api, [{"action": "create", "user": {"name": "Ada"}}])
    shown = made["user"] | {"changes": made["changes"], "ignored": []}
    assert outcome(batch(api, [update(made["user"]["id"], **shown)])[0]) == (200, None)


def test_all_items_of_a_batch_are_one_request_in_the_history(api: InProcess) -> None:
    user = api.user()
    batch(api, [update(user["id"], name=name) for name in ("a", "b")], headers={"x-request-id": "mine"})
    assert [change["request_id"] for change in api.history(user["id"])][1:] == ["mine", "mine"]


def test_items_about_one_user_are_applied_in_their_order(api: InProcess) -> None:
    user = api.user()
    results = batch(api, ({"action": "update", "id": user["id"], "operations": INCREMENT} for _ in range(ITEMS_MAX)))
    assert [result["index"] for result in results] == list(range(ITEMS_MAX))
    assert [result["user"]["version"] for result in results] == list(range(2, ITEMS_MAX + 2))
    assert [result["user"]["traits"]["n"] for result in results] == list(range(1, ITEMS_MAX + 1))


def test_a_user_may_be_made_changed_and_deleted_in_one_batch(api: InProcess) -> None:
    made = {"action": "create", "user": {"id": "user_mine"}}
    upsert = {"action": "upsert", "external_id": "u-1", "user": {"name": "Ada"}}
    results = batch(api, [upsert, upsert | {"user": {"name": "Bea"}}, made])
    assert [result["status"] for result in results[:2]] == [201, 200]
    user_id = results[0]["user"]["id"]
    gone = [{"action": "delete", "id": user_id}, update(user_id), upsert]
    assert [result["status"] for result in batch(api, gone)] == [204, 404, 201]


REFUSED: list[tuple[Any, tuple[int, str], str | None]] = [
    (7, (400, "item_not_object"), None),
    (["create"], (400, "item_not_object"), None),
    ({}, (422, "field_invalid"), "/action"),
    ({"action": "merge"}, (422, "field_invalid"), "/action"),
    ({"action": 1}, (422, "field_invalid"), "/action"),
    ({"action": "create"}, (422, "field_invalid"), "/user"),
    ({"action": "create", "user": []}, (422, "field_invalid"), "/user"),
    ({"action": "create", "user": {}, "if_match": 1}, (422, "field_unknown"), "/if_match"),
    ({"action": "create", "user": {}, "a/b": 1}, (422, "field_unknown"), "/a~1b"),
    ({"action": "create", "user": {"name": 7}}, (422, "field_invalid"), "/name"),
    ({"action": "create", "user": {"username": "taken"}}, (409, "identifier_taken"), "/username"),
    ({"action": "update", "user": {}}, (422, "field_invalid"), "/id"),
    ({"action": "update", "id": "{id}"}, (422, "field_invalid"), "/user"),
    ({"action": "update", "id": "{id}", "user": {}, "operations": []}, (422, "field_invalid"), "/user"),
    ({"action": "update", "id": "{id}", "user": None}, (422, "field_invalid"), "/user"),
    ({"action": "update", "id": "{id}", "external_id": "u-1", "user": {}}, (422, "field_unknown"), "/external_id"),
    ({"action": "update", "id": "{id}", "operations": [{"op": "x"}]}, (422, "operation_unknown"), "/0/op"),
    ({"action": "update", "id": "{id}", "user": {}, "if_match": 2}, (412, "version_mismatch"), None),
    ({"action": "update", "id": "{id}", "user": {}, "if_match": []}, (412, "version_mismatch"), None),
    ({"action": "update", "id": "{id}", "user": {}, "if_match": "1"}, (422, "field_invalid"), "/if_match"),
    ({"action": "update", "id": "{id}", "user": {}, "if_match": 0}, (422, "field_invalid"), "/if_match"),
    ({"action": "update", "id": "{id}", "user": {}, "if_match": 1.5}, (422, "field_invalid"), "/if_match"),
    ({"action": "update", "id": "{id}", "user": {}, "if_match": [1, "x"]}, (422, "field_invalid"), "/if_match/1"),
    ({"action": "update", "id": "{id}", "user": {}, "if_match": True}, (422, "field_invalid"), "/if_match"),
    ({"action": "update", "id": "nobody", "user": {}}, (404, "user_not_found"), None),
    ({"action": "upsert", "user": {}}, (422, "field_invalid"), "/external_id"),
    ({"action": "upsert", "external_id": "", "user": {}}, (422, "field_format_invalid"), "/external_id"),
    ({"action": "upsert", "external_id": "u-9", "user": {}, "if_match": "*"}, (404, "user_not_found"), None),
    ({"action": "delete"}, (422, "field_invalid"), "/id"),
    ({"action": "delete", "id": "nobody"}, (404, "user_not_found"), None),
    ({"action": "delete", "id": "{id}", "user": {}}, (422, "field_unknown"), "/user"),
]


@pytest.mark.parametrize("form", ["lines", "list"])
def test_an_item_that_fails_says_why_and_the_others_go_on(api: InProcess, form: str) -> None:
    user = api.user(username="taken")
    items: list[Any] = []
    for item, _, _ in REFUSED:
        named = {"id": user["id"]} if isinstance(item, dict) and item.get("id") == "{id}" else {}
        items += [item | named if isinstance(item, dict) else item, {"action": "create", "user": {}}]
    results = send(api, form, items)
    assert [result["status"] for result in results[1::2]] == [201] * len(REFUSED)
    for result, (item, wanted, path) in zip(results[::2], REFUSED, strict=True):
        assert outcome(result) == wanted, item
        assert result["error"].get("path") == path, item
        assert result["error"]["status"] == result["status"]
        assert result.get("line") == (result["index"] + 1 if form == "lines" else None)
        assert not {"user", "changes", "batch_ended"} & set(result)
    assert api.read(user["id"]) == user


def test_a_version_is_an_integer_however_it_is_written_and_what_is_stored_stays_as_it_was_sent(api: InProcess) -> None:
    user = api.user()
    for version, if_match in ((1, b"1.0"), (2, b"[9.0, 2.0]")):
        item = b'{"action":"update","id":"%s","user":{"traits":{"n":%d.0}},"if_match":%s}'
        content = item % (user["id"].encode(), version, if_match)
        reply = api.ask("POST", "/v1/batch", content=content, content_type=NDJSON)
        assert reply.json()["status"] == 200
        assert b'"traits":{"n":%d.0}' % version in reply.content


TEXTS: list[tuple[bytes, tuple[int, str]]] = [
    (b'{"action": ', (400, "json_invalid")),
    (b"create", (400, "json_invalid")),
    (b'{"action":"create","user":{}} {}', (400, "json_invalid")),
    (b'{"action":"create","user":{"name":"\xff"}}', (400, "json_invalid")),
    (b'{"action":"create","user":{"traits":{"a":1e400}}}', (400, "json_invalid")),
    (b'{"action":"create","user":{},"user":{}}', (400, "json_duplicate_key")),
    (b'{"action":"create","user":{"traits":' + b"[" * 100 + b"]" * 100 + b"}}", (400, "json_too_deep")),
    (b'{"action":"create","user":{"traits":' + b"[" * 100_000, (400, "json_too_deep")),
    (b'{"action":"create","user":{"name":"' + b"x" * LINE_BYTES_MAX + b'"}}', (413, "item_too_large")),
]


def test_a_line_that_is_no_item_says_why_and_where_and_the_others_go_on(api: InProcess) -> None:
    good = b'{"action":"create","user":{}}\n\r\n'
    content = b"\n" + b"".join(text + b"\n" + good for text, _ in TEXTS)
    results = results_of(api.ask("POST", "/v1/batch", content=content, content_type=NDJSON))
    assert [outcome(result) for result in results[::2]] == [wanted for _, wanted in TEXTS]
    assert [result["line"] for result in results[::2]] == [2 + 3 * number for number in range(len(TEXTS))]
    assert [result["status"] for result in results[1::2]] == [201] * len(TEXTS)


def test_an_item_of_a_list_that_no_store_may_keep_fails_alone(api: InProcess) -> None:
    content = b'[{"action":"create","user":{},"user":{}}, {"action":"create","user":{"name":"\xff"}},'
    content += b' {"action":"create","user":{"traits":{"a":1e400}}},\n{"action":"create","user":{}} ]'
    results = results_of(api.ask("POST", "/v1/batch", content=content))
    assert [outcome(result) for result in results] == [
        (400, "json_duplicate_key"),
        (400, "json_invalid"),
        (400, "json_invalid"),
        (201, None),
    ]


# The request as a whole.


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", (400, "json_invalid")),
        (b"{}", (400, "body_not_list")),
        (b"null", (400, "body_not_list")),
        (b'[{"action":"create","user":{}}', (400, "json_invalid")),
        (b'[{"action":"create","user":{}}] x', (400, "json_invalid")),
        (b"\xef\xbb\xbf[]", (400, "json_invalid")),
        (b"[" * 100_000, (400, "json_too_deep")),
        (b"[" + b" " * (1 << 20) + b"]", (413, "body_too_large")),
        (b"[" + b"7," * ITEMS_MAX + b"7]", (413, "batch_too_long")),
    ],
)
def test_a_list_that_is_none_or_too_long_is_refused_whole(
    api: InProcess, content: bytes, wanted: tuple[int, str]
) -> None:
    before = api.writes
    reply = api.ask("POST", "/v1/batch", content=content)
    assert (reply.status_code, reply.json()["code"]) == wanted
    assert api.writes == before


def test_a_batch_of_nothing_has_no_results(api: InProcess) -> None:
    assert api.ask("POST", "/v1/batch", []).json() == {"data": []}
    for content in (b"", b"\n \n"):
        reply = api.ask("POST", "/v1/batch", content=content, content_type="application/jsonl")
        assert (reply.status_code, reply.content) == (200, b"")
        assert reply.headers["content-type"] == "application/jsonl"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"content_type": "text/plain"}, (415, "content_type_unsupported")),
        ({"content_type": "application/json-patch+json"}, (415, "content_type_unsupported")),
        ({"headers": {"if-match": '"1"'}}, (400, "header_invalid")),
        ({"headers": {"if-none-match": "*"}}, (400, "header_invalid")),
        ({"headers": {"idempotency-key": "x" * 256}}, (400, "header_invalid")),
        ({"query": "?retrun=minimal"}, (400, "parameter_unknown")),
        ({"query": "?return=nothing"}, (400, "parameter_invalid")),
        ({"query": "?dry_run=yes"}, (400, "parameter_invalid")),
        ({"key": ""}, (401, "unauthorized")),
        ({"headers": {"content-length": str(17 << 20)}}, (413, "body_too_large")),
    ],
)
def test_a_request_that_is_wrong_as_a_whole_is_refused_whole(
    api: InProcess, asked: dict[str, Any], wanted: tuple[int, str]
) -> None:
    before = api.writes
    asked = {"content_type": NDJSON} | asked
    content = lines([{"action": "create", "user": {}}])
    reply = api.ask("POST", f"/v1/batch{asked.pop('query', '')}", content=content, **asked)
    assert (reply.status_code, reply.json()["code"]) == wanted
    assert api.writes == before


def test_a_stream_ends_at_the_first_item_too_many(api: InProcess) -> None:
    user = api.user()
    results = batch(api, [update(user["id"])] * (ITEMS_MAX + 5), query="?return=minimal")
    assert [result["index"] for result in results] == list(range(ITEMS_MAX + 1))
    assert [outcome(result) for result in results[:-1]] == [(200, None)] * ITEMS_MAX
    assert outcome(results[-1]) == (413, "batch_too_long")
    assert [result for result in results if "batch_ended" in result] == [results[-1]]


def test_a_stream_ends_where_it_is_too_large(api: InProcess) -> None:
    line = lines([{"action": "create", "user": {"traits": {"pad": "x" * 30_000}}}])
    content = (line + b" " * ((1 << 20) - len(line))) * 17
    results = results_of(api.ask("POST", "/v1/batch", content=chunks(content), content_type=NDJSON))
    assert [outcome(result) for result in results] == [(201, None)] * 16 + [(413, "body_too_large")]
    assert results[-1]["batch_ended"]


async def chunks(content: bytes) -> Any:
    for start in range(0, len(content), 1 << 16):
        yield content[start : start + (1 << 16)]


def test_a_minimal_result_has_only_the_id_and_the_version(api: InProcess) -> None:
    user = api.user(name="Ada")
    items = [update(user["id"], name="Bea"), {"action": "delete", "id": user["id"]}, update("nobody")]
    changed, deleted, failed = batch(api, items, query="?return=minimal")
    assert changed == {"index": 0, "status": 200, "id": user["id"], "version": 2}
    assert deleted == {"index": 1, "status": 204}
    assert outcome(failed) == (404, "user_not_found")


def test_a_dry_run_stores_nothing_and_its_items_do_not_see_each_other(api: InProcess) -> None:
    user = api.user(traits={"n": 0})
    increment = {"action": "update", "id": user["id"], "operations": INCREMENT}
    items = [increment, increment, {"action": "delete", "id": user["id"]}, {"action": "create", "user": {}}]
    before = api.writes
    results = batch(api, items, query="?dry_run=true", headers={"idempotency-key": "k"})
    assert [result["status"] for result in results] == [200, 200, 204, 201]
    assert [result["user"]["traits"] for result in results[:2]] == [{"n": 1}, {"n": 1}]
    assert api.writes == before
    assert api.read(user["id"]) == user
    assert batch(api, [increment], headers={"idempotency-key": "k"})[0]["user"]["version"] == 2


def test_a_key_that_may_only_read_may_not_send_a_batch(api: InProcess) -> None:
    token = api.ask("POST", "/v1/project/keys", {"name": "reports", "read_only": True}).json()["token"]
    before = api.writes
    reply = api.ask("POST", "/v1/batch", [{"action": "create", "user": {}}], key=token)
    assert (reply.status_code, reply.json()["code"]) == (403, "key_read_only")
    assert api.writes == before


def test_another_projects_users_are_answered_as_unknown_ones(api: InProcess, other: Keys) -> None:
    user = api.user(external_id="u-1")

    def errors(user_id: str) -> list[Any]:
        items = [update(user_id, name="Eve"), {"action": "delete", "id": user_id}, update(user_id) | {"if_match": "*"}]
        results = batch(api, items, key=other.secret, headers={"x-request-id": "same"})
        return [json.dumps(result).replace(user_id, "…") for result in results]

    assert errors(user["id"]) == errors("user_00000000000000000000000000")
    upsert = {"action": "upsert", "external_id": "u-1", "user": {"name": "Eve"}}
    assert batch(api, [upsert], key=other.secret)[0]["status"] == 201
    assert api.read(user["id"]) == user


# Idempotency.


def test_a_batch_that_is_sent_again_is_answered_as_before_and_not_done_again(api: InProcess) -> None:
    user = api.user(external_id="u-1", traits={"n": 0})
    items = [
        {"action": "create", "user": {"name": "Ada"}},
        {"action": "update", "id": user["id"], "operations": INCREMENT},
        {"action": "upsert", "external_id": "u-2", "user": {}},
        update("nobody"),
        {"action": "delete", "id": user["id"]},
    ]
    headers = {"idempotency-key": "k", "x-request-id": "same"}
    first = batch(api, items, headers=headers)
    assert [result["status"] for result in first] == [201, 200, 201, 404, 204]
    before = api.writes
    # The answer about a user goes with the user; everything else is known.
    again = batch(api, items, headers=headers)
    assert [again[0], again[2], again[3], again[4]] == [first[0], first[2], first[3], first[4]]
    assert api.writes == before


def test_an_item_that_was_changed_is_refused_alone_when_its_batch_is_sent_again(api: InProcess) -> None:
    user = api.user(traits={"n": 0})
    increment = {"action": "update", "id": user["id"], "operations": INCREMENT}
    headers = {"idempotency-key": "k"}
    batch(api, [increment, increment, increment], headers=headers)
    results = batch(api, [increment, increment | {"if_match": "*"}, increment, increment], headers=headers)
    assert [outcome(result) for result in results] == [
        (200, None),
        (409, "idempotency_key_reused"),
        (200, None),
        (200, None),
    ]
    assert [result["user"]["traits"]["n"] for result in (results[0], results[2], results[3])] == [1, 3, 4]


def test_a_list_is_the_same_batch_as_its_items_in_lines(api: InProcess) -> None:
    items = [{"action": "create", "user": {"name": "Ada"}}, {"action": "create", "user": {}}]
    headers = {"idempotency-key": "k"}
    first = batch(api, items, headers=headers)
    assert results_of(api.ask("POST", "/v1/batch", items, headers=headers)) == first


def test_twins_of_a_batch_at_the_same_moment_have_one_effect_and_equal_answers(api: InProcess) -> None:
    user = api.user(traits={"n": 0})
    items = [{"action": "update", "id": user["id"], "operations": INCREMENT}, {"action": "create", "user": {}}] * 20
    headers = {
        "authorization": f"Bearer {api.keys.secret}",
        "content-type": NDJSON,
        "idempotency-key": "k",
    }

    async def send_twins() -> list[httpx.Response]:
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://userfold.test", headers=headers) as client:
            return await asyncio.gather(*(client.post("/v1/batch", content=lines(items)) for _ in range(4)))

    replies = api.wait_for(send_twins())
    assert len({reply.content for reply in replies}) == 1
    assert [result["status"] for result in results_of(replies[0])] == [200, 201] * 20
    assert api.read(user["id"])["traits"] == {"n": 20}
    assert len(api.ask("GET", "/v1/users?limit=500").json()["data"]) == 21


# What the server cannot take.


def with_limits(api: InProcess, limits: Limits) -> None:
    service = api.app.service
    engine = Engine(service.store, clock_ms=clock_ms, limits=limits)
    api.app = App(msgspec.structs.replace(service, engine=engine))


def test_a_batch_waits_for_room_in_the_queue(api: InProcess) -> None:
    user = api.user()
    with_limits(api, Limits(queue_length_max=3))
    results = batch(api, [{"action": "update", "id": user["id"], "operations": INCREMENT}] * 50)
    assert [result["user"]["traits"]["n"] for result in results] == list(range(1, 51))


@pytest.mark.parametrize("form", ["lines", "list"])
def test_no_item_overtakes_one_that_there_is_no_room_for(api: InProcess, form: str) -> None:
    user = api.user()
    with_limits(api, Limits(queue_bytes_max=200))
    items = [update(user["id"], name="a"), update(user["id"], name="b" * 200), update(user["id"], name="c")]
    results = send(api, form, items)
    assert [outcome(result) for result in results] == [(200, None), (503, "overloaded")]
    assert results[1]["batch_ended"]
    assert api.read(user["id"])["name"] == "a"


def test_a_server_that_is_stopping_takes_no_item(api: InProcess) -> None:
    user = api.user()
    api.runner.run(api.app.service.engine.close())
    results = batch(api, [update(user["id"], name="a"), update(user["id"], name="b")])
    assert [outcome(result) for result in results] == [(503, "stopping")]
    assert results[0]["batch_ended"]
    assert api.read(user["id"]) == user


# Over real HTTP.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("batch") / "data") as server:
        yield server


class Duplex:
    """A client that reads results while it sends items. httpx sends everything before it reads anything."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http = h11.Connection(h11.CLIENT)
        self._received = b""
        self.response: h11.Response | None = None
        headers = [
            ("host", "userfold"),
            ("authorization", f"Bearer {server.secret_key}"),
            ("content-type", NDJSON),
            ("transfer-encoding", "chunked"),
        ]
        self._send(h11.Request(method="POST", target="/v1/batch", headers=headers))

    def _send(self, event: Any) -> None:
        self.socket.sendall(self._http.send(event) or b"")

    def send(self, *items: Any) -> None:
        self._send(h11.Data(lines(items)))

    def send_part(self, part: bytes) -> None:
        self._send(h11.Data(part))

    def end(self) -> None:
        self._send(h11.EndOfMessage())

    def result(self) -> dict[str, Any] | None:
        """The next result; None at the end."""
        while b"\n" not in self._received:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(self.socket.recv(1 << 16))
            elif isinstance(event, h11.Response):
                self.response = event
            elif isinstance(event, h11.Data):
                self._received += bytes(event.data)
            else:
                assert isinstance(event, h11.EndOfMessage)
                return None
        line, _, self._received = self._received.partition(b"\n")
        result: dict[str, Any] = json.loads(line)
        return result


@contextlib.contextmanager
def duplex(server: Server) -> Iterator[Duplex]:
    client = Duplex(server)
    with client.socket:
        yield client


def made(server: Server) -> str:
    with server.client() as client:
        user_id: str = client.post("/v1/users", json={}).json()["id"]
        return user_id


def test_a_result_is_there_before_the_next_item_is_sent(server: Server) -> None:
    user_id = made(server)
    with duplex(server) as client:
        for number in range(50):
            client.send({"action": "update", "id": user_id, "operations": INCREMENT})
            result = client.result()
            assert result is not None
            assert (result["index"], result["user"]["traits"]) == (number, {"n": number + 1})
        client.end()
        assert client.result() is None
        assert client.response is not None
        assert dict(client.response.headers)[b"content-type"] == NDJSON.encode()


def test_a_client_that_sends_everything_before_it_reads_anything_is_answered(server: Server) -> None:
    # Fifteen megabytes each way: no buffer between the two holds that.
    pad = "x" * 15_000
    items = ({"action": "upsert", "external_id": f"e-{n}", "user": {"traits": {"p": pad}}} for n in range(ITEMS_MAX))
    with server.client() as client:
        reply = client.post("/v1/batch", content=(lines([item]) for item in items), headers={"content-type": NDJSON})
        assert [result["status"] for result in results_of(reply)] == [201] * ITEMS_MAX


def test_results_that_nobody_reads_hold_back_what_follows_and_do_not_pile_up(server: Server) -> None:
    bag = {"p": "x" * 60_000}
    with server.client() as other, duplex(server) as client:
        user = {"traits": bag, "public_metadata": bag, "private_metadata": bag, "unsafe_metadata": bag}
        user_id = other.post("/v1/users", json=user).json()["id"]
        before = memory_most(server)
        client.send(*[{"action": "update", "id": user_id, "operations": INCREMENT}] * ITEMS_MAX)
        client.end()
        wait_until(lambda: other.get(f"/v1/users/{user_id}").json()["version"] > 1, "the first items were done")
        version = 0
        for _ in range(100):  # in which the server has the time to do the rest, if it would
            version = other.get(f"/v1/users/{user_id}").json()["version"]
        assert version < ITEMS_MAX
        for number in range(ITEMS_MAX):
            result = client.result()
            assert result is not None
            assert result["user"]["version"] == number + 2
        assert client.result() is None
        assert memory_most(server) - before < 100 << 20  # of 240 MB of results


def memory_most(server: Server) -> int:
    """The most memory that the process ever had, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


def test_what_was_answered_is_kept_when_the_client_leaves_in_the_middle(server: Server) -> None:
    user_id = made(server)
    with duplex(server) as client:
        for number in range(5):
            client.send({"action": "update", "id": user_id, "operations": INCREMENT})
            assert client.result() is not None, number
        client.send_part(lines([update(user_id, name="never sent whole")])[:-4])
    with server.client() as client_after:
        assert client_after.get(f"/v1/users/{user_id}").json()["traits"] == {"n": 5}
        assert client_after.get(f"/v1/users/{user_id}").json()["name"] is None
    assert not re.search(r"^\S+ (error|warning) ", server.log(), re.MULTILINE)


def test_a_connection_is_of_use_after_a_batch_that_ended_early(server: Server) -> None:
    with server.client() as client:
        content = lines([update("nobody")] * (ITEMS_MAX + 100))
        for _ in range(2):
            reply = client.post("/v1/batch", content=content, headers={"content-type": NDJSON})
            assert len(results_of(reply)) == ITEMS_MAX + 1


def test_a_client_that_waits_for_leave_to_send_gets_it(server: Server) -> None:
    head = f"POST /v1/batch HTTP/1.1\r\nHost: u\r\nAuthorization: Bearer {server.secret_key}\r\n"
    body = lines([{"action": "create", "user": {}}])
    head += (
        f"Content-Type: {NDJSON}\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert b'"status":201' in reply


def test_twins_of_a_batch_over_real_http_have_one_effect_and_equal_answers(server: Server) -> None:
    user_id = made(server)
    content = lines([{"action": "update", "id": user_id, "operations": INCREMENT}] * 100)
    headers = {
        "authorization": f"Bearer {server.secret_key}",
        "content-type": NDJSON,
        "idempotency-key": "twins",
        "x-request-id": "same",
    }

    async def send_twins() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=BOUND_S, trust_env=False) as client:
            return await asyncio.gather(*(client.post("/v1/batch", content=content) for _ in range(8)))

    replies = asyncio.run(send_twins())
    assert len({reply.content for reply in replies}) == 1
    assert [result["user"]["version"] for result in results_of(replies[0])] == list(range(2, 102))


@pytest.mark.faults  # it lasts as long as the server's patience
def test_a_stop_that_cannot_wait_any_longer_ends_the_batch_and_says_so(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, duplex(server) as client:
        client.send({"action": "create", "user": {}})
        assert client.result() is not None
        server.signal(signal.SIGINT)
        server.signal(signal.SIGINT)
        ended = client.result()
        assert ended is not None
        assert (outcome(ended), ended["index"], ended["batch_ended"]) == ((503, "stopping"), 1, True)
        assert client.result() is None
        assert server.wait() == 0
        assert "Traceback" not in server.log()
