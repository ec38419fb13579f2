"""Sign-ins: how they begin, how many there are, how they end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    DAY_MS,
    NOW,
    PROJECT,
    Database,
    after,
    create,
    delete,
    look,
    made,
    refusal,
    run,
    sign_in,
    stored,
    update,
)
from userfold.core.commands import RevokeSignIn, RevokeSignIns
from userfold.core.records import Context, Key, Presence, SignIn, User
from userfold.core.sign_ins import LIVE_MAX, is_signed_in


def ada() -> Database:
    return after(create({"name": "Ada"}, user_id="user_a"))


def found(records: Database, session_id: str) -> SignIn:
    record = records[Key("sign_in", PROJECT, session_id)]
    assert isinstance(record, SignIn)
    return record


def live(records: Database, now: int = NOW) -> list[str]:
    return sorted(r.id for r in records.values() if isinstance(r, SignIn) and r.is_live(now))


def revoke(session_id: str, project_id: str = PROJECT) -> RevokeSignIn:
    return RevokeSignIn(project_id=project_id, author=BACKEND, session_id=session_id)


def revoke_all(user_id: str = "user_a", project_id: str = PROJECT) -> RevokeSignIns:
    return RevokeSignIns(project_id=project_id, author=BACKEND, user_id=user_id)


def test_a_sign_in_says_whose_it_is_and_until_when() -> None:
    records = ada()
    command = sign_in("user_a", lifetime_ms=60_000, ip_address="192.0.2.1", user_agent="Firefox")
    applied = run(command, records, now=NOW + 5)
    new = SignIn(
        id="ses_1",
        user_id="user_a",
        token_digest="digest of ses_1",
        status="active",
        created_at=NOW + 5,
        expires_at=NOW + 60_005,
        ended_at=None,
        ip_address="192.0.2.1",
        user_agent="Firefox",
        version=1,
    )
    assert applied.record == new
    where = Context(ip_address="192.0.2.1", user_agent="Firefox")
    seen = Presence(id="user_a", last_active_at=NOW + 5, last_sign_in_at=NOW + 5, context=where)
    assert applied.writes == {Key("sign_in", PROJECT, "ses_1"): new, Key("presence", PROJECT, "user_a"): seen}
    assert applied.user == stored(records, "user_a")
    assert applied.change is None


def test_signing_in_is_one_round_of_reading() -> None:
    assert look(sign_in("user_a"), ada()).rounds == 1


def test_a_sign_in_is_live_until_its_time_is_over() -> None:
    records = ada()
    run(sign_in("user_a", lifetime_ms=10), records)
    assert (live(records, NOW), live(records, NOW + 9), live(records, NOW + 10)) == (["ses_1"], ["ses_1"], [])


@pytest.mark.parametrize(
    ("document", "code"), [({"disabled": True}, "user_disabled"), ({"locked": True}, "user_locked")]
)
def test_who_is_disabled_or_locked_cannot_sign_in(document: dict[str, Any], code: str) -> None:
    records = ada()
    run(update("user_a", document), records)
    assert refusal(sign_in("user_a"), records).code == code
    run(update("user_a", dict.fromkeys(document, False)), records)
    run(sign_in("user_a"), records)
    assert live(records) == ["ses_1"]


def test_disabled_is_said_before_locked() -> None:
    records = after(create({"disabled": True, "locked": True}, user_id="user_a"))
    assert refusal(sign_in("user_a"), records).code == "user_disabled"


def test_nobody_signs_in_as_a_user_that_is_not_there() -> None:
    records = ada()
    assert refusal(sign_in("user_z"), records).code == "user_not_found"
    run(delete("user_a"), records)
    assert refusal(sign_in("user_a"), records).code == "user_not_found"


def signed_in(count: int) -> Database:
    """A user with that many sign-ins, of which the oldest has the lowest number; each a millisecond apart."""
    records = ada()
    for number in range(count):
        run(sign_in("user_a", f"ses_{number:03}"), records, now=NOW + number)
    return records


def test_a_hundred_are_live_and_one_more_ends_the_oldest() -> None:
    records = signed_in(LIVE_MAX)
    assert (LIVE_MAX, len(live(records, NOW + 200))) == (100, 100)
    applied = run(sign_in("user_a", "ses_new"), records, now=NOW + 200)
    assert {key.id for key in applied.writes if key.kind == "sign_in"} == {"ses_000", "ses_new"}
    ended = found(records, "ses_000")
    assert (ended.status, ended.ended_at, ended.version) == ("revoked", NOW + 200, 2)
    assert live(records, NOW + 200) == [*(f"ses_{number:03}" for number in range(1, 100)), "ses_new"]


def test_what_has_ended_does_not_count_among_the_hundred() -> None:
    records = signed_in(LIVE_MAX)
    run(revoke("ses_050"), records, now=NOW + 200)
    applied = run(sign_in("user_a", "ses_new"), records, now=NOW + 201)
    assert {key.id for key in applied.writes if key.kind == "sign_in"} == {"ses_new"}
    applied = run(sign_in("user_a", "ses_newer"), records, now=NOW + DAY_MS + 300)
    assert {key.id for key in applied.writes if key.kind == "sign_in"} == {"ses_newer"}


def test_the_sign_ins_of_others_do_not_count() -> None:
    records = signed_in(LIVE_MAX)
    made(records, {}, user_id="user_b")
    run(sign_in("user_b", "ses_b"), records)
    assert len(live(records)) == LIVE_MAX + 1


def test_one_sign_in_is_ended() -> None:
    records = signed_in(2)
    applied = run(revoke("ses_000"), records, now=NOW + 7)
    assert applied.record == found(records, "ses_000")
    assert (found(records, "ses_000").status, found(records, "ses_000").ended_at) == ("revoked", NOW + 7)
    assert live(records) == ["ses_001"]


@pytest.mark.parametrize("now", [NOW + 8, NOW + 2 * DAY_MS])
def test_ending_it_again_changes_nothing(now: int) -> None:
    records = signed_in(1)
    run(revoke("ses_000"), records, now=NOW + 7)
    applied = run(revoke("ses_000"), records, now=now)
    assert (applied.writes, applied.record) == ({}, found(records, "ses_000"))
    assert found(records, "ses_000").ended_at == NOW + 7


def test_ending_one_whose_time_is_over_changes_nothing() -> None:
    records = signed_in(1)
    applied = run(revoke("ses_000"), records, now=NOW + DAY_MS)
    assert (applied.writes, applied.record) == ({}, found(records, "ses_000"))
    assert found(records, "ses_000").status == "active"


def test_a_sign_in_that_is_unknown_or_of_another_project_cannot_be_ended() -> None:
    records = signed_in(1)
    for command in (revoke("ses_z"), revoke("ses_000", "prj_2")):
        refused = refusal(command, records)
        assert (refused.code, refused.data) == ("session_not_found", {"session_id": command.session_id})


def test_whoever_ends_a_sign_in_has_read_its_user() -> None:
    view = look(revoke("ses_000"), signed_in(1)).view
    assert Key("user", PROJECT, "user_a") in view


def test_all_sign_ins_of_a_user_are_ended_and_nobody_elses() -> None:
    records = signed_in(3)
    made(records, {}, user_id="user_b")
    run(sign_in("user_b", "ses_b"), records)
    run(revoke("ses_001"), records, now=NOW + 5)
    applied = run(revoke_all(), records, now=NOW + 9)
    assert {key.id for key in applied.writes if key.kind == "sign_in"} == {"ses_000", "ses_002"}
    assert applied.user == stored(records, "user_a")
    assert [found(records, f"ses_00{number}").ended_at for number in range(3)] == [NOW + 9, NOW + 5, NOW + 9]
    assert live(records) == ["ses_b"]
    assert run(revoke_all(), records, now=NOW + 10).writes == {}


@pytest.mark.parametrize("command", [revoke_all("user_z"), revoke_all("user_a", "prj_2")])
def test_sign_ins_of_a_user_that_is_not_there_cannot_be_ended(command: RevokeSignIns) -> None:
    assert refusal(command, signed_in(1)).code == "user_not_found"


def test_disabling_ends_all_sign_ins_in_the_same_change() -> None:
    records = signed_in(2)
    applied = run(update("user_a", {"disabled": True, "name": "Grace"}), records, now=NOW + 9)
    kinds = sorted(key.kind for key in applied.writes)
    assert kinds == ["change", "sign_in", "sign_in", "user"]
    assert live(records) == []
    run(update("user_a", {"disabled": False}), records)
    assert live(records) == []


@pytest.mark.parametrize("document", [{"locked": True}, {"name": "Grace"}, {"disabled": False}])
def test_nothing_else_ends_them(document: dict[str, Any]) -> None:
    records = signed_in(2)
    run(update("user_a", document), records)
    assert len(live(records)) == 2


def test_a_user_that_is_disabled_already_is_not_looked_through_again() -> None:
    records = after(create({"disabled": True}, user_id="user_a"))
    view = look(update("user_a", {"disabled": True, "name": "Grace"}), records).view
    assert not any(key.kind == "sign_ins" for key in view)


def test_deleting_a_user_removes_its_sign_ins() -> None:
    records = signed_in(2)
    made(records, {}, user_id="user_b")
    run(sign_in("user_b", "ses_b"), records)
    run(delete("user_a"), records)
    assert [r.id for r in records.values() if isinstance(r, SignIn)] == ["ses_b"]
    assert refusal(revoke("ses_000"), records).code == "session_not_found"


STILL_SIGNED_IN = [
    ({}, {}, 0, True),
    ({}, {}, 9, True),
    ({}, {}, 10, False),  # it has expired
    ({"status": "revoked"}, {}, 0, False),
    ({}, {"disabled": True}, 0, False),
    ({}, {"locked": True}, 0, True),
    ({}, {"id": "user_b"}, 0, False),
    ({}, None, 0, False),
]


@pytest.mark.parametrize(("sign_in_says", "user_says", "later", "expected"), STILL_SIGNED_IN)
def test_a_token_is_good_while_its_sign_in_and_its_user_are(
    sign_in_says: dict[str, Any], user_says: dict[str, Any] | None, later: int, expected: bool
) -> None:
    fields: dict[str, Any] = {"id": "ses_1", "user_id": "user_a", "token_digest": "ab", "created_at": NOW}
    begun = SignIn(**fields | {"expires_at": NOW + 10} | sign_in_says)
    user = None if user_says is None else User(**{"id": "user_a"} | user_says)
    assert is_signed_in(begun, user, NOW + later) is expected
