"""One transaction per attempt: all of it or nothing, and a new fold after a conflict."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.contract.samples import (
    PAIRS,
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
from userfold.core.records import Identifier, Key, Record, User
from userfold.storage.port import Conflict, Fold, Read, Store, Update, Write, WriteFailed

KEY = key_of(user())
CLAIM = Identifier(identifier="email|a@x.org", user_id="u1", set_by="backend")
SESSION, LINKED = PAIRS["session"]


class Defect(Exception):
    """What a fold raises in these tests."""


async def seed(store: Store) -> None:
    """A user, a session and an identifier."""
    await put(store, user(), change(), SESSION, CLAIM)


async def expect_seed(store: Store) -> None:
    """That nothing but the seed is there."""
    untouched = {KEY: user(), key_of(SESSION): SESSION, key_of(CLAIM): CLAIM, changes_key("u1"): (change(),)}
    absent = [key_of(user("new")), key_of(PAIRS["tombstone"][0]), Key("identifier", "prj_1", "email|new@x.org")]
    assert dict(await store.get([*untouched, *absent])) == {**untouched, **dict.fromkeys(absent, None)}
    assert await all_changes(store, "u1") == [change()]
    assert await all_changes(store, "new") == []


def everything() -> Write:
    """One of each: removals, updates, inserts."""
    return writing(
        change(version=2),
        user("new"),
        change("new"),
        PAIRS["tombstone"][0],
        Identifier(identifier="email|new@x.org", user_id="new", set_by="backend"),
        updates=[Update(user(), next_version(user(), name="changed")), Update(SESSION, LINKED)],
        removals={key_of(CLAIM): CLAIM},
    )


def raising_before_it_reads() -> Fold[None]:
    yield from ()
    raise Defect


def raising_after_it_read() -> Fold[None]:
    yield Read((KEY,))
    raise Defect


def raising_after_it_wrote() -> Fold[None]:
    yield Read((KEY,))
    yield everything()
    raise Defect


def raising_after_it_read_what_it_wrote() -> Fold[None]:
    yield Read((KEY,))
    yield everything()
    yield Read((KEY,))
    raise Defect


@pytest.mark.parametrize(
    "fold",
    [raising_before_it_reads, raising_after_it_read, raising_after_it_wrote, raising_after_it_read_what_it_wrote],
)
def test_a_fold_that_raises_leaves_nothing_behind(
    store: Store, runner: asyncio.Runner, fold: Callable[[], Fold[None]]
) -> None:
    async def scenario() -> None:
        await seed(store)
        with pytest.raises(Defect):
            await store.run(fold)
        await expect_seed(store)
        await store.run(lambda: folding(Read((KEY,)), everything()))  # and the store is fit for the next one
        assert await get(store, KEY) == next_version(user(), name="changed")

    runner.run(scenario())


REFUSED: dict[str, Write] = {
    "insert of a user that exists": writing(user(), change(id_="chg_other")),
    "insert of an identifier that exists": writing(CLAIM),
    "insert of a session that exists": writing(SESSION),
    "update of a user at another version": writing(
        change(version=9), updates=[Update(user(version=8), user(version=9))]
    ),
    "update of a user that is not there": writing(
        change("nobody", version=2), updates=[Update(user("nobody"), user("nobody", version=2))]
    ),
    "removal of a user at another version": writing(removals={KEY: user(version=8), changes_key("u1"): None}),
    "removal of a user that is not there": writing(removals={key_of(user("nobody")): user("nobody")}),
}


def beside_it(bad: Write) -> Write:
    """`bad` in the middle of what could be written."""
    good = everything()
    return Write(
        batch_id="bat_1",
        removals={**{key: gone for key, gone in good.removals.items() if key not in bad.inserts}, **bad.removals},
        updates={**{key: update for key, update in good.updates.items() if key != KEY}, **bad.updates},
        inserts={
            **{key: record for key, record in good.inserts.items() if record != change(version=2)},
            **bad.inserts,
        },
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_conflict_leaves_nothing_behind(store: Store, runner: asyncio.Runner, name: str) -> None:
    bad = REFUSED[name]
    keys = tuple({*bad.updates, *bad.removals} - {changes_key("u1")})

    async def scenario() -> None:
        await seed(store)
        with pytest.raises(Conflict):
            await store.run(lambda: folding(Read(keys), beside_it(bad)))
        await expect_seed(store)

    runner.run(scenario())


def test_a_write_that_is_refused_takes_the_earlier_writes_of_its_fold_with_it(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        await seed(store)
        with pytest.raises(Conflict):
            await store.run(lambda: folding(Read((KEY,)), everything(), writing(SESSION)))
        await expect_seed(store)

    runner.run(scenario())


def test_text_that_is_no_unicode_fails_as_a_write_and_leaves_nothing_behind(
    store: Store, runner: asyncio.Runner
) -> None:
    broken = user("new", traits={"half of a pair": "\ud800"})

    async def scenario() -> None:
        await seed(store)
        with pytest.raises(WriteFailed):
            await store.run(lambda: folding(writing(PAIRS["tombstone"][0], broken, change("new"))))
        await expect_seed(store)

    runner.run(scenario())


def test_each_attempt_has_a_new_fold_until_the_conflict_is_raised(store: Store, runner: asyncio.Runner) -> None:
    made: list[Fold[None]] = []
    ended: list[Fold[None]] = []

    def make_fold() -> Fold[None]:
        def fold() -> Fold[None]:
            try:
                yield Read((KEY,))
                yield writing(SESSION)
            finally:
                ended.append(made[-1])

        made.append(fold())
        return made[-1]

    async def scenario() -> None:
        await seed(store)
        with pytest.raises(Conflict):
            await store.run(make_fold)
        await expect_seed(store)

    runner.run(scenario())
    assert 2 <= len(made) <= 10
    assert len({id(fold) for fold in made}) == len(made)
    assert ended == made, "a fold that is given up is closed before the next one is made"


def test_the_answer_is_that_of_the_fold_that_was_committed(store: Store, runner: asyncio.Runner) -> None:
    attempts: list[int] = []

    def make_fold() -> Fold[int]:
        attempts.append(len(attempts))
        return fold(attempts[-1])

    def fold(attempt: int) -> Fold[int]:
        answer = yield Read((KEY,))
        assert answer is not None
        assert answer[KEY] == user()
        yield writing(SESSION if attempt == 0 else PAIRS["tombstone"][0])
        return attempt

    async def scenario() -> None:
        await seed(store)
        assert await store.run(make_fold) == 1
        assert await get(store, key_of(PAIRS["tombstone"][0])) == PAIRS["tombstone"][0]

    runner.run(scenario())
    assert attempts == [0, 1]


def test_a_fold_that_wishes_nothing_is_answered(store: Store, runner: asyncio.Runner) -> None:
    def fold() -> Fold[str]:
        yield from ()
        return "nothing to do"

    assert runner.run(store.run(fold)) == "nothing to do"


def test_what_is_committed_can_be_read_at_once(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        before = user()
        await put(store, before, change())
        for version in range(2, 20):
            after = next_version(before, traits={"version": version})
            await change_user(store, before, after)
            assert await get(store, KEY) == after
            assert (await store.history("prj_1", "u1", after=version - 1, up_to=version, limit=1))[0].version == version
            assert (await get(store, changes_key("u1")))[-1].version == version
            before = after
        await remove_user(store, before)
        assert await get(store, KEY) is None
        assert await all_changes(store, "u1") == []

    runner.run(scenario())


def test_what_is_not_committed_cannot_be_read(store: Store, runner: asyncio.Runner) -> None:
    untouched = {KEY: user(), key_of(SESSION): SESSION, key_of(CLAIM): CLAIM, key_of(user("new")): None}
    seen: list[dict[Key, Record | tuple[Record, ...] | None]] = []

    def fold() -> Fold[None]:
        yield Read((KEY,))
        look()
        yield everything()
        look()

    def look() -> None:
        """Read from within the fold, where it has a thread of its own or the store answers without waiting.

        Else there is nothing to see yet.
        """
        if threading.current_thread() is not threading.main_thread():
            asked = asyncio.run_coroutine_threadsafe(store.get(list(untouched)), runner.get_loop())
            seen.append(dict(asked.result(30)))
            return
        reading = store.get(list(untouched))
        try:
            reading.send(None)
        except StopIteration as stop:
            seen.append(dict(stop.value))
        finally:
            reading.close()

    async def scenario() -> None:
        await seed(store)
        await store.run(fold)
        assert await get(store, KEY) == next_version(user(), name="changed")

    runner.run(scenario())
    assert seen == [untouched] * len(seen)


def test_a_reader_beside_a_writer_sees_whole_transactions_in_order(store: Store, runner: asyncio.Runner) -> None:
    """A user and the change that made it are written together, so whoever has the user finds the whole history."""
    last_version = 150

    async def write() -> None:
        before = user()
        for _ in range(last_version - 1):
            after = next_version(before)
            await change_user(store, before, after)
            before = after
            await asyncio.sleep(0)

    async def read() -> None:
        seen = 0
        while seen < last_version:
            now: User = await get(store, KEY)
            assert now.version >= seen
            seen = now.version
            await asyncio.sleep(0)  # a store that answers at once does not let the writer in
            found = await store.history("prj_1", "u1", after=0, up_to=seen, limit=last_version)
            assert [made.version for made in found] == list(range(1, seen + 1))

    async def scenario() -> None:
        await put(store, user(), change())
        await asyncio.gather(write(), read(), read())

    runner.run(scenario())
