"""RFC 6902 and our own operations: every case by example, then what holds for all of them."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_objects, json_values, numbers, operation_lists, pointers
from userfold.core.diff import diff, fold
from userfold.core.errors import (
    DomainError,
    ListNotFound,
    NumberInvalid,
    OperationInvalid,
    OperationUnknown,
    PathNotFound,
    TestFailed,
)
from userfold.core.jsontext import TEXT_LEVELS_MAX, same_text, same_value
from userfold.core.operations import (
    COPIED_BYTES_MAX,
    JSON_PATCH,
    OPERATIONS,
    OPERATIONS_MAX,
    POINTER_PARTS_MAX,
    operate,
)
from userfold.core.records import Operation

ALL = tuple(OPERATIONS)

# What comes out: a document, or a refusal and the path that it names.
Refusal = tuple[type[DomainError], str]
Case = tuple[dict[str, Any], list[Any], Any]


def each(*values: Any) -> tuple[Any, ...]:
    return values


def op(name: str, path: str, *value: Any, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **({"value": value[0]} if value else {}), **more}


def move(source: str, path: str) -> dict[str, Any]:
    return {"op": "move", "from": source, "path": path}


def copied(source: str, path: str) -> dict[str, Any]:
    return {"op": "copy", "from": source, "path": path}


def check(document: Any, operations: Any, expected: Any, allowed: tuple[str, ...] = ALL) -> None:
    if not isinstance(expected, tuple):
        assert same_text(operate(document, operations, allowed), expected)
        return
    with pytest.raises(DomainError) as refused:
        operate(document, operations, allowed)
    assert (type(refused.value), refused.value.path) == expected


# RFC 6902, appendix A, in its order (A.13, a key that occurs twice, is refused by jsontext.decode).
RFC_6902: list[Case] = [
    ({"foo": "bar"}, [op("add", "/baz", "qux")], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [op("add", "/foo/1", "qux")], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [op("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [op("replace", "/baz", "boo")], {"baz": "boo", "foo": "bar"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [move("/foo/waldo", "/qux/thud")],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    ({"foo": ["all", "grass", "cows", "eat"]}, [move("/foo/1", "/foo/3")], {"foo": ["all", "cows", "eat", "grass"]}),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [op("test", "/baz", "qux"), op("test", "/foo/1", 2)],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"baz": "qux"}, [op("test", "/baz", "bar")], (TestFailed, "/baz")),
    ({"foo": "bar"}, [op("add", "/child", {"grandchild": {}})], {"foo": "bar", "child": {"grandchild": {}}}),
    ({"foo": "bar"}, [op("add", "/baz", "qux", xyz=123)], {"foo": "bar", "baz": "qux"}),
    ({"foo": "bar"}, [op("add", "/baz/bat", "qux")], (PathNotFound, "/baz")),
    ({"/": 9, "~1": 10}, [op("test", "/~01", 10)], {"/": 9, "~1": 10}),
    ({"/": 9, "~1": 10}, [op("test", "/~01", "10")], (TestFailed, "/~01")),
    ({"foo": ["bar"]}, [op("add", "/foo/-", ["abc", "def"])], {"foo": ["bar", ["abc", "def"]]}),
]

STRANGE_NAMES = {"": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8, "1e0": 9}

# The situations of the public suite (github.com/json-patch/json-patch-tests), in our words. Where its document is a
# list, ours has it as the member `l`: a user is always an object; `ROOT_CASES` has those whose meaning is the root. Its
# text with two `op` members is refused by jsontext.decode. `test` is strict here: no boolean is a number.
JSON_PATCH_CASES: list[Case] = [
    # Nothing to do.
    ({}, [], {}),
    ({"a": 1}, [], {"a": 1}),
    ({"a": 1, "b": 2}, [], {"b": 2, "a": 1}),
    ({"l": [{"a": 1, "b": 2}]}, [], {"l": [{"b": 2, "a": 1}]}),
    ({"a": {"b": 1, "c": 2}}, [], {"a": {"c": 2, "b": 1}}),
    ({"l": ["a"]}, [], {"l": ["a"]}),
    # add: members
    ({"a": None}, [op("add", "/a", 1)], {"a": 1}),
    ({}, [op("add", "/a", "1")], {"a": "1"}),
    ({}, [op("add", "/", 1)], {"": 1}),
    ({"a": {}}, [op("add", "/a/", 1)], {"a": {"": 1}}),
    ({"a": 1}, [op("add", "/b", [1, 2])], {"a": 1, "b": [1, 2]}),
    ({"a": 1}, [op("add", "/b", True)], {"a": 1, "b": True}),
    ({"a": 1}, [op("add", "/b", False)], {"a": 1, "b": False}),
    ({"a": 1}, [op("add", "/b", None)], {"a": 1, "b": None}),
    ({"a": 1}, [op("add", "/0", "b")], {"a": 1, "0": "b"}),
    ({"a": "b"}, [op("add", "/A", "B")], {"a": "b", "A": "B"}),
    ({"a": "b"}, [op("add", "", {"c": "d"})], {"c": "d"}),
    ({"a": [{"b": 1}]}, [op("add", "/a/0/c", 2)], {"a": [{"b": 1, "c": 2}]}),
    # add: items
    ({"l": []}, [op("add", "/l/0", "a")], {"l": ["a"]}),
    ({"l": []}, [op("add", "/l/-", "a")], {"l": ["a"]}),
    ({"l": ["a", "b"]}, [op("add", "/l/0", "c")], {"l": ["c", "a", "b"]}),
    ({"l": ["a", "b"]}, [op("add", "/l/1", ["c", "d"])], {"l": ["a", ["c", "d"], "b"]}),
    ({"l": ["a", "b"]}, [op("add", "/l/2", "c")], {"l": ["a", "b", "c"]}),
    ({"l": [1, [2, [3]]]}, [op("add", "/l/1/1/-", {"a": [4]})], {"l": [1, [2, [3, {"a": [4]}]]]}),
    ({"l": [1, [2, [3, 4]]]}, [op("add", "/l/1/1/1", {"a": ["b", "c"]})], {"l": [1, [2, [3, {"a": ["b", "c"]}, 4]]]}),
    ({"l": ["a", "b"]}, [op("add", "/l/3", "c")], (PathNotFound, "/l/3")),
    ({"l": [1, 2]}, [op("add", "/l/8", "5")], (PathNotFound, "/l/8")),
    ({"a": {"b": 1}}, [op("add", "/c/d", 1)], (PathNotFound, "/c")),
    ({"l": [1, 2]}, [op("add", "/l/-1", 5)], (PathNotFound, "/l/-1")),
    ({"l": ["a", "b"]}, [op("add", "/l/b", 42)], (PathNotFound, "/l/b")),
    ({"l": ["a", "b"]}, [op("add", "/l/1e0", "c")], (PathNotFound, "/l/1e0")),
    ({"l": ["a", "b"]}, [op("add", "/l/01", "c")], (PathNotFound, "/l/01")),
    # remove
    ({"a": 1, "b": [1, 2]}, [op("remove", "/b")], {"a": 1}),
    ({"a": None}, [op("remove", "/a")], {}),
    ({"a": [{"b": 1}]}, [op("remove", "/a/0/b")], {"a": [{}]}),
    ({"l": [1, 2, 3, 4]}, [op("remove", "/l/0")], {"l": [2, 3, 4]}),
    ({"l": [1, 2, 3, 4]}, [op("remove", "/l/1"), op("remove", "/l/2")], {"l": [1, 3]}),
    ({"a": "b"}, [op("remove", "/c")], (PathNotFound, "/c")),
    ({"l": ["a", "b"]}, [op("remove", "/l/2")], (PathNotFound, "/l/2")),
    ({"l": [1, 2, 3, 4]}, [op("remove", "/l/1e0")], (PathNotFound, "/l/1e0")),
    ({"l": [{"b": 1}]}, [op("remove", "/l/1e0/b")], (PathNotFound, "/l/1e0")),
    # "-" is the item after the last: it can be added, and nothing else.
    ({"l": [1, 2]}, [op("remove", "/l/-")], (PathNotFound, "/l/-")),
    # replace
    ({"a": 1}, [op("replace", "/a", [1, 2])], {"a": [1, 2]}),
    ({"a": None}, [op("replace", "/a", "b")], {"a": "b"}),
    ({"a": "b"}, [op("replace", "/a", None)], {"a": None}),
    ({"a": [{"b": 1}]}, [op("replace", "/a/0/b", 2)], {"a": [{"b": 2}]}),
    *(({"l": [""]}, [op("replace", "/l/0", value)], {"l": [value]}) for value in each(0, True, False, None, ["a"])),
    ({"l": ["a", "b"]}, [op("replace", "/l/1", ["c", "d"])], {"l": ["a", ["c", "d"]]}),
    ({"a": "b"}, [op("replace", "", {"c": "d"})], {"c": "d"}),
    ({"a": "b"}, [op("replace", "/c/d", False)], (PathNotFound, "/c")),
    ({"a": "b"}, [op("replace", "/c", False)], (PathNotFound, "/c")),
    ({"l": [""]}, [op("replace", "/l/1e0", False)], (PathNotFound, "/l/1e0")),
    ({"l": [""]}, [op("replace", "/l/1", False)], (PathNotFound, "/l/1")),
    # test
    ({"a": 1}, [op("test", "/a", 1, spurious=1)], {"a": 1}),
    ({"a": None}, [op("test", "/a", None)], {"a": None}),
    ({"a": {"b": 1, "c": 2}}, [op("test", "/a", {"c": 2, "b": 1})], {"a": {"b": 1, "c": 2}}),
    ({"a": [{"b": 1, "c": 2}]}, [op("test", "/a", [{"c": 2, "b": 1}])], {"a": [{"b": 1, "c": 2}]}),
    ({"a": {"b": [1, 2, 5]}}, [op("test", "/a", {"b": [1, 2, 5]})], {"a": {"b": [1, 2, 5]}}),
    ({"a": {"b": [1, 2, 5]}}, [op("test", "/a", [1, 2])], (TestFailed, "/a")),
    ({"a": [1, 2]}, [op("test", "/a", [2, 1])], (TestFailed, "/a")),
    ({"": 1}, [op("test", "/", 1)], {"": 1}),
    ({"1e0": "a"}, [op("test", "/1e0", "a")], {"1e0": "a"}),
    ({"l": ["a", "b"]}, [op("test", "/l", ["a", "b"]), op("test", "/l/0", "a")], {"l": ["a", "b"]}),
    ({"a": 1}, [op("test", "", {"a": 1})], {"a": 1}),
    ({"a": 1}, [op("test", "", {"a": 2})], (TestFailed, "")),
    ({"a": 1}, [op("test", "/b", None)], (PathNotFound, "/b")),
    ({"a": 1}, [op("test", "/a", 1.0)], {"a": 1}),
    ({"a": 1}, [op("test", "/a", True)], (TestFailed, "/a")),
    ({"a": False}, [op("test", "/a", 0)], (TestFailed, "/a")),
    ({"a": [0]}, [op("test", "/a", [False])], (TestFailed, "/a")),
    ({"a": None}, [op("test", "/a", False)], (TestFailed, "/a")),
    ({"a": "1"}, [op("test", "/a", 1)], (TestFailed, "/a")),
    ({"a": 10**40}, [op("test", "/a", 10**40 + 1)], (TestFailed, "/a")),
    ({"l": ["a", "b"]}, [op("test", "/l/1e0", "b")], (PathNotFound, "/l/1e0")),
    ({"l": ["a", "b"]}, [op("test", "/l/00", "a")], (PathNotFound, "/l/00")),
    ({"l": ["a", "b"]}, [op("test", "/l/01", "b")], (PathNotFound, "/l/01")),
    (
        STRANGE_NAMES,
        [op("test", "/" + name.replace("~", "~0").replace("/", "~1"), value) for name, value in STRANGE_NAMES.items()],
        STRANGE_NAMES,
    ),
    # move
    ({"a": 1}, [move("/a", "/a")], {"a": 1}),
    ({"a": None}, [move("/a", "/b")], {"b": None}),
    ({"a": 1, "b": [2]}, [move("/a", "/c")], {"b": [2], "c": 1}),
    ({"a": [{"b": 1}]}, [move("/a/0/b", "/a/1")], {"a": [{}, 1]}),
    ({"a": 1, "b": [{"c": 2}]}, [move("/a", "/d")], {"b": [{"c": 2}], "d": 1}),
    ({"a": 1, "b": 2}, [move("/a", "/b")], {"b": 1}),
    ({"a": {"b": 1}}, [move("/a", "")], {"b": 1}),
    ({"a": 1}, [move("/b", "/c")], (PathNotFound, "/b")),
    ({"a": [1, 2]}, [move("/a/1e0", "/b")], (PathNotFound, "/a/1e0")),
    ({"a": {"b": 1}}, [move("/a", "/a/b")], (OperationInvalid, "/0")),
    ({"a": {"b": 1}}, [move("", "/a")], (OperationInvalid, "/0")),
    # The place is looked for once the value is out.
    ({"l": [1, 2]}, [move("/l/0", "/l/2")], (PathNotFound, "/l/2")),
    ({"l": [1, {"a": 2}]}, [move("/l/0", "/l/1/b")], (PathNotFound, "/l/1")),
    # copy
    ({"a": None}, [copied("/a", "/b")], {"a": None, "b": None}),
    ({"a": [{"b": 1}]}, [copied("/a/0", "/c")], {"a": [{"b": 1}], "c": {"b": 1}}),
    ({"a": {"b": 1}}, [copied("/a", "/a/c")], {"a": {"b": 1, "c": {"b": 1}}}),
    ({"a": 1}, [copied("/b", "/c")], (PathNotFound, "/b")),
    ({"a": [1, 2]}, [copied("/a/1e0", "/b")], (PathNotFound, "/a/1e0")),
    ({"a": {"b": 1}}, [copied("/a", "/c"), op("replace", "/c/b", 2)], {"a": {"b": 1}, "c": {"b": 2}}),
    # What every operation must have.
    *(
        ({"l": [old]}, [op(name, "/l/0")], (OperationInvalid, "/0"))
        for name in ("add", "replace", "test")
        for old in each(1, None, False)
    ),
    *(({"l": [1]}, [op(name, "/l/-")], (OperationInvalid, "/0")) for name in ("add", "copy", "move")),
    *(({"a": 1}, [{"op": name, "path": ""}], (OperationInvalid, "/0")) for name in ("copy", "move")),
    *(({"a": 1}, [{"op": name, "from": "/a"}], (OperationInvalid, "/0")) for name in ("copy", "move")),
    *(
        ({"a": 1}, [{"op": name, "value": 1}], (OperationInvalid, "/0"))
        for name in ("add", "remove", "replace", "test")
    ),
    ({"a": 1}, [op("spam", "/a", 1)], (OperationUnknown, "/0/op")),
    ({"a": 1}, [{"path": "/a", "value": 1}], (OperationUnknown, "/0/op")),
    *(({"a": 1}, [{"op": name, "path": "/a"}], (OperationUnknown, "/0/op")) for name in (None, 1, ["add"], "ADD", "")),
    *(({"a": 1}, [op("remove", path)], (OperationInvalid, "/0/path")) for path in each("a", "a/b", " /a", "#/a")),
    *(({"a": 1}, [{"op": "remove", "path": path}], (OperationInvalid, "/0/path")) for path in each(None, 1, ["a"], {})),
    ({"a": 1}, [move("a", "/b")], (OperationInvalid, "/0/from")),
    *(({"a": 1}, [op("remove", f"/a{bad}")], (OperationInvalid, "/0/path")) for bad in ("~", "~2", "~~0", "/~a")),
    *(({}, [entry], (OperationInvalid, "/0")) for entry in each(None, 1, "add", [])),
    # The one that fails is named by its place in the list.
    ({"a": 1}, [op("test", "/a", 1), op("add", "/b")], (OperationInvalid, "/1")),
    ({"a": 1}, [op("remove", "/a"), op("test", "/a", 1)], (PathNotFound, "/a")),
    # Members that an operation does not know are ignored, whatever they hold (RFC 6902, 4).
    *(({"a": 1}, [op("replace", "/a", 2, **{name: None})], {"a": 2}) for name in ("from", "by", "values", "", "OP")),
    ({"a": 1}, [op("remove", "/a", 5)], {}),
]

# What is at the root may be any JSON value for `operate`; that a user stays an object is for the rules to say.
ROOT_CASES: list[tuple[Any, list[Any], Any]] = [
    ([], [op("add", "/0", "a")], ["a"]),
    ([], [op("add", "/-", "a")], ["a"]),
    (["a", "b"], [op("add", "/1", "c")], ["a", "c", "b"]),
    ([1, 2, 3, 4], [op("remove", "/0")], [2, 3, 4]),
    ([""], [op("replace", "/0", 0)], [0]),
    ([{"a": 1, "b": 2}], [], [{"b": 2, "a": 1}]),
    (["a", "b"], [op("remove", "/2")], (PathNotFound, "/2")),
    (["a", "b"], [op("add", "/c", 42)], (PathNotFound, "/c")),
    ([1], [op("add", "/-")], (OperationInvalid, "/0")),
    ({}, [op("add", "", [])], []),
    ([], [op("add", "", {})], {}),
    ("a", [op("replace", "", "b")], "b"),
    ("a", [op("test", "", "a")], "a"),
    ("a", [op("add", "/b", 1)], (PathNotFound, "/b")),
]


@pytest.mark.parametrize(("document", "operations", "expected"), ROOT_CASES, ids=repr)
def test_json_patch_takes_any_value_for_a_document(document: Any, operations: Any, expected: Any) -> None:
    check(document, operations, expected, JSON_PATCH)


@pytest.mark.parametrize(("document", "operations", "expected"), RFC_6902 + JSON_PATCH_CASES, ids=repr)
def test_json_patch_does_what_rfc_6902_says(document: Any, operations: Any, expected: Any) -> None:
    check(document, operations, expected, JSON_PATCH)


BIG = 10**60
NINES = 10**4300 - 1  # 4,300 characters
LEAST = -(10**4299 - 1)  # 4,300 characters, of which one is the sign

# Each operation of ours: what is there, what is asked, what comes out.
OWN_CASES: list[Case] = [
    # set: makes the objects on the way; an item of a list must be there.
    ({}, [op("set", "/a", 1)], {"a": 1}),
    ({"a": 0}, [op("set", "/a", None)], {"a": None}),
    ({}, [op("set", "/a/b/c", 1)], {"a": {"b": {"c": 1}}}),
    ({"a": None}, [op("set", "/a/b", 1)], {"a": {"b": 1}}),
    ({"a": {"b": 1}}, [op("set", "/a/c", 2)], {"a": {"b": 1, "c": 2}}),
    ({"a": [1, 2]}, [op("set", "/a/1", 3)], {"a": [1, 3]}),
    ({"a": [None]}, [op("set", "/a/0/b", 3)], {"a": [{"b": 3}]}),
    ({}, [op("set", "/a/0", 1)], {"a": {"0": 1}}),
    ({}, [op("set", "/a~1b/~0", 1)], {"a/b": {"~": 1}}),
    ({"a": 1}, [op("set", "", {"b": 2})], {"b": 2}),
    ({"a": [1]}, [op("set", "/a/1", 2)], (PathNotFound, "/a/1")),
    ({"a": [1]}, [op("set", "/a/-", 2)], (PathNotFound, "/a/-")),
    ({"a": [1]}, [op("set", "/a/b/c", 2)], (PathNotFound, "/a/b")),
    *(({"a": scalar}, [op("set", "/a/b", 1)], (PathNotFound, "/a/b")) for scalar in ("", "text", 0, 1.5, True, False)),
    ({}, [op("set", "/a")], (OperationInvalid, "/0")),
    ({}, [{"op": "set", "value": 1}], (OperationInvalid, "/0")),
    # unset: nothing is wrong with what is not there.
    ({"a": 1, "b": 2}, [op("unset", "/a")], {"b": 2}),
    ({"a": None}, [op("unset", "/a")], {}),
    ({"a": [1, 2, 3]}, [op("unset", "/a/1")], {"a": [1, 3]}),
    ({"a": 1}, [op("unset", "")], {}),
    *(
        ({"a": 1, "l": [1]}, [op("unset", path)], {"a": 1, "l": [1]})
        for path in each("/b", "/b/c", "/a/b", "/l/1", "/l/-", "/l/x", "/l/0/b")
    ),
    ({"a": 1}, [op("unset", "a")], (OperationInvalid, "/0/path")),
    # set_once: null is a field that has no value.
    ({}, [op("set_once", "/a/b", 1)], {"a": {"b": 1}}),
    ({"a": None}, [op("set_once", "/a", 1)], {"a": 1}),
    *(({"a": old}, [op("set_once", "/a", 1)], {"a": old}) for old in each(0, False, "", [], {}, 2)),
    ({"a": "b"}, [op("set_once", "/a/c", 1)], (PathNotFound, "/a/c")),
    ({"a": 1}, [op("set_once", "/a")], (OperationInvalid, "/0")),
    # merge: RFC 7396 below the pointer.
    (
        {"a": {"b": 1, "c": 2}},
        [op("merge", "/a", {"b": None, "d": {"e": None, "f": 1}})],
        {"a": {"c": 2, "d": {"f": 1}}},
    ),
    ({}, [op("merge", "/a/b", {"c": 1, "d": None})], {"a": {"b": {"c": 1}}}),
    ({"a": None}, [op("merge", "/a", {"c": 1})], {"a": {"c": 1}}),
    ({"a": "b"}, [op("merge", "/a", {"c": 1})], {"a": {"c": 1}}),
    ({"a": {"b": 1}}, [op("merge", "/a", [1])], {"a": [1]}),
    ({"a": {"b": 1}}, [op("merge", "/a", None)], {"a": None}),
    ({"a": 1, "b": 2}, [op("merge", "", {"a": None, "c": 3})], {"b": 2, "c": 3}),
    ({"a": [{"b": 1}]}, [op("merge", "/a/0", {"c": 2})], {"a": [{"b": 1, "c": 2}]}),
    ({"a": "b"}, [op("merge", "/a/c", {})], (PathNotFound, "/a/c")),
    ({}, [op("merge", "/a")], (OperationInvalid, "/0")),
    # increment
    ({"a": 1}, [op("increment", "/a")], {"a": 2}),
    ({"a": 1}, [op("increment", "/a", by=-3)], {"a": -2}),
    ({"a": 1}, [op("increment", "/a", by=0)], {"a": 1}),
    ({}, [op("increment", "/a/b", by=5)], {"a": {"b": 5}}),
    ({"a": None}, [op("increment", "/a", by=0.5)], {"a": 0.5}),
    ({"a": [1, 2]}, [op("increment", "/a/1")], {"a": [1, 3]}),
    ({"a": BIG}, [op("increment", "/a")], {"a": BIG + 1}),
    ({"a": (1 << 53)}, [op("increment", "/a")], {"a": (1 << 53) + 1}),
    ({"a": 0.1}, [op("increment", "/a", by=0.2)], {"a": 0.3}),
    ({"a": 0.3}, [op("increment", "/a", by=-0.1)], {"a": 0.2}),
    ({"a": 1}, [op("increment", "/a", by=0.1)], {"a": 1.1}),
    ({"a": 1}, [op("increment", "/a", by=1.0)], {"a": 2.0}),
    ({"a": 1e16}, [op("increment", "/a", by=1)], {"a": 1e16}),
    ({"a": 10**17 + 1}, [op("increment", "/a", by=0.5)], {"a": 1e17}),
    ({"a": 1e308}, [op("increment", "/a", by=1e308)], (NumberInvalid, "/a")),
    ({"a": 10**400}, [op("increment", "/a", by=0.5)], (NumberInvalid, "/a")),
    ({"a": NINES - 1}, [op("increment", "/a")], {"a": NINES}),
    ({"a": NINES}, [op("increment", "/a")], (NumberInvalid, "/a")),
    ({"a": LEAST + 1}, [op("increment", "/a", by=-1)], {"a": LEAST}),
    ({"a": LEAST}, [op("increment", "/a", by=-1)], (NumberInvalid, "/a")),
    ({"a": NINES}, [op("increment", "/a", by=LEAST)], {"a": NINES + LEAST}),
    ({"a": -1.5e308}, [op("increment", "/a", by=-1.5e308)], (NumberInvalid, "/a")),
    ({"a": NINES}, [op("increment", "/a", by=5e-324)], (NumberInvalid, "/a")),
    *(({"a": old}, [op("increment", "/a")], (NumberInvalid, "/a")) for old in each("1", True, False, [], {})),
    *(({"a": 1}, [op("increment", "/a", by=by)], (OperationInvalid, "/0/by")) for by in each("1", True, None, [], {})),
    ({"a": 1}, [op("increment", "/a/b")], (PathNotFound, "/a/b")),
    ({"a": [1]}, [op("increment", "/a/1")], (PathNotFound, "/a/1")),
    ({}, [op("increment", "")], (NumberInvalid, "")),
    # min and max: equal numbers keep the text that is stored.
    ({"a": 3}, [op("min", "/a", 2)], {"a": 2}),
    ({"a": 3}, [op("min", "/a", 4)], {"a": 3}),
    ({"a": 3}, [op("max", "/a", 4.5)], {"a": 4.5}),
    ({"a": 3}, [op("max", "/a", 2)], {"a": 3}),
    *(({"a": 3}, [op(name, "/a", 3.0)], {"a": 3}) for name in ("min", "max")),
    *(({}, [op(name, "/a/b", -1)], {"a": {"b": -1}}) for name in ("min", "max")),
    *(({"a": None}, [op(name, "/a", -1)], {"a": -1}) for name in ("min", "max")),
    ({"a": BIG}, [op("max", "/a", BIG + 1)], {"a": BIG + 1}),
    ({"a": 10**17 + 1}, [op("min", "/a", 1e17)], {"a": 1e17}),
    ({"a": 1e308}, [op("max", "/a", 10**400)], {"a": 10**400}),
    *(
        ({"a": old}, [op(name, "/a", 1)], (NumberInvalid, "/a"))
        for name in ("min", "max")
        for old in each("1", True, [], {})
    ),
    *(
        ({"a": 1}, [op(name, "/a", value)], (OperationInvalid, "/0/value"))
        for name in ("min", "max")
        for value in each("1", True, None, [], {})
    ),
    *(({"a": 1}, [op(name, "/a")], (OperationInvalid, "/0")) for name in ("min", "max")),
    *(({"a": 1}, [op(name, "/a/b", 1)], (PathNotFound, "/a/b")) for name in ("min", "max")),
    # append
    ({"a": [1]}, [op("append", "/a", 1)], {"a": [1, 1]}),
    ({"a": [1]}, [op("append", "/a", [2])], {"a": [1, [2]]}),
    ({"a": [1]}, [op("append", "/a", values=[2, 3])], {"a": [1, 2, 3]}),
    ({"a": [1]}, [op("append", "/a", values=[])], {"a": [1]}),
    ({"a": [1]}, [op("append", "/a", None)], {"a": [1, None]}),
    # union: equal as `test` sees it.
    ({"a": [1]}, [op("union", "/a", 1.0)], {"a": [1]}),
    ({"a": [1]}, [op("union", "/a", True)], {"a": [1, True]}),
    ({"a": ["x"]}, [op("union", "/a", values=["y", "x", "y"])], {"a": ["x", "y"]}),
    ({"a": [{"b": 1, "c": 2}]}, [op("union", "/a", {"c": 2, "b": 1})], {"a": [{"b": 1, "c": 2}]}),
    ({"a": [1, 1]}, [op("union", "/a", 2)], {"a": [1, 1, 2]}),
    # pull: every equal one.
    ({"a": [1, 2, 1.0, True]}, [op("pull", "/a", 1)], {"a": [2, True]}),
    ({"a": [1, 2, 3]}, [op("pull", "/a", values=[1, 3, 4])], {"a": [2]}),
    ({"a": [None, 0, False]}, [op("pull", "/a", None)], {"a": [0, False]}),
    ({"a": [{"b": [1]}]}, [op("pull", "/a", {"b": [1]})], {"a": []}),
    ({"a": [1 << 61, 2.0**61, 1]}, [op("pull", "/a", float(1 << 61))], {"a": [1]}),
    # What is not there has nothing in it, and nothing is made.
    *((document, [op("pull", "/a/b", 1)], document) for document in each({}, {"a": None}, {"a": {"b": None}})),
    ({"a": {"b": []}}, [op("pull", "/a/b", 1)], {"a": {"b": []}}),
    # A member that an operation does not know would have been meant for something.
    ({"a": 1}, [op("increment", "/a", amount=5)], (OperationInvalid, "/0/amount")),
    ({"a": 1}, [op("increment", "/a", 5)], (OperationInvalid, "/0/value")),
    ({"a": 1}, [op("increment", "/a", **{"b/y": 5})], (OperationInvalid, "/0/b~1y")),
    *(
        ({"a": 1}, [op(name, "/a", 2, by=1)], (OperationInvalid, "/0/by"))
        for name in ("set", "set_once", "merge", "min", "max", "append", "union", "pull")
    ),
    *(
        ({"a": 1}, [op(name, "/a", 2, values=[1])], (OperationInvalid, "/0/values"))
        for name in ("set", "set_once", "merge", "min", "max")
    ),
    ({"a": 1}, [op("unset", "/a", 1)], (OperationInvalid, "/0/value")),
    ({"a": 1}, [op("set", "/a", 1, **{"from": "/b"})], (OperationInvalid, "/0/from")),
    # A list that is not there, or null, is empty.
    *(({}, [op(name, "/a/b", 1)], {"a": {"b": [1]}}) for name in ("append", "union")),
    *(({"a": None}, [op(name, "/a", 1)], {"a": [1]}) for name in ("append", "union")),
    ({"a": [[1]]}, [op("append", "/a/0", 2)], {"a": [[1, 2]]}),
    *(
        ({"a": old}, [op(name, "/a", 1)], (ListNotFound, "/a"))
        for name in ("append", "union", "pull")
        for old in each("text", 1, False, {})
    ),
    *(({"a": 1}, [op(name, "/a/b", 1)], (PathNotFound, "/a/b")) for name in ("append", "union", "pull")),
    *(({"a": []}, [op(name, "/a")], (OperationInvalid, "/0")) for name in ("append", "union", "pull")),
    *(({"a": []}, [op(name, "/a", 1, values=[1])], (OperationInvalid, "/0")) for name in ("append", "union", "pull")),
    *(
        ({"a": []}, [op(name, "/a", values=values)], (OperationInvalid, "/0/values"))
        for name in ("append", "union", "pull")
        for values in each(None, 1, "ab", {})
    ),
    # Each sees what the ones before it left.
    ({}, [op("increment", "/n"), op("increment", "/n"), op("test", "/n", 2), op("unset", "/n")], {}),
]


@pytest.mark.parametrize(("document", "operations", "expected"), OWN_CASES, ids=lambda value: repr(value)[:80])
def test_an_operation_of_ours_does_what_its_table_says(document: Any, operations: Any, expected: Any) -> None:
    check(document, operations, expected)


def test_every_operation_has_rows_in_the_tables() -> None:
    rows = [operation for _, operations, _ in RFC_6902 + JSON_PATCH_CASES + OWN_CASES for operation in operations]
    used = {row["op"] for row in rows if isinstance(row, dict) and isinstance(row.get("op"), str)}
    assert set(OPERATIONS) <= used


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - set(JSON_PATCH)))
def test_json_patch_knows_none_of_our_operations(name: str) -> None:
    check({"a": [1]}, [op(name, "/a", 1)], (OperationUnknown, "/0/op"), JSON_PATCH)


@pytest.mark.parametrize("operations", [None, {}, "", 1, op("add", "/a", 1)], ids=repr)
def test_operations_come_as_a_list(operations: Any) -> None:
    check({}, operations, (OperationInvalid, ""))


def test_a_failed_test_says_what_is_there() -> None:
    with pytest.raises(TestFailed) as refused:
        operate({"a": {"b": [1]}}, [op("test", "/a", 0)], JSON_PATCH)
    assert refused.value.data == {"path": "/a", "current": {"b": [1]}}


def test_a_thousand_operations_are_done_and_one_more_is_refused() -> None:
    increments = [op("increment", "/n")] * OPERATIONS_MAX
    assert operate({}, increments, ALL) == {"n": OPERATIONS_MAX}
    check({}, [*increments, op("increment", "/n")], (OperationInvalid, ""))


@pytest.mark.parametrize("name", ["set", "unset", "add", "increment"])
def test_a_pointer_has_at_most_64_parts(name: str) -> None:
    longest = "/a" * POINTER_PARTS_MAX
    value = [1] if name in ("set", "add") else []
    assert operate(operate({}, [op("set", longest, 1)], ALL), [op(name, longest, *value)], ALL)
    check({}, [op(name, longest + "/a", *value)], (OperationInvalid, "/0/path"))
    check({}, [move(longest + "/a", "/a")], (OperationInvalid, "/0/from"))


def test_copies_may_add_a_mebibyte_altogether() -> None:
    document = {"a": "x" * (COPIED_BYTES_MAX // 2 - 2)}  # with its quotes, half of it
    assert set(operate(document, [copied("/a", "/b"), copied("/a", "/c")], ALL)) == {"a", "b", "c"}
    check(document, [copied("/a", "/b"), copied("/a", "/c"), copied("/d", "/e")], (PathNotFound, "/d"))
    check({**document, "d": 1}, [copied("/a", "/b"), copied("/a", "/c"), copied("/d", "/e")], (OperationInvalid, "/2"))


def test_a_list_that_is_copied_into_itself_again_and_again_is_refused() -> None:
    with pytest.raises(OperationInvalid):
        operate({"a": ["x"] * 100}, [copied("/a", "/a/-")] * 40, ALL)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("take", [move, copied])
def test_neither_move_nor_copy_nests_deeper_than_a_text_may(take: Any) -> None:
    document = {"a": nested(TEXT_LEVELS_MAX - 2), "b": {}}
    assert operate(document, [take("/a", "/b/c")], ALL)
    check({"a": nested(TEXT_LEVELS_MAX - 1), "b": {}}, [take("/a", "/b/c")], (OperationInvalid, "/0"))


FULL_LIST = list(range(10)) * 3_277  # as many items as fit into a bag
FULL_OBJECT = {f"{number:x}": 1 for number in range(7_000)}
HUGE_LIST, HUGE_OBJECT = FULL_LIST * 15, {f"{number:x}": 1 for number in range(90_000)}  # of a whole body
OBJECTS = [{"a": {"b": [number]}} for number in range(2_500)]

# A thousand times one change of the largest bag that there can be.
ENOUGH: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"a": FULL_LIST}, op("add", "/a/0", 1)),
    ({"a": FULL_LIST}, op("append", "/a", 1)),
    ({"a": FULL_LIST}, op("replace", "/a/0", 1)),
    ({"a": FULL_LIST}, op("remove", "/a/0")),
    ({"a": FULL_LIST}, copied("/a/0", "/a/0")),
    (FULL_OBJECT, op("increment", "/a")),
    (FULL_OBJECT, op("unset", "/a")),
    (FULL_OBJECT, op("merge", "", {"a": 2})),
    ({"a": {"b": FULL_LIST}}, op("set", "/a/b/0", 1)),
    ({"a": ["tag"] * 1_000}, op("union", "/a", 1)),
    ({"a": ["tag"] * 1_000}, op("pull", "/a", 1)),
]


@pytest.mark.parametrize(("document", "operation"), ENOUGH, ids=lambda value: repr(value)[-60:])
def test_a_thousand_changes_of_a_full_bag_are_not_too_much_work(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    operate(document, [operation] * OPERATIONS_MAX, ALL)


TOO_MUCH: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"a": HUGE_LIST}, [op("add", "/a/0", 1)]),
    ({"a": HUGE_LIST}, [op("append", "/a", 1)]),
    ({"a": HUGE_LIST}, [op("set", "/a/0", 1), op("set", "/a/0", 2)]),
    ({"a": HUGE_LIST}, [op("remove", "/a/0")]),
    ({"a": [HUGE_OBJECT]}, [op("set", "/a/0/x", 1), op("set", "/a/0/x", 2)]),
    (HUGE_OBJECT, [op("remove", "/1"), op("add", "/1", 1)]),
    (HUGE_OBJECT, [op("merge", "", {"x": 1})]),
    ({"a": HUGE_OBJECT}, [op("merge", "", {"a": {"x": 1}})]),
    ({"a": HUGE_LIST, "b": {}}, [move("/a", "/b/a"), move("/b/a", "/a")]),
    ({"a": FULL_LIST}, [op("union", "/a", 1)]),
    ({"a": FULL_LIST}, [op("pull", "/a", "x")]),
    ({"a": OBJECTS}, [op("union", "/a", 1)]),
    ({"a": OBJECTS}, [op("pull", "/a", "x")]),
    ({"a": [10**4298] * 15 + [[10**4298]] * 15}, [op("union", "/a", 1)]),
    ({"a": ["x"]}, [op("pull", "/a", values=FULL_LIST)]),
]


@pytest.mark.parametrize(("document", "operations"), TOO_MUCH, ids=lambda value: repr(value)[-60:])
def test_operations_that_would_hold_up_the_process_are_refused_at_the_one_that_is_too_much(
    document: dict[str, Any], operations: list[dict[str, Any]]
) -> None:
    many = (operations * OPERATIONS_MAX)[:OPERATIONS_MAX]
    with pytest.raises(OperationInvalid, match="too much work") as refused:
        operate(document, many, ALL)
    assert refused.value.path is not None
    at = int(refused.value.path[1:])
    assert at < OPERATIONS_MAX
    operate(document, many[:at], ALL)


def test_a_thousand_changes_that_change_nothing_cost_nothing() -> None:
    document = {"a": HUGE_LIST}
    nothing = [op("set_once", "/a", 1), op("min", "/b", 2), op("test", "/a/0", 0), op("unset", "/a/x")]
    after = operate(document, nothing * 250, ALL)
    assert after == {"a": HUGE_LIST, "b": 2}
    assert after["a"] is HUGE_LIST


@given(json_objects(), operation_lists(ALL), st.sampled_from([op("spam", "/a"), op("add", "/a"), op("set", "x", 1)]))
def test_a_refused_list_changes_nothing(document: dict[str, Any], operations: list[Any], bad: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    with pytest.raises(DomainError):
        operate(document, [*operations, bad], ALL)
    assert same_text(before, document)


@given(json_objects(), operation_lists(ALL))
def test_operations_are_done_or_refused_and_leave_their_arguments_alone(
    document: dict[str, Any], operations: list[Any]
) -> None:
    before = copy.deepcopy((document, operations))
    with contextlib.suppress(DomainError):
        operate(document, operations, ALL)
    assert same_text([*before], [document, operations])


def result(document: Any, *operations: Any) -> Any:
    """The document afterwards, or the refusal's kind."""
    try:
        return operate(document, list(operations), ALL)
    except DomainError as refused:
        return type(refused).__name__


@given(st.none() | st.integers(), st.integers() | st.integers(-(10**40), 10**40), st.integers())
def test_increments_by_integers_commute(stored: Any, one: int, other: int) -> None:
    first, second = op("increment", "/a/b", by=one), op("increment", "/a/b", by=other)
    document = {"a": {"b": stored}}
    assert same_text(operate(document, [first, second], ALL), operate(document, [second, first], ALL))
    assert operate(document, [first, second], ALL) == {"a": {"b": (stored or 0) + one + other}}


cents = st.integers(-(10**9), 10**9)


@given(cents, cents, cents)
def test_increments_by_cents_commute_and_are_exact(stored: int, one: int, other: int) -> None:
    first, second = op("increment", "/a", by=one / 100), op("increment", "/a", by=other / 100)
    total = {"a": (stored + one + other) / 100}
    assert operate({"a": stored / 100}, [first, second], ALL) == total
    assert operate({"a": stored / 100}, [second, first], ALL) == total


lists = st.lists(json_values(4), max_size=6)


def holds_all(values: list[Any], others: list[Any]) -> bool:
    return all(any(same_value(value, other) for value in values) for other in others)


@given(lists, lists, lists)
def test_unions_commute_as_sets(stored: list[Any], one: list[Any], other: list[Any]) -> None:
    first, second = op("union", "/a", values=one), op("union", "/a", values=other)
    here = operate({"a": stored}, [first, second], ALL)["a"]
    there = operate({"a": stored}, [second, first], ALL)["a"]
    assert holds_all(here, there)
    assert holds_all(there, here)
    assert len(here) == len(there)
    assert same_text(operate({"a": here}, [first, second], ALL)["a"], here)
    assert holds_all(here, [*stored, *one, *other])


@given(lists, lists)
def test_pull_takes_back_what_union_added(stored: list[Any], given_values: list[Any]) -> None:
    pulled = op("pull", "/a", values=given_values)
    both = operate({"a": stored}, [op("union", "/a", values=given_values), pulled], ALL)
    assert same_text(both, operate({"a": stored}, [pulled], ALL))
    assert same_text(operate(both, [pulled], ALL), both)


@given(lists, lists, st.sampled_from(["union", "pull"]))
def test_union_and_pull_agree_with_comparing_all_with_all(stored: list[Any], values: list[Any], name: str) -> None:
    after = operate({"a": stored}, [op(name, "/a", values=values)], ALL)["a"]
    if name == "pull":
        assert same_text(after, [value for value in stored if not holds_all(values, [value])])
        return
    expected = list(stored)
    for value in values:
        expected += [] if holds_all(expected, [value]) else [value]
    assert same_text(after, expected)


@given(json_objects(), pointers(), lists, st.sampled_from(["union", "pull"]))
def test_the_same_union_or_pull_twice_is_once(
    document: dict[str, Any], path: str, values: list[Any], name: str
) -> None:
    again = op(name, path, values=values)
    assert same_text(result(document, again), result(document, again, again))


@given(json_objects(), pointers(), json_objects(3))
def test_merging_twice_is_merging_once(document: dict[str, Any], path: str, patch: dict[str, Any]) -> None:
    again = op("merge", path, patch)
    assert same_text(result(document, again), result(document, again, again))


@given(json_objects(), pointers(), json_values(4))
def test_setting_twice_is_setting_once(document: dict[str, Any], path: str, value: Any) -> None:
    once = result(document, op("set", path, value))
    twice = result(document, op("set", path, value), op("set", path, value))
    assert same_text(once, twice)
    if isinstance(once, dict) and path:
        assert same_text(operate(once, [op("test", path, value)], ALL), once)


@given(json_objects(), st.text("abc~/", min_size=1, max_size=3))
def test_unsetting_a_member_twice_is_unsetting_it_once(document: dict[str, Any], name: str) -> None:
    unset = op("unset", "/" + name.replace("~", "~0").replace("/", "~1"))
    once = operate(document, [unset], ALL)
    assert name not in once
    assert same_text(operate(once, [unset], ALL), once)
    assert same_text({**once, name: document[name]} if name in document else once, document)


@given(json_objects(), pointers(), numbers, numbers)
def test_min_and_max_do_not_depend_on_the_order(document: dict[str, Any], path: str, one: Any, other: Any) -> None:
    for name in ("min", "max"):
        here = result(document, op(name, path, one), op(name, path, other))
        there = result(document, op(name, path, other), op(name, path, one))
        assert same_value(here, there)


def as_json_patch(operation: Operation) -> list[dict[str, Any]]:
    """What RFC 6902 would write for one difference."""
    if isinstance(operation.at, int):
        assert isinstance(operation.removed, list)
        assert isinstance(operation.added, list)
        at = f"{operation.path}/{operation.at}"
        added = [op("add", at, value) for value in reversed(operation.added)]
        return [op("remove", at)] * len(operation.removed) + added
    if operation.op == "remove":
        return [op("test", operation.path, operation.old), op("remove", operation.path)]
    return [op(operation.op, operation.path, operation.new)]


@given(json_objects(), json_objects())
def test_a_json_patch_of_the_differences_does_what_folding_them_does(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    operations = list(diff(before, after, ""))
    patch = [entry for operation in operations for entry in as_json_patch(operation)]
    patched = operate(before, patch, JSON_PATCH)
    assert same_text(patched, fold(before, operations))
    assert same_text(patched, after)
