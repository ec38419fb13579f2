"""Whatever JSON can say comes back as it was given, in the normal form."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contract.samples import change, get, key_of, put, user
from userfold.core.jsontext import encode, same_text
from userfold.core.records import Change, Operation
from userfold.storage.codec import to_text
from userfold.storage.port import Store

# A `store` is shared by the examples of one test; each has a project of its own in it.
shared_store = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = count(1)


def fresh_project() -> str:
    """A project that no example has used."""
    return f"prj_{next(numbers)}"


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**80), 10**80),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
bags = st.dictionaries(st.text(), values, max_size=6)

CORNERS: dict[str, Any] = {
    "": {"": {"": None}},
    "\0": "a\0b",
    "astral": "𝒵\U0010ffff\ud7ff\ue000",
    "separators": "\u2028\u2029\x7f\ufeff\ufffe\uffff",
    "integers": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 2**64, 10**4299],
    "decimals": [0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, 0.1, 1e16, 1e-7, 123456789012345680.0],
    "look alike": [1, 1.0, True, "1", 0, False, "", None, [], {}],
    "quotes": "\"\\/'%_;--\r\n\t\b\f",
    "order": {"z": 1, "a": 2, "10": 3, "9": 4},
}


@shared_store
@given(bags, bags)
@example(CORNERS, {})
@example({}, CORNERS)
def test_any_json_in_a_bag_comes_back_as_the_same_text(
    store: Store, runner: asyncio.Runner, private: dict[str, Any], traits: dict[str, Any]
) -> None:
    project_id = fresh_project()
    given_user = msgspec.structs.replace(user(traits=traits), private_metadata=private)
    runner.run(put(store, given_user, change(), project_id=project_id))
    found = runner.run(get(store, key_of(given_user, project_id)))
    assert to_text(found) == to_text(given_user)
    assert same_text(found.traits, traits)
    assert same_text(found.private_metadata, private)


@shared_store
@given(values, values)
@example(None, CORNERS)
def test_any_json_in_a_change_comes_back_as_the_same_text(
    store: Store, runner: asyncio.Runner, old: Any, new: Any
) -> None:
    project_id = fresh_project()
    operations = (
        Operation(op="add", path="/traits/a", new=new),
        Operation(op="remove", path="/traits/b\0", old=old),
        Operation(op="replace", path="/traits/c", old=old, new=new),
        Operation(op="replace", path="/traits/d", at=2, removed=[old], added=[new, new]),
    )
    made = msgspec.structs.replace(change(), operations=operations)
    runner.run(put(store, user(), made, project_id=project_id))
    (found,) = runner.run(store.history(project_id, "u1", after=0, up_to=1, limit=1))
    assert encode(found) == encode(made)
    assert [same_value(one, other) for one, other in zip(found.operations, operations, strict=True)] == [True] * 4


def same_value(one: Operation, other: Operation) -> bool:
    """Whether both carry the same values, where absent, null, 1 and true are four."""
    members = [(getattr(one, name), getattr(other, name)) for name in ("old", "new", "removed", "added")]
    return all(same_text(mine, yours) for mine, yours in members)


def test_the_normal_form_has_no_blanks_and_keeps_the_order_of_keys(store: Store, runner: asyncio.Runner) -> None:
    given_user = user(traits={"z": 1.0, "a": [-0.0, 5e-324, 10**30], "é\0": "\u2028"})
    runner.run(put(store, given_user, change()))
    found = runner.run(get(store, key_of(given_user)))
    assert encode(found.traits).decode() == (
        '{"z":1.0,"a":[-0.0,5e-324,1000000000000000000000000000000],"é\\u0000":"\u2028"}'
    )


@pytest.mark.parametrize("size", [1, 4_000, 64_000, 1_000_000])
def test_a_long_document_comes_back_whole(store: Store, runner: asyncio.Runner, size: int) -> None:
    given_user = user(traits={"text": "ß𝒵" * (size // 6 + 1)})
    runner.run(put(store, given_user, change()))
    assert runner.run(get(store, key_of(given_user))) == given_user


def test_what_was_read_belongs_to_the_reader(store: Store, runner: asyncio.Runner) -> None:
    """A bag is mutable, and changing the one that was read or written changes nothing that is stored."""
    bag: dict[str, Any] = {"list": [1]}

    async def scenario() -> Change:
        await put(store, user(traits=bag), change())
        bag["list"].append(2)
        (await get(store, key_of(user()))).traits["list"].append(3)
        assert (await get(store, key_of(user()))).traits == {"list": [1]}
        found: Change = (await store.history("prj_1", "u1", after=0, up_to=1, limit=1))[0]
        return found

    assert runner.run(scenario()) == change()
