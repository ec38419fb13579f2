from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import texts
from userfold.core import identifiers

Rows = list[tuple[str, str]]

EMAILS: Rows = [
    ("ada@example.com", "ada@example.com"),
    ("Ada.Lovelace+tag@Example.COM", "ada.lovelace+tag@example.com"),
    ("  ada@example.com\n", "ada@example.com"),
    ("o'neil!#$%&*/=?^`{|}@example.com", "o'neil!#$%&*/=?^`{|}@example.com"),
    ("ada@localhost", "ada@localhost"),
    ("ada@mail_server.example", "ada@mail_server.example"),
    ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
    ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
    ("ada@bücher.example", "ada@xn--bcher-kva.example"),
    ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
    ("ada@bu\u0308cher.example", "ada@xn--bcher-kva.example"),
    ("ada@faß.example", "ada@xn--fa-hia.example"),
    ("ada@例え.jp", "ada@xn--r8jz45g.jp"),
    ("ada@例え。jp", "ada@xn--r8jz45g.jp"),
    ("ada@ｅｘａｍｐｌｅ.com", "ada@example.com"),
    ("zoë@example.com", "zoë@example.com"),
    ("H\u0331@example.com", "\u1e96@example.com"),
    ("ZOE\u0308@example.com", "zoë@example.com"),
    ("\u212a@example.com", "k@example.com"),
    ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
    ("x@" + "d" * 63 + ".com", "x@" + "d" * 63 + ".com"),
    ("x@" + ".".join(["d" * 60] * 4) + ".example", "x@" + ".".join(["d" * 60] * 4) + ".example"),
]

EMAILS_REFUSED: list[str] = [
    "",
    "ada",
    "@",
    "@example.com",
    "ada@",
    "ada@ example.com",
    "ada lovelace@example.com",
    "ada\u00a0lovelace@example.com",
    "ada@@example.com",
    "ada@home@example.com",
    '"ada@home"@example.com',
    "ada\0@example.com",
    "ada\x1f@example.com",
    "ada\x7f@example.com",
    "ada@example\0.com",
    "ada@.example.com",
    "ada@example..com",
    "ada@example.com.",
    "ada@bücher.example.",
    "ada@-example.com",
    "ada@example-.com",
    "ada@exa mple.com",
    "ada@exa/mple.com",
    "ada@[192.0.2.1]",
    "ada@☃.example",
    "ada@ü..example",
    "ada@\u0308.example",
    "x" * 65 + "@example.com",
    "x@" + "d" * 64 + ".com",
    "x@" + ".".join(["d" * 63] * 4),
]

PHONES: Rows = [
    ("+442079460958", "+442079460958"),
    ("+44 20 7946 0958", "+442079460958"),
    ("  +44 (0)20-7946.0958 ", "+442079460958"),
    ("＋４４２０７９４６０９５８", "+442079460958"),
    ("+٤٤٢٠٧٩٤٦٠٩٥٨", "+442079460958"),
    ("+1 (202) 555-0143", "+12025550143"),
    ("+39 06 1234 5678", "+390612345678"),
    ("+48 22 123 45 67", "+48221234567"),
    ("+800 1234 5678", "+80012345678"),
    ("+44 00 2079 46095", "+44207946095"),
]

PHONES_REFUSED: list[str] = [
    "",
    "+",
    "ada",
    "20 7946 0958",
    "020 7946 0958",
    "0044 20 7946 0958",
    "+999 123 456 789",
    "+0 123 456 789",
    "+44 20",
    "+44 20 7946 0958 0958",
    "+1 202 555 0143 7",
    "9" * 300,
]

USERNAMES: Rows = [
    ("ada", "ada"),
    ("Ada", "ada"),
    ("ADA_1815.", "ada_1815."),
    ("straße", "strasse"),
    ("STRASSE", "strasse"),
    ("ﬁx", "fix"),
    ("Σίσυφος", "σίσυφοσ"),
    ("é", "é"),
    ("e\u0301", "é"),
    ("E\u0301", "é"),
    ("H\u0331", "\u1e96"),
    ("\u1e96", "\u1e96"),
    ("İ", "i\u0307"),
    ("\u212b", "å"),
    ("α\u0345\u0301", "άι"),
    ("李", "李"),
    ("x" * 255, "x" * 255),
]

USERNAMES_REFUSED: list[str] = [
    "",
    " ",
    "ada lovelace",
    " ada",
    "ada\n",
    "a\tb",
    "a\u00a0b",
    "a\u2003b",
    "a\u3000b",
    "a\0b",
    "a\x1fb",
    "a\x7fb",
    "x" * 256,
    "ß" * 128,
]

EXTERNAL_IDS: Rows = [
    (text, text) for text in ("1", "u-1", " U 1 ", "e\u0301", "é", "a/b|c", "\n", "x" * 255, "😀" * 255)
]
EXTERNAL_IDS_REFUSED: list[str] = ["", "\0", "a\0b", "x" * 256]

BOUNDED: Rows = [(text, text) for text in ("", " a ", "e\u0301", "x" * 255, "😀" * 255)]
BOUNDED_REFUSED: list[str] = ["\0", "a\0", "x" * 256]

KINDS: list[tuple[Callable[[str], str], Rows, list[str]]] = [
    (identifiers.email, EMAILS, EMAILS_REFUSED),
    (identifiers.phone, PHONES, PHONES_REFUSED),
    (identifiers.username, USERNAMES, USERNAMES_REFUSED),
    (identifiers.external_id, EXTERNAL_IDS, EXTERNAL_IDS_REFUSED),
    (identifiers.bounded, BOUNDED, BOUNDED_REFUSED),
]
NORMAL = [(normalise, text, form) for normalise, rows, _ in KINDS for text, form in rows]
REFUSED = [(normalise, text) for normalise, _, rows in KINDS for text in rows]


def named(value: Any) -> str:
    return str(value.__name__) if callable(value) else ascii(value)[:40]


@pytest.mark.parametrize(("normalise", "text", "form"), NORMAL, ids=named)
def test_a_value_has_this_normal_form(normalise: Callable[[str], str], text: str, form: str) -> None:
    assert normalise(text) == form


@pytest.mark.parametrize(("normalise", "text", "form"), NORMAL, ids=named)
def test_a_normal_form_is_its_own_normal_form(normalise: Callable[[str], str], text: str, form: str) -> None:
    assert normalise(form) == form


@pytest.mark.parametrize(("normalise", "text"), REFUSED, ids=named)
def test_a_value_that_names_nobody_is_refused_with_a_reason(normalise: Callable[[str], str], text: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-zA-Z].{10,}") as refused:
        normalise(text)
    assert type(refused.value) is ValueError


REASONS: list[tuple[Callable[[str], str], str, str]] = [
    (identifiers.email, "ada", "an email address is needed, such as ada@example.com"),
    (identifiers.email, "ada@home@example.com", "an email address is needed, such as ada@example.com"),
    (identifiers.email, "ada@-", "the domain of the email address is not valid"),
    (identifiers.email, "ada@☃.net", "the domain of the email address is not valid"),
    (identifiers.email, "x@" + ".".join(["d" * 63] * 4), "at most 255 characters are allowed"),
    (identifiers.phone, "1", "a phone number with its country code is needed, such as +442079460958"),
    (identifiers.phone, "+44 20", "no phone number of this length exists in that country"),
    (identifiers.username, "", "a username has at least one character and no blanks or control characters"),
    (identifiers.external_id, "", "an external_id has at least one character"),
    (identifiers.bounded, "\0", "U+0000 is not allowed here"),
    (identifiers.bounded, "x" * 256, "at most 255 characters are allowed"),
]


@pytest.mark.parametrize(("normalise", "text", "reason"), REASONS, ids=named)
def test_the_reason_says_what_is_wrong(normalise: Callable[[str], str], text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        normalise(text)
    assert str(refused.value) == reason


# Normalised, either would hold up the process for a quarter of an hour.
MARKS = "a" + "\u0315\u0300" * 250_000


@pytest.mark.parametrize("text", [MARKS, MARKS + "@example.com", "ada@" + MARKS, "x" * 2_000 + "@example.com"], ids=len)
@pytest.mark.parametrize("normalise", [identifiers.username, identifiers.email], ids=named)
def test_what_is_far_too_long_is_refused_before_it_is_normalised(normalise: Callable[[str], str], text: str) -> None:
    with pytest.raises(ValueError, match="at most 255 characters are allowed"):
        normalise(text)


def normal_or_none(normalise: Callable[[str], str], text: str) -> str | None:
    try:
        return normalise(text)
    except ValueError:
        return None


def test_a_username_has_no_control_characters_beyond_ascii_either() -> None:
    with pytest.raises(ValueError, match="control"):
        identifiers.username("a\x80b")


addresses = st.builds("{}@{}".format, texts, texts | st.text("abüßÉ.-xn_", max_size=8))
numbers = st.builds(
    "+{}{}".format, st.sampled_from([1, 44, 49, 39, 7, 86, 380]), st.text("0123456789 -()", max_size=14)
)


@given(texts)
def test_a_username_is_normal_after_one_round(text: str) -> None:
    form = normal_or_none(identifiers.username, text)
    assert form is None or identifiers.username(form) == form


@given(texts)
def test_the_spelling_in_unicode_does_not_make_another_username(text: str) -> None:
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert normal_or_none(identifiers.username, composed) == normal_or_none(identifiers.username, decomposed)


@given(addresses)
@example("H\u0331@example.com")
def test_an_email_address_is_normal_after_one_round(text: str) -> None:
    form = normal_or_none(identifiers.email, text)
    assert form is None or identifiers.email(form) == form


@given(addresses)
def test_the_spelling_in_unicode_does_not_make_another_email_address(text: str) -> None:
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert normal_or_none(identifiers.email, composed) == normal_or_none(identifiers.email, decomposed)


@given(numbers)
@example("+4400207946095")
def test_a_phone_number_is_normal_after_one_round(text: str) -> None:
    form = normal_or_none(identifiers.phone, text)
    assert form is None or identifiers.phone(form) == form


def test_a_digest_tells_projects_and_identifiers_apart_and_shows_neither() -> None:
    digest = identifiers.digest("prj_1", "external_id|ada")
    assert digest == identifiers.digest("prj_1", "external_id|ada")
    assert digest != identifiers.digest("prj_2", "external_id|ada")
    assert digest != identifiers.digest("prj_1", "external_id|bob")
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")


@pytest.mark.parametrize("text", ["hello +442079460958", "+1 800 FLOWERS", "+442079460958\0", "call +44 20 7946 0958"])
def test_a_phone_number_is_not_picked_out_of_other_text(text: str) -> None:
    assert normal_or_none(identifiers.phone, text) is None
