from __future__ import annotations

from typing import Literal

import pytest

from tests.conftest import in_order
from userfold.core.attribution import attribute
from userfold.core.errors import SessionClosed
from userfold.core.records import Session, User

EVERYTHING = frozenset(User.__struct_fields__)
TRAITS = frozenset({"traits"})

# The user to whom the session is linked, the user who is named → whether it links, what may be written.
TABLE: list[tuple[str | None, str, bool, frozenset[str]]] = [
    (None, "user_a", True, EVERYTHING),
    (None, "", True, EVERYTHING),
    ("user_a", "user_a", False, EVERYTHING),
    ("user_a", "user_b", False, TRAITS),
    ("user_a", "USER_A", False, TRAITS),
    ("user_a", "", False, TRAITS),
]


def linked(user_id: str | None, status: Literal["active", "ended"] = "active") -> Session:
    return Session(id="ses_1", user_id=user_id, status=status, created_at=0)


@pytest.mark.parametrize(("linked_to", "named", "links", "fields"), TABLE, ids=in_order)
def test_the_attribution_table(linked_to: str | None, named: str, links: bool, fields: frozenset[str]) -> None:
    attribution = attribute(linked(linked_to), named)
    assert (attribution.links, attribution.fields) == (links, fields)


def test_a_call_without_a_session_links_nothing_and_may_write_everything() -> None:
    attribution = attribute(None, "user_a")
    assert (attribution.links, attribution.fields) == (False, EVERYTHING)


@pytest.mark.parametrize("user_id", [None, "user_a", "user_b"])
def test_an_ended_session_is_refused_whoever_it_belongs_to(user_id: str | None) -> None:
    with pytest.raises(SessionClosed):
        attribute(linked(user_id, "ended"), "user_a")
