"""Finding users: what a user is found by, and what a query asks."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import users
from userfold.core.queries import (
    DISABLED,
    EXACT_KINDS,
    NAME_ORDERS,
    SEARCHED_FIELDS,
    TERM_KINDS,
    TEXT_LENGTH_MIN,
    Part,
    UserQuery,
    fold,
    matches,
    position,
    same_terms,
    term,
    terms,
    text,
)
from userfold.core.records import EmailAddress, PhoneNumber, Presence, User

NFD_E = "e\u0301"  # é in two code points


def addresses(*values: str) -> tuple[EmailAddress, ...]:
    return tuple(EmailAddress(id=f"idn_{v}", email_address=v, created_at=1, updated_at=1) for v in values)


def phones(*values: str) -> tuple[PhoneNumber, ...]:
    return tuple(PhoneNumber(id=f"idn_{v}", phone_number=v, created_at=1, updated_at=1) for v in values)


ADA = User(
    id="user_A1",
    external_id="App-7",
    username="Ada.L",
    first_name="Ada",
    last_name="LOVELACE",
    name="Ada Lovelace",
    email_addresses=addresses("ada@example.com", "al@example.org"),
    phone_numbers=phones("+442079460958"),
    contact_email="Ada@Home.example",
    contact_phone="+48 600 700 800",
    segments=("seg_1",),
    disabled=True,
    traits={"plan": "secret-plan"},
    private_metadata={"note": "secret-note"},
    locale="en-GB",
    created_at=10,
    updated_at=20,
)


# Users as the rules make them: of all searched fields, only the username is checked again when terms are made.
found_users = users().map(lambda user: msgspec.structs.replace(user, username="Ada.L" if user.username else None))


def query(**values: Any) -> UserQuery:
    return UserQuery(project_id="prj_1", limit=10, **values)


FOLDED = [
    ("", ""),
    ("Ada", "ada"),
    ("ada@Example.COM", "ada@example.com"),
    ("STRASSE", "strasse"),
    ("Straße", "strasse"),
    ("É", "é"),
    (NFD_E, "é"),
    (NFD_E.upper(), "é"),
    ("ŁÓDŹ", "łódź"),
    ("ΣΑΣ", "σασ"),
    ("σας", "σασ"),
    ("a\nb", "a b"),
    ("a b\t", "a b\t"),
    ("李", "李"),
]


@pytest.mark.parametrize(("value", "folded"), FOLDED, ids=repr)
def test_searches_do_not_see_case_or_the_way_accents_are_written(value: str, folded: str) -> None:
    assert fold(value) == folded


@given(st.text())
def test_a_folded_text_is_one_line_and_the_same_for_equivalent_texts(value: str) -> None:
    assert "\n" not in fold(value)
    assert fold(unicodedata.normalize("NFD", value)) == fold(value)
    assert unicodedata.is_normalized("NFC", fold(value))


TERMS = [
    ("id", "user_A1", "id|user_A1"),
    ("external_id", "App-7", "external_id|App-7"),
    ("external_id", NFD_E, "external_id|" + NFD_E),
    ("username", "Ada", "username|ada"),
    ("name", "ÉVA", "name|éva"),
    ("email", "A@B.C", "email|a@b.c"),
    ("contact_email", "A|B", "contact_email|a|b"),
    ("phone", "+44", "phone|+44"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), TERMS, ids=repr)
def test_ids_are_exact_and_everything_else_is_folded(kind: str, value: str, expected: str) -> None:
    assert term(kind, value) == expected


def test_a_user_is_found_by_each_of_its_names_and_addresses() -> None:
    assert terms(ADA) == (
        "id|user_A1",
        "external_id|App-7",
        "username|ada.l",
        "first_name|ada",
        "last_name|lovelace",
        "name|ada lovelace",
        "email|ada@example.com",
        "email|al@example.org",
        "phone|+442079460958",
        "contact_email|ada@home.example",
        "contact_phone|+48 600 700 800",
        "folded_id|user_a1",
        "folded_external_id|app-7",
        "segment|seg_1",
        "idn|idn_ada@example.com",
        "idn|idn_al@example.org",
        "idn|idn_+442079460958",
        DISABLED,
    )


@pytest.mark.parametrize("empty", [None, ""])
def test_what_is_empty_is_no_term(empty: str | None) -> None:
    user = User(id="user_1", name=empty, first_name=empty, contact_email=empty)
    assert terms(user) == ("id|user_1",)
    assert text(user) == "user_1"


@given(found_users)
def test_every_term_has_one_of_the_kinds_and_every_kind_occurs(user: User) -> None:
    kinds = {*TERM_KINDS, "segment", "idn", "state"}
    assert {own.partition("|")[0] for own in terms(user)} <= kinds
    assert {own.partition("|")[0] for own in terms(ADA)} == kinds
    assert kinds >= EXACT_KINDS


def test_the_text_is_every_value_folded_on_a_line_of_its_own() -> None:
    assert text(ADA).split("\n") == [
        "user_a1",
        "app-7",
        "ada.l",
        "ada",
        "lovelace",
        "ada lovelace",
        "ada@example.com",
        "al@example.org",
        "+442079460958",
        "ada@home.example",
        "+48 600 700 800",
    ]


@given(found_users)
def test_the_text_has_one_line_for_each_value(user: User) -> None:
    of_values = [own for own in terms(user) if not own.startswith(("folded_", "segment|", "idn|", "state|"))]
    assert len(text(user).split("\n")) == len(of_values)


def test_a_user_whose_username_would_be_refused_today_is_still_found() -> None:
    assert terms(User(id="user_1", username="Ada L")) == ("id|user_1", "username|ada l")


ASKED: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    # any_terms: one is enough, none finds nobody.
    ({"any_terms": ("id|user_A1",)}, True),
    ({"any_terms": ("id|user_a1",)}, False),
    ({"any_terms": ("external_id|App-7",)}, True),
    ({"any_terms": ("external_id|app-7",)}, False),
    ({"any_terms": ("email|ada@example.com", "email|nobody@example.com")}, True),
    ({"any_terms": ("email|nobody@example.com", "contact_email|ada@home.example")}, True),
    ({"any_terms": ("email|ada@home.example",)}, False),
    ({"any_terms": ("name|ada",)}, False),
    ({"any_terms": ()}, False),
    # text: anywhere in a value, whatever its case.
    ({"text": "lace"}, True),
    ({"text": "LOVE"}, True),
    ({"text": "a lov"}, True),
    ({"text": "example.org"}, True),
    ({"text": "APP-7"}, True),
    ({"text": "0958"}, True),
    ({"text": "nobody"}, False),
    # Bags, locale and the names of kinds are not searched.
    ({"text": "secret"}, False),
    ({"text": "en-gb"}, False),
    ({"text": "email|"}, False),
    # A match lies in one value.
    ({"text": "ada.lada"}, False),
    ({"text": "ada.l ada"}, False),
    ({"text": "ada.l\nada"}, False),
    # Shorter than three characters: only at the beginning of a value.
    ({"text": ""}, True),
    ({"text": "a"}, True),
    ({"text": "AD"}, True),
    ({"text": "lo"}, True),
    ({"text": "+4"}, True),
    ({"text": "us"}, True),
    ({"text": "da"}, False),
    ({"text": "ce"}, False),
    ({"text": "58"}, False),
    ({"text": "|"}, False),
    # A folded text may be longer than what was typed.
    ({"text": "ß"}, False),
    # Both must hold.
    ({"any_terms": ("id|user_A1",), "text": "lovelace"}, True),
    ({"any_terms": ("id|user_A1",), "text": "nobody"}, False),
    ({"any_terms": ("id|user_B",), "text": "lovelace"}, False),
    # What no value can have is not even folded: this would take a quarter of an hour.
    ({"text": "a" + "\u0315\u0300" * 250_000}, False),
    # also: one of each; without: none of these.
    ({"also": (("id|user_A1",), ("segment|seg_1", "segment|seg_2"))}, True),
    ({"also": (("id|user_A1",), ("segment|seg_2",))}, False),
    ({"also": ((),)}, False),
    ({"any_terms": ("id|user_B",), "also": (("id|user_A1",),)}, False),
    ({"also": ((DISABLED,),)}, True),
    ({"without": (DISABLED,)}, False),
    ({"without": ("id|user_B", "segment|seg_2")}, True),
    # parts: in a value of one of their kinds; a short one at its beginning.
    ({"parts": (Part("EXAMPLE.org", ("email",)),)}, True),
    ({"parts": (Part("home.example", ("email",)),)}, False),
    ({"parts": (Part("love", ("first_name", "last_name")),)}, True),
    ({"parts": (Part("love", ("first_name",)),)}, False),
    ({"parts": (Part("love", ("last_name",)), Part("ada", ("last_name",)))}, False),
    ({"parts": (Part("lo", ("last_name",)),)}, True),
    ({"parts": (Part("ve", ("last_name",)),)}, False),
    ({"parts": (Part("R_a", ("id",)),)}, True),
    ({"parts": (Part("us", ("username",)),)}, False),
    ({"parts": (Part("love\0", ("last_name",)),)}, False),
    # Both ends are outside.
    ({"created_after": 9, "created_before": 11}, True),
    ({"created_after": 10}, False),
    ({"created_before": 10}, False),
    # Order, page and limit are not asked here.
    ({"after": (99, "user_z"), "order": "updated_at", "descending": True}, True),
]


@pytest.mark.parametrize(("asked", "found"), ASKED, ids=lambda asked: repr(asked)[:80])
def test_a_query_finds_a_user_as_its_table_says(asked: dict[str, Any], found: bool) -> None:
    assert matches(ADA, query(**asked)) is found


@given(found_users)
def test_a_user_is_found_by_any_of_its_terms_and_any_three_characters_of_them(user: User) -> None:
    for own in terms(user):
        assert matches(user, query(any_terms=(own,)))
    for line in text(user).split("\n"):
        part = line[-TEXT_LENGTH_MIN:]
        if len(part) == TEXT_LENGTH_MIN and fold(part) == part:
            assert matches(user, query(text=part))


@pytest.mark.parametrize("wanted", ["A", "a", "AP", "ap"])
def test_a_short_text_finds_the_beginning_of_an_id_whatever_its_case(wanted: str) -> None:
    user = User(id="user_1", external_id="App-7")
    assert matches(user, query(text="app"))
    assert matches(user, query(text=wanted))


SEEN = Presence(id="user_A1", last_active_at=30, last_sign_in_at=20)
NEVER = Presence(id="user_A1")

# Of whom, what is asked → whether it finds the user. Who was never there is not found by any limit to that time.
ASKED_OF_PRESENCE: list[tuple[Presence | None, dict[str, Any], bool]] = [
    (SEEN, {"active_after": 29, "active_before": 31}, True),
    (SEEN, {"active_after": 30}, False),
    (SEEN, {"active_before": 30}, False),
    (SEEN, {"signed_in_after": 19, "signed_in_before": 21}, True),
    (SEEN, {"signed_in_after": 20}, False),
    (SEEN, {"signed_in_before": 20}, False),
    (SEEN, {"signed_in_before": 25, "active_before": 25}, False),
    (SEEN, {"active_after": 0}, True),
    (Presence(id="user_A1", last_active_at=1), {"active_after": 0}, True),
    (SEEN, {"active_after": -1, "signed_in_after": -1}, True),
    *(
        (nobody, {limit: at}, False)
        for nobody in (None, NEVER)
        for limit in ("active_after", "active_before", "signed_in_after", "signed_in_before")
        for at in (-1, 0, 99)
    ),
    (None, {"created_after": 9}, True),
]


@pytest.mark.parametrize(("presence", "asked", "found"), ASKED_OF_PRESENCE)
def test_a_limit_to_a_time_of_the_presence_finds_only_who_has_one(
    presence: Presence | None, asked: dict[str, Any], found: bool
) -> None:
    assert matches(ADA, query(**asked), presence) is found


def test_in_an_order_by_presence_who_was_never_there_is_first() -> None:
    for order, at in (("last_active_at", 30), ("last_sign_in_at", 20)):
        places = [position(ADA, order, presence) for presence in (SEEN, NEVER, None)]  # type: ignore[arg-type]
        assert places == [(at, "user_A1"), (0, "user_A1"), (0, "user_A1")]


def test_a_position_is_the_time_and_then_the_id() -> None:
    assert (position(ADA, "created_at"), position(ADA, "updated_at")) == ((10, "user_A1"), (20, "user_A1"))


def test_in_an_order_by_names_the_primary_address_counts_and_who_has_none_is_first() -> None:
    second = msgspec.structs.replace(addresses("Z@b.c")[0], primary=True)
    user = User(id="u", email_addresses=(*addresses("a@b.c"), second), first_name="ÉVA")
    told = dict.fromkeys(NAME_ORDERS, "") | {"email": "z@b.c", "first_name": "éva"}
    assert {order: position(user, order) for order in NAME_ORDERS} == {n: (v, "u") for n, v in told.items()}  # type: ignore[arg-type]


def test_positions_put_users_of_one_time_in_the_order_of_their_ids() -> None:
    drawn = [User(id=id_, created_at=at) for id_, at in [("b", 1), ("a", 2), ("c", 1), ("B", 1)]]
    in_order = sorted(drawn, key=lambda user: position(user, "created_at"))
    assert [user.id for user in in_order] == ["B", "b", "c", "a"]


OTHER_VALUES: dict[str, Any] = {
    **dict.fromkeys(SEARCHED_FIELDS, "other"),
    "email_addresses": addresses("other@example.com"),
    "phone_numbers": phones("+442079460000"),
    "disabled": False,
}


@pytest.mark.parametrize("name", User.__struct_fields__)
def test_terms_change_with_the_searched_fields_and_no_others(name: str) -> None:
    if name == "id":
        return  # a user's id never changes
    changed = msgspec.structs.replace(ADA, **{name: OTHER_VALUES.get(name, "other")})
    assert (terms(changed) != terms(ADA)) is (name in SEARCHED_FIELDS)
    assert same_terms(ADA, changed) is (name not in SEARCHED_FIELDS)
