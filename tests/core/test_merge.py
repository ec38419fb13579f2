from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_objects, json_values
from userfold.core.errors import FieldInvalid
from userfold.core.jsontext import same_text
from userfold.core.merge import MODES, merge_bag, merge_patch

# RFC 7396, appendix A, in its order: original, patch, result.
RFC_7396: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396, ids=repr)
def test_merge_patch_gives_the_results_of_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    assert same_text(merge_patch(target, patch), result)


# RFC 7396, section 3.
TARGET = {
    "title": "Goodbye!",
    "author": {"givenName": "John", "familyName": "Doe"},
    "tags": ["example", "sample"],
    "content": "This will be unchanged",
}
PATCH = {"title": "Hello!", "phoneNumber": "+01-123-456-7890", "author": {"familyName": None}, "tags": ["example"]}
RESULT = {
    "title": "Hello!",
    "author": {"givenName": "John"},
    "tags": ["example"],
    "content": "This will be unchanged",
    "phoneNumber": "+01-123-456-7890",
}


def test_merge_patch_gives_the_example_of_rfc_7396() -> None:
    assert same_text(merge_patch(TARGET, PATCH), RESULT)


STORED = {"plan": "free", "seats": 1, "team": {"lead": "Ada", "size": 2}, "tags": ["a", "b"]}

# mode, given, the bag afterwards; `STORED` is what stood there.
MERGED: list[tuple[str, Any, dict[str, Any]]] = [
    # Native and Clerk's PATCH: every depth, null removes at any depth, also inside new objects, lists are replaced.
    ("merge_patch", {}, STORED),
    ("merge_patch", {"plan": "pro"}, {**STORED, "plan": "pro"}),
    ("merge_patch", {"plan": ""}, {**STORED, "plan": ""}),
    ("merge_patch", {"team": {"size": 3}}, {**STORED, "team": {"lead": "Ada", "size": 3}}),
    ("merge_patch", {"team": {"size": None}}, {**STORED, "team": {"lead": "Ada"}}),
    ("merge_patch", {"team": None, "nothing": None}, {k: v for k, v in STORED.items() if k != "team"}),
    ("merge_patch", {"new": {"a": None, "b": {"c": None}}}, {**STORED, "new": {"b": {}}}),
    ("merge_patch", {"plan": {"a": None}}, {**STORED, "plan": {}}),
    ("merge_patch", {"tags": ["c"]}, {**STORED, "tags": ["c"]}),
    ("merge_patch", {"tags": [None, {"a": None}]}, {**STORED, "tags": [None, {"a": None}]}),
    ("merge_patch", None, {}),
    ("deep", {}, STORED),
    ("deep", {"team": {"size": None}, "new": {"a": None}}, {**STORED, "team": {"lead": "Ada"}, "new": {}}),
    ("deep", {"tags": [None]}, {**STORED, "tags": [None]}),
    # Clerk's PUT and Wacht: the bag is what was given; null inside is data.
    ("replace", {}, {}),
    ("replace", {"plan": None, "team": {"size": None}}, {"plan": None, "team": {"size": None}}),
    ("replace", None, {}),
    # Milana: the last value of each top-level key; null is data.
    ("shallow", {}, STORED),
    ("shallow", {"plan": None}, {**STORED, "plan": None}),
    ("shallow", {"team": {"size": 3}}, {**STORED, "team": {"size": 3}}),
    ("shallow", {"tags": [], "team": {"lead": None}}, {**STORED, "tags": [], "team": {"lead": None}}),
]


@pytest.mark.parametrize(("mode", "given", "result"), MERGED, ids=repr)
def test_a_mode_merges_a_bag_as_its_table_says(mode: str, given: Any, result: dict[str, Any]) -> None:
    assert same_text(merge_bag(mode, STORED, given, path="/traits"), result)


def test_every_mode_has_rows_in_the_table() -> None:
    assert {row[0] for row in MERGED} == set(MODES)


NO_OBJECTS: list[tuple[str, Any]] = [
    *((mode, value) for mode in MODES for value in ("", "{}", 0, 1.5, True, False, [], [["plan", "pro"]])),
    ("deep", None),
    ("shallow", None),
]


@pytest.mark.parametrize(("mode", "given"), NO_OBJECTS, ids=repr)
def test_a_bag_takes_nothing_but_an_object(mode: str, given: Any) -> None:
    with pytest.raises(FieldInvalid) as refused:
        merge_bag(mode, STORED, given, path="/traits")
    assert refused.value.data == {"path": "/traits", "reason": "an object is needed"}


every_mode = st.sampled_from(sorted(MODES))


@given(every_mode, json_objects(), json_objects())
def test_merging_twice_is_merging_once(mode: str, stored: dict[str, Any], given: dict[str, Any]) -> None:
    once = merge_bag(mode, stored, given, path="/traits")
    assert same_text(merge_bag(mode, once, given, path="/traits"), once)


@given(st.sampled_from(["merge_patch", "deep", "shallow"]), json_objects())
def test_merging_with_an_empty_object_changes_nothing(mode: str, stored: dict[str, Any]) -> None:
    assert same_text(merge_bag(mode, stored, {}, path="/traits"), stored)


@given(every_mode, json_objects(), json_objects())
def test_merging_leaves_its_arguments_alone(mode: str, stored: dict[str, Any], given: dict[str, Any]) -> None:
    before = copy.deepcopy((stored, given))
    merge_bag(mode, stored, given, path="/traits")
    assert same_text([*before], [stored, given])


@given(json_values(), json_values())
def test_merge_patch_leaves_its_arguments_alone(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    merge_patch(target, patch)
    assert same_text([*before], [target, patch])


def nulls(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where nulls are members of objects, not looking into lists."""
    if isinstance(value, dict):
        for name, member in value.items():
            if member is None:
                yield (*path, name)
            yield from nulls(member, (*path, name))


@given(json_values(), json_objects())
def test_merge_patch_never_adds_a_null_to_an_object(target: Any, patch: dict[str, Any]) -> None:
    assert set(nulls(merge_patch(target, patch))) <= set(nulls(target))


@given(json_values(), json_objects())
def test_merge_patch_removes_what_the_patch_says_is_null(target: Any, patch: dict[str, Any]) -> None:
    assert not set(nulls(merge_patch(target, patch))) & set(nulls(patch))


@given(json_objects(), json_objects())
def test_merge_patch_keeps_every_member_that_the_patch_does_not_name(
    target: dict[str, Any], patch: dict[str, Any]
) -> None:
    merged = merge_patch(target, patch)
    for name in target.keys() - patch.keys():
        assert same_text(merged[name], target[name])


@given(json_objects(), json_objects(), json_objects())
def test_shallow_is_the_last_value_of_each_key(
    stored: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    in_turn = merge_bag("shallow", merge_bag("shallow", stored, first, path="/t"), second, path="/t")
    assert same_text(in_turn, {**stored, **first, **second})
