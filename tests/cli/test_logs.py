"""What a line of the log looks like: one object or one line, which requests it is about, and no secret in it."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.server import Server, serving
from userfold.identity_tokens import new_shared_secret
from userfold.logs import about, formatter
from userfold.tokens import new_secret_key, new_token


def record(message: str, *values: Any, error: Exception | None = None, **extra: Any) -> logging.LogRecord:
    try:
        if error is not None:
            raise error
    except Exception:
        exc_info: Any = sys.exc_info()
    else:
        exc_info = None
    logger = logging.getLogger("userfold.api")
    return logger.makeRecord("userfold.api", logging.ERROR, __file__, 1, message, values, exc_info, extra=extra)


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = formatter("json").format(made)
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", document.pop("time"))
    return document


COMMON = {"level": "error", "logger": "userfold.api"}


def test_a_json_line_has_what_a_machine_looks_for() -> None:
    assert as_json(record("it %s", "broke")) == COMMON | {"message": "it broke"}
    assert as_json(record("it broke", **about("req_1"))) == COMMON | {"message": "it broke", "request_id": "req_1"}
    assert as_json(record("x", **about("req_1", "req_2"))) == COMMON | {
        "message": "x",
        "request_ids": ["req_1", "req_2"],
    }
    assert as_json(record("x", **about("req_1", status=200, key=None))) == COMMON | {
        "message": "x",
        "request_id": "req_1",
        "status": 200,
        "key": None,
    }


def test_a_json_line_of_an_exception_is_one_line_with_all_of_it() -> None:
    document = as_json(record("it broke", error=ValueError("two\nlines")))
    assert document["exception"].startswith("Traceback (most recent call last):\n")
    assert document["exception"].endswith("ValueError: two\nlines")


def test_a_text_line_names_its_requests_before_the_exception() -> None:
    line = formatter("text").format(record("it broke", error=ValueError("why"), **about("req_1", status=500, key=None)))
    first, second, *_, last = line.split("\n")
    assert first.endswith(" error   userfold.api: it broke status=500 key=- (request req_1)")
    assert (second, last) == ("Traceback (most recent call last):", "ValueError: why")
    assert formatter("text").format(record("x", **about("a", "b"))).endswith("userfold.api: x (requests a, b)")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_that_got_into_a_line_is_struck_out_of_it(log_format: str) -> None:
    key = new_secret_key()
    session_id, token = new_token(0)
    for made in (
        record("key %s of %r", key, f"/v1/users/\n{key}/{token}"),
        record("x", error=ValueError(f"cannot take {key} and\n{token}")),
        record("x", **about(key, address=token)),
    ):
        line = formatter(log_format).format(made)
        assert key[3:] not in line
        assert token.partition(".")[2] not in line
        assert "sk_…" in line
        assert f"{session_id}.…" in line
        if log_format == "json":
            json.loads(line)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("quote", ["{}", '"{}"', "x{}y", "a={}&b", "\n{}"])
def test_a_signed_token_and_the_secret_that_signs_are_struck_out_too(log_format: str, quote: str) -> None:
    secret = new_shared_secret()
    token = jwt.encode({"sub": "user-1", "exp": 2**40}, secret)
    for made in (record("%s", quote.format(token)), record("%r", quote.format(secret)), record("x", **about(token))):
        line = formatter(log_format).format(made)
        assert secret[3:] not in line
        assert not [part for part in token.split(".") if part[3:] in line]
        assert "eyJ…" in line or "ik_…" in line


def test_words_that_only_look_like_a_secret_stay() -> None:
    message = "risk_of_rain, eyJaded, task_1, ses_01m7zvgw8wdsn77b61a4kptxax, sk_test. userfold.storage.sqlite.store"
    assert formatter("text").format(record(message)).endswith(message)


# Access lines.


def lines_of(server: Server, logger: str = "userfold.access") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log().splitlines()]
    return [line for line in lines if line["logger"] == logger]


def ask(server: Server) -> str:
    """Ask for this and that; the id of a user."""
    with server.client() as client:
        user_id: str = client.post("/v1/users", json={"name": "Ada"}, headers={"x-request-id": "make"}).json()["id"]
        client.get(f"/v1/users/{user_id}?version=1", headers={"x-request-id": "read"})
        client.get("/v1/users/user_nobody?token=hunter2", headers={"x-request-id": "miss"})
        client.get("/v1/nope/ada@example.com", headers={"x-request-id": "lost"})
    httpx.get(f"{server.url}/clerk/v1/users/{user_id}", headers={"x-request-id": "none"}, trust_env=False)
    return user_id


def test_access_lines_say_who_asked_for_what_and_how_it_went(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--access-log", USERFOLD_LOG="json") as server:
        user_id = ask(server)
        with server.client() as client:
            (secret,) = [k for k in client.get("/v1/project/keys").json()["data"] if k["kind"] == "secret"]
    lines = {line["request_id"]: line for line in lines_of(server)}
    shown = {
        name: (line["method"], line["route"], line["status"], line["key"] == secret["id"])
        for name, line in lines.items()
    }
    assert len(shown) == 6
    assert shown["make"] == ("POST", "/v1/users", 201, True)
    assert shown["read"] == ("GET", "/v1/users/{id}", 200, True)
    assert shown["miss"] == ("GET", "/v1/users/{id}", 400, True)
    assert shown["lost"] == ("GET", None, 404, False)
    assert shown["none"] == ("GET", "/clerk/v1/users/{id}", 401, False)
    for line in lines.values():
        assert line["address"] == "127.0.0.1"
        assert line["bytes"] > 0
        assert line["duration_ms"] > 0
    # Ids of people are in no access line, and neither is a query.
    access = json.dumps(list(lines.values()))
    assert not [name for name in (user_id, "user_nobody", "hunter2", "ada@example.com") if name in access]
    assert server.secret_key not in server.log()


def test_without_being_asked_for_there_are_no_access_lines(tmp_path: Path) -> None:
    with serving(tmp_path / "data", USERFOLD_LOG="json") as server:
        ask(server)
    assert lines_of(server) == []
    # What is in the log of a request even so carries its id.
    (lost,) = lines_of(server, "userfold.api")
    assert lost["request_id"] == "lost"


def test_the_variable_asks_for_access_lines_too(tmp_path: Path) -> None:
    with serving(tmp_path / "data", USERFOLD_ACCESS_LOG="true") as server:
        ask(server)
    (line,) = [line for line in server.log().splitlines() if line.endswith("(request read)")]
    values = (
        r"method=GET route=/v1/users/\{id\} status=200 duration_ms=[\d.]+ bytes=\d+ address=127\.0\.0\.1 key=ak_\w+"
    )
    assert re.search(rf" info +userfold\.access: answered {values} \(request read\)$", line), line


def test_behind_a_trusted_proxy_access_lines_have_the_clients_address(tmp_path: Path) -> None:
    settings = {"USERFOLD_TRUSTED_PROXIES": "127.0.0.1", "USERFOLD_LOG": "json"}
    with serving(tmp_path / "data", "--access-log", **settings) as server, server.client() as client:
        client.get("/healthz", headers={"x-forwarded-for": "198.51.100.1, 203.0.113.7"})
    assert [line["address"] for line in lines_of(server)] == ["203.0.113.7"]
