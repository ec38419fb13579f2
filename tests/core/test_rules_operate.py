"""Operations on a user: what they see, what they come to, who may do it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import in_order
from tests.core.driver import (
    BACKEND,
    BROWSER,
    PROJECT,
    VERIFIED,
    Database,
    after,
    as_json,
    changes_of,
    create,
    folded,
    operate,
    refusal,
    run,
    stored,
    update,
    user_of,
)
from tests.strategies import operation_lists
from userfold.core.commands import CreateUser, Edit, Operate, UpdateUser, UpsertUser
from userfold.core.errors import DomainError
from userfold.core.jsontext import same_text
from userfold.core.operations import JSON_PATCH, OPERATIONS
from userfold.core.records import FIELDS
from userfold.core.trust import Author, Ignored

ADA: dict[str, Any] = {
    "external_id": "a",
    "name": "Ada",
    "email_addresses": ["a@b.c", "x@b.c"],
    "public_metadata": {"plan": "free"},
    "traits": {"n": 1, "list": [1], "deep": {"a": {"b": 1}}},
    "disabled": True,
    "second_factor_policy": "none",
}
SYSTEM = sorted(name for name, field in FIELDS.items() if field.writer == "system")
WRITTEN = sorted(set(FIELDS) - set(SYSTEM))


def ada(document: dict[str, Any] = ADA) -> Database:
    return after(create(document, user_id="user_a"))


def begun_by_a_browser() -> Database:
    records: Database = {}
    run(UpsertUser(project_id=PROJECT, author=BROWSER, external_id="a", edits=()), records)
    return records


def upsert_by_operations(external_id: str, *operations: dict[str, Any]) -> UpsertUser:
    edits = (Operate([*operations], tuple(OPERATIONS)),)
    return UpsertUser(project_id=PROJECT, author=BACKEND, external_id=external_id, edits=edits)


def op(name: str, path: str, *value: Any, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **({"value": value[0]} if value else {}), **more}


def without_changes(records: Database) -> Database:
    """What is there, without the history: the order of operations in one change is free."""
    return {key: record for key, record in records.items() if key.kind != "change"}


# Operations, and the merge patch that changes the same.
SAME_CHANGE: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([], {}),
    ([op("test", "/name", "Ada")], {}),
    ([op("replace", "/name", "Grace")], {"name": "Grace"}),
    ([op("set", "/name", "Ada")], {"name": "Ada"}),
    # A scalar field that is taken out is null, and the others have what a new user has.
    ([op("remove", "/name")], {"name": None}),
    ([op("unset", "/external_id")], {"external_id": None}),
    ([op("remove", "/disabled")], {"disabled": None}),
    ([op("remove", "/second_factor_policy")], {"second_factor_policy": None}),
    ([op("remove", "/traits")], {"traits": None}),
    ([op("set", "/traits", None)], {"traits": None}),
    ([op("set", "/traits", {"a": 1})], {"traits": {"a": 1, "n": None, "list": None, "deep": None}}),
    ([op("remove", "/email_addresses")], {"email_addresses": []}),
    ([op("set", "/traits/n", 2), op("unset", "/traits/deep/a/b")], {"traits": {"n": 2, "deep": {"a": {"b": None}}}}),
    ([op("increment", "/traits/n", by=0)], {}),
    ([op("increment", "/traits/n"), op("increment", "/traits/n", by=-1)], {}),
    ([op("increment", "/private_metadata/a/b", by=5)], {"private_metadata": {"a": {"b": 5}}}),
    ([op("append", "/traits/list", 2)], {"traits": {"list": [1, 2]}}),
    ([op("union", "/traits/list", 1.0)], {}),
    ([op("pull", "/traits/list", 1)], {"traits": {"list": []}}),
    ([op("set_once", "/name", "Grace"), op("set_once", "/locale", "pl")], {"locale": "pl"}),
    ([op("merge", "", {"name": None, "traits": {"n": None}})], {"name": None, "traits": {"n": None}}),
    ([op("merge", "/traits", {"n": None, "m": {"a": None}})], {"traits": {"n": None, "m": {}}}),
    ([op("max", "/traits/n", 7), op("min", "/traits/n", 3)], {"traits": {"n": 3}}),
    ([{"op": "move", "from": "/name", "path": "/first_name"}], {"name": None, "first_name": "Ada"}),
    ([{"op": "copy", "from": "/name", "path": "/traits/name"}], {"traits": {"name": "Ada"}}),
    (
        [{"op": "move", "from": "/public_metadata/plan", "path": "/private_metadata/plan"}],
        {"public_metadata": {"plan": None}, "private_metadata": {"plan": "free"}},
    ),
    ([op("remove", "/email_addresses/0")], {"email_addresses": ["x@b.c"]}),
    ([op("append", "/email_addresses", "z@b.c")], {"email_addresses": ["a@b.c", "x@b.c", "z@b.c"]}),
    (
        [op("replace", "/email_addresses/1/verified", True)],
        {"email_addresses": ["a@b.c", {"email_address": "x@b.c", "verified": True}]},
    ),
    (
        [op("replace", "", {"name": "Grace"})],
        {
            **dict.fromkeys(sorted(set(WRITTEN) - {"email_addresses", "phone_numbers"})),
            "email_addresses": [],
            "phone_numbers": [],
            "name": "Grace",
        },
    ),
]


@pytest.mark.parametrize(("operations", "patch"), SAME_CHANGE, ids=lambda value: repr(value)[:80])
def test_operations_make_the_same_change_as_the_equal_merge_patch(
    operations: list[dict[str, Any]], patch: dict[str, Any]
) -> None:
    here = ada()
    there = dict(here)
    done = run(operate("user_a", operations), here, entropy=1 << 90)
    merged = run(update("user_a", patch), there, entropy=1 << 90)
    assert without_changes(here) == without_changes(there)
    assert (done.change is None, done.ignored) == (merged.change is None, merged.ignored)
    if done.change is not None and merged.change is not None:
        assert sorted(map(repr, done.change.operations)) == sorted(map(repr, merged.change.operations))
    assert same_text(as_json(folded(here, "user_a")), as_json(stored(here, "user_a")))


def test_operations_that_come_to_nothing_write_nothing() -> None:
    records = ada()
    operations = [op("test", "/traits/n", 1), op("set", "/traits/n", 1), op("unset", "/traits/none")]
    assert run(operate("user_a", operations), records).writes == {}


@pytest.mark.parametrize("name", SYSTEM)
def test_what_only_userfold_writes_does_not_exist_for_operations(name: str) -> None:
    records = ada()
    value = as_json(stored(records, "user_a"))[name]
    for operation in (
        op("test", f"/{name}", value),
        op("replace", f"/{name}", value),
        op("remove", f"/{name}"),
        {"op": "copy", "from": f"/{name}", "path": "/traits/x"},
        {"op": "move", "from": f"/{name}", "path": "/traits/x"},
    ):
        refused = refusal(operate("user_a", [operation]), records)
        assert (refused.code, refused.path) == ("path_not_found", f"/{name}")
    for operation in (op("add", f"/{name}", value), op("set", f"/{name}", value), op("merge", "", {name: value})):
        if operation["op"] != "merge" or value is not None:
            refused = refusal(operate("user_a", [operation]), records)
            assert (refused.code, refused.path) == ("field_unknown", f"/{name}")
    assert run(operate("user_a", [op("unset", f"/{name}")]), records).writes == {}


@pytest.mark.parametrize("name", ["password", "password_hash", "totp_secret", "nick/name", ""])
def test_fields_that_there_are_not_are_refused(name: str) -> None:
    path = "/" + name.replace("/", "~1")
    refused = refusal(operate("user_a", [op("set", path, "x")]), ada())
    assert (refused.code, refused.path) == ("field_unknown", path)
    assert refusal(operate("user_a", [op("test", path, None)]), ada()).code == "path_not_found"


def test_an_unknown_field_that_is_gone_again_at_the_end_does_no_harm() -> None:
    operations = [op("set", "/temporary", "Grace"), {"op": "move", "from": "/temporary", "path": "/name"}]
    assert user_of(run(operate("user_a", operations), ada())).name == "Grace"


def test_the_whole_document_that_a_test_sees_has_every_field_that_can_be_written() -> None:
    refused = refusal(operate("user_a", [op("test", "", {})]), ada())
    assert sorted(refused.data["current"]) == WRITTEN


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (op("set", "/name", 5), "field_invalid", "/name"),
    (op("set", "/disabled", "yes"), "field_invalid", "/disabled"),
    (op("set", "/traits", [1]), "field_invalid", "/traits"),
    (op("append", "/email_addresses", "nonsense"), "field_format_invalid", "/email_addresses/2/email_address"),
    (op("replace", "/email_addresses/0/id", "idn_x"), "field_read_only", "/email_addresses/0/id"),
    (op("replace", "", []), "operation_invalid", ""),
    (op("set", "/traits/x", "x" * 70_000), "bag_too_large", "/traits"),
    (op("set", "/traits" + "/a" * 33, 1), "bag_too_deep", "/traits"),
    (op("set", "/external_id", "taken"), "identifier_taken", "/external_id"),
    (op("test", "/traits/n", 2), "test_failed", "/traits/n"),
    (op("spam", "/name"), "operation_unknown", "/1/op"),
]


@pytest.mark.parametrize(("operation", "code", "path"), REFUSED, ids=lambda value: repr(value)[:60])
def test_one_operation_that_fails_undoes_them_all(operation: dict[str, Any], code: str, path: str) -> None:
    records = ada()
    run(create({"external_id": "taken"}), records)
    refused = refusal(operate("user_a", [op("set", "/last_name", "King"), operation]), records)
    assert (refused.code, refused.path) == (code, path)
    assert stored(records, "user_a").last_name is None


def test_limits_hold_for_the_result_and_not_on_the_way() -> None:
    operations = [op("set", "/traits/x", "x" * 70_000), op("unset", "/traits/x"), op("set", "/name", "Grace")]
    assert user_of(run(operate("user_a", operations), ada())).name == "Grace"


def test_only_the_operations_that_are_allowed_are_known() -> None:
    records = ada()
    assert refusal(operate("user_a", [op("increment", "/traits/n")], allowed=JSON_PATCH), records).code == (
        "operation_unknown"
    )
    assert user_of(run(operate("user_a", [op("increment", "/traits/n")]), records)).traits["n"] == 2


def test_edits_and_operations_see_what_the_ones_before_them_left() -> None:
    records = ada()
    edits = (
        Edit("merge_patch", {"traits": {"n": 10}, "name": "Grace"}),
        Operate([op("test", "/name", "Grace"), op("increment", "/traits/n")], tuple(OPERATIONS)),
        Edit("merge_patch", {"traits": {"list": None}}),
        Operate([op("set_once", "/traits/list", [9])], tuple(OPERATIONS)),
    )
    user = user_of(run(UpdateUser(project_id=PROJECT, author=BACKEND, user_id="user_a", edits=edits), records))
    assert (user.name, user.version) == ("Grace", 2)
    assert (user.traits["n"], user.traits["list"]) == (11, [9])
    assert len(changes_of(records, "user_a")) == 2


def test_the_version_is_matched_before_operations_are_looked_at() -> None:
    records = ada()
    command = operate("user_a", [op("spam", "/name")], if_match=(7,))
    assert refusal(command, records).code == "version_mismatch"


# An open browser; one that proved who it is.
JUDGED: list[tuple[Author, dict[str, Any], tuple[Ignored, ...]]] = [
    (BROWSER, op("increment", "/traits/n"), ()),
    (VERIFIED, op("set", "/unsafe_metadata/a", 1), ()),
    (BROWSER, op("set", "/unsafe_metadata/a", 1), (Ignored("/unsafe_metadata", "not_permitted"),)),
    (VERIFIED, op("set", "/public_metadata/plan", "pro"), (Ignored("/public_metadata", "not_signed"),)),
    (BROWSER, op("set", "/name", "Grace"), (Ignored("/name", "owned_by_backend"),)),
    (BROWSER, op("set", "/public_metadata/plan", "free"), ()),
]


@pytest.mark.parametrize(("by", "operation", "ignored"), JUDGED, ids=in_order)
def test_operations_are_judged_by_their_result(
    by: Author, operation: dict[str, Any], ignored: tuple[Ignored, ...]
) -> None:
    records = ada({**ADA, "disabled": False})
    assert run(operate("user_a", [operation], by), records).ignored == ignored


def test_operations_can_make_a_user() -> None:
    operations = Operate([op("set", "/name", "Ada"), op("increment", "/traits/n")], tuple(OPERATIONS))
    user = user_of(run(CreateUser(project_id=PROJECT, author=BACKEND, edits=(operations,)), {}))
    assert (user.name, user.traits) == ("Ada", {"n": 1})


@pytest.mark.parametrize("operation", [op("set", "/external_id", "b"), op("unset", "/external_id"), op("unset", "")])
@pytest.mark.parametrize("records", [{}, ada(), begun_by_a_browser()], ids=["nobody", "a backend's", "a browser's"])
def test_an_upsert_by_operations_cannot_change_the_external_id_that_it_names(
    records: Database, operation: dict[str, Any]
) -> None:
    refused = refusal(upsert_by_operations("a", op("set", "/name", "Ada"), operation), records)
    assert (refused.code, refused.path) == ("field_invalid", "/external_id")
    assert refused.data["reason"] == "it is not the external_id that the request names"


def test_an_upsert_by_operations_makes_the_user_that_it_names() -> None:
    command = upsert_by_operations("a", op("test", "/external_id", "a"), op("increment", "/traits/n"))
    records: Database = {}
    made = run(command, records)
    assert (user_of(made).external_id, user_of(made).traits, made.created) == ("a", {"n": 1}, True)
    again = run(command, records)
    assert (user_of(again).external_id, user_of(again).traits, again.created) == ("a", {"n": 2}, False)


def test_an_upsert_by_the_users_own_id_leaves_its_external_id_alone() -> None:
    records = ada()
    assert user_of(run(upsert_by_operations("user_a", op("set", "/name", "Eve")), records)).external_id == "a"
    assert refusal(upsert_by_operations("user_a", op("set", "/external_id", "b")), records).path == "/external_id"


fields = st.sampled_from([f"/{name}" for name in FIELDS])
below = st.sampled_from(["", "", "/a", "/a/b", "/n", "/list", "/list/0", "/0", "/-", "/0/email_address"])
paths = st.tuples(fields, below).map("".join) | st.just("")


@given(st.lists(operation_lists(tuple(OPERATIONS), paths), min_size=1, max_size=3), st.sampled_from([BROWSER, BACKEND]))
def test_whatever_is_operated_history_and_user_agree_and_system_fields_stay(lists: list[Any], by: Author) -> None:
    records = ada({**ADA, "disabled": False})
    before = stored(records, "user_a")
    for operations in lists:
        was = dict(records)
        try:
            run(operate("user_a", operations, by), records)
        except DomainError:
            assert records == was
    user = stored(records, "user_a")
    assert same_text(as_json(folded(records, "user_a")), as_json(user))
    assert [user.id, user.usercom_id, user.created_at] == [before.id, before.usercom_id, before.created_at]
    assert user.version == len(changes_of(records, "user_a"))
    if by is BROWSER:
        assert (user.public_metadata, user.disabled, user.external_id) == (before.public_metadata, False, "a")
