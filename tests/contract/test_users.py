"""Finding users: every store answers what a plain list would."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contract.samples import PROJECT, change, change_presence, change_user, next_version, put, remove_user
from userfold.core.queries import DISABLED, NAME_ORDERS, PRESENCE_TIMES, Part, UserQuery, matches, position, term
from userfold.core.records import EmailAddress, PhoneNumber, Presence, User
from userfold.storage.port import Store
from userfold.storage.sqlite import search

ALL = UserQuery(project_id=PROJECT, limit=1000)

# Values that are alike in case, in form or in part, and that hold what SQL, LIKE and FTS5 treat as special.
NAMES = [
    "Ada",
    "ADA lovelace",
    "ada%b_c",
    "Zoë",
    "ZOE\u0308",  # NFD
    "zo",
    "Ω",
    "ΣΊΣΥΦΟΣ",
    "σίσυφος",
    "Straße",
    "STRASSE",
    "İstanbul",
    "ıstanbul",
    "Иван Петров",
    "李小龍",
    "李小",
    'a"b" OR "c',
    "a*b^c:d",
    "line\none",
    "line one",
    "'; --",
    "\\",
    "a|b",
    "𝒵𝒵𝒵𝒵",
    "nul l",
    " ",
]
TEXTS = [
    *NAMES,
    "",
    "a",
    "A",
    "z",
    "ZO",
    "zoe\u0308",
    "oë",
    "%",
    "_",
    "*",
    '"',
    '""',
    '"""',
    "%b_",
    "***",
    "___",
    "%%%",
    "\n",
    "\ne",
    "ne\no",
    "ss",
    "ß",
    "ß e",
    "ΣΥΦ",
    "ς",
    "i\u0307",
    "İST",
    "小",
    "小龍",
    "李小龍",
    "Петр",
    "𝒵𝒵",
    "𝒵𝒵𝒵",
    "AND",
    "OR ",
    "NOT",
    "NEAR(",
    "text:",
    "text : ada",
    "@x.",
    "A@X.ORG",
    "+44",
    "u1",
    "U1",
    "ext",
    "EXT",
    "Ext 1",
    "id|",
    "name|ada",
    "no such text",
]
IDS = ["u1", "u2", "U2", "u10", "ada"]
EMAILS = ["a@x.org", "zoë@x.org", "zoe@x.org", "straße@y.org"]
PHONES = ["+442079460958", "+4915112345678"]


def _emails(addresses: list[str]) -> tuple[EmailAddress, ...]:
    return tuple(
        EmailAddress(id=f"idn_{number}", email_address=address, primary=number == 0, created_at=1, updated_at=1)
        for number, address in enumerate(addresses)
    )


def _phones(numbers: list[str]) -> tuple[PhoneNumber, ...]:
    return tuple(PhoneNumber(id=f"idn_{n}", phone_number=n, primary=True, created_at=1, updated_at=1) for n in numbers)


names = st.none() | st.sampled_from(NAMES) | st.sampled_from(NAMES).map(lambda name: name * 2)
STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "external_id": st.sampled_from([None, "Ext 1", "ext 1", "u1", "Zoë"]),
    "username": st.sampled_from([None, "Ada", "ada", "zoë"]),
    "first_name": names,
    "last_name": names,
    "name": names,
    "email_addresses": st.lists(st.sampled_from(EMAILS), max_size=2).map(_emails),
    "phone_numbers": st.lists(st.sampled_from(PHONES), max_size=1).map(_phones),
    "contact_email": st.sampled_from([None, "A@x.org", "other@x.org"]),
    "contact_phone": st.sampled_from([None, "+44 20", "call me"]),
    "traits": st.just({"name": "Ada"}),  # nobody is found by these
    "disabled": st.booleans(),
    "created_at": st.integers(1, 3),
    "updated_at": st.integers(1, 3),
}
fields = st.sets(st.sampled_from(sorted(STRATEGIES)), max_size=4).flatmap(
    lambda chosen: st.fixed_dictionaries({name: STRATEGIES[name] for name in sorted(chosen)})
)
times = st.none() | st.integers(0, 3)
presences = st.builds(Presence, id=st.just(""), last_active_at=times, last_sign_in_at=times)
# A user of that id is made or changed so, is there so, or, with None, deleted.
steps = st.lists(
    st.tuples(st.sampled_from(IDS), fields | fields | fields | presences | presences | st.none()), max_size=25
)
any_terms = st.lists(
    st.builds(term, st.sampled_from(["first_name", "name"]), st.sampled_from(NAMES))
    | st.builds(term, st.sampled_from(["email", "contact_email"]), st.sampled_from(EMAILS))
    | st.sampled_from(
        [
            "id|u1",
            DISABLED,
            "id|U2",
            "id|nobody",
            "external_id|Ext 1",
            "username|ada",
            "phone|+442079460958",
            "",
            "name|",
        ]
    ),
    max_size=4,
).map(tuple)
limits = st.sampled_from([None, None, None, None, None, -1, 0, 1, 2, 3, 4])
queries = st.builds(
    UserQuery,
    project_id=st.just(""),
    any_terms=st.none() | st.none() | any_terms,
    text=st.none() | st.sampled_from(TEXTS) | st.text(st.sampled_from('aàAzë%_*"\n Ω李'), max_size=4),
    also=st.lists(any_terms, max_size=2).map(tuple) | st.just(()),
    without=st.just(()) | any_terms.map(lambda drawn: (*drawn, DISABLED)),
    parts=st.lists(
        st.builds(
            Part,
            st.sampled_from(TEXTS) | st.text(st.sampled_from('aàAzë%_*"\n Ω李'), max_size=4),
            st.sampled_from(
                [("email",), ("phone",), ("username",), ("first_name", "last_name"), ("id",), ("external_id",)]
            ),
        ),
        max_size=2,
    ).map(tuple),
    created_after=st.none() | st.integers(0, 3),
    created_before=st.none() | st.integers(1, 4),
    active_after=limits,
    active_before=limits,
    signed_in_after=limits,
    signed_in_before=limits,
    order=st.sampled_from(["created_at", "updated_at", *PRESENCE_TIMES, *PRESENCE_TIMES, *NAME_ORDERS]),
    descending=st.booleans(),
    limit=st.sampled_from([1, 2, 3, 100]),
)
project_numbers = count(1)


Presences = dict[str, Presence]


def expected(users: dict[str, User], query: UserQuery, seen: Presences = {}) -> list[User]:  # noqa: B006  # only read
    """All pages of `query` over a plain list."""
    found = [user for user in users.values() if matches(user, query, seen.get(user.id))]
    return sorted(found, key=lambda user: position(user, query.order, seen.get(user.id)), reverse=query.descending)


async def all_pages(store: Store, query: UserQuery, seen: Presences) -> list[User]:
    """What a caller gets who follows the cursor to the end."""
    found: list[User] = []
    while page := await store.users(query):
        assert len(page) <= query.limit
        found += page
        last = page[-1]
        query = msgspec.structs.replace(query, after=position(last, query.order, seen.get(last.id)))
    return found


Step = dict[str, Any] | Presence | None


async def take(store: Store, users: dict[str, User], seen: Presences, id_: str, drawn: Step, project_id: str) -> None:
    """Do one step in the store and in the dicts."""
    before = users.get(id_)
    if isinstance(drawn, Presence):
        if before is not None:
            drawn = msgspec.structs.replace(drawn, id=id_)
            if id_ in seen:
                await change_presence(store, seen[id_], drawn, project_id)
            else:
                await put(store, drawn, project_id=project_id)
            seen[id_] = drawn
    elif drawn is None and before is not None:
        await remove_user(store, users.pop(id_), project_id, seen.pop(id_, None))
    elif drawn is not None and before is not None:
        users[id_] = next_version(before, **drawn)
        await change_user(store, before, users[id_], project_id)
    elif drawn is not None:
        users[id_] = User(id=id_, version=1, **drawn)
        await put(store, users[id_], change(id_), project_id=project_id)


shared_store = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@shared_store
@given(steps, st.lists(queries, min_size=1, max_size=12), st.sampled_from([-1, 1, search.FEW]))
@example([("u1", {"name": "x" * 3}), ("u1", {"name": "y" * 3}), ("u1", None), ("u2", {})], [ALL], search.FEW)
def test_users_are_found_as_in_a_plain_list_page_by_page(
    store: Store,
    runner: asyncio.Runner,
    drawn: list[tuple[str, Step]],
    asked: list[UserQuery],
    few: int,
) -> None:
    """However many users SQLite's store takes for few."""
    project_id = f"prj_{next(project_numbers)}"  # the users of all other examples are in the same store

    async def scenario() -> None:
        users: dict[str, User] = {}
        seen: Presences = {}
        for id_, step in drawn:
            await take(store, users, seen, id_, step, project_id)
        for query in asked:
            query = msgspec.structs.replace(query, project_id=project_id)
            wanted = expected(users, query, seen)
            assert await all_pages(store, query, seen) == wanted, query
            assert await store.count_users(query) == len(wanted), query
            skipping = msgspec.structs.replace(query, offset=1)
            assert await store.users(skipping) == wanted[1 : 1 + query.limit], query

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "FEW", few)
        runner.run(scenario())


@pytest.mark.parametrize("wanted", TEXTS)
def test_every_text_finds_the_same_as_in_a_plain_list(store: Store, runner: asyncio.Runner, wanted: str) -> None:
    users = {f"u{n}": User(id=f"u{n}", name=name, version=1, created_at=n % 3) for n, name in enumerate(NAMES)}
    query = msgspec.structs.replace(ALL, text=wanted)

    async def scenario() -> None:
        await put(store, *users.values(), *(change(id_) for id_ in users))
        assert await store.users(query) == expected(users, query)

    runner.run(scenario())


@pytest.mark.parametrize("name", ["ab\0cd", "\0\0\0", "\U0010ffff" * 4, "a\U0010ffff\U0010ffff"])
def test_a_character_that_a_store_may_take_for_an_end_is_one_like_any_other(
    store: Store, runner: asyncio.Runner, name: str
) -> None:
    users = {id_: User(id=id_, name=name, version=1) for id_, name in {"u1": name, "u2": "abcd", "u3": "ab"}.items()}

    async def scenario() -> None:
        await put(store, *users.values(), *(change(id_) for id_ in users))
        for length in range(1, len(name) + 1):
            query = msgspec.structs.replace(ALL, text=name[:length])
            assert await store.users(query) == expected(users, query), query.text

    runner.run(scenario())


@pytest.mark.parametrize(
    ("part", "found"),
    [
        (Part("lovelace", ("last_name",)), ["u1"]),
        (Part("lovelace", ("first_name",)), ["u2"]),
        (Part("lovelace", ("first_name", "last_name")), ["u1", "u2"]),
        (Part("lovelace", ("username",)), []),
        (Part("aß", ("first_name",)), ["u1"]),  # two letters that are three once they are folded
        (Part("aß", ("last_name",)), ["u2"]),
        (Part("lo", ("last_name",)), ["u1"]),
        (Part("lo", ("username",)), []),
    ],
)
def test_a_part_of_a_value_is_looked_for_in_values_of_its_kinds_alone(
    store: Store, runner: asyncio.Runner, part: Part, found: list[str]
) -> None:
    users = (
        User(id="u1", first_name="Grass", last_name="Lovelace", version=1),
        User(id="u2", first_name="Lovelace", last_name="Grass", version=1),
    )

    async def scenario() -> list[str]:
        await put(store, *users, *(change(user.id) for user in users))
        return sorted(user.id for user in await store.users(msgspec.structs.replace(ALL, parts=(part,))))

    assert runner.run(scenario()) == found


def test_a_text_that_no_value_can_have_finds_nobody_at_once(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        await put(store, User(id="u1", name="a\u0315\u0300", version=1), change("u1"))
        query = msgspec.structs.replace(ALL, text="a" + "\u0315\u0300" * 250_000)
        assert await store.users(query) == []

    runner.run(scenario())


def test_nothing_finds_a_deleted_user_and_its_namesake_is_still_found(store: Store, runner: asyncio.Runner) -> None:
    email = _emails(["ada@x.org"])
    first, second = (User(id=id_, name="Ada", email_addresses=email, version=1) for id_ in ("u1", "u2"))
    asked = [
        msgspec.structs.replace(ALL, **wish)
        for wish in (
            {},
            {"text": "ad"},
            {"text": "ada"},
            {"text": "@x.org"},
            {"any_terms": ("name|ada", "email|ada@x.org")},
            {"order": "updated_at", "descending": True},
        )
    ]

    async def scenario() -> None:
        await put(store, first, second, change("u1"), change("u2"))
        assert [len(await store.users(query)) for query in asked] == [2] * len(asked)
        await remove_user(store, first)
        assert [await store.users(query) for query in asked] == [[second]] * len(asked)
        assert await store.users(msgspec.structs.replace(ALL, any_terms=("id|u1",))) == []
        await put(store, User(id="u1", version=1), change("u1"))
        assert await store.users(asked[2]) == [second], "a user that is made again is found by nothing that it was"

    runner.run(scenario())


def test_a_presence_that_goes_while_its_user_stays_is_found_by_no_time_of_it(
    store: Store, runner: asyncio.Runner
) -> None:
    users = [User(id=id_, version=1) for id_ in ("u1", "u2")]
    seen = [Presence(id=user.id, last_active_at=9, last_sign_in_at=8) for user in users]
    active = msgspec.structs.replace(ALL, active_after=1, order="last_active_at")
    signed_in = msgspec.structs.replace(ALL, signed_in_before=9)

    async def scenario() -> None:
        await put(store, *users, *seen, *(change(user.id) for user in users))
        assert [await store.users(query) for query in (active, signed_in)] == [users, users]
        await change_presence(store, seen[0], None)
        assert [await store.users(query) for query in (active, signed_in)] == [users[1:], users[1:]]
        await put(store, seen[0])
        assert [await store.users(query) for query in (active, signed_in)] == [users, users]

    runner.run(scenario())


def test_whoever_is_active_again_has_another_place(store: Store, runner: asyncio.Runner) -> None:
    users = [User(id=id_, version=1) for id_ in ("u1", "u2")]
    first, second = (Presence(id=user.id, last_active_at=9, last_sign_in_at=9) for user in users)
    active, signed_in = (msgspec.structs.replace(ALL, order=order) for order in PRESENCE_TIMES)

    async def scenario() -> None:
        await put(store, *users, first, second, *(change(user.id) for user in users))
        later = msgspec.structs.replace(first, last_active_at=10)
        await change_presence(store, first, later)
        assert [await store.users(query) for query in (active, signed_in)] == [users[::-1], users]
        await change_presence(store, later, msgspec.structs.replace(later, last_sign_in_at=10))
        assert [await store.users(query) for query in (active, signed_in)] == [users[::-1], users[::-1]]

    runner.run(scenario())


def test_users_of_another_project_are_never_found(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        for project_id in ("prj_1", "prj_2"):
            await put(store, User(id="u1", name=f"Ada {project_id}", version=1), change("u1"), project_id=project_id)
        for wish in ({}, {"text": "a"}, {"text": "ada"}, {"any_terms": ("id|u1",)}):
            found = await store.users(msgspec.structs.replace(ALL, **wish))
            assert [user.name for user in found] == ["Ada prj_1"]
        assert await store.users(msgspec.structs.replace(ALL, text="prj_2")) == []

    runner.run(scenario())
