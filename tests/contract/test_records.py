"""Records in and out by key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.conftest import STORES
from tests.contract.samples import (
    PAIRS,
    PROJECT,
    all_changes,
    change,
    change_user,
    changes_key,
    folding,
    get,
    key_of,
    next_version,
    put,
    remove_user,
    user,
    writing,
)
from userfold.core.records import COLLECTIONS, KINDS, ApiKey, Identifier, Key, Project, Session, User
from userfold.storage.port import Read, Store, Update


def test_every_kind_of_record_is_among_the_samples() -> None:
    assert {*PAIRS, "user", "change"} == set(KINDS)


def test_a_read_answers_every_key_that_was_asked_for(store: Store, runner: asyncio.Runner) -> None:
    absent = tuple(Key(kind, PROJECT, "nobody") for kind in KINDS if kind != "change")
    present = (Key("user", PROJECT, "u1"), key_of(PAIRS["session"][0]))
    collections = tuple(Key(kind, PROJECT, id_) for kind in COLLECTIONS for id_ in ("u1", "nobody"))
    keys = (*absent, *present, *collections)
    expected = {
        **dict.fromkeys(absent, None),
        present[0]: user(),
        present[1]: PAIRS["session"][0],
        **dict.fromkeys(collections, ()),
        changes_key("u1"): (change(),),
    }

    async def scenario() -> None:
        await put(store, user(), change(), PAIRS["session"][0])
        (inside,) = await store.run(lambda: folding(Read(keys)))
        assert dict(inside) == expected
        assert dict(await store.get(keys)) == expected
        assert dict(await store.get([])) == {}

    runner.run(scenario())


@pytest.mark.parametrize("kind", PAIRS)
def test_a_record_comes_back_as_it_was_inserted_updated_and_removed(
    store: Store, runner: asyncio.Runner, kind: str
) -> None:
    before, after = PAIRS[kind]
    key = key_of(before)

    async def scenario() -> None:
        await put(store, before)
        assert await get(store, key) == before
        await store.run(lambda: folding(Read((key,)), writing(updates=[Update(before, after)])))
        assert await get(store, key) == after
        await store.run(lambda: folding(Read((key,)), writing(removals={key: after})))
        assert await get(store, key) is None

    runner.run(scenario())


def test_a_user_comes_back_as_it_was_inserted_updated_and_removed(store: Store, runner: asyncio.Runner) -> None:
    one = user()
    two = next_version(one, name=None, traits={"a": "\0"})

    async def scenario() -> None:
        await put(store, one, change())
        assert await get(store, key_of(one)) == one
        await change_user(store, one, two)
        assert await get(store, key_of(one)) == two
        assert await all_changes(store, "u1") == [change(), change(version=2)]
        await remove_user(store, two)
        assert await get(store, key_of(one)) is None

    runner.run(scenario())


def test_writing_one_record_leaves_its_neighbours_alone(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        await put(store, user("u1"), change("u1"), user("u2"), change("u2"), *(pair[0] for pair in PAIRS.values()))
        await change_user(store, user("u1"), next_version(user("u1"), name="new"))
        await store.run(lambda: folding(writing(removals={key_of(PAIRS["session"][0]): PAIRS["session"][0]})))
        assert await get(store, key_of(user("u2"))) == user("u2")
        assert await all_changes(store, "u2") == [change("u2")]
        others = {key_of(one): one for one, _ in PAIRS.values() if not isinstance(one, Session)}
        assert dict(await store.get(list(others))) == others

    runner.run(scenario())


def test_removing_what_was_never_there_is_no_error(store: Store, runner: asyncio.Runner) -> None:
    absent = [Key(kind, PROJECT, "nobody") for kind in KINDS if kind != "change"] + [changes_key("nobody")]

    async def scenario() -> None:
        await put(store, user(), change())
        await store.run(lambda: folding(writing(removals=dict.fromkeys(absent, None))))
        assert await get(store, key_of(user())) == user()
        assert await all_changes(store, "u1") == [change()]

    runner.run(scenario())


def test_removing_the_changes_of_a_user_removes_all_of_them_and_nobody_elses(
    store: Store, runner: asyncio.Runner
) -> None:
    count = 300  # more than two of SQLite's marks
    gone = user("gone", version=count)

    async def scenario() -> None:
        for id_ in ("gone", "stays"):
            history = [change(id_, version=version) for version in range(1, count + 1)]
            await put(store, user(id_, version=count), *history)
        await remove_user(store, gone)
        assert await all_changes(store, "gone") == []
        assert await get(store, changes_key("gone")) == ()
        assert len(await all_changes(store, "stays")) == count
        # Somebody who is given the same id later begins a history of their own, even if an import brings the same ids.
        await put(store, user("gone"), change("gone"))
        assert await all_changes(store, "gone") == [change("gone")]
        await remove_user(store, user("gone"))
        await put(store, user("gone"), change("gone", id_="chg_new"))
        assert [made.id for made in await all_changes(store, "gone")] == ["chg_new"]

    runner.run(scenario())


def test_a_user_removed_and_made_again_in_one_transaction_has_only_its_new_history(
    store: Store, runner: asyncio.Runner
) -> None:
    old = user(version=200)
    new = user(version=1, traits={"second": True})

    async def scenario() -> None:
        await put(store, old, *(change(version=version) for version in range(1, 201)))
        again = writing(change(id_="chg_zzz"), updates=[Update(old, new)], removals={changes_key("u1"): None})
        await store.run(lambda: folding(Read((key_of(old),)), again))
        assert await get(store, key_of(new)) == new
        assert await all_changes(store, "u1") == [change(id_="chg_zzz")]

    runner.run(scenario())


def test_projects_with_the_same_ids_do_not_see_each_other(store: Store, runner: asyncio.Runner) -> None:
    def records(project_id: str) -> tuple[User, Identifier, Session]:
        return (
            user(traits={"project": project_id}),
            Identifier(identifier="email|a@x.org", user_id=f"user of {project_id}", set_by="backend"),
            Session(id="ses_1", user_id=f"user of {project_id}", created_at=1),
        )

    async def scenario() -> None:
        for project_id in ("prj_1", "prj_2"):
            await put(store, *records(project_id), change(), project_id=project_id)
        await change_user(store, records("prj_1")[0], next_version(records("prj_1")[0]), "prj_1")
        assert await all_changes(store, "u1", "prj_1") == [change(), change(version=2)]
        for record in records("prj_2"):
            assert await get(store, key_of(record, "prj_2")) == record
            assert await get(store, key_of(record, "prj_3")) is None
        await remove_user(store, next_version(records("prj_1")[0]), "prj_1")
        assert await all_changes(store, "u1", "prj_1") == []
        assert await all_changes(store, "u1", "prj_2") == [change()]
        assert await all_changes(store, "u1", "prj_3") == []
        assert await get(store, changes_key("u1", "prj_2")) == (change(),)
        assert await get(store, key_of(records("prj_2")[0], "prj_2")) == records("prj_2")[0]

    runner.run(scenario())


def test_names_that_differ_in_case_form_or_blanks_are_different_keys(store: Store, runner: asyncio.Runner) -> None:
    names = ["a", "A", "a ", " a", "e\u0301", "\u00e9", "a|b", "a%", "a_", "'", '"', "𝒵", "\u2028"]

    async def scenario() -> None:
        claims = {name: Identifier(identifier=name, user_id=name, set_by="backend") for name in names}
        await put(store, *claims.values())
        answers = await store.get([key_of(claim) for claim in claims.values()])
        assert {key.id: record for key, record in answers.items()} == claims

    runner.run(scenario())


def test_a_list_has_all_records_of_its_kind_from_all_projects(store: Store, runner: asyncio.Runner) -> None:
    projects = [Project(id=f"prj_{i}", name="p", product_id="prd", created_at=1) for i in (1, 2)]
    keys = [
        ApiKey(id="key_1", project_id=p.id, kind="publishable", name="n", token_digest=p.id, created_at=1)
        for p in projects
    ]

    async def scenario() -> None:
        assert list(await store.list("project")) == []
        for project, key in zip(projects, keys, strict=True):
            await put(store, project, key, project_id=project.id)
        found = [record for record in await store.list("project") if isinstance(record, Project)]
        assert sorted(found, key=lambda project: project.id) == projects
        held = [record for record in await store.list("api_key") if isinstance(record, ApiKey)]
        assert sorted(held, key=lambda key: key.project_id) == keys

    runner.run(scenario())


@pytest.mark.parametrize("name", [name for name, constructor in STORES.items() if constructor.durable])
def test_a_durable_store_that_is_opened_again_holds_everything(
    name: str, tmp_path: Path, runner: asyncio.Runner
) -> None:
    singles = {key_of(one): one for one, _ in PAIRS.values()}

    async def write() -> None:
        store = STORES[name](tmp_path)
        await store.migrate()
        await put(store, user(), change(), *singles.values())
        await change_user(store, user(), next_version(user(), name="later"))
        await store.close()

    async def read() -> None:
        store = STORES[name](tmp_path)
        await store.migrate()
        assert dict(await store.get(list(singles))) == singles
        assert await get(store, key_of(user())) == next_version(user(), name="later")
        assert await all_changes(store, "u1") == [change(), change(version=2)]
        # And it goes on where it was left.
        third = next_version(next_version(user(), name="later"), name="third")
        await change_user(store, next_version(user(), name="later"), third)
        assert [made.version for made in await all_changes(store, "u1")] == [1, 2, 3]
        await store.close()

    runner.run(write())
    runner.run(read())
