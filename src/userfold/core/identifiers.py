"""The normal form of everything that names a user, so that one user cannot hold two spellings of one name.

Each function returns the normal form or raises `ValueError` with the reason, for `FieldFormatInvalid` to carry.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

import idna
import phonenumbers

LENGTH_MAX = 255
# What is longer before it is normal is too long after it. Normalising takes time by the square of the length.
GIVEN_LENGTH_MAX = 4 * LENGTH_MAX

_LOCAL_PART = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
# The library behind `phone` would pick a number out of any text.
_PHONE_CHARACTERS = re.compile(r"\s*[+＋][\d\s().\-/]{3,40}")
_BLANKS_OR_CONTROLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def email(text: str) -> str:
    """Lower case, NFC, the domain as an A-label (RFC 5890): `Zoë@Bücher.example` → `zoë@xn--bcher-kva.example`."""
    lower = unicodedata.normalize("NFC", _normalisable(text.strip())).lower()
    local, at, domain = unicodedata.normalize("NFC", lower).rpartition("@")  # lower case may have to be composed again
    if not at or not _LOCAL_PART.fullmatch(local):
        raise ValueError("an email address is needed, such as ada@example.com")
    return bounded(f"{local}@{_a_label(domain)}")


def is_email(text: str) -> bool:
    """Whether `text` is an email address."""
    try:
        email(text)
    except ValueError:
        return False
    return True


def phone(text: str) -> str:
    """E.164 (ITU-T): `+44 20 7946 0958` → `+442079460958`. The country code must be given."""
    if not _PHONE_CHARACTERS.fullmatch(text):
        raise ValueError("a phone number with its country code is needed, such as +442079460958")
    while True:
        try:
            number = phonenumbers.parse(text, None)
        except phonenumbers.NumberParseException:
            raise ValueError("a phone number with its country code is needed, such as +442079460958") from None
        if not phonenumbers.is_possible_number(number):
            raise ValueError("no phone number of this length exists in that country")
        form = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
        if form == text:
            return form
        text = form  # one reading takes off one national prefix; there may be several


def username(text: str) -> str:
    """NFC and case folded; `Ada` and `ada` are one name. The user keeps the spelling that was given."""
    if not text or _BLANKS_OR_CONTROLS.search(text):
        raise ValueError("a username has at least one character and no blanks or control characters")
    return bounded(unicodedata.normalize("NFC", unicodedata.normalize("NFC", _normalisable(text)).casefold()))


def external_id(text: str) -> str:
    """Exactly as the app gave it."""
    if not text:
        raise ValueError("an external_id has at least one character")
    return bounded(text)


def label(text: str) -> str:
    """A name that people give to a thing."""
    if not text.strip():
        raise ValueError("a name has at least one character that is not blank")
    return bounded(text)


def bounded(text: str) -> str:
    """`text`, if it can be an index key: at most 255 characters, without U+0000, which PostgreSQL cannot hold."""
    if "\0" in text:
        raise ValueError("U+0000 is not allowed here")
    if len(text) > LENGTH_MAX:
        raise ValueError(f"at most {LENGTH_MAX} characters are allowed")
    return text


def digest(project_id: str, identifier: str) -> str:
    """What a tombstone remembers of an identifier: enough to know it again, nothing that could be read back."""
    return hashlib.sha256(f"{project_id}|{identifier}".encode()).hexdigest()


def _normalisable(text: str) -> str:
    if len(text) > GIVEN_LENGTH_MAX:
        raise ValueError(f"at most {LENGTH_MAX} characters are allowed")
    return text


def _a_label(domain: str) -> str:
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError("the domain of the email address is not valid") from None
    if not _HOST_NAME.fullmatch(domain):
        raise ValueError("the domain of the email address is not valid")
    return domain
