"""Attributes: what each type takes, when a value of traits is judged, and how attributes are defined."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec import UNSET

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    VERIFIED,
    Database,
    create,
    made,
    operate,
    refusal,
    run,
    session,
    stored,
    trust,
    update,
    upsert,
)
from userfold.core.attribute_rules import ATTRIBUTES_MAX, attribute_id
from userfold.core.attributes import CHOICES_MAX, TYPES
from userfold.core.commands import CreateAttribute, DeleteAttribute, Once, UpdateAttribute
from userfold.core.errors import (
    AttributeExists,
    AttributeNotFound,
    BagTooLarge,
    FieldFormatInvalid,
    FieldInvalid,
    LimitReached,
    VersionMismatch,
)
from userfold.core.records import AttributeDefinition, AttributeType, EffectiveSettings, Key
from userfold.core.trust import Author

COLOURS = ("red", "green", "blue")


def definition(name: str, type_: AttributeType, choices: tuple[str, ...] = ()) -> AttributeDefinition:
    return AttributeDefinition(
        id=attribute_id(PROJECT, name),
        project_id=PROJECT,
        name=name,
        type=type_,
        choices=choices,
        created_at=1,
        updated_at=1,
    )


def knowing(*definitions: AttributeDefinition) -> EffectiveSettings:
    return EffectiveSettings(attributes={one.name: one for one in definitions})


PLAN = knowing(definition("plan", "integer"), definition("a/b~c", "boolean"))

# The type → what is of it, and what is not.
VALUES: dict[AttributeType, tuple[list[Any], list[Any]]] = {
    "string": (["", "a", "1", "\0", "x" * 1000], [1, True, [], {}]),
    "integer": ([0, -1, 10**300], [1.0, 1.5, "1", True, False, [], {}]),
    "number": ([0, 1.5, -0.0, 1e300, 10**300], ["1", True, [], {}]),
    "boolean": ([True, False], [0, 1, "true", "", []]),
    "date": (
        ["2027-01-31", "2028-02-29", "2000-02-29", "0000-02-29", "9999-12-31"],
        [
            "2027-02-29",
            "1900-02-29",
            "2027-13-01",
            "2027-00-10",
            "2027-01-00",
            "2027-04-31",
            "27-01-01",
            "2027-1-1",
            "2027-01-01T00:00:00Z",
            " 2027-01-01",
            "2027-01-01\n",
            "２０２７-01-01",
            "",
            20270101,
            {},
            "2027/01/01",
        ],
    ),
    "datetime": (
        [
            "2027-01-31T09:30:00Z",
            "2027-01-31T09:30:00.123456789Z",
            "2016-08-03T12:00:00+00:00",
            "2016-12-31T23:59:60Z",
            "2027-01-31T00:00:00-23:59",
        ],
        [
            "2027-01-31",
            "2027-01-31T09:30:00",
            "2027-01-31 09:30:00Z",
            "2027-01-31T24:00:00Z",
            "2027-01-31T09:60:00Z",
            "2027-02-30T09:30:00Z",
            "2027-01-31T09:30Z",
            "2027-01-31T09:30:00+0100",
            "2027-01-31T09:30:00z",
            0,
            "",
            "2027-01-31T09:30:00.Z",
            "2027-01-31T09:30:61Z",
            "2027-01-31T09:30:00Z\n",
            "2027-01-31T09:30:00+24:00",
        ],
    ),
    "choice": (["red", "blue"], ["", "Red", "red ", "yellow", ["red"], 1, {}]),
    "choices": ([[], ["red"], ["blue", "red"]], ["red", ["yellow"], ["red", "red"], ["red", 1], [["red"]], {}, [None]]),
    "list": ([[], [1, None, {}]], [{}, "[]", 1]),
    "object": ([{}, {"a": []}], [[], "{}", 1]),
    "any": (["", 1, 1.5, True, [], {}], []),
}
CASES = [(kind, value, good) for kind, values in VALUES.items() for good in (True, False) for value in values[not good]]


def test_every_type_has_its_examples() -> None:
    assert list(VALUES) == list(TYPES) == list(get_args(AttributeType))


@pytest.mark.parametrize(("kind", "value", "good"), CASES)
def test_a_value_is_taken_if_it_is_of_the_type_of_its_attribute(kind: AttributeType, value: Any, good: bool) -> None:
    settings = knowing(definition("x", kind, COLOURS if kind in ("choice", "choices") else ()))
    records: Database = {}
    ada = made(records, {})
    command = update(ada, {"traits": {"x": value}}, mode="replace")
    if good:
        run(command, records, settings=settings)
        assert msgspec.json.encode(stored(records, ada).traits) == msgspec.json.encode({"x": value})
    else:
        error = refusal(command, records, settings=settings)
        assert (type(error), error.path) == (FieldInvalid, "/traits/x")


@pytest.mark.parametrize("kind", TYPES)
def test_null_is_of_every_type(kind: AttributeType) -> None:
    settings = knowing(definition("x", kind, COLOURS if kind in ("choice", "choices") else ()))
    records: Database = {}
    ada = made(records, {})
    run(update(ada, {"traits": {"x": None}}, mode="replace"), records, settings=settings)
    assert stored(records, ada).traits == {"x": None}


SAID: list[tuple[AttributeDefinition, Any, str]] = [
    (definition("x", "integer"), "1", "The value at /traits/x is not valid: an integer is needed."),
    (definition("x", "boolean"), 1, "The value at /traits/x is not valid: true or false is needed."),
    (definition("x", "date"), "1", "The value at /traits/x is not valid: a date such as 2027-01-31 is needed."),
    (definition("x", "choice", COLOURS), 1, "The value at /traits/x is not valid: one of red, green, blue is needed."),
    (
        definition("x", "choices", tuple("abcdefghijk")),
        1,
        "The value at /traits/x is not valid: a list of some of a, b, c, d, e, f, g, h, i, j, … is needed.",
    ),
]


@pytest.mark.parametrize(("attribute", "value", "message"), SAID)
def test_the_refusal_says_what_is_needed(attribute: AttributeDefinition, value: Any, message: str) -> None:
    assert str(refusal(create({"traits": {"x": value}}), {}, settings=knowing(attribute))) == message


# What is judged.


@pytest.mark.parametrize("author", [BROWSER, VERIFIED, BACKEND], ids=trust)
def test_writers_of_every_trust_level_are_held_to_the_type(author: Author) -> None:
    records: Database = {}
    ada = made(records, {"external_id": "a"})
    for command in (
        create({"traits": {"plan": "gold"}}, author),
        update(ada, {"traits": {"plan": "gold"}}, author),
        upsert("a", {"traits": {"plan": "gold"}}, author),
        upsert("b", {"traits": {"plan": "gold"}}, author),
        upsert("a", {"traits": {"plan": "gold"}}, author, session_id=session(records, user_id="somebody else")),
        operate(ada, [{"op": "set", "path": "/traits/plan", "value": "gold"}], author),
    ):
        records[Key("user", PROJECT, "somebody else")] = msgspec.structs.replace(ada, id="somebody else")
        error = refusal(command, records, settings=PLAN)
        assert (type(error), error.path) == (FieldInvalid, "/traits/plan")


def test_it_is_the_result_that_is_judged() -> None:
    records: Database = {}
    ada = made(records, {"traits": {"plan": 1}})
    down = [{"op": "set", "path": "/traits/plan", "value": "x"}, {"op": "set", "path": "/traits/plan", "value": 2}]
    run(operate(ada, down), records, settings=PLAN)
    error = refusal(operate(ada, [{"op": "increment", "path": "/traits/plan", "by": 0.5}]), records, settings=PLAN)
    assert error.path == "/traits/plan"


def test_what_is_stored_already_is_not_judged_again_until_it_changes() -> None:
    records: Database = {}
    ada = made(records, {"traits": {"plan": "gold", "other": 1}})
    run(update(ada, {"traits": {"other": 2}}), records, settings=PLAN)
    run(update(ada, {"traits": {"plan": "gold", "other": 3}}, mode="replace"), records, settings=PLAN)
    assert stored(records, ada).traits == {"plan": "gold", "other": 3}
    assert type(refusal(update(ada, {"traits": {"plan": "silver"}}), records, settings=PLAN)) is FieldInvalid
    run(update(ada, {"traits": {"plan": None}}), records, settings=PLAN)
    assert stored(records, ada).traits == {"other": 3}


def test_a_value_that_only_looks_the_same_is_judged() -> None:
    records: Database = {}
    ada = made(records, {"traits": {"plan": 1.0}})
    run(update(ada, {"traits": {"plan": 1}}), records, settings=PLAN)
    assert type(refusal(update(ada, {"traits": {"plan": 1.0}}), records, settings=PLAN)) is FieldInvalid


def test_the_path_of_a_name_with_signs_is_a_json_pointer() -> None:
    error = refusal(create({"traits": {"a/b~c": 1}}), {}, settings=PLAN)
    assert error.path == "/traits/a~1b~0c"


def test_other_bags_and_deeper_keys_are_nobodys_business() -> None:
    document = {"traits": {"deep": {"plan": "gold"}}, "public_metadata": {"plan": "gold"}}
    run(create(document), {}, settings=PLAN)


def test_the_limit_of_the_bag_is_judged_first() -> None:
    error = refusal(create({"traits": {"plan": "x" * 70_000}}), {}, settings=PLAN)
    assert type(error) is BagTooLarge


# Definitions.


def define(name: str = "plan", type_: Any = "integer", **more: Any) -> CreateAttribute:
    return CreateAttribute(project_id=PROJECT, author=BACKEND, name=name, type=type_, **more)


def change(id_: str, **more: Any) -> UpdateAttribute:
    return UpdateAttribute(project_id=PROJECT, author=BACKEND, attribute_id=id_, **more)


def remove(id_: str, **more: Any) -> DeleteAttribute:
    return DeleteAttribute(project_id=PROJECT, author=BACKEND, attribute_id=id_, **more)


def defined(records: Database, *args: Any, **more: Any) -> AttributeDefinition:
    attribute = run(define(*args, **more), records).record
    assert isinstance(attribute, AttributeDefinition)
    return attribute


def test_an_attribute_is_made_with_its_times_and_version() -> None:
    records: Database = {}
    applied = run(define("colour", "choice", choices=COLOURS, title="Colour", description="d"), records, now=NOW)
    expected = AttributeDefinition(
        id=attribute_id(PROJECT, "colour"),
        project_id=PROJECT,
        name="colour",
        type="choice",
        choices=COLOURS,
        title="Colour",
        description="d",
        created_at=NOW,
        updated_at=NOW,
    )
    assert applied.record == expected
    assert records == {Key("attribute", PROJECT, expected.id): expected}
    assert len(expected.id) == len("attr_") + 26


def test_an_id_is_of_one_name_in_one_project() -> None:
    ids = {attribute_id(project, name) for project in ("prj_1", "prj_2") for name in ("a", "b", "A")}
    assert len(ids) == 6
    assert attribute_id("prj_1", "a") == attribute_id("prj_1", "a")


def test_a_name_has_one_attribute_until_that_is_deleted() -> None:
    records: Database = {}
    first = defined(records)
    error = refusal(define("plan", "string"), records)
    assert (type(error), error.data) == (AttributeExists, {"path": "/name", "attribute_id": first.id})
    defined(records, "Plan")
    run(remove(first.id), records)
    assert defined(records, "plan", "string").type == "string"


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": ""}, FieldFormatInvalid, "/name"),
    ({"name": "x" * 256}, FieldFormatInvalid, "/name"),
    ({"type_": "fixed"}, FieldInvalid, "/type"),
    ({"title": ""}, FieldFormatInvalid, "/title"),
    ({"description": "x" * 1025}, FieldFormatInvalid, "/description"),
    ({"choices": ("a",)}, FieldInvalid, "/choices"),
    ({"type_": "choice"}, FieldInvalid, "/choices"),
    ({"type_": "choices", "choices": ("a", "")}, FieldFormatInvalid, "/choices/1"),
    ({"type_": "choices", "choices": ("a", "b", "a")}, FieldInvalid, "/choices/2"),
    ({"type_": "choice", "choices": tuple(map(str, range(CHOICES_MAX + 1)))}, FieldInvalid, "/choices"),
]


@pytest.mark.parametrize(("given", "kind", "path"), BAD)
def test_a_bad_attribute_is_refused(given: dict[str, Any], kind: type[Exception], path: str) -> None:
    error = refusal(define(**given), {})
    assert (type(error), error.path) == (kind, path)


def test_as_many_choices_as_are_allowed_are_taken() -> None:
    defined({}, "a", "choice", choices=tuple(map(str, range(CHOICES_MAX))))


def test_a_project_has_a_limited_number_of_attributes() -> None:
    full = knowing(*(definition(f"a{number}", "any") for number in range(ATTRIBUTES_MAX)))
    error = refusal(define(), {}, settings=full)
    assert (type(error), error.data["count_max"]) == (LimitReached, ATTRIBUTES_MAX)
    one_less = msgspec.structs.replace(full, attributes=dict(list(full.attributes.items())[1:]))
    run(define(), {}, settings=one_less)


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"choices": COLOURS, "title": "t", "description": "d"}, {}),
    ({"title": None, "description": UNSET}, {"title": None}),
    ({"description": None}, {"description": None}),
    ({"choices": ("red",), "if_match": (1,)}, {"choices": ("red",)}),
]


@pytest.mark.parametrize(("given", "expected"), CHANGES)
def test_what_is_given_changes_an_attribute_and_the_rest_stays(given: dict[str, Any], expected: dict[str, Any]) -> None:
    records: Database = {}
    before = defined(records, "colour", "choice", choices=COLOURS, title="t", description="d")
    after = run(change(before.id, **given), records, now=NOW + 5).record
    if expected:
        expected |= {"updated_at": NOW + 5, "version": 2}
    assert after == msgspec.structs.replace(before, **expected)
    assert records == {Key("attribute", PROJECT, before.id): after}


def test_an_attribute_of_a_type_without_choices_gets_none_later() -> None:
    records: Database = {}
    attribute = defined(records)
    assert refusal(change(attribute.id, choices=("a",)), records).path == "/choices"
    colour = defined(records, "colour", "choice", choices=COLOURS)
    assert refusal(change(colour.id, choices=()), records).path == "/choices"


def test_an_attribute_that_is_unknown_or_at_another_version_is_left_alone() -> None:
    records: Database = {}
    attribute = defined(records)
    for make in (change, remove):
        error = refusal(make("attr_z", if_match=(9,)), records)
        assert (type(error), error.data) == (AttributeNotFound, {"attribute_id": "attr_z"})
        assert type(refusal(make(attribute.id, if_match=(2,)), records)) is VersionMismatch


def test_a_deleted_attribute_leaves_nothing() -> None:
    records: Database = {}
    attribute = defined(records)
    assert run(remove(attribute.id), records).record == attribute
    assert records == {}
    assert type(refusal(remove(attribute.id), records)) is AttributeNotFound


def test_an_attribute_that_is_made_again_with_one_key_is_answered_as_before() -> None:
    records: Database = {}
    first = defined(records, once=Once("k", "1"))
    assert defined(records, once=Once("k", "1")) == first
