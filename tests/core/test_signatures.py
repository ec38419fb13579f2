"""Signatures of webhooks: Svix's own example, and all that is not a signature."""

from __future__ import annotations

import base64

import pytest

from userfold.core.signatures import TOLERANCE_MS, is_recent, is_signed, signature, signing_key

# The example of Svix's documentation of manual verification.
SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
ID, AT = "msg_loFOjxBNrRLzqYUf", "1731705121"
BODY = b'{"event_type":"ping","data":{"success":true}}'
SIGNATURE = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
KEY = signing_key(SECRET)


def test_the_signature_is_the_one_of_svix() -> None:
    assert signature(KEY, ID, AT, BODY) == SIGNATURE
    assert is_signed(KEY, ID, AT, BODY, SIGNATURE)


@pytest.mark.parametrize(
    "given", [f"v1,AAAA {SIGNATURE}", f"{SIGNATURE} v1,AAAA", f"v2,{SIGNATURE[3:]} {SIGNATURE}", f" {SIGNATURE}  "]
)
def test_one_of_several_signatures_is_enough(given: str) -> None:
    assert is_signed(KEY, ID, AT, BODY, given)


@pytest.mark.parametrize(
    "given",
    ["", " ", "v1,", SIGNATURE[3:], "v2," + SIGNATURE[3:], SIGNATURE[:-1], SIGNATURE + "=", SIGNATURE.lower(), "v1,ÿ"],
)
def test_what_is_not_the_signature_is_none(given: str) -> None:
    assert not is_signed(KEY, ID, AT, BODY, given)


def test_id_time_body_and_key_are_all_signed() -> None:
    assert not is_signed(KEY, ID + "x", AT, BODY, SIGNATURE)
    assert not is_signed(KEY, ID, "1731705122", BODY, SIGNATURE)
    assert not is_signed(KEY, ID, AT, BODY + b" ", SIGNATURE)
    assert not is_signed(KEY + b"x", ID, AT, BODY, SIGNATURE)


def test_a_secret_is_a_prefix_and_base64() -> None:
    assert signing_key("whsec_" + base64.b64encode(b"key").decode()) == b"key"
    for secret in ("", "whsec_", "whsec_!", "whsec_a", "sk_" + SECRET[6:], SECRET[6:], "whsec_plJ3 nmyC"):
        with pytest.raises(ValueError, match="whsec_") as error:
            signing_key(secret)
        assert len(secret) < 10 or secret[6:] not in str(error.value)


@pytest.mark.parametrize(
    ("timestamp", "now", "recent"),
    [
        ("1000", 1_000_000, True),
        ("1000", 1_000_000 + TOLERANCE_MS, True),
        ("1000", 1_000_001 + TOLERANCE_MS, False),
        ("1000", 1_000_000 - TOLERANCE_MS, True),
        ("1000", 999_999 - TOLERANCE_MS, False),
        ("", 0, False),
        ("-1", 0, False),
        ("1.5", 1_000, False),
        ("1e3", 1_000_000, False),
        ("٣", 3_000, False),
        ("9" * 5_000, 0, False),
    ],
)
def test_a_time_counts_for_five_minutes_in_both_directions(timestamp: str, now: int, recent: bool) -> None:
    assert is_recent(timestamp, now) is recent
