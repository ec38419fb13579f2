"""Addresses without what must not be kept: secrets in the query, names before the host, the fragment.

Milana's SDK redacts the addresses of which it knows that they are some, by this list of names, and not those that lie
in a recording. Here all are, whoever sent them.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

REDACTED = "--redacted--"

_NAMES = frozenset({"jwt", "code"})
_IN_NAMES = ("token", "password", "secret", "key", "auth", "nonce", "csrf")
_ADDRESS = re.compile(r"\s*(https?|wss?|ftp):/?/?", re.IGNORECASE)
_IN_TEXT = re.compile(r"\b(https?|wss?|ftp)://[^\s\"'<>]+", re.IGNORECASE)
_USER_INFO = re.compile(r"(\A[^/]*//)[^/]*@")


def is_address(text: str) -> bool:
    """Whether `text` begins as the address of a page does."""
    return _ADDRESS.match(text) is not None


def redacted(address: str) -> str:
    """`address` with the values of suspicious names in its query replaced, and without user and fragment."""
    before, question_mark, query = address.partition("#")[0].partition("?")
    return _USER_INFO.sub(r"\1", before) + question_mark + "&".join(map(_redacted, query.split("&")))


def redacted_in(text: str) -> str:
    """`text` with all addresses of pages in it redacted; one that begins as an address is one to its end."""
    return redacted(text) if is_address(text) else _IN_TEXT.sub(lambda found: redacted(found[0]), text)


def _redacted(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={REDACTED}" if equals and _is_suspicious(unquote_plus(name).lower()) else pair


def _is_suspicious(name: str) -> bool:
    return name in _NAMES or any(part in name for part in _IN_NAMES)
