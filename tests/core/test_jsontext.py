from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import json_texts, json_values
from userfold.core.errors import InputError, JsonDuplicateKey, JsonInvalid, JsonTooDeep
from userfold.core.jsontext import decode, encode, levels, same_text, same_value, size, token


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + closing * levels


ACCEPTED: list[tuple[bytes, Any]] = [
    (b"null", None),
    (b"true", True),
    (b"false", False),
    (b" \t\r\n1 \t\r\n", 1),
    (b"-0", 0),
    (b"-0.0", -0.0),
    (b"1.0", 1.0),
    (b"1e2", 100.0),
    (b"1E+2", 100.0),
    (b"1e-400", 0.0),
    (b"0.1", 0.1),
    (b"1.7976931348623157e308", 1.7976931348623157e308),
    (b"9223372036854775807", 9223372036854775807),
    (b"18446744073709551616", 18446744073709551616),
    (b"-9223372036854775809", -9223372036854775809),
    (b'""', ""),
    (b'"\\u0000"', "\0"),
    (b'"\\ud83d\\ude00"', "\U0001f600"),
    (b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"', '"\\/\b\f\n\r\té'),
    ('"é\u2028\U0001f600"'.encode(), "é\u2028\U0001f600"),
    (b'{"a" : 1 , "b"\n:\t[ ] }', {"a": 1, "b": []}),
    (b'{"":{"":{}}}', {"": {"": {}}}),
]


@pytest.mark.parametrize(("text", "value"), ACCEPTED, ids=repr)
def test_valid_text_is_read_exactly(text: bytes, value: Any) -> None:
    assert same_text(decode(text), value)


REFUSED: list[bytes] = [
    b"",
    b"  ",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"[NaN]",
    b"1e400",
    b"-1e400",
    b'{"a":1e400}',
    b"+1",
    b"01",
    b"1.",
    b".5",
    b"0x1",
    b"1_000",
    b"nul",
    b"True",
    b"undefined",
    b"'a'",
    b"{'a':1}",
    b"{a:1}",
    b"{1:1}",
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b'{"a":1,}',
    b'{"a"}',
    b'{"a":}',
    b'{"a"=1}',
    b"{",
    b"[",
    b'"',
    b"1 2",
    b"{} {}",
    b"{}x",
    b"1\0",
    b"\xef\xbb\xbf{}",
    b"// comment\n1",
    b"\x0b1",
    "\u00a01".encode(),
    b'"\x00"',
    b'"\t"',
    b'"\n"',
    b'"\\x41"',
    b'"\\u12"',
    b'"\\u12g4"',
    b'"\\ud800"',
    b'"\\udc00"',
    b'"\\ud800x"',
    b'"\\ud800\\ud800"',
    b'"\\udc00\\ud800"',
    b'{"\\ud800":1}',
    b'{"\\udc00":1}',
    b'{"a":["\\udfff"]}',
    b'"\xed\xa0\x80"',
    b'"\xff"',
    b'"\xc0\xaf"',
    b'{"\xc3":1}',
    b"9" * 4301,
    b'{"a":[' + b"9" * 4301 + b"]}",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:24]))
def test_anything_but_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(JsonInvalid):
        decode(text)


def test_an_integer_of_4300_digits_is_exact() -> None:
    text = b"9" * 4300
    value = decode(text)
    assert value == 10**4300 - 1
    assert encode(value) == text


def test_the_sign_of_an_integer_counts_as_one_of_its_4300_characters() -> None:
    text = b"-" + b"9" * 4299
    assert encode(decode(text)) == text
    with pytest.raises(JsonInvalid):
        decode(b"-" + b"9" * 4300)


DUPLICATES: list[tuple[str, bytes, str]] = [
    ("at the top", b'{"a":1,"a":2}', "a"),
    ("with the same value", b'{"a":1,"a":1}', "a"),
    ("with another key between", b'{"a":1,"b":2,"a":3}', "a"),
    ("in an object in a list", b'{"x":[0,{"y":{"a":1,"a":2}}]}', "a"),
    ("in a list at the top", b'[{"a":1,"a":2}]', "a"),
    ("within a value that is dropped", b'{"a":{"b":1,"b":2},"a":3}', "b"),
    ("that is empty", b'{"":1,"":2}', ""),
    ("that is a colon", b'{":":1,":":2}', ":"),
    ("that holds a quote", b'{"\\"":1,"\\"":2}', '"'),
    ("that ends in a backslash", b'{"a\\\\":1,"a\\\\":2}', "a\\"),
    ("that ends in a backslash and a quote", b'{"a\\\\\\"":1,"a\\\\\\"":2}', 'a\\"'),
    ("that looks like JSON", b'{"{\\"a\\":1}":1,"{\\"a\\":1}":2}', '{"a":1}'),
    ("once written with an escape", b'{"a":1,"\\u0061":2}', "a"),
    ("that holds U+0000", b'{"\\u0000":1,"\\u0000":2}', "\0"),
    ("that is not ASCII", '{"é":1,"\\u00e9":2}'.encode(), "é"),
    ("beyond the basic plane", '{"\U0001f600":1,"\\ud83d\\ude00":2}'.encode(), "\U0001f600"),
    ("with blanks before its colon", b'{"a" :1,"a"\t\r\n:2}', "a"),
    ("beside strings that hold colons", b'{"a":":","b":"::","a":":"}', "a"),
    ("beside an integer of 4,300 digits", b'{"a":1,"a":' + b"9" * 4300 + b"}", "a"),
    ("beside a double", b'{"a":1.5,"a":-2e3}', "a"),
    ("whose first value nests 90 levels", b'{"a":' + nested(90) + b',"a":1}', "a"),
    ("longer than what is quoted of it", b'{"' + b"k" * 65 + b'":1,"' + b"k" * 65 + b'":2}', "k" * 64),
]


@pytest.mark.parametrize(("text", "key"), [row[1:] for row in DUPLICATES], ids=[row[0] for row in DUPLICATES])
def test_a_key_that_an_object_has_twice_is_refused_and_named(text: bytes, key: str) -> None:
    with pytest.raises(JsonDuplicateKey) as refused:
        decode(text)
    assert refused.value.data == {"key": key}


NOT_DUPLICATES: list[bytes] = [
    b'{"a":{"a":{"a":1}}}',
    b'[{"a":1},{"a":2}]',
    b'{"a":1,"A":2}',
    b'{"a":1,"a ":2}',
    '{"é":1,"e\u0301":2}'.encode(),
    b'{"a":"\\"a\\":1,\\"a\\":2"}',
    b'{"a\\"":1,"a":2}',
    b'{"\\\\":1,"\\\\\\\\":2}',
    b'{"a\\\\":":","b\\\\\\"":":\\""}',
    b'{"a":"{\\"b\\":1}","c":"\\\\\\\\"}',
]


@pytest.mark.parametrize("text", NOT_DUPLICATES, ids=repr)
def test_keys_that_only_look_alike_are_not_duplicates(text: bytes) -> None:
    assert decode(text) == json.loads(text)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
def test_text_may_nest_100_levels_and_no_more(opening: bytes, closing: bytes) -> None:
    inner = b"1" if closing == b"}" else b""
    assert levels(decode(opening * 100 + inner + closing * 100)) == 100
    for depth in (101, 990, 5000, 100_000):
        with pytest.raises(JsonTooDeep) as refused:
            decode(opening * depth + inner + closing * depth)
        assert refused.value.data == {"levels_max": 100}


def test_depth_is_refused_even_in_a_value_that_a_second_key_drops() -> None:
    for depth in range(900, 1010):
        with pytest.raises(InputError):
            decode(b'{"a":' + nested(depth) + b',"a":1}')


NORMAL_FORMS: list[tuple[Any, bytes]] = [
    (None, b"null"),
    (True, b"true"),
    (0, b"0"),
    (-(1 << 64), b"-18446744073709551616"),
    (10**4299, b"1" + b"0" * 4299),
    (1.0, b"1.0"),
    (-0.0, b"-0.0"),
    (0.1, b"0.1"),
    (100000.0, b"100000.0"),
    (1e22, b"1e22"),
    (1e-7, b"1e-7"),
    (5e-324, b"5e-324"),
    (123456789012345680.0, b"1.2345678901234568e17"),
    ("é\U0001f600\u2028", '"é\U0001f600\u2028"'.encode()),
    ('"\\/\b\f\n\r\t\0\x1f\x7f', b'"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"'),
    ([1, [], {}], b"[1,[],{}]"),
    ({"b": 1, "a": {"": None}}, b'{"b":1,"a":{"":null}}'),
]


@pytest.mark.parametrize(("value", "text"), NORMAL_FORMS, ids=lambda given: repr(given)[:32])
def test_there_is_one_way_to_write_a_value(value: Any, text: bytes) -> None:
    assert encode(value) == text
    assert size(value) == len(text)


LEVELS: list[tuple[Any, int]] = [
    (None, 0),
    ("[[[", 0),
    ({}, 1),
    ([], 1),
    ({"a": 1}, 1),
    ({"a": []}, 2),
    ([[], [[]], 1], 3),
    ({"a": 1, "b": {"c": [{}]}}, 4),
]


@pytest.mark.parametrize(("value", "depth"), LEVELS, ids=repr)
def test_levels_counts_containers_inside_each_other(value: Any, depth: int) -> None:
    assert levels(value) == depth


SAME: list[tuple[Any, Any]] = [
    (None, None),
    (1, 1),
    (10**30, 10**30),
    (0.0, 0.0),
    (-0.0, -0.0),
    ("a", "a"),
    ([], []),
    ({}, {}),
    ([1, [2.0]], [1, [2.0]]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
]

DIFFERENT: list[tuple[Any, Any]] = [
    (1, 1.0),
    (1, True),
    (1.0, True),
    (0, False),
    (0, None),
    (0.0, -0.0),
    (0, -0.0),
    (False, None),
    ("", None),
    ("1", 1),
    ("a", "A"),
    ("é", "e\u0301"),
    ([], {}),
    ([], None),
    ([1, 2], [2, 1]),
    ([1], [1, 1]),
    ([1], [1.0]),
    ({}, {"a": None}),
    ({"a": None}, {"b": None}),
    ({"a": 1}, {"a": 1, "b": 1}),
    ({"a": {"b": 0.0}}, {"a": {"b": -0.0}}),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=repr)
def test_equal_data_is_the_same_text(one: Any, other: Any) -> None:
    assert same_text(one, other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=repr)
def test_different_data_is_not_the_same_text_either_way_round(one: Any, other: Any) -> None:
    assert not same_text(one, other)
    assert not same_text(other, one)


@given(json_values())
def test_reading_gives_back_what_was_written(value: Any) -> None:
    assert same_text(decode(encode(value)), value)


@given(json_values())
def test_writing_again_gives_the_same_bytes(value: Any) -> None:
    text = encode(value)
    assert encode(decode(text)) == text


@given(json_values(), json_values())
def test_same_text_means_that_the_sorted_texts_are_equal(one: Any, other: Any) -> None:
    assert same_text(one, other) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def has_duplicate_key(text: bytes) -> bool:
    """What a second parser says, one object at a time."""
    found = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(len({name for name, _ in pairs}) != len(pairs))
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return any(found)


@given(json_texts())
@example(b'{"a\\\\":1,"a\\\\":":"}')
def test_duplicate_keys_are_found_exactly_where_a_second_parser_finds_them(text: bytes) -> None:
    if has_duplicate_key(text):
        with pytest.raises(JsonDuplicateKey):
            decode(text)
    else:
        assert same_text(decode(text), json.loads(text))


@given(st.binary(max_size=40) | json_texts().flatmap(lambda text: st.sampled_from([text[:-1], text + b"]", text[1:]])))
def test_text_is_a_value_or_a_refusal_and_nothing_else(text: bytes) -> None:
    try:
        value = decode(text)
    except InputError:
        return
    assert same_text(value, json.loads(text))


# Numbers are equal by value at any depth, booleans are no numbers, and objects have no order.
SAME_VALUE: list[list[Any]] = [
    [1, 1.0],
    [0, -0.0, 0.0],
    [True],
    [False],
    [None],
    ["1"],
    ["1.0"],
    ["true"],
    ["null"],
    ["0x2000000000000000"],
    [(1 << 61) - 1],
    [1 << 61, 2.0**61],
    [-(1 << 61), -(2.0**61)],
    [(1 << 61) + 1],
    [2 * ((1 << 61) - 1)],
    [10**400],
    [1e300, int(1e300)],
    [0.1],
    [1.5],
    [1.05],
    [5e-324],
    [[]],
    [{}],
    [[1], [1.0]],
    [[True]],
    [["1"]],
    [[1, 2], [1.0, 2]],
    [[2, 1]],
    [[[1]], [[1.0]]],
    [[10**20], [1e20]],
    [[1 << 61], [2.0**61]],
    [["e5", 1], ["e5", 1.0]],
    [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}],
    [{"a": {"c": [1], "b": 0}}, {"a": {"b": -0.0, "c": [1.0]}}],
    [{"a": True, "b": 2}],
    [{"a": 1}],
    [{"1.0": 1}],
    [{"1": 1}],
]


def test_values_are_the_same_within_a_row_and_in_no_other() -> None:
    values = [(row, value) for row, values in enumerate(SAME_VALUE) for value in values]
    for row, value in values:
        for other_row, other in values:
            assert same_value(value, other) == (row == other_row), (value, other)
            assert (token(value) == token(other)) == (row == other_row), (value, other)


whole = st.integers(-(1 << 63), 1 << 63) | st.sampled_from([0, 1, -1, 10, 1 << 61, (1 << 61) - 1, 10**22])
twins = whole.flatmap(lambda number: st.sampled_from([number, float(number)]))
close_values = st.recursive(
    twins | st.booleans() | st.none() | st.sampled_from(["1", "1.0", "e1", ""]) | json_values(1),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.sampled_from("ab"), children, max_size=2),
    max_leaves=4,
)


@given(close_values, close_values)
def test_tokens_are_equal_exactly_if_values_are(one: Any, other: Any) -> None:
    assert (token(one) == token(other)) == same_value(one, other)


def spelled_anew(value: Any) -> Any:
    """The same value as another client might write it."""
    if isinstance(value, dict):
        return {name: spelled_anew(part) for name, part in reversed(value.items())}
    if isinstance(value, list):
        return [spelled_anew(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
        return float(value)
    return value


@given(json_values())
def test_a_value_that_is_spelled_anew_has_the_same_token(value: Any) -> None:
    anew = spelled_anew(value)
    assert same_value(value, anew)
    assert token(value) == token(anew)
    assert hash(token(value)) == hash(token(anew))


def test_integers_that_python_hashes_alike_have_tokens_that_hash_differently() -> None:
    alike = [number * ((1 << 61) - 1) + 5 for number in range(1, 1_000)]
    assert len({hash(number) for number in alike}) == 1
    for shape in (lambda number: number, lambda number: [number], lambda number: {"a": [number]}):
        assert len({hash(token(shape(number))) for number in alike}) > 990
