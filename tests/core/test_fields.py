from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_values
from userfold.core.errors import BagTooDeep, BagTooLarge, FieldFormatInvalid, FieldInvalid, FieldUnknown, InputError
from userfold.core.fields import CHECKS, check, check_bag
from userfold.core.ids import Mint
from userfold.core.jsontext import same_text, size
from userfold.core.records import FIELDS, EmailAddress, PhoneNumber, User

NOW = 1_000
LATER = 2_000

NOT_STRINGS: list[Any] = [0, 1.5, True, False, [], ["a"], {}, {"a": 1}]
NOT_FLAGS: list[Any] = [0, 1, "true", "", [], {}]
NOT_CHOICES: list[Any] = ["", "None", 0, True, [], ["none"]]
NOT_LISTS: list[Any] = ["a@b.c", "", 0, True, {}, {"0": "a@b.c"}]
NOT_ENTRIES: list[Any] = [None, 0, True, [], ["a@b.c"]]


def checked(name: str, value: Any, stored: Any = None, *, now: int = NOW) -> Any:
    """What the field `name` makes of `value`, where `stored` stands, or what a new user has."""
    stored = getattr(User(id="user_1"), name) if stored is None else stored
    return check(FIELDS[name], value, stored, f"/{name}", Mint(now, 0))


def test_every_kind_of_field_but_bags_and_system_fields_has_a_check() -> None:
    assert {field.kind for field in FIELDS.values()} == {*CHECKS, "bag", "system"}


# field, given, stored
ACCEPTED: list[tuple[str, Any, Any]] = [
    ("name", "Ada", "Ada"),
    ("name", "", ""),
    ("name", " Ada  Lovelace ", " Ada  Lovelace "),
    ("name", "e\u0301", "e\u0301"),
    ("name", "x" * 255, "x" * 255),
    ("name", None, None),
    ("first_name", "Ada", "Ada"),
    ("last_name", None, None),
    ("locale", "pl-PL", "pl-PL"),
    ("timezone", "Europe/Warsaw", "Europe/Warsaw"),
    ("contact_phone", "0044 whatever", "0044 whatever"),
    ("external_id", "u-1", "u-1"),
    ("external_id", " U ", " U "),
    ("external_id", None, None),
    ("username", "Ada", "Ada"),
    ("username", "Straße", "Straße"),
    ("username", None, None),
    ("contact_email", "Ada@Bücher.example", "ada@xn--bcher-kva.example"),
    ("contact_email", "not an address", "not an address"),
    ("contact_email", " Ada@ ", " Ada@ "),
    ("contact_email", "", ""),
    ("contact_email", None, None),
    ("disabled", True, True),
    ("disabled", False, False),
    ("disabled", None, False),
    ("locked", None, False),
    ("second_factor_policy", "none", "none"),
    ("second_factor_policy", "optional", "optional"),
    ("second_factor_policy", "enforced", "enforced"),
    ("second_factor_policy", None, "optional"),
    ("email_addresses", None, ()),
    ("email_addresses", [], ()),
    ("phone_numbers", None, ()),
    ("phone_numbers", [], ()),
]


@pytest.mark.parametrize(("name", "value", "kept"), ACCEPTED, ids=repr)
def test_a_field_keeps_a_valid_value_in_its_normal_form(name: str, value: Any, kept: Any) -> None:
    result = checked(name, value)
    assert result == kept
    assert type(result) is type(kept)


STRING, FLAG, LIST = "a string is needed", "true or false is needed", "a list is needed"
CHOICE = "one of optional, none, enforced is needed"
ENTRY = "a string or an object with email_address is needed"

# field, given, what the refusal says
INVALID: list[tuple[str, Any, str, str]] = [
    *(
        (name, value, f"/{name}", STRING)
        for name in ("name", "external_id", "username", "contact_email", "contact_phone")
        for value in NOT_STRINGS
    ),
    *(("disabled", value, "/disabled", FLAG) for value in NOT_FLAGS),
    *(("second_factor_policy", value, "/second_factor_policy", CHOICE) for value in NOT_CHOICES),
    *(("email_addresses", value, "/email_addresses", LIST) for value in NOT_LISTS),
    *(("phone_numbers", value, "/phone_numbers", LIST) for value in NOT_LISTS),
    *(("email_addresses", ["a@b.c", value], "/email_addresses/1", ENTRY) for value in NOT_ENTRIES),
    ("email_addresses", [{}], "/email_addresses/0/email_address", STRING),
    ("email_addresses", [{"verified": True}], "/email_addresses/0/email_address", STRING),
    ("email_addresses", [{"email_address": 1}], "/email_addresses/0/email_address", STRING),
    ("email_addresses", [{"email_address": None}], "/email_addresses/0/email_address", STRING),
    ("email_addresses", [{"email_address": "a@b.c", "verified": 1}], "/email_addresses/0/verified", FLAG),
    ("email_addresses", [{"email_address": "a@b.c", "verified": None}], "/email_addresses/0/verified", FLAG),
    ("email_addresses", [{"email_address": "a@b.c", "primary": "yes"}], "/email_addresses/0/primary", FLAG),
    ("email_addresses", ["a@b.c", "a@b.c"], "/email_addresses/1", "it stands in the list twice"),
    ("email_addresses", ["a@b.c", "x@b.c", " A@B.C "], "/email_addresses/2", "it stands in the list twice"),
    (
        "email_addresses",
        ["a@bü.c", {"email_address": "a@xn--b-eha.c"}],
        "/email_addresses/1",
        "it stands in the list twice",
    ),
    ("phone_numbers", ["+442079460958", "+44 20 7946 0958"], "/phone_numbers/1", "it stands in the list twice"),
    (
        "email_addresses",
        [{"email_address": "a@b.c", "primary": True}, {"email_address": "x@b.c", "primary": True}],
        "/email_addresses",
        "only one can be primary",
    ),
    ("phone_numbers", [{"email_address": "a@b.c"}], "/phone_numbers/0/email_address", ""),
    ("email_addresses", [{"email_address": "a@b.c", "phone_number": "1"}], "/email_addresses/0/phone_number", ""),
    ("email_addresses", ["x@b.c", {"email_address": "a@b.c", "": 1}], "/email_addresses/1/", ""),
]


@pytest.mark.parametrize(("name", "value", "path", "reason"), INVALID, ids=lambda given: repr(given)[:40])
def test_a_field_refuses_a_value_of_the_wrong_kind(name: str, value: Any, path: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        checked(name, value)
    if reason:
        assert (type(refused.value), refused.value.data) == (FieldInvalid, {"path": path, "reason": reason})
    else:
        assert (type(refused.value), refused.value.data) == (FieldUnknown, {"path": path})


FORMATS: list[tuple[str, Any, str]] = [
    ("name", "x" * 256, "/name"),
    ("name", "a\0", "/name"),
    ("contact_email", "x" * 256, "/contact_email"),
    ("contact_email", "a\0@b.c", "/contact_email"),
    ("contact_phone", "\0", "/contact_phone"),
    ("external_id", "", "/external_id"),
    ("external_id", "x" * 256, "/external_id"),
    ("username", "", "/username"),
    ("username", "a b", "/username"),
    ("username", "ß" * 128, "/username"),
    ("email_addresses", ["a@b.c", "nobody"], "/email_addresses/1/email_address"),
    ("email_addresses", [{"email_address": ""}], "/email_addresses/0/email_address"),
    ("phone_numbers", ["020 7946 0958"], "/phone_numbers/0/phone_number"),
]


@pytest.mark.parametrize(("name", "value", "path"), FORMATS, ids=lambda given: repr(given)[:40])
def test_a_string_of_the_wrong_form_is_refused_at_its_path(name: str, value: Any, path: str) -> None:
    with pytest.raises(FieldFormatInvalid) as refused:
        checked(name, value)
    assert refused.value.path == path
    assert refused.value.data["reason"]


def test_a_username_that_composes_to_255_characters_is_still_too_long() -> None:
    with pytest.raises(FieldFormatInvalid):
        checked("username", "e\u0301" * 255)


def test_the_path_of_an_unknown_member_is_a_json_pointer() -> None:
    with pytest.raises(FieldUnknown) as refused:
        checked("email_addresses", [{"email_address": "a@b.c", "a/b~": 1}])
    assert refused.value.path == "/email_addresses/0/a~1b~0"


def email(text: str, id: str, *, verified: bool = False, primary: bool = False, updated_at: int = NOW) -> EmailAddress:
    return EmailAddress(
        id=id, email_address=text, verified=verified, primary=primary, created_at=NOW, updated_at=updated_at
    )


def minted(number: int, at: int = LATER) -> str:
    mint = Mint(at, 0)
    return [mint.id("idn_") for _ in range(number)][-1]


A = email("a@b.c", "idn_a", verified=True, primary=True)
B = email("b@b.c", "idn_b")
NEW = "n@b.c"

# what stands there, what is given at LATER, what stands there then
EMAIL_LISTS: list[tuple[str, tuple[EmailAddress, ...], list[Any], tuple[EmailAddress, ...]]] = [
    ("an address that stays keeps everything", (A, B), ["a@b.c", "b@b.c"], (A, B)),
    ("another spelling is the same address", (A, B), [" A@B.C", {"email_address": "B@b.c"}], (A, B)),
    ("an object without flags keeps the flags", (A,), [{"email_address": "a@b.c"}], (A,)),
    ("the order is the one that is given", (A, B), ["b@b.c", "a@b.c"], (B, A)),
    ("an address that is not given goes", (A, B), ["a@b.c"], (A,)),
    ("an empty list removes all", (A, B), [], ()),
    (
        "a new address gets an id and is not verified",
        (A,),
        ["a@b.c", NEW],
        (A, EmailAddress(id=minted(1), email_address=NEW, created_at=LATER, updated_at=LATER)),
    ),
    (
        "the first address of all is primary",
        (),
        ["n@b.c", "m@b.c"],
        (
            EmailAddress(id=minted(1), email_address="n@b.c", primary=True, created_at=LATER, updated_at=LATER),
            EmailAddress(id=minted(2), email_address="m@b.c", created_at=LATER, updated_at=LATER),
        ),
    ),
    (
        "a new address may come verified and primary",
        (),
        ["m@b.c", {"email_address": "n@b.c", "verified": True, "primary": True}],
        (
            EmailAddress(id=minted(1), email_address="m@b.c", created_at=LATER, updated_at=LATER),
            EmailAddress(
                id=minted(2), email_address="n@b.c", verified=True, primary=True, created_at=LATER, updated_at=LATER
            ),
        ),
    ),
    (
        "a flag that changes is dated",
        (A, B),
        ["a@b.c", {"email_address": "b@b.c", "verified": True}],
        (A, email("b@b.c", "idn_b", verified=True, updated_at=LATER)),
    ),
    (
        "an address can lose its verification",
        (A,),
        [{"email_address": "a@b.c", "verified": False}],
        (email("a@b.c", "idn_a", primary=True, updated_at=LATER),),
    ),
    (
        "the address that says so becomes primary, and the other stops being it",
        (A, B),
        ["a@b.c", {"email_address": "b@b.c", "primary": True}],
        (
            email("a@b.c", "idn_a", verified=True, updated_at=LATER),
            email("b@b.c", "idn_b", primary=True, updated_at=LATER),
        ),
    ),
    ("the one that was primary stays it, wherever it stands", (B, A), ["b@b.c", "a@b.c"], (B, A)),
    (
        "without the one that was primary, the first is",
        (A, B),
        ["b@b.c"],
        (email("b@b.c", "idn_b", primary=True, updated_at=LATER),),
    ),
    ("one is primary even if it says it is not", (A,), [{"email_address": "a@b.c", "primary": False}], (A,)),
]


@pytest.mark.parametrize(
    ("stored", "given_", "after"), [row[1:] for row in EMAIL_LISTS], ids=[row[0] for row in EMAIL_LISTS]
)
def test_the_list_of_email_addresses(
    stored: tuple[EmailAddress, ...], given_: list[Any], after: tuple[EmailAddress, ...]
) -> None:
    assert checked("email_addresses", given_, stored, now=LATER) == after


def test_the_list_of_phone_numbers_follows_the_same_rules() -> None:
    one = PhoneNumber(
        id="idn_1", phone_number="+442079460958", verified=True, primary=True, created_at=NOW, updated_at=NOW
    )
    two = PhoneNumber(id=minted(1), phone_number="+12025550143", created_at=LATER, updated_at=LATER)
    given_ = [{"phone_number": "+44 20 7946 0958"}, "+1 202-555-0143"]
    assert checked("phone_numbers", given_, (one,), now=LATER) == (one, two)


def test_an_address_may_be_sent_back_as_it_is_shown() -> None:
    shown = {"id": "idn_a", "email_address": "a@b.c", "verified": True, "primary": True}
    shown |= {"created_at": NOW, "updated_at": NOW}
    assert checked("email_addresses", [shown], (A,), now=LATER) == (A,)


@pytest.mark.parametrize("member", [{"id": "idn_b"}, {"id": 5}, {"created_at": 0}, {"updated_at": "never"}], ids=repr)
def test_what_userfold_keeps_of_an_address_cannot_be_written(member: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        checked("email_addresses", [{"email_address": "a@b.c", **member}], (A,))


@given(st.sampled_from([name for name, field in FIELDS.items() if field.kind in CHECKS]), json_values())
def test_any_json_value_is_accepted_or_refused_with_a_path_below_its_field(name: str, value: Any) -> None:
    before = copy.deepcopy(value)
    path: str | None = f"/{name}"
    try:
        checked(name, value, (A, B) if name == "email_addresses" else None)
    except InputError as refused:
        path = refused.path
    assert str(path).startswith(f"/{name}")
    assert same_text(value, before)


some_emails = st.lists(
    st.fixed_dictionaries(
        {"email_address": st.sampled_from(["a@b.c", "b@b.c", "n@b.c"])},
        optional={"verified": st.booleans(), "primary": st.booleans()},
    ),
    max_size=3,
)


@given(some_emails)
def test_a_list_that_is_accepted_has_one_primary_and_changes_nothing_when_given_again(given_: list[Any]) -> None:
    try:
        once = checked("email_addresses", given_, (A, B))
    except InputError:
        return
    assert sum(address.primary for address in once) == min(len(once), 1)
    assert checked("email_addresses", given_, once, now=LATER) == once


def bag_of(size_wanted: int) -> dict[str, Any]:
    bag = {"text": "x" * (size_wanted - len('{"text":""}'))}
    assert size(bag) == size_wanted
    return bag


def nested(depth: int) -> Any:
    value: Any = {}
    for level in range(depth - 1):
        value = {"a": value} if level % 2 else [value]
    return value


def test_a_bag_may_be_64_kib_of_json_and_not_one_byte_more() -> None:
    check_bag(bag_of(65_536), "/traits")
    with pytest.raises(BagTooLarge) as refused:
        check_bag(bag_of(65_537), "/traits")
    assert refused.value.data == {"path": "/traits", "size": 65_537, "size_max": 65_536}


def test_the_size_of_a_bag_is_in_bytes_of_utf_8() -> None:
    check_bag({"a": "é" * 32_764}, "/traits")
    with pytest.raises(BagTooLarge):
        check_bag({"a": "é" * 32_765}, "/traits")


@pytest.mark.parametrize("inner", [{"a": nested(31)}, {"a": 1, "b": [nested(30)]}], ids=["objects", "lists"])
def test_a_bag_may_nest_32_levels(inner: dict[str, Any]) -> None:
    check_bag(inner, "/traits")
    check_bag({**inner, "brackets": "[" * 100, "more": [[], [], {}] * 20}, "/traits")


@pytest.mark.parametrize("inner", [{"a": nested(32)}, {"a": 1, "b": [nested(31)]}], ids=["objects", "lists"])
def test_a_bag_may_not_nest_33_levels(inner: dict[str, Any]) -> None:
    with pytest.raises(BagTooDeep) as refused:
        check_bag(inner, "/traits")
    assert refused.value.data == {"path": "/traits", "levels": 33, "levels_max": 32}


def test_brackets_in_strings_and_containers_side_by_side_are_not_depth() -> None:
    check_bag({"a": "[{" * 1_000, "[" * 50: "{", "b": [[]] * 1_000}, "/traits")
