"""Records that may be many: page by page, and those whose time is over."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.contract.samples import ANSWER, PROJECT, SIGN_IN, put
from userfold.core.records import Idempotency, Key, Record, Session, SignIn
from userfold.storage.port import Store

SESSIONS = [Session(id=f"ses_{number}", user_id="u1", created_at=number) for number in range(6)]
IDS = [session.id for session in SESSIONS]
PAGES = [
    (None, False, 9, IDS),
    (None, False, 2, IDS[:2]),
    ("ses_1", False, 2, IDS[2:4]),
    ("ses_4", False, 9, IDS[5:]),
    ("ses_5", False, 9, []),
    ("ses_", False, 1, IDS[:1]),
    (None, True, 9, IDS[::-1]),
    (None, True, 2, IDS[:3:-1]),
    ("ses_4", True, 2, ["ses_3", "ses_2"]),
    ("ses_0", True, 9, []),
]


@pytest.mark.parametrize(("after", "descending", "limit", "expected"), PAGES)
def test_the_records_of_a_user_are_answered_page_by_page_in_the_order_of_their_ids(
    store: Store, runner: asyncio.Runner, after: str | None, descending: bool, limit: int, expected: list[str]
) -> None:
    async def scenario() -> list[Record]:
        nobodys = Session(id="ses_25", created_at=1)
        await put(store, *reversed(SESSIONS), Session(id="ses_2x", user_id="u2", created_at=1), nobodys)
        await put(store, Session(id="ses_3", user_id="u1", created_at=1), project_id="prj_2")
        page = store.of_user("session", PROJECT, "u1", after=after, descending=descending, limit=limit)
        return list(await page)

    assert [record.id for record in runner.run(scenario()) if isinstance(record, Session)] == expected


@pytest.mark.parametrize("sample", [SIGN_IN, ANSWER], ids=["sign_in", "idempotency"])
def test_records_whose_time_is_over_are_found_in_all_projects_the_oldest_first(
    store: Store, runner: asyncio.Runner, sample: SignIn | Idempotency
) -> None:
    kind = "sign_in" if isinstance(sample, SignIn) else "idempotency"
    times = {"a": 30, "b": 10, "c": 20, "d": 21}

    async def scenario() -> None:
        records = [msgspec.structs.replace(sample, id=id_, expires_at=at) for id_, at in times.items()]
        await put(store, *records)
        await put(store, msgspec.structs.replace(sample, id="e", expires_at=5), project_id="prj_2")
        first = Key(kind, "prj_2", "e")
        of_project = [Key(kind, PROJECT, id_) for id_ in ("b", "c", "d", "a")]
        assert await store.expired(kind, before=20, limit=9) == [first, *of_project[:2]]
        assert await store.expired(kind, before=99, limit=9) == [first, *of_project]
        assert await store.expired(kind, before=99, limit=2) == [first, of_project[0]]
        assert await store.expired(kind, before=4, limit=9) == []

    runner.run(scenario())
