"""Creations that are sent again: whose answer was lost, and who means it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    Database,
    delete,
    look,
    refusal,
    run,
    update,
)
from userfold.core.commands import CreateUser, EarlierAnswer, Edit, Resendable
from userfold.core.errors import IdentifierTaken
from userfold.core.records import Idempotency, Key
from userfold.core.resending import BACK_OFF_MS, CREATIONS_KEPT_MS, answer_was_lost
from userfold.core.rules import reads

ADA: dict[str, Any] = {"email_addresses": ["ada@example.com"], "name": "Ada"}
NOTE = Key("idempotency", PROJECT, "r")
UNKNOWN = Resendable("r", None, resends=False)
ARRIVED = Resendable("r", EarlierAnswer(at=NOW, was_lost=False), resends=False)


def create(document: dict[str, Any], resendable: Resendable | None = UNKNOWN) -> CreateUser:
    return CreateUser(project_id=PROJECT, author=BACKEND, edits=(Edit("replace", document),), resendable=resendable)


LOST: list[tuple[EarlierAnswer | None, bool, int, bool]] = [
    # what is known of the first answer, whether the client sends again by itself, when (ms later), whether it was lost
    (None, False, 0, True),
    (None, True, 0, True),
    (EarlierAnswer(at=NOW, was_lost=True), False, 0, True),
    (EarlierAnswer(at=NOW, was_lost=True), True, 0, True),
    (EarlierAnswer(at=NOW, was_lost=False), False, 0, False),
    (EarlierAnswer(at=NOW, was_lost=False), False, 10_000, False),
    (EarlierAnswer(at=NOW, was_lost=False), True, 0, False),
    (EarlierAnswer(at=NOW, was_lost=False), True, BACK_OFF_MS - 1, False),
    (EarlierAnswer(at=NOW, was_lost=False), True, BACK_OFF_MS, True),
    (EarlierAnswer(at=NOW, was_lost=False), True, 10_000, True),
]


@pytest.mark.parametrize(("earlier", "resends", "later", "lost"), LOST)
def test_whether_an_answer_was_lost_is_told_by_what_is_known_of_it(
    earlier: EarlierAnswer | None, resends: bool, later: int, lost: bool
) -> None:
    assert answer_was_lost(Resendable("r", earlier, resends), NOW + later) is lost


@pytest.mark.parametrize(
    "document",
    [ADA, {"username": "ada"}, {"external_id": "7"}, {"phone_numbers": ["+442079460958"]}],
    ids=lambda document: next(iter(document)),
)
def test_a_creation_whose_answer_was_lost_is_answered_with_the_user_that_it_made(document: dict[str, Any]) -> None:
    records: Database = {}
    user = run(create(document), records).user
    before = dict(records)
    again = run(create(document), records, now=NOW + CREATIONS_KEPT_MS - 1)
    assert (again.user, again.writes, again.created) == (user, {}, False)
    assert records == before


def test_a_creation_whose_answer_arrived_is_another_wish_and_refused() -> None:
    records: Database = {}
    run(create(ADA), records)
    assert isinstance(refusal(create(ADA, ARRIVED), records), IdentifierTaken)


def test_another_creation_is_refused_whatever_was_lost() -> None:
    records: Database = {}
    run(create(ADA), records)
    other = msgspec.structs.replace(UNKNOWN, id="another body")
    assert isinstance(refusal(create(ADA, other), records), IdentifierTaken)
    assert isinstance(refusal(create(ADA, None), records), IdentifierTaken)


def test_after_an_hour_it_is_a_new_wish() -> None:
    records: Database = {}
    run(create(ADA), records)
    assert isinstance(refusal(create(ADA), records, now=NOW + CREATIONS_KEPT_MS), IdentifierTaken)


def test_a_user_who_was_changed_since_is_not_answered_as_if_it_were_new() -> None:
    records: Database = {}
    user = run(create(ADA), records).user
    assert user is not None
    run(update(user.id, {"name": "Countess"}), records)
    assert isinstance(refusal(create(ADA), records), IdentifierTaken)


def test_a_creation_that_adopted_what_a_browser_began_is_answered_with_that_user_until_it_is_changed() -> None:
    records: Database = {}
    begun = CreateUser(project_id=PROJECT, author=BROWSER, edits=(Edit("replace", {"external_id": "u-1"}),))
    run(begun, records)
    adopted = run(create({"external_id": "u-1"}), records).user
    assert adopted is not None
    again = run(create({"external_id": "u-1"}), records)
    assert (again.user, again.writes) == (adopted, {})
    run(update(adopted.id, {"name": "Countess"}), records)
    assert isinstance(refusal(create({"external_id": "u-1"}), records), IdentifierTaken)


def test_a_user_who_was_deleted_since_is_made_anew() -> None:
    records: Database = {}
    first = run(create(ADA), records).user
    assert first is not None
    run(delete(first.id), records)
    assert NOTE not in records
    second = run(create(ADA), records)
    assert second.created
    assert second.user is not None
    assert second.user.id != first.id


@pytest.mark.parametrize("document", [{}, {"name": "Ada"}, {"traits": {"a": 1}}, {"contact_email": "ada@example.com"}])
def test_a_creation_that_names_nobody_makes_another_user_each_time(document: dict[str, Any]) -> None:
    records: Database = {}
    first, second = (run(create(document), records) for _ in range(2))
    assert first.created
    assert second.created
    assert NOTE not in records


def test_what_is_remembered_of_a_creation_is_no_copy_of_the_user() -> None:
    records: Database = {}
    user = run(create(ADA), records).user
    assert user is not None
    note = records[NOTE]
    assert isinstance(note, Idempotency)
    assert (note.user_id, note.user, note.expires_at) == (user.id, None, NOW + CREATIONS_KEPT_MS)


def test_a_creation_asks_at_once_for_what_is_remembered_of_it() -> None:
    assert NOTE in reads(create(ADA))
    assert look(create(ADA), {}).rounds <= 3
