from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from msgspec import UNSET, to_builtins

from tests.strategies import json_objects, json_values
from userfold.core.diff import diff, escape, fold
from userfold.core.jsontext import decode, encode, same_text
from userfold.core.records import Operation

# before, after, and the operations as they are stored.
DIFFERENCES: list[tuple[Any, Any, list[dict[str, Any]]]] = [
    # Members of objects, at every depth.
    ({}, {"a": 1}, [{"op": "add", "path": "/a", "new": 1}]),
    ({"a": 1}, {}, [{"op": "remove", "path": "/a", "old": 1}]),
    ({"a": 1}, {"a": 2}, [{"op": "replace", "path": "/a", "old": 1, "new": 2}]),
    ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [{"op": "replace", "path": "/a/b/c", "old": 1, "new": 2}]),
    ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, [{"op": "add", "path": "/a/c", "new": 2}]),
    ({}, {"a": {"b": {"c": 1}}}, [{"op": "add", "path": "/a", "new": {"b": {"c": 1}}}]),
    ({"a": {"b": {"c": 1}}}, {}, [{"op": "remove", "path": "/a", "old": {"b": {"c": 1}}}]),
    (
        {"a": 1, "b": 2, "c": 3},
        {"d": 4, "b": 5, "a": 1},
        [
            {"op": "replace", "path": "/b", "old": 2, "new": 5},
            {"op": "remove", "path": "/c", "old": 3},
            {"op": "add", "path": "/d", "new": 4},
        ],
    ),
    # Keys that JSON Pointer has to escape, and the empty key.
    ({}, {"a/b": 1}, [{"op": "add", "path": "/a~1b", "new": 1}]),
    ({}, {"a~b": 1}, [{"op": "add", "path": "/a~0b", "new": 1}]),
    ({"~1": 1}, {"~1": 2}, [{"op": "replace", "path": "/~01", "old": 1, "new": 2}]),
    ({"/": {"~": 1}}, {"/": {}}, [{"op": "remove", "path": "/~1/~0", "old": 1}]),
    ({"": 1}, {"": 2}, [{"op": "replace", "path": "/", "old": 1, "new": 2}]),
    ({"": {"": 1}}, {"": {}}, [{"op": "remove", "path": "//", "old": 1}]),
    ({}, {"0": 1}, [{"op": "add", "path": "/0", "new": 1}]),
    # Null is a value; absent is none.
    ({}, {"a": None}, [{"op": "add", "path": "/a", "new": None}]),
    ({"a": None}, {}, [{"op": "remove", "path": "/a", "old": None}]),
    ({"a": None}, {"a": 1}, [{"op": "replace", "path": "/a", "old": None, "new": 1}]),
    ({"a": 1}, {"a": None}, [{"op": "replace", "path": "/a", "old": 1, "new": None}]),
    # Empty containers are values.
    ({}, {"a": {}}, [{"op": "add", "path": "/a", "new": {}}]),
    ({}, {"a": []}, [{"op": "add", "path": "/a", "new": []}]),
    ({"a": {}}, {"a": []}, [{"op": "replace", "path": "/a", "old": {}, "new": []}]),
    ({"a": {}}, {"a": None}, [{"op": "replace", "path": "/a", "old": {}, "new": None}]),
    ({"a": {}}, {"a": {"b": 1}}, [{"op": "add", "path": "/a/b", "new": 1}]),
    ({"a": {"b": 1}}, {"a": {}}, [{"op": "remove", "path": "/a/b", "old": 1}]),
    ({"a": {"b": 1}}, {"a": 1}, [{"op": "replace", "path": "/a", "old": {"b": 1}, "new": 1}]),
    ({"a": [1]}, {"a": {"0": 1}}, [{"op": "replace", "path": "/a", "old": [1], "new": {"0": 1}}]),
    # A list is one operation: the run that differs.
    ({"a": []}, {"a": [1]}, [{"op": "replace", "path": "/a", "at": 0, "removed": [], "added": [1]}]),
    ({"a": [1]}, {"a": []}, [{"op": "replace", "path": "/a", "at": 0, "removed": [1], "added": []}]),
    ({"a": [1, 2]}, {"a": [1, 2, 3]}, [{"op": "replace", "path": "/a", "at": 2, "removed": [], "added": [3]}]),
    ({"a": [1, 2]}, {"a": [0, 1, 2]}, [{"op": "replace", "path": "/a", "at": 0, "removed": [], "added": [0]}]),
    ({"a": [1, 2, 3]}, {"a": [1, 3]}, [{"op": "replace", "path": "/a", "at": 1, "removed": [2], "added": []}]),
    ({"a": [1, 1]}, {"a": [1, 1, 1]}, [{"op": "replace", "path": "/a", "at": 2, "removed": [], "added": [1]}]),
    ({"a": [1, 1, 1]}, {"a": [1]}, [{"op": "replace", "path": "/a", "at": 1, "removed": [1, 1], "added": []}]),
    (
        {"a": [1, 2, 3, 4]},
        {"a": [1, 9, 3, 8]},
        [{"op": "replace", "path": "/a", "at": 1, "removed": [2, 3, 4], "added": [9, 3, 8]}],
    ),
    (
        {"a": [{"b": 1}, 2]},
        {"a": [{"b": 2}, 2]},
        [{"op": "replace", "path": "/a", "at": 0, "removed": [{"b": 1}], "added": [{"b": 2}]}],
    ),
    ({"a": [[1], 2]}, {"a": [[], 2]}, [{"op": "replace", "path": "/a", "at": 0, "removed": [[1]], "added": [[]]}]),
    # Data that Python calls equal.
    ({"a": 1}, {"a": 1.0}, [{"op": "replace", "path": "/a", "old": 1, "new": 1.0}]),
    ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "old": 1, "new": True}]),
    ({"a": 0}, {"a": False}, [{"op": "replace", "path": "/a", "old": 0, "new": False}]),
    ({"a": 0.0}, {"a": -0.0}, [{"op": "replace", "path": "/a", "old": 0.0, "new": -0.0}]),
    ({"a": [1]}, {"a": [1.0]}, [{"op": "replace", "path": "/a", "at": 0, "removed": [1], "added": [1.0]}]),
    ({"a": [0, True]}, {"a": [0, 1]}, [{"op": "replace", "path": "/a", "at": 1, "removed": [True], "added": [1]}]),
    ({"a": [0, 1]}, {"a": [0.0, 1]}, [{"op": "replace", "path": "/a", "at": 0, "removed": [0], "added": [0.0]}]),
    # Without a difference.
    ({}, {}, []),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ({"a": [], "b": {}, "c": None}, {"a": [], "b": {}, "c": None}, []),
    ({"a": [1, {"b": [2.5]}]}, {"a": [1, {"b": [2.5]}]}, []),
    # Whole values.
    (1, 2, [{"op": "replace", "path": "", "old": 1, "new": 2}]),
    ([1], [2], [{"op": "replace", "path": "", "at": 0, "removed": [1], "added": [2]}]),
    (UNSET, {}, [{"op": "add", "path": "", "new": {}}]),
]


def as_stored(operations: list[Operation]) -> list[dict[str, Any]]:
    return [to_builtins(operation) for operation in operations]


@pytest.mark.parametrize(("before", "after", "operations"), DIFFERENCES, ids=repr)
def test_a_difference_is_these_operations_and_no_others(
    before: Any, after: Any, operations: list[dict[str, Any]]
) -> None:
    assert same_text(as_stored(list(diff(before, after, ""))), operations)


@pytest.mark.parametrize(("before", "after"), [row[:2] for row in DIFFERENCES], ids=repr)
def test_folding_a_difference_leads_from_before_to_after(before: Any, after: Any) -> None:
    assert same_text(fold(before, diff(before, after, "")), after)


def test_operations_stand_below_the_path_that_was_given() -> None:
    operations = list(diff({"a": 1}, {"a": 2}, "/traits"))
    assert [operation.path for operation in operations] == ["/traits/a"]


def test_an_absent_value_gives_an_operation_without_old_or_without_new() -> None:
    (added,), (removed,) = list(diff(UNSET, None, "/a")), list(diff(None, UNSET, "/a"))
    assert added == Operation(op="add", path="/a", new=None)
    assert removed == Operation(op="remove", path="/a", old=None)


ESCAPED: list[tuple[str, str]] = [("", ""), ("a", "a"), ("/", "~1"), ("~", "~0"), ("~1", "~01"), ("~/~", "~0~1~0")]


@pytest.mark.parametrize(("name", "part"), ESCAPED, ids=repr)
def test_a_key_is_escaped_as_rfc_6901_says(name: str, part: str) -> None:
    assert escape(name) == part


def test_folding_applies_operations_in_their_order() -> None:
    operations = [
        Operation(op="add", path="/a", new={}),
        Operation(op="add", path="/a/b", new=[1, 2, 3]),
        Operation(op="replace", path="/a/b", at=1, removed=[2], added=[8, 9]),
        Operation(op="add", path="/c", new=1),
        Operation(op="remove", path="/c", old=1),
    ]
    assert fold({}, operations) == {"a": {"b": [1, 8, 9, 3]}}


@given(json_objects(), json_objects())
def test_folding_the_difference_of_any_two_objects_gives_the_second(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert same_text(fold(before, diff(before, after, "")), after)


@given(json_objects(), json_objects())
def test_operations_survive_being_stored(before: dict[str, Any], after: dict[str, Any]) -> None:
    stored = decode(encode(list(diff(before, after, ""))))
    operations = [Operation(**operation) for operation in stored]
    assert same_text(fold(before, operations), after)


@given(json_objects(), json_objects())
def test_the_way_back_swaps_old_and_new(before: dict[str, Any], after: dict[str, Any]) -> None:
    there = {operation.path: operation for operation in diff(before, after, "")}
    back = {operation.path: operation for operation in diff(after, before, "")}
    assert there.keys() == back.keys()
    for path, operation in there.items():
        assert (operation.old, operation.new) == (back[path].new, back[path].old)


@given(json_values())
def test_equal_data_has_no_difference(value: Any) -> None:
    assert list(diff(value, copy.deepcopy(value), "")) == []


@given(json_objects(), json_objects())
def test_diff_and_fold_leave_their_arguments_alone(before: dict[str, Any], after: dict[str, Any]) -> None:
    copies = copy.deepcopy((before, after))
    fold(before, diff(before, after, ""))
    assert same_text([before, after], [*copies])
