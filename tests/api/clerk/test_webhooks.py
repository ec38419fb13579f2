"""Clerk's own webhooks: who may send them, and what becomes of the users that they tell of."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.api.clerk.deliveries import (
    OTHER_SECRET,
    SECRET,
    add_secret,
    address,
    clerk_user,
    deliver,
    event,
    signed,
)
from tests.server import InProcess, Keys
from userfold.clock import clock_ms

ID = "user_2abAda"


@pytest.fixture
def clerk(api: InProcess) -> InProcess:
    """The application, with a webhook key."""
    add_secret(api)
    return api


def refused(reply: Any) -> tuple[int, str]:
    body = reply.json()
    (error,) = body["errors"]
    assert error["long_message"]
    assert body["clerk_trace_id"] == reply.headers["x-request-id"]
    assert reply.headers["content-type"] == "application/json"
    return reply.status_code, error["code"]


def through_clerk(api: InProcess, user_id: str = ID) -> Any:
    return api.ask("GET", f"/clerk/v1/users/{user_id}").json()


# What arrives.


def test_a_user_of_clerk_arrives_with_its_id_and_all_that_clerk_says_of_it(clerk: InProcess) -> None:
    data = clerk_user(
        external_id="ext-1",
        username="ada",
        locale="en-GB",
        email_addresses=[address("idn_2", "a.l@example.org"), address("idn_1", "Ada@Example.com")],
        phone_numbers=[{"id": "idn_3", "phone_number": "+442079460958", "verification": {"status": "verified"}}],
        primary_phone_number_id="idn_3",
        banned=True,
        locked=True,
    )
    reply = deliver(clerk, event("user.created", data))
    assert (reply.status_code, reply.json()) == (200, {"object": "event", "type": "user.created", "changed": True})
    user = clerk.read(ID)
    same = {"id", "external_id", "username", "first_name", "last_name", "locale", "created_at", "locked"}
    same |= {"public_metadata", "private_metadata", "unsafe_metadata"}
    assert {name: user[name] for name in same} == {name: data[name] for name in same}
    assert user["disabled"] is True
    assert [(a["email_address"], a["verified"], a["primary"]) for a in user["email_addresses"]] == [
        ("a.l@example.org", True, False),
        ("ada@example.com", True, True),
    ]
    assert [(n["phone_number"], n["verified"], n["primary"]) for n in user["phone_numbers"]] == [
        ("+442079460958", True, True)
    ]
    assert (user["image"], user["password_enabled"]) == (None, False)
    shown = through_clerk(clerk)
    assert (shown["id"], shown["banned"], shown["external_id"]) == (ID, True, "ext-1")


def test_the_history_says_that_clerk_wrote_it_and_under_which_key(api: InProcess) -> None:
    key_id = add_secret(api)
    deliver(api, event("user.created", clerk_user()), message_id="msg_x")
    (change,) = api.history(ID)
    assert (change["source"], change["actor"], change["trust"]) == ("clerk", key_id, "backend")


def test_an_update_replaces_what_clerk_says_and_leaves_the_rest(clerk: InProcess) -> None:
    deliver(clerk, event("user.created", clerk_user()))
    clerk.ask("PATCH", f"/v1/users/{ID}", {"traits": {"seen": 1}, "contact_email": "c@example.com"})
    changed = clerk_user(updated_at=1_750_000_000_001, last_name=None, public_metadata={"plan": "pro"})
    assert deliver(clerk, event("user.updated", changed)).json()["changed"] is True
    user = clerk.read(ID)
    assert (user["last_name"], user["public_metadata"]) == (None, {"plan": "pro"})
    assert (user["traits"], user["contact_email"]) == ({"seen": 1}, "c@example.com")


def test_a_delivery_counts_once(clerk: InProcess) -> None:
    body = event("user.created", clerk_user())
    deliver(clerk, body, message_id="msg_1")
    clerk.ask("PATCH", f"/v1/users/{ID}", {"public_metadata": {"here": True}})
    before, writes = clerk.read(ID), clerk.writes
    again = deliver(clerk, body, message_id="msg_1")
    assert (again.status_code, again.json()["changed"]) == (200, False)
    assert (clerk.read(ID), clerk.writes) == (before, writes)


def test_an_update_that_arrives_before_the_creation_ends_right(clerk: InProcess) -> None:
    deliver(clerk, event("user.updated", clerk_user(updated_at=1_750_000_000_500, first_name="Augusta"), 2))
    created = deliver(clerk, event("user.created", clerk_user(), 1))
    assert (created.status_code, created.json()["changed"]) == (200, False)
    user = clerk.read(ID)
    assert (user["first_name"], user["created_at"], user["version"]) == ("Augusta", 1_700_000_000_000, 1)


def test_a_deleted_user_is_gone_and_nothing_brings_it_back(clerk: InProcess) -> None:
    deliver(clerk, event("user.created", clerk_user()))
    gone = event("user.deleted", {"object": "user", "id": ID, "deleted": True})
    assert deliver(clerk, gone).json()["changed"] is True
    late = event("user.updated", clerk_user(updated_at=1_760_000_000_000))
    for body in (late, event("user.created", clerk_user()), gone):
        reply = deliver(clerk, body)
        assert (reply.status_code, reply.json()["changed"]) == (200, False)
    assert clerk.ask("GET", f"/v1/users/{ID}").status_code == 404


def test_whom_somebody_named_by_its_id_before_is_the_user_of_clerk(clerk: InProcess) -> None:
    named = clerk.ask("PUT", f"/v1/users/by-external-id/{ID}", {"traits": {"a": 1}})
    assert (named.status_code, named.json()["id"]) == (201, ID)
    assert deliver(clerk, event("user.created", clerk_user())).status_code == 200
    user = clerk.ask("GET", f"/v1/users/{ID}").json()
    assert (user["first_name"], user["traits"], user["version"]) == ("Ada", {"a": 1}, 2)


def test_a_deletion_that_arrives_first_is_remembered(clerk: InProcess) -> None:
    assert deliver(clerk, event("user.deleted", {"object": "user", "id": ID, "deleted": True})).status_code == 200
    assert deliver(clerk, event("user.created", clerk_user())).json()["changed"] is False
    assert clerk.ask("GET", f"/v1/users/{ID}").status_code == 404


def test_other_events_are_ignored_and_the_log_says_so_once(clerk: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "userfold")
    writes = clerk.writes
    for kind in ("session.created", "session.created", "email.created", "user.createdAtNoon"):
        reply = deliver(clerk, event(kind, {"id": "sess_1", "user_id": ID}))
        assert (reply.status_code, reply.json()) == (200, {"object": "event", "ignored": kind})
    assert clerk.writes == writes
    said = [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()]
    assert len(said) == 3


# Addresses.


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (address("idn_9", "x@example.com", "unverified"), False),
        (address("idn_9", "x@example.com", None), False),
        (address("idn_9", "x@example.com", "expired"), False),
        (address("idn_9", "x@example.com", None, reserved=True), True),
        (address("idn_9", "x@example.com", "verified"), True),
        (address("idn_1", "x@example.com", "unverified"), True),  # the primary one
    ],
)
def test_an_address_is_taken_over_once_it_is_the_users_own(
    clerk: InProcess, given: dict[str, Any], taken: bool
) -> None:
    own = [] if given["id"] == "idn_1" else [address("idn_1", "ada@example.com")]
    deliver(clerk, event("user.created", clerk_user(email_addresses=[*own, given])))
    found = {a["email_address"]: a["verified"] for a in clerk.read(ID)["email_addresses"]}
    assert ("x@example.com" in found) is taken
    if taken:
        assert found["x@example.com"] is ((given["verification"] or {}).get("status") == "verified")


def test_a_taken_address_is_refused_until_it_is_free_and_the_log_says_why(
    clerk: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    other = clerk.user(email_addresses=["user_2abada@example.com"])
    body, writes = event("user.created", clerk_user()), clerk.writes
    reply = deliver(clerk, body)
    assert refused(reply) == (422, "form_identifier_exists")
    assert clerk.writes == writes
    (line,) = [record for record in caplog.records if record.name == "userfold.api.clerk"]
    assert (line.levelname, ID in line.getMessage(), "/email_addresses/0" in line.getMessage()) == (
        "WARNING",
        True,
        True,
    )
    assert "example.com" not in line.getMessage()
    clerk.ask("PATCH", f"/v1/users/{other['id']}", {"email_addresses": []})
    assert deliver(clerk, body).status_code == 200  # as Svix sends it again
    assert clerk.read(ID)["email_addresses"][0]["email_address"] == "user_2abada@example.com"


# Who may send.


def test_who_has_no_secret_is_refused_and_nothing_is_stored(clerk: InProcess) -> None:
    body, now = event("user.created", clerk_user()), clock_ms() // 1000
    writes = clerk.writes
    right = signed(body, "msg_1", now)
    close = right[:-2] + ("E=" if right[-2] == "A" else "A=")
    forged = [
        deliver(clerk, body, message_id="msg_1", at_s=now, signature=signature)
        for signature in (signed(body, "msg_1", now, OTHER_SECRET), close, "v1,", "v1a," + right[3:], "x")
    ]
    forged.append(deliver(clerk, body + b" ", message_id="msg_1", at_s=now, signature=right))
    forged.append(deliver(clerk, body, message_id="msg_2", at_s=now, signature=right))
    forged.append(deliver(clerk, body, message_id="msg_1", at_s=now + 1, signature=right))
    assert {refused(reply) for reply in forged} == {(401, "authentication_invalid")}
    assert clerk.ask("GET", f"/v1/users/{ID}").status_code == 404
    assert clerk.writes == writes


def test_a_secret_key_opens_nothing_here_and_a_webhook_secret_nothing_else(clerk: InProcess) -> None:
    body = event("user.created", clerk_user())
    assert clerk.ask("POST", "/clerk/webhooks", content=body).status_code == 400
    for path in ("/v1/users", "/clerk/v1/users"):
        assert clerk.ask("GET", path, key=SECRET).status_code == 401


# Well away from 300 s, because the clock goes on; the limit itself is in tests/core/test_signatures.py.
@pytest.mark.parametrize("away_s", [-310, 310])
def test_a_delivery_that_is_too_old_or_from_the_future_is_refused(clerk: InProcess, away_s: int) -> None:
    reply = deliver(clerk, event("user.created", clerk_user()), at_s=clock_ms() // 1000 + away_s)
    assert refused(reply) == (400, "malformed_request_parameters")
    assert clerk.ask("GET", f"/v1/users/{ID}").status_code == 404


@pytest.mark.parametrize("away_s", [-290, 290])
def test_clocks_may_be_a_little_apart(clerk: InProcess, away_s: int) -> None:
    assert deliver(clerk, event("user.created", clerk_user()), at_s=clock_ms() // 1000 + away_s).status_code == 200


@pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
def test_a_delivery_without_its_headers_is_none(clerk: InProcess, name: str) -> None:
    reply = deliver(clerk, event("user.created", clerk_user()), headers={name: ""})
    assert refused(reply) == (400, "malformed_request_parameters")


def test_while_a_secret_is_replaced_there_is_a_signature_for_each(clerk: InProcess) -> None:
    body, now = event("user.created", clerk_user()), clock_ms() // 1000
    both = f"{signed(body, 'msg_1', now, OTHER_SECRET)} {signed(body, 'msg_1', now)}"
    assert deliver(clerk, body, message_id="msg_1", at_s=now, signature=both).status_code == 200


def test_the_secret_says_to_which_project_a_delivery_goes(clerk: InProcess, other: Keys) -> None:
    add_secret(clerk, other.project_id, OTHER_SECRET)
    body, now = event("user.created", clerk_user()), clock_ms() // 1000
    deliver(clerk, body, message_id="m", at_s=now, signature=signed(body, "m", now, OTHER_SECRET))
    assert clerk.ask("GET", f"/v1/users/{ID}").status_code == 404
    assert clerk.ask("GET", f"/v1/users/{ID}", key=other.secret).status_code == 200


def test_a_revoked_secret_is_none(api: InProcess) -> None:
    key_id = add_secret(api)
    assert api.ask("DELETE", f"/v1/project/keys/{key_id}").status_code == 204
    assert refused(deliver(api, event("user.created", clerk_user()))) == (401, "authentication_invalid")


def test_the_secret_is_shown_nowhere(clerk: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    deliver(clerk, event("user.created", clerk_user()))
    deliver(clerk, event("user.created", clerk_user()), signature=signed(b"", "x", 1, OTHER_SECRET))
    shown = clerk.ask("GET", "/v1/project/keys").text + clerk.ask("GET", "/v1/project").text
    shown += clerk.ask("GET", f"/v1/users/{ID}/history").text + clerk.ask("GET", "/metrics").text + caplog.text
    assert "webhook" in shown
    assert SECRET.removeprefix("whsec_") not in shown


# What is no delivery.


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"{", (400, "request_body_invalid")),
        (b"[]", (400, "request_body_invalid")),
        (b'{"type":"user.created","type":"user.deleted"}', (400, "request_body_invalid")),
        (b"{}", (422, "form_param_value_invalid")),
        (event("user.created", []), (422, "form_param_value_invalid")),  # type: ignore[arg-type]
        (event("user.deleted", {}), (422, "form_param_value_invalid")),
        (event("user.created", clerk_user("")), (422, "form_param_format_invalid")),
        (event("user.created", clerk_user(updated_at="now")), (422, "form_param_value_invalid")),  # type: ignore[arg-type]
        (event("user.created", clerk_user(updated_at=2**53)), (422, "form_param_value_invalid")),
        (event("user.created", clerk_user(created_at=10**30)), (422, "form_param_value_invalid")),
        (event("user.created", clerk_user(email_addresses={})), (422, "form_param_value_invalid")),
        (event("user.created", clerk_user(email_addresses=["a@x.org"])), (422, "form_param_value_invalid")),
        (event("user.created", clerk_user(public_metadata=[])), (422, "form_param_value_invalid")),
        (event("user.created", clerk_user(first_name=5)), (422, "form_param_value_invalid")),
        (
            event("user.created", clerk_user(public_metadata={"a": "x" * 70_000})),
            (422, "form_param_exceeds_allowed_size"),
        ),
    ],
)
def test_a_body_that_cannot_be_taken_says_so_and_changes_nothing(
    clerk: InProcess, body: bytes, answer: tuple[int, str]
) -> None:
    writes = clerk.writes
    assert refused(deliver(clerk, body)) == answer
    assert clerk.writes == writes


def test_only_deliveries_are_taken_there(clerk: InProcess) -> None:
    assert clerk.ask("GET", "/clerk/webhooks").status_code == 405
    assert clerk.ask("POST", "/clerk/webhooks/").status_code == 404
    text = deliver(clerk, event("user.created", clerk_user()), headers={"content-type": "text/plain"})
    assert refused(text) == (415, "unsupported_content_type")
