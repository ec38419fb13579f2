"""Batches: little of a recording is kept, and whatever arrives, the SDK is told so with 200."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest

from tests.api.milana.page import Page, tracked
from userfold.api.bodies import BodyTooLarge
from userfold.api.large_bodies import BYTES_MAX, inflated
from userfold.api.milana.recordings import COMMAS_MAX, read
from userfold.core.errors import JsonInvalid


def refused(page: Page, code: str) -> float:
    """How many requests `/metrics` says were refused so."""
    text = page.api.ask("GET", "/metrics").text
    name = f'userfold_refusals_total{{api="milana",code="{code}"}} '
    return next((float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name)), 0)


@pytest.fixture
def recording(page: Page) -> Page:
    """A page whose session is linked."""
    page.init()
    page.update({"userId": "u-1"})
    return page


def names(page: Page) -> list[str]:
    return [event["name"] for event in page.events("u-1")]


def test_an_event_that_is_sent_twice_is_kept_once(recording: Page) -> None:
    now = time.time_ns() // 1_000_000
    events = [tracked("a", now, n=1), tracked("b", now + 1)]
    assert recording.record(*events)["sessionId"] == recording.session_id
    recording.record(*events, isPageClose=True, gzipped=True)
    recording.record(events[0], tracked("a", now, n=2))
    assert names(recording) == ["a", "a", "b"] or names(recording) == ["a", "b", "a"]
    assert len({event["id"] for event in recording.events("u-1")}) == 3


def test_what_was_done_before_identify_is_the_users_too(page: Page) -> None:
    page.init()
    page.record(tracked("early", 1))
    assert [event["name"] for event in page.session()["early_events"]] == ["early"]
    page.update({"userId": "u-1"})
    assert (names(page), page.session()["early_events"]) == (["early"], [])


def custom(payload: Any, **more: Any) -> dict[str, Any]:
    return {"type": 5, "data": {"tag": "V", "payload": payload}, "timestamp": 1} | more


# Events of a recording of which nothing is kept.
NOTHING: list[Any] = [
    {"type": 4, "data": {"href": "https://a.example/?key=S3CRET"}, "timestamp": 1},
    {"type": 2, "data": {"node": {"textContent": "S3CRET"}}, "timestamp": 1},
    {"type": 6, "data": {"plugin": "milana/scroll-depth@1", "payload": {"path": "/S3CRET"}}, "timestamp": 1},
    {"type": 3, "data": {"tag": "V", "payload": {"type": 1, "name": "S3CRET", "attributes": {}}}, "timestamp": 1},
    {"type": 5, "data": {"tag": "other", "payload": {"type": 1, "name": "S3CRET"}}, "timestamp": 1},
    custom({"type": 3, "attributes": {"url": "https://a.example/?q=S3CRET"}}),
    custom({"type": 4, "visibilityState": "hidden"}),
    custom({"type": 5, "hasFocus": True}),
    custom({"type": 1, "name": 7, "attributes": {}}),
    custom({"type": 1, "name": "S3CRET", "attributes": []}),
    custom({"type": 2, "attributes": {}}),
    custom("S3CRET"),
    {"type": 5, "data": "S3CRET", "timestamp": 1},
]


def test_all_else_of_a_recording_is_dropped(recording: Page) -> None:
    assert recording.record(*NOTHING, tracked("kept", 1))["success"]
    assert names(recording) == ["kept"]
    assert "S3CRET" not in str(recording.events("u-1"))


def test_addresses_are_kept_without_their_secrets(recording: Page) -> None:
    url = "https://ada:S3CRET@a.example/?token=S3CRET&q=1#S3CRET"
    viewed = {"type": 2, "name": "pushstate", "attributes": {"url": url}}
    recording.record(custom(viewed), tracked("linked", 2, url=url))
    shown = "https://a.example/?token=--redacted--&q=1"
    first, second = recording.events("u-1")
    assert first["properties"] == {"url": shown, "navigation": "pushstate"}
    assert second["properties"] == {"url": shown}
    presence = recording.api.ask("GET", f"/v1/users/{recording.user('u-1')['id']}/export").json()
    assert "S3CRET" not in str(presence)


BROKEN: list[bytes] = [
    b"", b"{", b"[]", b"null", b'{"events": {}}', b'{"events": [1]}', b'{"events": [{}]}', b'{"events": [{"type": 5}]}',
    b'{"events": [{"type": "5", "timestamp": 1, "data": {}}]}', b"\xff", b'{"events": ' + b"[" * 100_000,
    b'{"events": [{"type": 5, "timestamp": 1, "data": ' + b"[" * 2_000 + b"]" * 2_000 + b"}]}",
    b'{"events": [{"type": 5, "timestamp": 1, "data": {"tag": "V", "tag": "V", "payload": {"type": 1, "name": "a"}}}]}',
    b'{"events": [{"type": 5, "timestamp": 1, "data": {"tag": "V", "payload": {"type": 1, "name": "\\ud800"}}}]}',
]  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_batch_that_is_none_is_taken_and_dropped(recording: Page, content: bytes, packed: bool) -> None:
    headers = {"Content-Encoding": "gzip"} if packed else {}
    reply = recording.ask("/batch", content=gzip.compress(content) if packed else content, headers=headers)
    assert (reply.status_code, reply.json()["success"]) == (200, True)
    assert names(recording) == []


def test_an_event_that_is_none_takes_no_other_with_it(recording: Page) -> None:
    twice = b'{"type": 5, "timestamp": 1, "data": {"tag": "V", "tag": "V", "payload": {"type": 1, "name": "a"}}}'
    fine = json.dumps(tracked("fine", 1)).encode()
    half = rb'{"type": 3, "timestamp": 1, "data": {"text": "\ud83d"}}'
    content = b'{"events": [' + b", ".join((twice, half, b"null", fine)) + b"]}"
    assert recording.ask("/batch", content=content).json()["success"]
    assert names(recording) == ["fine"]


# What may stand beside an event that is fine.
ODD: list[bytes] = [
    b"null", b"7", b'"a"', b"[]", b"{}", b'{"type": 5}', b'{"type": 5, "data": {}}', b'{"type": 5, "timestamp": 1}',
    b'{"type": "5", "timestamp": 1, "data": {}}', b'{"type": 5, "timestamp": true, "data": {}}',
    b'{"type": 5, "timestamp": 1e400, "data": {}}',
    b'{"type": 3, "timestamp": 1, "data": {"text": "half of a character: \\ud83d"}}',
    b'{"type": 3, "timestamp": 1, "data": {"text": "\\\\\\uDE00 \\ud83d\\ud83d\\ude00"}}',
    b'{"type": 5, "timestamp": 1, "data": {"tag": "V", "payload": {"type": 1, "name": "half of one: \\ud83d"}}}',
]  # fmt: skip


FINE = (
    rb'{"type": 5, "timestamp": 1, "data": {"tag": "V", "payload":'
    rb' {"type": 1, "name": "fine", "attributes": {"a": "\\ud83d \ud83d\ude00"}}}}'
)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_is_wrong_with_one_event_costs_no_other(odd: bytes) -> None:
    found = read(b'{"events": [' + b", ".join((odd, FINE, odd)) + b'], "isClientAbort": true}')
    assert [(event.name, event.properties) for event in found.events] == [("fine", {"a": "\\ud83d \U0001f600"})]
    assert found.ends


@pytest.mark.parametrize("odd", [b"null", b"0", b"1", b'"true"', b"{}"])
def test_only_true_says_that_an_app_stopped_recording(odd: bytes) -> None:
    found = read(b'{"isClientAbort": ' + odd + b', "events": [' + FINE + b"]}")
    assert (len(found.events), found.ends) == (1, False)


def test_a_batch_of_too_many_odd_events_is_not_read_one_by_one() -> None:
    assert len(read(b'{"events": [' + b"0," * 1_000 + FINE + b"]}").events) == 1
    with pytest.raises(JsonInvalid):
        read(b'{"events": [' + b"0," * COMMAS_MAX + FINE + b"]}")


def test_a_coding_is_known_by_all_of_its_names(recording: Page) -> None:
    for coding in ("GZIP", "x-gzip"):
        content = gzip.compress(json.dumps({"events": [tracked(coding, 1)]}).encode())
        recording.ask("/batch", content=content, headers={"Content-Encoding": coding})
    assert sorted(names(recording)) == ["GZIP", "x-gzip"]


NO_GZIP = [b"", b"no gzip", gzip.compress(b'{"events": []}')[:-9], b"\x1f\x8b"]


@pytest.mark.parametrize("content", NO_GZIP, ids=range(len(NO_GZIP)))
def test_what_is_no_gzip_is_taken_and_dropped(recording: Page, content: bytes) -> None:
    reply = recording.ask("/batch", content=content, headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.json()) == (200, recording.dropped)
    assert refused(recording, "json_invalid") == 1


def batch_of(size: int) -> bytes:
    """A batch of that many bytes, which has an event."""
    start = json.dumps({"events": [tracked("large", 1)]}).encode()
    return start + b" " * (size - len(start))


@pytest.mark.parametrize(("size", "kept"), [(BYTES_MAX, ["large"]), (BYTES_MAX + 1, [])])
@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_that_is_too_large_is_taken_dropped_and_counted(
    recording: Page, size: int, kept: list[str], packed: bool
) -> None:
    content = batch_of(size)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    reply = recording.ask("/batch", content=gzip.compress(content) if packed else content, headers=headers)
    assert (reply.status_code, reply.json()["success"]) == (200, True)
    assert names(recording) == kept
    assert refused(recording, "body_too_large") == (not kept)


def test_where_too_much_waits_a_batch_is_to_be_sent_again(recording: Page) -> None:
    service = recording.api.app.service
    held, service.large_bodies._bytes_left = service.large_bodies._bytes_left, 10
    reply = recording.ask("/batch", content=batch_of(1_000))
    assert (reply.status_code, reply.json()["success"], reply.json()["errorCode"]) == (200, False, "INTERNAL_ERROR")
    service.large_bodies._bytes_left = held
    assert recording.ask("/batch", content=batch_of(1_000)).json()["success"]
    assert (names(recording), service.large_bodies._bytes_left) == (["large"], held)


def test_inflating_stops_where_it_is_too_much() -> None:
    assert inflated(gzip.compress(b"x" * BYTES_MAX)) == b"x" * BYTES_MAX
    with pytest.raises(BodyTooLarge):
        inflated(gzip.compress(b"x" * (BYTES_MAX + 1)))


@pytest.mark.parametrize("headers", [{"X-Milana-Client-Key": "key_wrong"}, {"X-Milana-Product-Id": "prd_wrong"}])
def test_who_may_not_send_batches_is_told_to_stop(recording: Page, headers: dict[str, str]) -> None:
    reply = recording.ask("/batch", {"events": [tracked("a", 1)]}, headers=headers)
    stop = {"success": False, "sampled": False, "errorCode": "SESSION_NOT_IDENTIFIED"}
    assert (reply.status_code, reply.json()) == (200, recording.dropped | stop)
    assert (names(recording), refused(recording, "unauthorized")) == ([], 1)


@pytest.mark.parametrize("session_id", ["undefined", "ses_nobody", ""])
def test_a_batch_of_no_session_is_taken_and_dropped(recording: Page, session_id: str) -> None:
    recording.session_id = session_id
    assert recording.record(tracked("a", 1)) == recording.dropped


def test_batches_of_a_disabled_user_are_taken_and_dropped(recording: Page) -> None:
    recording.api.ask("PATCH", f"/v1/users/{recording.user('u-1')['id']}", {"disabled": True})
    assert recording.record(tracked("a", 1)) == recording.dropped
    assert names(recording) == []


def test_how_a_recording_performs_is_taken_and_thrown_away(recording: Page) -> None:
    before = recording.api.writes
    reply = recording.ask("/metrics", {"version": 1, "histograms": {"numEventsInBuffer": 0}})
    assert (reply.status_code, reply.json(), recording.api.writes) == (200, {"success": True}, before)


def test_an_identity_token_in_an_event_is_not_kept() -> None:
    events = [tracked("a", 1, **{"plan": "pro", "$identity_token": "ey…", "identityToken": "ey…"})]
    (event,) = read(json.dumps({"events": events}).encode()).events
    assert event.properties == {"plan": "pro"}


def test_times_and_numbers_of_any_kind_are_read() -> None:
    event = {"type": 5, "timestamp": 1.9, "data": {"tag": "V", "payload": {"type": 1, "name": "a"}}}
    found = read(json.dumps({"events": [event], "isClientAbort": True, "more": [1]}).encode())
    assert [(event.name, event.properties, event.occurred_at) for event in found.events] == [("a", {}, 1)]
    assert found.ends
