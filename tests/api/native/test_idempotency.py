"""The native API: a request with an Idempotency-Key is done once, however often it is sent. Over every store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import BOUND_S, InProcess, Keys, serving

OURS = "application/vnd.userfold.operations+json"
WRITES: list[tuple[str, str, str, Any, int]] = [
    ("POST", "/v1/users", "application/json", {"name": "Bea"}, 201),
    ("PUT", "/v1/users/by-external-id/u-1", "application/json", {"name": "Bea"}, 200),
    ("PUT", "/v1/users/by-external-id/u-2", "application/json", {"name": "Bea"}, 201),
    ("PATCH", "/v1/users/{id}", OURS, [{"op": "increment", "path": "/traits/n"}], 200),
    ("PATCH", "/v1/users/{id}", "application/json", {"traits": {"n": 9}}, 200),
    ("DELETE", "/v1/users/{id}", "application/json", None, 204),
]


@pytest.mark.parametrize(("method", "path", "content_type", "document", "status"), WRITES)
def test_a_repeated_request_is_answered_as_before_and_not_done_again(
    api: InProcess, method: str, path: str, content_type: str, document: Any, status: int
) -> None:
    user = api.user(external_id="u-1", traits={"n": 1})
    path = path.format(id=user["id"])
    headers = {"idempotency-key": "k-1", "x-request-id": "same"}
    first = api.ask(method, path, document, content_type=content_type, headers=headers)
    assert first.status_code == status, first.text
    before = api.writes
    second = api.ask(method, path, document, content_type=content_type, headers=headers)
    assert (second.status_code, second.content, dict(second.headers)) == (status, first.content, dict(first.headers))
    assert api.writes == before


def test_an_answer_stays_the_same_when_the_user_has_changed_since(api: InProcess) -> None:
    user = api.user(traits={"n": 0})
    path, add = f"/v1/users/{user['id']}", [{"op": "increment", "path": "/traits/n"}]
    first = api.ask("PATCH", path, add, content_type=OURS, headers={"idempotency-key": "k"})
    api.ask("PATCH", path, add, content_type=OURS)
    second = api.ask("PATCH", path, add, content_type=OURS, headers={"idempotency-key": "k"})
    assert second.content == first.content
    assert api.read(user["id"])["traits"] == {"n": 2}


@pytest.mark.parametrize("differs", ["body", "content type", "if-match", "query"])
def test_another_request_with_the_same_key_is_refused(api: InProcess, differs: str) -> None:
    user = api.user(name="Ada")
    path = f"/v1/users/{user['id']}"
    headers = {"idempotency-key": "k"}
    assert api.ask("PATCH", path, {"name": "Bea"}, headers=headers).status_code == 200
    before = api.writes
    reply = api.ask(
        "PATCH",
        path + ("?dry_run=false" if differs == "query" else ""),
        {"name": "Cleo" if differs == "body" else "Bea"},
        content_type="application/merge-patch+json" if differs == "content type" else "application/json",
        headers=headers | ({"if-match": '"2"'} if differs == "if-match" else {}),
    )
    assert (reply.status_code, reply.json()["code"]) == (409, "idempotency_key_reused")
    assert api.writes == before


def test_a_key_counts_for_one_credential_method_and_path(api: InProcess, other: Keys) -> None:
    headers = {"idempotency-key": "k"}
    ids = [api.ask("POST", "/v1/users", {"name": "Ada"}, headers=headers).json()["id"]]
    ids.append(api.ask("POST", "/v1/users", {"name": "Ada"}, headers=headers, key=other.secret).json()["id"])
    token = api.ask("POST", "/v1/project/keys", {"name": "second"}).json()["token"]
    ids.append(api.ask("POST", "/v1/users", {"name": "Ada"}, headers=headers, key=token).json()["id"])
    assert len(set(ids)) == 3
    for user_id in (ids[0], ids[2]):
        assert api.ask("PATCH", f"/v1/users/{user_id}", {"name": "B"}, headers=headers).status_code == 200
        assert api.ask("DELETE", f"/v1/users/{user_id}", headers=headers).status_code == 204


def test_a_refusal_is_not_kept(api: InProcess) -> None:
    taken = api.user(username="ada")
    headers = {"idempotency-key": "k"}
    assert api.ask("POST", "/v1/users", {"username": "ada"}, headers=headers).status_code == 409
    api.ask("DELETE", f"/v1/users/{taken['id']}")
    assert api.ask("POST", "/v1/users", {"username": "ada"}, headers=headers).status_code == 201


def test_a_dry_run_uses_no_key_up(api: InProcess) -> None:
    user = api.user()
    headers = {"idempotency-key": "k"}
    path = f"/v1/users/{user['id']}"
    assert api.ask("PATCH", f"{path}?dry_run=true", {"name": "Ada"}, headers=headers).status_code == 200
    assert api.ask("PATCH", path, {"name": "Bea"}, headers=headers).json()["version"] == 2


def test_the_answers_about_a_user_go_with_it(api: InProcess) -> None:
    headers = {"idempotency-key": "k"}
    first = api.ask("POST", "/v1/users", {"name": "Ada"}, headers=headers).json()["id"]
    api.ask("DELETE", f"/v1/users/{first}")
    assert api.ask("POST", "/v1/users", {"name": "Ada"}, headers=headers).json()["id"] != first


@pytest.mark.parametrize(("key", "status"), [("", 400), ("x" * 256, 400), ("ä", 400), ("a\tb", 400), ("x" * 255, 200)])
def test_a_malformed_key_is_refused(api: InProcess, key: str, status: int) -> None:
    user = api.user()
    before = api.writes
    path = f"http://userfold.test/v1/users/{user['id']}"
    headers: list[tuple[bytes, bytes]] = [
        (b"authorization", f"Bearer {api.keys.secret}".encode()),
        (b"content-type", b"application/json"),
        (b"idempotency-key", key.encode("latin-1")),
    ]
    reply = api.send(httpx.Request("PATCH", path, headers=headers, content=b'{"name": "Ada"}'))
    assert reply.status_code == status
    if status == 400:
        assert reply.json()["code"] == "header_invalid"
        assert api.writes == before


TWINS = 8


def test_twins_over_real_http_are_done_once_and_answered_alike(tmp_path: Path) -> None:
    async def send(url: str, secret: str) -> list[tuple[int, bytes]]:
        headers = {"authorization": f"Bearer {secret}", "content-type": OURS, "idempotency-key": "k"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=BOUND_S, trust_env=False) as client:
            made = await client.post("/v1/users", json={}, headers={"content-type": "application/json"})
            path = f"/v1/users/{made.json()['id']}"
            body = b'[{"op": "increment", "path": "/traits/n"}]'
            replies = await asyncio.gather(*(client.patch(path, content=body) for _ in range(TWINS)))
            assert (await client.get(path)).json()["traits"] == {"n": 1}
            return [(reply.status_code, reply.content) for reply in replies]

    with serving(tmp_path / "data") as server:
        answers = asyncio.run(send(server.url, server.secret_key))
        assert answers == [answers[0]] * TWINS
        assert answers[0][0] == 200


# What is no user.


def test_a_repeated_change_of_the_project_gets_the_first_answer(api: InProcess) -> None:
    first = api.ask("PATCH", "/v1/project", {"name": "One"}, headers={"idempotency-key": "k"})
    assert first.json()["version"] == 2
    api.ask("PATCH", "/v1/project", {"name": "Two"})
    again = api.ask("PATCH", "/v1/project", {"name": "One"}, headers={"idempotency-key": "k"})
    assert (again.status_code, again.json(), again.headers["etag"]) == (200, first.json(), '"2"')
    assert api.ask("GET", "/v1/project").json()["name"] == "Two"
    other = api.ask("PATCH", "/v1/project", {"name": "Three"}, headers={"idempotency-key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


def test_a_repeated_end_is_one_end_also_of_what_has_begun_since(api: InProcess) -> None:
    user = api.user()
    path = f"/v1/users/{user['id']}/sessions"
    api.ask("POST", path)
    assert api.ask("DELETE", path, headers={"idempotency-key": "k"}).status_code == 204
    api.ask("POST", path)
    assert api.ask("DELETE", path, headers={"idempotency-key": "k"}).status_code == 204
    assert sorted(session["status"] for session in api.ask("GET", path).json()["data"]) == ["active", "revoked"]


@pytest.mark.parametrize("header", ["idempotency-key", "if-match"])
def test_what_shows_a_secret_once_refuses_to_be_repeatable_or_conditional(api: InProcess, header: str) -> None:
    user = api.user()
    before = api.writes
    for path, document in [("/v1/project/keys", {"name": "n"}), (f"/v1/users/{user['id']}/sessions", {})]:
        reply = api.ask("POST", path, document, headers={header: '"1"'})
        assert (reply.status_code, reply.json()["code"]) == (400, "header_invalid"), path
    assert api.writes == before


def test_a_condition_is_refused_where_there_is_nothing_to_compare(api: InProcess) -> None:
    user = api.user()
    session = api.ask("POST", f"/v1/users/{user['id']}/sessions").json()
    key = api.ask("POST", "/v1/project/keys", {"name": "n"}).json()
    before = api.writes
    for path in (f"/v1/users/{user['id']}/sessions", f"/v1/sessions/{session['id']}", f"/v1/project/keys/{key['id']}"):
        reply = api.ask("DELETE", path, headers={"if-match": "*"})
        assert (reply.status_code, reply.json()["code"]) == (400, "header_invalid"), path
    for path, made in (
        (f"/v1/users/{user['id']}/events", {"name": "order paid"}),
        ("/v1/segments", {"name": "Beta"}),
        ("/v1/attributes", {"name": "plan", "type": "any"}),
    ):
        reply = api.ask("POST", path, made, headers={"if-match": "*"})
        assert (reply.status_code, reply.json()["code"]) == (400, "header_invalid"), path
    assert api.writes == before


def test_the_project_is_changed_only_if_it_is_as_it_was_seen(api: InProcess) -> None:
    assert api.ask("GET", "/v1/project").headers["etag"] == '"1"'
    changed = api.ask("PATCH", "/v1/project", {"name": "One"}, headers={"if-match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    late = api.ask("PATCH", "/v1/project", {"name": "Two"}, headers={"if-match": '"1"'})
    assert (late.status_code, late.json()["current_version"]) == (412, 2)
    assert api.ask("GET", "/v1/project").json()["name"] == "One"
