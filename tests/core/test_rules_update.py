"""Changing a user: who may write what, what counts as a change, how identifiers move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import in_order
from tests.core.driver import (
    BACKEND,
    BROWSER,
    DAY_MS,
    NOW,
    PROJECT,
    VERIFIED,
    Database,
    after,
    as_json,
    changes_of,
    create,
    delete,
    folded,
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
from userfold.core.commands import Command, Edit, IfMatch, UpdateUser
from userfold.core.jsontext import same_text
from userfold.core.records import Change, Identifier, Key, Operation, User
from userfold.core.trust import Author, Ignored

PROFILE: dict[str, Any] = {"name": "Ada", "traits": {"a": {"b": 1}, "c": [1, 2]}}


def ada(document: dict[str, Any] = PROFILE, by: Author = BACKEND) -> Database:
    return after(create(document, by, user_id="user_a"))


def test_an_update_writes_the_user_and_one_change() -> None:
    records = ada()
    applied = run(update("user_a", {"traits": {"a": {"b": 2}}}), records, now=NOW + 9, entropy=1 << 80)
    user, change = applied.user, applied.change
    assert isinstance(user, User)
    assert isinstance(change, Change)
    assert applied.writes == {Key("user", PROJECT, "user_a"): user, Key("change", PROJECT, change.id): change}
    assert (user.version, user.created_at, user.updated_at) == (2, NOW, NOW + 9)
    assert user.traits == {"a": {"b": 2}, "c": [1, 2]}
    assert change == Change(
        id=change.id,
        user_id="user_a",
        version=2,
        at=NOW + 9,
        source="native",
        actor="key_1",
        trust="backend",
        request_id="req_3",
        operations=(Operation(op="replace", path="/traits/a/b", old=1, new=2),),
    )
    assert (applied.created, applied.ignored, applied.record) == (False, (), None)


# What is given to `PROFILE`, by which mode, what the history says.
CHANGES: list[tuple[str, dict[str, Any], list[Operation]]] = [
    ("merge_patch", {"name": None}, [Operation(op="replace", path="/name", old="Ada", new=None)]),
    ("merge_patch", {"name": ""}, [Operation(op="replace", path="/name", old="Ada", new="")]),
    ("merge_patch", {"traits": {"a": None}}, [Operation(op="remove", path="/traits/a", old={"b": 1})]),
    ("merge_patch", {"traits": {"d/e": 1}}, [Operation(op="add", path="/traits/d~1e", new=1)]),
    (
        "merge_patch",
        {"traits": {"c": [1, 3]}},
        [Operation(op="replace", path="/traits/c", at=1, removed=[2], added=[3])],
    ),
    (
        "merge_patch",
        {"traits": None},
        [
            Operation(op="remove", path="/traits/a", old={"b": 1}),
            Operation(op="remove", path="/traits/c", old=[1, 2]),
        ],
    ),
    (
        "shallow",
        {"traits": {"a": {"d": None}}},
        [
            Operation(op="remove", path="/traits/a/b", old=1),
            Operation(op="add", path="/traits/a/d", new=None),
        ],
    ),
    (
        "replace",
        {"traits": {"a": {"b": 1}, "c": None}},
        [
            Operation(op="replace", path="/traits/c", old=[1, 2], new=None),
        ],
    ),
    (
        "merge_patch",
        {"disabled": True, "locked": True, "second_factor_policy": "none"},
        [
            Operation(op="replace", path="/disabled", old=False, new=True),
            Operation(op="replace", path="/locked", old=False, new=True),
            Operation(op="replace", path="/second_factor_policy", old="optional", new="none"),
        ],
    ),
]


@pytest.mark.parametrize(("mode", "document", "operations"), CHANGES, ids=in_order)
def test_the_history_says_what_is_different(mode: str, document: dict[str, Any], operations: list[Operation]) -> None:
    records = ada()
    applied = run(update("user_a", document, mode=mode), records)
    assert applied.change is not None
    assert list(applied.change.operations) == operations
    assert same_text(as_json(folded(records, "user_a")), as_json(stored(records, "user_a")))


@pytest.mark.parametrize(
    ("document", "path"),
    [({"email_addresses": ["a@b.c", "n@b.c"]}, "/email_addresses"), ({"first_name": "A"}, "/owned")],
    ids=["addresses", "owned"],
)
def test_a_list_of_the_user_that_grows_is_one_operation_with_what_was_added(
    document: dict[str, Any], path: str
) -> None:
    records = ada({"email_addresses": ["a@b.c"], "name": "Ada"})
    change = run(update("user_a", document), records).change
    assert change is not None
    (operation,) = [operation for operation in change.operations if operation.path == path]
    assert isinstance(operation.added, list)
    assert (len(operation.added), operation.removed) == (1, [])


# What is given, to whom, that leaves everything as it was.
NO_CHANGES: list[tuple[Author, dict[str, Any]]] = [
    (BACKEND, {}),
    (BACKEND, {"name": "Ada"}),
    (BACKEND, {"traits": {}}),
    (BACKEND, {"traits": {"a": {"b": 1}}}),
    (BACKEND, {"traits": {"a": {"x": None}, "y": None}}),
    (BACKEND, {"first_name": None, "public_metadata": None}),
    (BACKEND, {"external_id": "a", "username": "Ada"}),
    (BACKEND, {"email_addresses": ["A@B.C"], "contact_email": "C@B.C"}),
    (BACKEND, {"id": "user_a", "version": 1, "created_at": NOW, "updated_at": NOW, "usercom_id": 3}),
    (BROWSER, {"name": "Ada", "traits": {"a": {"b": 1}}}),
    (BROWSER, {"username": "Ada", "external_id": "a", "disabled": False, "unsafe_metadata": {}}),
    (VERIFIED, {"public_metadata": {}, "email_addresses": ["a@b.c"]}),
]
FULL = {**PROFILE, "external_id": "a", "username": "Ada", "email_addresses": ["a@b.c"], "contact_email": "c@b.c"}


@pytest.mark.parametrize(("by", "document"), NO_CHANGES, ids=in_order)
def test_an_update_that_changes_nothing_writes_nothing(by: Author, document: dict[str, Any]) -> None:
    records: Database = {}
    run(create(FULL, user_id="user_a"), records, entropy=3 << 80)
    applied = run(update("user_a", document, by), records, now=NOW + 1)
    assert (applied.writes, applied.change, applied.ignored, applied.created) == ({}, None, (), False)
    assert applied.user == stored(records, "user_a")


def test_an_update_of_which_nothing_may_be_written_writes_nothing_and_says_so() -> None:
    records = ada()
    applied = run(update("user_a", {"name": "Eve", "disabled": True}, BROWSER), records)
    assert (applied.writes, applied.change, user_of(applied).version) == ({}, None, 1)
    assert [(i.path, i.code) for i in applied.ignored] == [
        ("/name", "owned_by_backend"),
        ("/disabled", "not_permitted"),
    ]


def test_edits_that_undo_each_other_change_nothing() -> None:
    edits = (
        Edit("merge_patch", {"name": "Eve", "traits": {"x": 1}}),
        Edit("merge_patch", {"name": "Ada", "traits": {"x": None}}),
    )
    command = UpdateUser(project_id=PROJECT, author=BACKEND, user_id="user_a", edits=edits)
    assert run(command, ada()).writes == {}


def test_what_may_be_written_is_written_and_what_may_not_is_named() -> None:
    records = ada()
    document = {"name": "Eve", "traits": {"x": 1}, "public_metadata": {"plan": "pro"}, "first_name": "E"}
    applied = run(update("user_a", document, BROWSER), records)
    user = stored(records, "user_a")
    assert (user.name, user.first_name, user.public_metadata) == ("Ada", "E", {})
    assert user.traits == {**PROFILE["traits"], "x": 1}
    assert applied.ignored == (Ignored("/name", "owned_by_backend"), Ignored("/public_metadata", "not_permitted"))


SIGNED = Author(
    source="client", actor="ses_2", trust="verified", signed=frozenset({"/public_metadata/plan", "/username"})
)


# What a verified browser gives, whose token signs the plan and the username → what is ignored.
SIGNED_WRITES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"public_metadata": {"plan": "pro"}}, []),
    ({"public_metadata": {"plan": {"name": "pro"}}, "username": "ada"}, []),
    ({"public_metadata": {"plan": "pro", "role": "admin"}}, [("/public_metadata", "not_signed")]),
    ({"private_metadata": {"plan": "pro"}}, [("/private_metadata", "not_signed")]),
    ({"disabled": True, "unsafe_metadata": {"a": 1}}, [("/disabled", "not_signed")]),
]


@pytest.mark.parametrize(("document", "ignored"), SIGNED_WRITES, ids=in_order)
def test_a_token_signs_single_members_of_a_bag(document: dict[str, Any], ignored: list[tuple[str, str]]) -> None:
    records = ada()
    applied = run(update("user_a", document, SIGNED), records)
    assert [(entry.path, entry.code) for entry in applied.ignored] == ignored
    written = {name: value for name, value in document.items() if f"/{name}" not in dict(ignored)}
    assert {name: getattr(stored(records, "user_a"), name) for name in written} == written


# Who set the name, who writes it then → its value and its owner afterwards.
OWNERS: list[tuple[Author, Author, str, tuple[str, ...]]] = [
    (BACKEND, BACKEND, "new", ("name",)),
    (BACKEND, VERIFIED, "new", ()),
    (BACKEND, BROWSER, "old", ("name",)),
    (VERIFIED, BACKEND, "new", ("name",)),
    (VERIFIED, VERIFIED, "new", ()),
    (VERIFIED, BROWSER, "new", ()),
    (BROWSER, BACKEND, "new", ("name",)),
    (BROWSER, VERIFIED, "new", ()),
    (BROWSER, BROWSER, "new", ()),
]


@pytest.mark.parametrize(("first", "then", "name", "owned"), OWNERS, ids=trust)
def test_a_profile_field_belongs_to_the_backend_that_set_it_last(
    first: Author, then: Author, name: str, owned: tuple[str, ...]
) -> None:
    records = after(create({"name": "old"}, first, user_id="user_a"), update("user_a", {"name": "new"}, then))
    user = stored(records, "user_a")
    assert (user.name, user.owned) == (name, owned)


def test_a_backend_that_clears_a_field_owns_it_too() -> None:
    records = after(create({"name": "Ada"}, BROWSER, user_id="user_a"), update("user_a", {"name": None}))
    run(update("user_a", {"name": "Eve"}, BROWSER), records)
    assert (stored(records, "user_a").name, stored(records, "user_a").owned) == (None, ("name",))


def test_a_change_of_owner_is_in_the_history() -> None:
    records = after(create({"name": "Ada"}, user_id="user_a"), update("user_a", {"name": "Eve"}, VERIFIED))
    assert [operation.path for operation in changes_of(records, "user_a")[1].operations] == ["/name", "/owned"]


# The user's identifiers before, what is given, its identifiers after.
MOVES: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"external_id": "a"}, {"external_id": "b"}, {"external_id|b"}),
    ({"external_id": "a"}, {"external_id": None}, set()),
    ({}, {"external_id": "a"}, {"external_id|a"}),
    ({}, {"external_id": "user_a"}, {"external_id|user_a"}),
    ({"username": "ada"}, {"username": "Ada"}, {"username|ada"}),
    ({"username": "ada"}, {"username": "eve"}, {"username|eve"}),
    ({"username": "ada"}, {"username": None}, set()),
    ({"email_addresses": ["a@b.c"]}, {"email_addresses": ["n@b.c", "A@b.c"]}, {"email|n@b.c", "email|a@b.c"}),
    ({"email_addresses": ["a@b.c"]}, {"email_addresses": ["n@b.c"]}, {"email|n@b.c"}),
    ({"email_addresses": ["a@b.c", "n@b.c"]}, {"email_addresses": None}, set()),
    ({"phone_numbers": ["+442079460958"]}, {"phone_numbers": ["+12025550143"]}, {"phone|+12025550143"}),
    ({"username": "ada"}, {"name": "Ada"}, {"username|ada"}),
]


@pytest.mark.parametrize(("before", "document", "identifiers"), MOVES, ids=in_order)
def test_identifiers_follow_the_user(before: dict[str, Any], document: dict[str, Any], identifiers: set[str]) -> None:
    records = ada(before)
    run(update("user_a", document), records)
    assert names_of(records, "user_a") == identifiers
    assert f"usercom_id|{stored(records, 'user_a').usercom_id}" in names(records)


@pytest.mark.parametrize(("before", "document", "identifiers"), MOVES, ids=in_order)
def test_an_identifier_that_was_given_up_can_be_taken_by_somebody_else(
    before: dict[str, Any], document: dict[str, Any], identifiers: set[str]
) -> None:
    records = ada(before)
    given_up = names_of(records, "user_a") - identifiers
    run(update("user_a", document), records)
    if given_up:
        run(create(before, user_id="user_b"), records)
        assert names_of(records, "user_b") == given_up
    elif before:
        assert refusal(create(before, user_id="user_b"), records).code == "identifier_taken"


def test_another_spelling_of_a_username_is_a_change_but_no_other_claim() -> None:
    records = ada({"username": "ada"})
    applied = run(update("user_a", {"username": "Ada"}), records)
    assert user_of(applied).username == "Ada"
    assert not any(key.kind == "identifier" for key in applied.writes)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"external_id": "b"}, "/external_id"),
        ({"external_id": "user_b"}, "/external_id"),
        ({"username": "BOB"}, "/username"),
        ({"email_addresses": ["a@b.c", "B@b.c"]}, "/email_addresses/1"),
        ({"name": "Eve", "traits": {"x": 1}, "username": "bob"}, "/username"),
    ],
    ids=in_order,
)
def test_an_update_that_would_take_what_is_anothers_changes_nothing_at_all(document: dict[str, Any], path: str) -> None:
    records = after(
        create({"email_addresses": ["a@b.c"]}, user_id="user_a"),
        create({"external_id": "b", "username": "bob", "email_addresses": ["b@b.c"]}, user_id="user_b"),
    )
    refused = refusal(update("user_a", document), records)
    assert (refused.code, refused.data) == ("identifier_taken", {"path": path})


# What browsers and backends do to the external_id `a` of a browser's user →
# the external_id, its aliases, all that counts as taken.
ALIASES: list[tuple[list[tuple[Author, str | None]], str | None, tuple[str, ...], set[str]]] = [
    ([], "a", (), {"a"}),
    ([(BROWSER, "b")], "b", ("a",), {"a", "b"}),
    ([(VERIFIED, "b")], "b", ("a",), {"a", "b"}),
    ([(BACKEND, "b")], "b", (), {"b"}),
    ([(BROWSER, None)], None, ("a",), {"a"}),
    ([(BACKEND, None)], None, (), set()),
    ([(BROWSER, "b"), (BROWSER, "c")], "c", ("a", "b"), {"a", "b", "c"}),
    ([(BROWSER, "b"), (BROWSER, "a")], "a", ("b",), {"a", "b"}),
    ([(BROWSER, "b"), (BROWSER, "a"), (BROWSER, "b")], "b", ("a",), {"a", "b"}),
    ([(BROWSER, "b"), (BACKEND, "a")], "a", (), {"a"}),
    ([(BROWSER, "b"), (BACKEND, "c")], "c", ("a",), {"a", "c"}),
    ([(BROWSER, "b"), (BACKEND, None)], None, ("a",), {"a"}),
    ([(BROWSER, None), (BROWSER, "b")], "b", ("a",), {"a", "b"}),
    ([(BROWSER, None), (BROWSER, "a")], "a", (), {"a"}),
]


@pytest.mark.parametrize(("steps", "external_id", "aliases", "taken"), ALIASES, ids=in_order)
def test_what_a_browser_overwrites_stays_an_alias_until_a_backend_frees_it(
    steps: list[tuple[Author, str | None]], external_id: str | None, aliases: tuple[str, ...], taken: set[str]
) -> None:
    records = ada({"external_id": "a"}, BROWSER)
    for by, value in steps:
        run(update("user_a", {"external_id": value}, by), records)
    user = stored(records, "user_a")
    assert (user.external_id, user.external_id_aliases) == (external_id, aliases)
    assert names_of(records, "user_a") == {f"external_id|{name}" for name in taken}
    assert same_text(as_json(folded(records, "user_a")), as_json(user))


@pytest.mark.parametrize("by", [BROWSER, VERIFIED, BACKEND], ids=trust)
def test_an_alias_counts_as_taken_for_other_users(by: Author) -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"),
        update("user_a", {"external_id": "b"}, BROWSER),
        create({}, user_id="user_b"),
    )
    assert refusal(update("user_b", {"external_id": "a"}, by), records).data == {"path": "/external_id"}


def test_a_claim_says_who_made_it() -> None:
    records = ada({"external_id": "a"}, BROWSER)
    for value, by in (("b", VERIFIED), ("a", BACKEND)):
        run(update("user_a", {"external_id": value}, by), records)
        claim = records[identifier_key(PROJECT, f"external_id|{value}")]
        assert claim == Identifier(identifier=f"external_id|{value}", user_id="user_a", set_by=by.trust)


def test_a_browser_cannot_change_an_external_id_that_a_backend_set() -> None:
    records = ada({"external_id": "a"})
    refused = refusal(update("user_a", {"external_id": "b", "traits": {"x": 1}}, BROWSER), records)
    assert (refused.code, refused.path) == ("user_id_protected", "/external_id")
    assert user_of(run(update("user_a", {"external_id": "b"}, VERIFIED), records)).external_id == "b"


def test_a_browser_may_repeat_an_external_id_that_a_backend_set() -> None:
    applied = run(update("user_a", {"external_id": "a", "traits": {"x": 1}}, BROWSER), ada({"external_id": "a"}))
    assert user_of(applied).traits == {"x": 1}


@pytest.mark.parametrize("by", [BROWSER, VERIFIED, BACKEND], ids=trust)
def test_a_disabled_user_refuses_browsers_only(by: Author) -> None:
    records = ada({"disabled": True})
    command = update("user_a", {"traits": {"x": 1}}, by)
    if by is BACKEND:
        assert user_of(run(command, records)).traits == {"x": 1}
    else:
        assert refusal(command, records).code == "user_disabled"


def test_a_disabled_user_refuses_a_browser_even_where_nothing_would_change() -> None:
    assert refusal(update("user_a", {}, BROWSER), ada({"disabled": True})).code == "user_disabled"


def test_a_locked_user_takes_updates_from_browsers() -> None:
    assert user_of(run(update("user_a", {"traits": {"x": 1}}, BROWSER), ada({"locked": True}))).version == 2


# if_match at version 2 → applied.
MATCHES: list[tuple[IfMatch, bool]] = [
    (None, True),
    ("*", True),
    ((2,), True),
    ((1, 2), True),
    ((1,), False),
    ((3,), False),
    ((1, 3), False),
    ((), False),
]


CONDITIONAL: list[Callable[[IfMatch], Command]] = [
    lambda if_match: update("user_a", {"name": "B"}, if_match=if_match),
    lambda if_match: upsert("a", {"name": "B"}, if_match=if_match),
    lambda if_match: upsert("user_a", {"name": "B"}, if_match=if_match),
    lambda if_match: delete("user_a", if_match=if_match),
]


@pytest.mark.parametrize("command", CONDITIONAL, ids=["update", "upsert", "upsert by id", "delete"])
@pytest.mark.parametrize(("if_match", "applied"), MATCHES, ids=in_order)
def test_a_version_that_does_not_match_refuses(
    command: Callable[[IfMatch], Command], if_match: IfMatch, applied: bool
) -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), update("user_a", {"name": "A"}))
    if applied:
        assert run(command(if_match), records).writes
    else:
        refused = refusal(command(if_match), records)
        assert (refused.code, refused.data) == ("version_mismatch", {"current": 2})


@pytest.mark.parametrize("if_match", [(1,), "*"], ids=in_order)
@pytest.mark.parametrize("command", CONDITIONAL, ids=["update", "upsert", "upsert by id", "delete"])
def test_no_version_of_a_user_that_does_not_exist_matches(
    command: Callable[[IfMatch], Command], if_match: IfMatch
) -> None:
    assert refusal(command(if_match), {}).code == "user_not_found"


def test_a_version_is_matched_even_where_nothing_would_change() -> None:
    assert refusal(update("user_a", {}, if_match=(7,)), ada()).code == "version_mismatch"


def test_limits_hold_for_the_result_and_not_for_what_was_sent() -> None:
    half = "x" * 40_000
    records = ada({"traits": {"a": half}, "public_metadata": {"a": half}})
    refused = refusal(update("user_a", {"traits": {"b": half}}), records)
    assert (refused.code, refused.path) == ("bag_too_large", "/traits")
    run(update("user_a", {"traits": {"a": None, "b": half}}), records)
    run(update("user_a", {"traits": {"b": half}}, mode="replace"), records)
    assert stored(records, "user_a").traits == {"b": half}


def test_a_bag_that_would_become_too_deep_is_refused() -> None:
    records = ada({"traits": {"a": {"b": {}}}})
    deep: Any = {}
    for _ in range(29):
        deep = {"x": deep}
    run(update("user_a", {"traits": {"a": {"b": deep}}}), records)
    refused = refusal(update("user_a", {"traits": {"a": {"b": {"y": deep}}}}), records)
    assert (refused.code, refused.data) == ("bag_too_deep", {"path": "/traits", "levels": 33, "levels_max": 32})


def test_a_bag_that_may_not_be_written_is_not_measured() -> None:
    applied = run(update("user_a", {"public_metadata": {"a": "x" * 70_000}}, BROWSER), ada())
    assert applied.ignored == (Ignored("/public_metadata", "not_permitted"),)


@pytest.mark.parametrize(
    "document",
    [
        {"id": "user_b"},
        {"version": 2},
        {"version": 1.0},
        {"version": None},
        {"version": True},
        {"created_at": 0},
        {"updated_at": NOW + 1},
        {"usercom_id": 4},
        {"usercom_id": None},
        {"segments": ["seg_1"]},
        {"owned": ["name"]},
        {"external_id_aliases": ["z"]},
        {"external_id_aliases": None},
    ],
    ids=in_order,
)
def test_what_userfold_keeps_cannot_be_written(document: dict[str, Any]) -> None:
    refused = refusal(update("user_a", document), ada({}))
    assert (refused.code, refused.path) == ("field_read_only", f"/{next(iter(document))}")


@pytest.mark.parametrize("by", [BACKEND, BROWSER], ids=trust)
def test_a_user_that_was_read_can_be_sent_back_whole(by: Author) -> None:
    records = ada({**FULL, "phone_numbers": ["+442079460958"]})
    run(update("user_a", {"external_id": "n"}, VERIFIED), records)
    document = as_json(stored(records, "user_a"))
    assert run(update("user_a", document, by), records).writes == {}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("nickname", "/nickname"),
        ("", "/"),
        ("a/b~c", "/a~1b~0c"),
        ("Name", "/Name"),
        ("password", "/password"),
        ("k" * 300, "/" + "k" * 255),
        ("__class__", "/__class__"),
        ("__struct_fields__", "/__struct_fields__"),
    ],
)
def test_a_field_that_does_not_exist_is_refused_at_its_path(name: str, path: str) -> None:
    refused = refusal(update("user_a", {"name": "Eve", name: 1}), ada())
    assert (refused.code, refused.path) == ("field_unknown", path)


def test_a_user_of_another_project_does_not_exist() -> None:
    elsewhere = UpdateUser(project_id="prj_2", author=BACKEND, user_id="user_a", edits=())
    refused = refusal(elsewhere, ada())
    assert (refused.code, refused.data) == ("user_not_found", {"user_id": "user_a"})


# Who renames a user to a deleted one, by which name, how long after → renamed, or refused.
RENAMES: list[tuple[Author, str, int, bool]] = [
    (BROWSER, "gone", 0, False),
    (BROWSER, "user_g", 0, False),
    (BROWSER, "gone", 30 * DAY_MS - 1, False),
    (BROWSER, "gone", 30 * DAY_MS, True),
    (VERIFIED, "gone", 0, False),
    (BACKEND, "gone", 0, True),
]


@pytest.mark.parametrize(("by", "name", "later_ms", "renamed"), RENAMES, ids=trust)
def test_a_browser_cannot_rename_its_user_to_a_deleted_one_for_a_time(
    by: Author, name: str, later_ms: int, renamed: bool
) -> None:
    records = after(
        create({"external_id": "gone"}, user_id="user_g"),
        delete("user_g"),
        create({"external_id": "a"}, BROWSER, user_id="user_a"),
    )
    command = update("user_a", {"external_id": name}, by)
    if renamed:
        assert user_of(run(command, records, now=NOW + later_ms)).external_id == name
    else:
        refused = refusal(command, records, now=NOW + later_ms)
        assert (refused.code, refused.path) == ("user_deleted", "/external_id")


def test_a_browser_may_write_to_a_user_whose_name_was_deleted_and_given_again() -> None:
    records = after(
        create({"external_id": "a"}, user_id="user_g"), delete("user_g"), create({"external_id": "a"}, user_id="user_a")
    )
    assert user_of(run(update("user_a", {"traits": {"x": 1}}, BROWSER), records)).traits == {"x": 1}


def test_an_alias_can_be_taken_back_though_an_earlier_user_of_that_name_was_deleted() -> None:
    records = after(
        create({"external_id": "a"}, user_id="user_g"),
        delete("user_g"),
        create({"external_id": "a"}, user_id="user_a"),
        update("user_a", {"external_id": "b"}, VERIFIED),
    )
    assert user_of(run(update("user_a", {"external_id": "a"}, VERIFIED), records)).external_id == "a"


def test_a_verified_rename_does_not_open_the_id_to_browsers_that_nobody_verified() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), update("user_a", {"external_id": "b"}, VERIFIED))
    assert stored(records, "user_a").owned == ("external_id",)
    assert refusal(update("user_a", {"external_id": "c"}, BROWSER), records).code == "user_id_protected"


@pytest.mark.parametrize("name", ["email_addresses", "phone_numbers"])
def test_a_user_has_at_most_a_hundred_addresses_of_a_kind(name: str) -> None:
    values = {
        "email_addresses": [f"{number}@x.org" for number in range(101)],
        "phone_numbers": [f"+4420794{number:05}" for number in range(101)],
    }[name]
    assert refusal(update("user_a", {name: values}), ada()).path == f"/{name}"
    assert len(getattr(user_of(run(update("user_a", {name: values[:100]}), ada())), name)) == 100
