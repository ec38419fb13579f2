"""What a browser's evidence comes to: claims that were signed, tokens of sign-ins, and what proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    DAY_MS,
    NOW,
    PROJECT,
    VERIFIED,
    Database,
    after,
    changes_of,
    create,
    delete,
    refusal,
    run,
    session,
    sign_in,
    stored,
    update,
    upsert,
    user_of,
)
from userfold.core.commands import BrokenToken, Evidence, RevokeSignIn, SignedClaims, SignInToken
from userfold.core.errors import IdentityInvalid
from userfold.core.identity import SKEW_MS, judge_claims
from userfold.core.records import EffectiveSettings, Key, Session
from userfold.core.trust import Ignored

OPEN = EffectiveSettings()
ASKS = EffectiveSettings(browser_identity="verified")
NOW_S = NOW // 1000
LIVE = {"sub": "a", "exp": NOW_S + 60}


def claims(**changed: Any) -> SignedClaims:
    """The claims of a token that is good for the user `a`, but for what is `changed`."""
    return SignedClaims(LIVE | changed)


# What a token says.

GOOD: list[dict[str, Any]] = [
    LIVE,
    LIVE | {"exp": NOW_S + 1},
    LIVE | {"exp": NOW / 1000 + 0.001},
    LIVE | {"exp": 10**30},
    LIVE | {"exp": 10**400},
    LIVE | {"nbf": NOW_S},
    LIVE | {"nbf": (NOW + SKEW_MS) / 1000},
    LIVE | {"aud": "userfold"},
    LIVE | {"aud": ["shop", "userfold"]},
    LIVE | {"iss": "shop", "iat": NOW_S + 5, "jti": "1", "email": "eve@example.com"},
    LIVE | {"public_metadata": {}},
]

NO_GOOD: list[tuple[dict[str, Any], str]] = [
    ({}, "its sub is not the user whom the request names"),
    ({"exp": NOW_S + 60}, "its sub is not the user whom the request names"),
    (LIVE | {"sub": "b"}, "its sub is not the user whom the request names"),
    (LIVE | {"sub": "A"}, "its sub is not the user whom the request names"),
    (LIVE | {"sub": None}, "its sub is not the user whom the request names"),
    (LIVE | {"sub": ["a"]}, "its sub is not the user whom the request names"),
    ({"sub": "a"}, "it has no exp"),
    (LIVE | {"exp": NOW_S}, "it has expired"),
    (LIVE | {"exp": NOW_S - 1}, "it has expired"),
    (LIVE | {"exp": 0}, "it has expired"),
    (LIVE | {"exp": -(10**30)}, "it has expired"),
    (LIVE | {"exp": None}, "its exp is no number of seconds"),
    (LIVE | {"exp": str(NOW_S + 60)}, "its exp is no number of seconds"),
    (LIVE | {"exp": float("nan")}, "its exp is no number of seconds"),
    (LIVE | {"exp": True}, "its exp is no number of seconds"),
    (LIVE | {"exp": [NOW_S + 60]}, "its exp is no number of seconds"),
    (LIVE | {"nbf": (NOW + SKEW_MS) / 1000 + 1}, "it is not good yet"),
    (LIVE | {"nbf": "now"}, "its nbf is no number of seconds"),
    (LIVE | {"aud": "shop"}, "it is for somebody else: its aud is not userfold"),
    (LIVE | {"aud": ["shop", "userfolds"]}, "it is for somebody else: its aud is not userfold"),
    (LIVE | {"aud": "xuserfoldx"}, "it is for somebody else: its aud is not userfold"),
    (LIVE | {"aud": []}, "it is for somebody else: its aud is not userfold"),
    (LIVE | {"aud": None}, "it is for somebody else: its aud is not userfold"),
    (LIVE | {"public_metadata": []}, "its public_metadata is no object"),
    (LIVE | {"public_metadata": None}, "its public_metadata is no object"),
]


@pytest.mark.parametrize("given", GOOD, ids=repr)
def test_claims_that_are_good(given: dict[str, Any]) -> None:
    assert judge_claims(given, "a", NOW) == {}


@pytest.mark.parametrize(("given", "reason"), NO_GOOD, ids=repr)
def test_claims_that_are_no_good(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(IdentityInvalid) as refused:
        judge_claims(given, "a", NOW)
    assert refused.value.data == {"path": "/identity_token", "reason": reason}


def test_the_attributes_are_those_of_the_token() -> None:
    assert judge_claims(LIVE | {"public_metadata": {"plan": "pro", "gone": None}}, "a", NOW) == {
        "plan": "pro",
        "gone": None,
    }


# Who must prove what.

UNPROVEN: list[tuple[Evidence | None, str]] = [
    (None, "identity_missing"),
    (BrokenToken("no key of this project has signed it"), "identity_invalid"),
    (claims(sub="b"), "identity_invalid"),
    (claims(exp=NOW_S), "identity_invalid"),
    (SignInToken("ses_none", "digest of ses_none"), "identity_invalid"),
]


@pytest.mark.parametrize(("evidence", "code"), UNPROVEN, ids=repr)
@pytest.mark.parametrize("known", [False, True])
def test_a_project_that_asks_for_proof_refuses_what_proves_nothing(
    evidence: Evidence | None, code: str, known: bool
) -> None:
    records = after(create({"external_id": "a"})) if known else {}
    refused = refusal(upsert("a", {"traits": {"plan": "pro"}}, BROWSER, evidence=evidence), records, settings=ASKS)
    assert (refused.code, refused.path) == (code, "/identity_token")


@pytest.mark.parametrize(("evidence", "code"), UNPROVEN, ids=repr)
def test_a_project_that_is_open_takes_such_a_browser_at_its_word_and_says_what_it_passed_over(
    evidence: Evidence | None, code: str
) -> None:
    records: Database = {}
    applied = run(upsert("a", {"traits": {"plan": "pro"}}, BROWSER, evidence=evidence), records, settings=OPEN)
    user = user_of(applied)
    assert (user.traits, changes_of(records, user.id)[0].trust) == ({"plan": "pro"}, "browser")
    assert applied.ignored == (() if evidence is None else (Ignored("/identity_token", code),))


@pytest.mark.parametrize("settings", [OPEN, ASKS], ids=["open", "verified"])
def test_a_good_token_makes_a_verified_browser(settings: EffectiveSettings) -> None:
    records = after(create({"external_id": "a", "first_name": "Ada"}))
    said = {"first_name": "Augusta", "unsafe_metadata": {"theme": "dark"}, "traits": {"plan": "pro"}}
    applied = run(upsert("a", said, BROWSER, evidence=claims()), records, settings=settings)
    user = user_of(applied)
    assert (user.first_name, user.unsafe_metadata, user.traits) == ("Augusta", {"theme": "dark"}, {"plan": "pro"})
    assert changes_of(records, user.id)[-1].trust == "verified"
    assert applied.ignored == ()


def test_a_good_token_may_make_its_user() -> None:
    records: Database = {}
    user = user_of(run(upsert("a", {"name": "Ada"}, BROWSER, evidence=claims()), records, settings=ASKS))
    assert (user.external_id, user.name) == ("a", "Ada")


def test_evidence_changes_nothing_for_a_backend() -> None:
    records: Database = {}
    applied = run(upsert("a", {}, BACKEND, evidence=claims(sub="b")), records, settings=ASKS)
    assert changes_of(records, user_of(applied).id)[0].trust == "backend"


def test_a_good_token_does_not_open_what_a_deletion_closed_or_a_disabled_user() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"))
    run(update("user_a", {"disabled": True}), records)
    assert refusal(upsert("a", {}, BROWSER, evidence=claims()), records, settings=ASKS).code == "user_disabled"
    run(delete("user_a"), records)
    assert refusal(upsert("a", {}, BROWSER, evidence=claims()), records, settings=ASKS).code == "user_deleted"


# What the backend signed.


def test_signed_attributes_join_public_metadata_by_merge_patch() -> None:
    records = after(create({"external_id": "a", "public_metadata": {"old": 1, "limits": {"seats": 1, "gb": 5}}}))
    signed: dict[str, Any] = {"plan": "pro", "old": None, "limits": {"seats": 3}, "new": {"deep": {"er": []}}}
    applied = run(upsert("a", {}, BROWSER, evidence=claims(public_metadata=signed)), records, settings=ASKS)
    assert user_of(applied).public_metadata == {
        "limits": {"seats": 3, "gb": 5},
        "plan": "pro",
        "new": {"deep": {"er": []}},
    }
    assert applied.ignored == ()
    again = run(upsert("a", {}, BROWSER, evidence=claims(public_metadata=signed)), records, settings=ASKS)
    assert again.change is None


# What a browser says beside `{"limits": {"seats": 3}}` that is signed, and whether public_metadata is then written.
BESIDE: list[tuple[dict[str, Any], bool]] = [
    ({"limits": {"seats": 9}}, True),
    ({"limits": {"seats": {"more": 9}}}, True),
    ({"limits": 7}, True),
    ({"limits": {"gb": 9}}, False),
    ({"limits": {"gb": {}}}, False),
    ({"plan": "pro"}, False),
    ({"limit": {"seats": 9}}, False),
]


@pytest.mark.parametrize(("said", "written"), BESIDE, ids=repr)
@pytest.mark.parametrize("before", [{}, {"limits": {"seats": 1}}], ids=repr)
def test_a_browser_adds_nothing_to_what_was_signed(before: dict[str, Any], said: dict[str, Any], written: bool) -> None:
    records = after(create({"external_id": "a", "public_metadata": before}))
    evidence = claims(public_metadata={"limits": {"seats": 3}})
    applied = run(upsert("a", {"public_metadata": said}, BROWSER, evidence=evidence), records, settings=ASKS)
    assert user_of(applied).public_metadata == ({"limits": {"seats": 3}} if written else before)
    assert applied.ignored == (() if written else (Ignored("/public_metadata", "not_signed"),))


def test_signed_attributes_hold_in_the_session_of_another_user_and_its_word_does_not() -> None:
    records = after(create({"external_id": "b"}, user_id="user_b"), create({"external_id": "a"}))
    opened = session(records, user_id="user_b")
    evidence = claims(public_metadata={"plan": "pro"})
    command = upsert("a", {"name": "Eve", "traits": {"x": 1}}, BROWSER, evidence=evidence, session_id=opened)
    applied = run(command, records, settings=ASKS)
    user = user_of(applied)
    assert (user.public_metadata, user.traits, user.name) == ({"plan": "pro"}, {"x": 1}, None)
    assert applied.ignored == (Ignored("/name", "session_of_another_user"),)
    linked = records[Key("session", PROJECT, opened)]
    assert isinstance(linked, Session)
    assert linked.user_id == "user_b"


# The token of a sign-in.


def shown(session_id: str = "ses_1", digest: str | None = None) -> SignInToken:
    return SignInToken(session_id, digest or f"digest of {session_id}")


@pytest.mark.parametrize("name", ["a", "user_a"])
def test_the_token_of_a_sign_in_proves_whose_it_is(name: str) -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), sign_in("user_a"))
    applied = run(upsert(name, {"unsafe_metadata": {"x": 1}}, BROWSER, evidence=shown()), records, settings=ASKS)
    assert user_of(applied).unsafe_metadata == {"x": 1}
    assert changes_of(records, "user_a")[-1].trust == "verified"


def test_the_token_of_a_sign_in_signs_nothing() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), sign_in("user_a"))
    command = upsert("a", {"public_metadata": {"plan": "pro"}}, BROWSER, evidence=shown())
    applied = run(command, records, settings=ASKS)
    assert (user_of(applied).public_metadata, applied.ignored) == ({}, (Ignored("/public_metadata", "not_signed"),))


IN_VAIN = [
    ("another user's", "b", shown(), NOW),
    ("nobody's yet", "c", shown(), NOW),
    ("another token", "a", shown(digest="digest of ses_2"), NOW),
    ("another session", "a", shown("ses_2"), NOW),
    ("expired", "a", shown(), NOW + DAY_MS),
]


@pytest.mark.parametrize(("name", "token", "now"), [row[1:] for row in IN_VAIN], ids=[row[0] for row in IN_VAIN])
def test_the_token_of_a_sign_in_proves_nothing_else(name: str, token: SignInToken, now: int) -> None:
    records = after(
        create({"external_id": "a"}, user_id="user_a"),
        create({"external_id": "b"}, user_id="user_b"),
        sign_in("user_a"),
    )
    refused = refusal(upsert(name, {}, BROWSER, evidence=token), records, now=now, settings=ASKS)
    assert refused.code == "identity_invalid"


def test_the_token_of_a_sign_in_that_was_revoked_proves_nothing() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), sign_in("user_a"))
    run(RevokeSignIn(project_id=PROJECT, author=BACKEND, session_id="ses_1"), records)
    assert refusal(upsert("a", {}, BROWSER, evidence=shown()), records, settings=ASKS).code == "identity_invalid"


# Other ways to name a user.


def test_a_browser_that_proved_nothing_neither_takes_a_name_nor_writes_to_one_who_has_one() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), create({}, BROWSER, user_id="user_b"))
    for command in (
        create({"external_id": "c"}, BROWSER),
        update("user_a", {"traits": {"x": 1}}, BROWSER),
        update("user_b", {"external_id": "c"}, BROWSER),
    ):
        assert refusal(command, records, settings=ASKS).code == "identity_missing"
        run(command, dict(records), settings=OPEN)


def test_a_browser_writes_to_a_profile_that_has_no_name_and_a_verified_one_to_its_own() -> None:
    records = after(create({}, BROWSER, user_id="user_b"), create({"external_id": "a"}, user_id="user_a"))
    run(update("user_b", {"traits": {"x": 1}}, BROWSER), records, settings=ASKS)
    run(update("user_a", {"traits": {"x": 2}}, VERIFIED), records, settings=ASKS)
    assert (stored(records, "user_b").traits, stored(records, "user_a").traits) == ({"x": 1}, {"x": 2})
