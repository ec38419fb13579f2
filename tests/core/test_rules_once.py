"""Idempotency: the same request twice is done once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    DAY_MS,
    NOW,
    PROJECT,
    Database,
    after,
    changes_of,
    create,
    delete,
    look,
    made,
    operate,
    refusal,
    run,
    sign_in,
    stored,
    update,
    upsert,
)
from userfold.core.commands import Command, Once
from userfold.core.records import Idempotency, Key
from userfold.core.rules import ONCE_MS, reads

ONCE = Once("k", "1")
ANSWER = Key("idempotency", PROJECT, "k")


def ada() -> Database:
    return after(create({"external_id": "a", "name": "Ada", "traits": {"n": 1}}, user_id="user_a"))


def answers(records: Database) -> list[Idempotency]:
    return [record for record in records.values() if isinstance(record, Idempotency)]


REPEATED: list[Command] = [
    create({"name": "Grace"}, once=ONCE),
    update("user_a", {"name": "Grace"}, once=ONCE),
    update("user_a", {"name": "Ada"}, once=ONCE),
    update("user_a", {"name": "Grace", "public_metadata": {"a": 1}}, BROWSER, once=ONCE),
    operate("user_a", [{"op": "increment", "path": "/traits/n"}], once=ONCE),
    upsert("a", {"name": "Grace"}, once=ONCE),
    upsert("b", {"name": "Grace"}, once=ONCE),
    delete("user_a", once=ONCE),
]


@pytest.mark.parametrize("command", REPEATED, ids=lambda command: type(command).__name__)
def test_the_same_request_has_the_same_answer_and_writes_nothing(command: Command) -> None:
    records = ada()
    first = run(command, records)
    before = dict(records)
    second = run(command, records, now=NOW + DAY_MS - 1)
    assert second.writes == {}
    assert records == before
    assert (second.user, second.change, second.created, second.ignored) == (
        first.user,
        first.change,
        first.created,
        first.ignored,
    )


def test_an_answer_is_as_of_its_request_whatever_came_after() -> None:
    records = ada()
    first = run(update("user_a", {"name": "Grace"}, once=ONCE), records)
    run(update("user_a", {"name": "Hedy"}), records)
    assert run(update("user_a", {"name": "Grace"}, once=ONCE), records).user == first.user
    assert stored(records, "user_a").name == "Hedy"


def test_an_increment_that_is_sent_twice_counts_once() -> None:
    records = ada()
    command = operate("user_a", [{"op": "increment", "path": "/traits/n"}], once=ONCE)
    run(command, records)
    run(command, records)
    assert stored(records, "user_a").traits == {"n": 2}
    assert len(changes_of(records, "user_a")) == 2


def test_what_is_kept_of_an_answer() -> None:
    records = ada()
    applied = run(update("user_a", {"name": "Grace", "public_metadata": {"a": 1}}, BROWSER, once=ONCE), records)
    assert records[ANSWER] == Idempotency(
        id="k",
        request="1",
        at=NOW,
        expires_at=NOW + ONCE_MS,
        user_id="user_a",
        user=applied.user,
        change=None,
        created=False,
        ignored=(("/name", "owned_by_backend"), ("/public_metadata", "not_permitted")),
    )


def test_another_request_with_the_same_key_is_refused() -> None:
    records = ada()
    run(update("user_a", {"name": "Grace"}, once=ONCE), records)
    for command in (update("user_a", {"name": "Grace"}, once=Once("k", "2")), delete("user_a", once=Once("k", "2"))):
        assert refusal(command, records).code == "idempotency_key_reused"
    run(update("user_a", {"name": "Hedy"}, once=Once("k2", "2")), records)
    assert stored(records, "user_a").name == "Hedy"


def test_after_a_day_a_key_is_as_new() -> None:
    records = ada()
    run(update("user_a", {"name": "Grace"}, once=ONCE), records)
    assert (
        refusal(delete("user_a", once=Once("k", "2")), records, now=NOW + DAY_MS - 1).code == "idempotency_key_reused"
    )
    run(update("user_a", {"name": "Hedy"}, once=Once("k", "2")), records, now=NOW + DAY_MS)
    assert stored(records, "user_a").name == "Hedy"
    assert [(answer.request, answer.at) for answer in answers(records)] == [("2", NOW + DAY_MS)]


REFUSED: list[Any] = [
    (update("user_z", {"name": "Grace"}, once=ONCE), "user_not_found"),
    (update("user_a", {"name": 5}, once=ONCE), "field_invalid"),
    (update("user_a", {"name": "Grace"}, if_match=(7,), once=ONCE), "version_mismatch"),
    (create({"external_id": "a"}, once=ONCE), "identifier_taken"),
    (operate("user_a", [{"op": "test", "path": "/name", "value": "Grace"}], once=ONCE), "test_failed"),
]


@pytest.mark.parametrize(("command", "code"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_refusal_is_not_kept(command: Command, code: str) -> None:
    records = ada()
    assert refusal(command, records).code == code
    assert answers(records) == []
    run(update("user_a", {"name": "Hedy"}, once=Once("k", "2")), records)
    assert stored(records, "user_a").name == "Hedy"


def test_what_was_refused_is_done_once_the_reason_is_gone() -> None:
    records = ada()
    command = operate("user_a", [{"op": "test", "path": "/name", "value": "Grace"}], once=ONCE)
    refusal(command, records)
    run(update("user_a", {"name": "Grace"}), records)
    assert run(command, records).user == stored(records, "user_a")


def test_deleting_a_user_removes_the_answers_about_it_and_no_others() -> None:
    records = ada()
    made(records, {"name": "Grace"}, user_id="user_b")
    run(update("user_a", {"name": "Hedy"}, once=ONCE), records)
    run(update("user_b", {"name": "Hedy"}, once=Once("k2", "1")), records)
    run(delete("user_a"), records)
    assert [answer.user_id for answer in answers(records)] == ["user_b"]
    assert refusal(update("user_a", {"name": "Hedy"}, once=ONCE), records).code == "user_not_found"


def test_deleting_with_a_key_leaves_an_answer_that_says_nothing_of_the_user() -> None:
    records = ada()
    run(delete("user_a", once=ONCE), records)
    (answer,) = answers(records)
    assert (answer.user_id, answer.user, answer.change) == ("", None, None)


def test_a_key_is_looked_at_in_the_first_round_of_reading() -> None:
    command = update("user_a", {"name": "Grace"}, once=ONCE)
    assert ANSWER in reads(command)
    assert look(command, ada()).rounds == 1
    assert ANSWER not in reads(update("user_a", {}))


def test_keys_of_one_project_mean_nothing_in_another() -> None:
    records = ada()
    run(update("user_a", {"name": "Grace"}, once=ONCE), records)
    command = create({"name": "Hedy"}, once=Once("k", "2"))
    elsewhere = type(command)(project_id="prj_2", author=BACKEND, edits=command.edits, once=command.once)
    assert run(elsewhere, records).created


def test_a_sign_in_that_is_sent_twice_is_answered_with_the_first() -> None:
    records = ada()
    first = run(sign_in("user_a", once=ONCE), records)
    assert run(sign_in("user_a", once=ONCE), records).record == first.record
