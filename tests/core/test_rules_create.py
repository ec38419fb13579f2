"""Creating a user, and what a backend adopts that a browser began."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import in_order
from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    VERIFIED,
    after,
    as_json,
    changes_of,
    create,
    delete,
    made,
    names,
    names_of,
    refusal,
    run,
    stored,
    trust,
    update,
    upsert,
    user_of,
)
from userfold.core.claims import identifier_key
from userfold.core.commands import CreateUser, Edit
from userfold.core.errors import IdentifierTaken
from userfold.core.ids import make_id
from userfold.core.records import Change, EmailAddress, Identifier, Key, Operation, User
from userfold.core.trust import Author, Ignored

ENTROPY = 7 << 80 | 500


def test_a_user_is_made_with_defaults_a_history_and_its_identifiers() -> None:
    applied = run(create({"external_id": "u-1", "name": "Ada"}), {}, now=NOW, entropy=ENTROPY)
    user = User(
        id=make_id("user_", NOW, 501),
        external_id="u-1",
        usercom_id=7,
        name="Ada",
        owned=("external_id", "name"),
        created_at=NOW,
        updated_at=NOW,
        version=1,
    )
    change = Change(
        id=make_id("chg_", NOW, 502),
        user_id=user.id,
        version=1,
        at=NOW,
        source="native",
        actor="key_1",
        trust="backend",
        request_id="req_3",
        operations=tuple(
            Operation(op="add", path=f"/{name}", new=value)
            for name, value in as_json(user).items()
            if name not in ("version", "updated_at")
        ),
    )
    assert as_json(applied.change) == as_json(change)
    assert (applied.user, applied.created, applied.ignored) == (user, True, ())
    assert applied.change is not None
    assert applied.writes == {
        Key("user", PROJECT, user.id): user,
        Key("change", PROJECT, change.id): applied.change,
        identifier_key(PROJECT, "external_id|u-1"): Identifier(
            identifier="external_id|u-1", user_id=user.id, set_by="backend"
        ),
        identifier_key(PROJECT, "usercom_id|7"): Identifier(
            identifier="usercom_id|7", user_id=user.id, set_by="backend"
        ),
    }


def test_the_history_says_who_made_the_user() -> None:
    author = Author(source="client", actor="ses_9", trust="verified", request_id="req_9")
    records = after(create({}, author, user_id="user_a"))
    (change,) = changes_of(records, "user_a")
    assert (change.source, change.actor, change.trust, change.request_id) == ("client", "ses_9", "verified", "req_9")


def test_an_import_brings_its_own_id_and_time_of_creation() -> None:
    user = made({}, {}, user_id="user_2abCD", created_at=123)
    assert (user.id, user.created_at, user.updated_at, user.version) == ("user_2abCD", 123, NOW, 1)


def test_a_user_may_have_been_created_at_the_epoch() -> None:
    assert made({}, {}, created_at=0).created_at == 0


@pytest.mark.parametrize("created_at", [-1, 1 << 53, 10**30])
def test_a_time_of_creation_that_no_store_need_hold_is_refused(created_at: int) -> None:
    assert refusal(create({}, created_at=created_at), {}).data["path"] == "/created_at"


# What is given → the identifiers that are claimed.
CLAIMED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()),
    ({"external_id": " U|1 "}, {"external_id| U|1 "}),
    ({"username": "Straße"}, {"username|strasse"}),
    ({"email_addresses": ["Ada@Bücher.example", "b@b.c"]}, {"email|ada@xn--bcher-kva.example", "email|b@b.c"}),
    ({"phone_numbers": ["+44 20 7946 0958"]}, {"phone|+442079460958"}),
    ({"contact_email": "ada@example.com", "contact_phone": "+442079460958", "name": "ada"}, set()),
    (
        {"external_id": "a", "username": "a", "email_addresses": ["a@b.c"], "phone_numbers": ["+442079460958"]},
        {"external_id|a", "username|a", "email|a@b.c", "phone|+442079460958"},
    ),
]


@pytest.mark.parametrize(("document", "claimed"), CLAIMED, ids=in_order)
def test_a_user_claims_its_identifiers_in_their_normal_form(document: dict[str, Any], claimed: set[str]) -> None:
    records = after(create(document, user_id="user_a"))
    assert names_of(records, "user_a") == claimed
    assert names(records).keys() - claimed == {f"usercom_id|{stored(records, 'user_a').usercom_id}"}


def test_a_username_is_shown_as_it_was_spelled() -> None:
    assert made({}, {"username": "Straße"}).username == "Straße"


# What another user has, what is given, where it is taken.
TAKEN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"external_id": "a"}, {"external_id": "a"}, "/external_id"),
    ({"username": "ADA"}, {"username": "ada"}, "/username"),
    ({"username": "e\u0301"}, {"username": "é"}, "/username"),
    ({"email_addresses": ["a@b.c"]}, {"email_addresses": ["x@b.c", "A@B.C"]}, "/email_addresses/1"),
    ({"phone_numbers": ["+442079460958"]}, {"phone_numbers": ["+44 20 7946 0958"]}, "/phone_numbers/0"),
    ({}, {"external_id": "user_a"}, "/external_id"),
]


@pytest.mark.parametrize(("theirs", "given", "path"), TAKEN, ids=in_order)
def test_an_identifier_of_another_user_is_taken(theirs: dict[str, Any], given: dict[str, Any], path: str) -> None:
    refused = refusal(create(given), after(create(theirs, user_id="user_a")))
    assert (type(refused), refused.data) == (IdentifierTaken, {"path": path})


@pytest.mark.parametrize(
    ("theirs", "given"),
    [
        ({"external_id": "A"}, {"external_id": "a"}),
        ({"external_id": "e\u0301"}, {"external_id": "é"}),
        ({"external_id": "a"}, {"username": "a"}),
        ({"contact_email": "a@b.c"}, {"email_addresses": ["a@b.c"]}),
        ({"email_addresses": ["a@b.c"]}, {"contact_email": "a@b.c"}),
        ({"name": "Ada"}, {"name": "Ada"}),
    ],
    ids=in_order,
)
def test_values_that_name_nobody_can_be_shared(theirs: dict[str, Any], given: dict[str, Any]) -> None:
    assert made(after(create(theirs, user_id="user_a")), given).version == 1


def test_an_id_that_is_taken_is_refused() -> None:
    before = after(create({"external_id": "a"}, user_id="user_a"))
    for user_id in ("user_a", "a"):
        refused = refusal(create({}, user_id=user_id), before)
        assert (type(refused), refused.data) == (IdentifierTaken, {"path": "/id"})


def test_an_id_that_is_only_an_alias_of_another_user_is_taken_too() -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"), update("user_a", {"external_id": "b"}, BROWSER)
    )
    assert refusal(create({}, user_id="a"), records).data == {"path": "/id"}


def test_a_user_may_have_its_own_id_as_external_id() -> None:
    assert made({}, {"external_id": "user_a"}, user_id="user_a").external_id == "user_a"


def test_projects_share_neither_ids_nor_identifiers() -> None:
    elsewhere = CreateUser(
        project_id="prj_2",
        author=BACKEND,
        edits=(Edit("merge_patch", {"external_id": "a", "username": "ada", "email_addresses": ["a@b.c"]}),),
        user_id="user_a",
    )
    records = after(elsewhere)
    user = made(records, {"external_id": "a", "username": "ada", "email_addresses": ["a@b.c"]}, user_id="user_a")
    assert records[Key("user", "prj_1", "user_a")] == user
    assert records[Key("user", "prj_2", "user_a")] != user


# What a browser gives, what is stored of it, what is ignored and why.
BY_BROWSERS: list[tuple[Author, dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = [
    (BROWSER, {"traits": {"a": 1}, "contact_email": "A@B.C"}, {"traits": {"a": 1}, "contact_email": "a@b.c"}, []),
    (BROWSER, {"name": "Ada", "locale": "pl"}, {"name": "Ada", "locale": "pl"}, []),
    (BROWSER, {"unsafe_metadata": {"a": 1}}, {"unsafe_metadata": {}}, [("/unsafe_metadata", "not_permitted")]),
    (BROWSER, {"unsafe_metadata": {}, "disabled": False}, {"unsafe_metadata": {}, "disabled": False}, []),
    (
        BROWSER,
        {"username": "ada", "name": "Ada", "email_addresses": ["a@b.c"]},
        {"username": None, "name": "Ada", "email_addresses": ()},
        [("/username", "not_permitted"), ("/email_addresses", "not_permitted")],
    ),
    (VERIFIED, {"unsafe_metadata": {"a": 1}}, {"unsafe_metadata": {"a": 1}}, []),
    (VERIFIED, {"public_metadata": {"a": 1}}, {"public_metadata": {}}, [("/public_metadata", "not_signed")]),
]


@pytest.mark.parametrize(("by", "document", "kept", "ignored"), BY_BROWSERS, ids=in_order)
def test_a_browser_is_told_what_was_not_written(
    by: Author, document: dict[str, Any], kept: dict[str, Any], ignored: list[tuple[str, str]]
) -> None:
    applied = run(create(document, by), {})
    assert {name: getattr(user_of(applied), name) for name in kept} == kept
    assert [(entry.path, entry.code) for entry in applied.ignored] == ignored


def test_what_was_ignored_claims_no_identifier() -> None:
    records = after(create({"username": "ada", "email_addresses": ["a@b.c"]}, BROWSER, user_id="user_a"))
    assert names_of(records, "user_a") == set()


def test_a_backend_owns_the_profile_fields_that_it_sets_and_a_browser_none() -> None:
    document = {"external_id": "a", "name": "Ada", "first_name": None, "traits": {"a": 1}}
    assert made({}, document, BACKEND).owned == ("external_id", "name")
    assert made({}, document, VERIFIED).owned == ()
    assert made({}, document, BROWSER).owned == ()


def test_edits_join_in_their_order_each_by_its_own_mode() -> None:
    edits = (
        Edit("merge_patch", {"traits": {"a": {"b": 1}, "c": 1}, "name": "Ada"}),
        Edit("shallow", {"traits": {"a": {"d": None}}}),
        Edit("merge_patch", {"traits": {"c": None}, "name": "Grace"}),
        Edit("replace", {"public_metadata": {"e": None}}),
    )
    user = user_of(run(CreateUser(project_id=PROJECT, author=BACKEND, edits=edits), {}))
    assert (user.traits, user.name, user.public_metadata) == ({"a": {"d": None}}, "Grace", {"e": None})


def test_a_second_edit_sees_the_addresses_of_the_first() -> None:
    edits = (
        Edit("merge_patch", {"email_addresses": ["a@b.c", "b@b.c"]}),
        Edit("merge_patch", {"email_addresses": [{"email_address": "b@b.c", "verified": True}]}),
    )
    command = CreateUser(project_id=PROJECT, author=BACKEND, edits=edits, user_id="user_a")
    user = user_of(run(command, {}, now=NOW, entropy=0))
    second = make_id("idn_", NOW, 2)
    assert user.email_addresses == (
        EmailAddress(id=second, email_address="b@b.c", verified=True, primary=True, created_at=NOW, updated_at=NOW),
    )


# Entropy, numbers that are taken → the number that the user gets.
NUMBERS: list[tuple[int, list[int], int]] = [
    (1 << 80, [], 1),
    (5 << 80 | 77, [], 5),
    (5 << 80, [5], 6),
    (5 << 80, [5, 6, 7], 8),
    (5 << 80, [6], 5),
    (0, [], 1),
    (0, [1], 2),
    ((1 << 53) - 1 << 80, [], (1 << 53) - 1),
    ((1 << 53) - 1 << 80, [(1 << 53) - 1], 1),
    (1 << 53 + 80 | 3 << 80, [], 3),
]


@pytest.mark.parametrize(("entropy", "taken", "number"), NUMBERS)
def test_a_user_gets_a_free_number_that_javascript_can_hold(entropy: int, taken: list[int], number: int) -> None:
    records = {
        identifier_key(PROJECT, f"usercom_id|{n}"): Identifier(
            identifier=f"usercom_id|{n}", user_id="user_z", set_by="backend"
        )
        for n in taken
    }
    user = user_of(run(create({}), dict(records), entropy=entropy))
    assert user.usercom_id == number


# Who claimed the external_id, who creates → adopted, or refused.
ADOPTIONS: list[tuple[Author, Author, bool]] = [
    (BROWSER, BACKEND, True),
    (BROWSER, VERIFIED, False),
    (BROWSER, BROWSER, False),
    (VERIFIED, BACKEND, True),
    (VERIFIED, VERIFIED, False),
    (BACKEND, BACKEND, False),
    (BACKEND, BROWSER, False),
]


@pytest.mark.parametrize(("first", "second", "adopted"), ADOPTIONS, ids=trust)
def test_only_a_backend_adopts_and_only_what_only_a_browser_claimed(
    first: Author, second: Author, adopted: bool
) -> None:
    records = after(create({"external_id": "a"}, first, user_id="user_a"))
    command = create({"external_id": "a"}, second)
    if adopted:
        applied = run(command, records)
        assert (applied.created, user_of(applied).id) == (True, "user_a")
    else:
        assert refusal(command, records).data == {"path": "/external_id"}


def test_adopting_keeps_what_the_browser_wrote_and_marks_the_id_as_set_by_a_backend() -> None:
    records = after(create({"external_id": "a", "name": "ada", "traits": {"x": 1, "y": 1}}, BROWSER, user_id="user_a"))
    applied = run(create({"external_id": "a", "name": "Ada", "traits": {"y": 2}}), records, now=NOW + 5)
    user = user_of(applied)
    assert user == stored(records, "user_a")
    assert (user.name, user.traits, user.owned) == ("Ada", {"x": 1, "y": 2}, ("external_id", "name"))
    assert (user.version, user.created_at, user.updated_at) == (2, NOW, NOW + 5)
    claim = records[identifier_key(PROJECT, "external_id|a")]
    assert claim == Identifier(identifier="external_id|a", user_id="user_a", set_by="backend")
    assert [change.version for change in changes_of(records, "user_a")] == [1, 2]
    assert [operation.path for operation in changes_of(records, "user_a")[1].operations] == [
        "/name",
        "/traits/y",
        "/owned",
    ]


def test_who_was_created_elsewhere_before_a_browser_came_keeps_that_time_when_adopted() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    user = user_of(run(create({"external_id": "a"}, created_at=5), records))
    assert (user.created_at, stored(records, "user_a").created_at) == (5, 5)
    assert "/created_at" in [operation.path for operation in changes_of(records, "user_a")[1].operations]


def test_adopting_is_a_change_even_if_it_brings_nothing_new() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    applied = run(create({"external_id": "a"}), records)
    assert (applied.created, user_of(applied).version, user_of(applied).owned) == (True, 2, ("external_id",))


def test_what_was_adopted_cannot_be_adopted_again_nor_renamed_by_a_browser() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"), create({"external_id": "a"}))
    assert refusal(create({"external_id": "a"}), records).code == "identifier_taken"
    assert refusal(update("user_a", {"external_id": "b"}, BROWSER), records).code == "user_id_protected"


def test_a_disabled_user_can_be_adopted() -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"), update("user_a", {"disabled": True}, BACKEND)
    )
    assert user_of(run(create({"external_id": "a"}), records)).id == "user_a"


def test_adopting_an_alias_makes_it_the_external_id_again() -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"), update("user_a", {"external_id": "b"}, BROWSER)
    )
    user = user_of(run(create({"external_id": "a"}), records))
    assert (user.id, user.external_id, user.external_id_aliases) == ("user_a", "a", ())
    assert names_of(records, "user_a") == {"external_id|a"}


def test_an_alias_does_not_give_away_a_record_whose_external_id_a_backend_set() -> None:
    records = after(
        create({"external_id": "guest"}, BROWSER, user_id="user_a"),
        update("user_a", {"external_id": "u-42"}, BROWSER),
        upsert("u-42", {}),
    )
    assert refusal(create({"external_id": "guest"}), records).data == {"path": "/external_id"}
    applied = run(upsert("guest", {"name": "Ada"}), records)
    user = user_of(applied)
    assert (applied.created, user.id, user.name, user.external_id) == (False, "user_a", "Ada", "u-42")
    assert names_of(records, "user_a") == {"external_id|u-42", "external_id|guest"}


def test_the_external_id_of_the_last_edit_is_the_one_that_is_adopted() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    edits = (Edit("merge_patch", {"external_id": "b"}), Edit("merge_patch", {"external_id": "a"}))
    applied = run(CreateUser(project_id=PROJECT, author=BACKEND, edits=edits), records)
    assert (user_of(applied).id, names_of(records, "user_a")) == ("user_a", {"external_id|a"})


def test_a_create_whose_last_edit_clears_the_external_id_claims_none() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    edits = (Edit("merge_patch", {"external_id": "a"}), Edit("merge_patch", {"external_id": None}))
    run(CreateUser(project_id=PROJECT, author=BACKEND, edits=edits), records)
    assert "external_id|None" not in names(records)


@pytest.mark.parametrize("user_id", ["", "x" * 256, "a\0"], ids=["empty", "256 characters", "U+0000"])
def test_an_id_that_no_index_can_hold_is_refused(user_id: str) -> None:
    refused = refusal(create({}, user_id=user_id), {})
    assert (refused.code, refused.path) == ("field_format_invalid", "/id")


def test_a_name_that_a_deleted_user_had_is_free() -> None:
    document = {"external_id": "a", "username": "ada", "email_addresses": ["a@b.c"]}
    records = after(create(document, user_id="user_a"), delete("user_a"), create(document, user_id="user_b"))
    assert names_of(records, "user_b") == {"external_id|a", "username|ada", "email|a@b.c"}


def test_ignored_fields_are_named_once_and_as_data() -> None:
    assert run(create({"disabled": True}, BROWSER), {}).ignored == (Ignored("/disabled", "not_permitted"),)
