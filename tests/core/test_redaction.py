"""Addresses: what is taken out of them before they are kept."""

from __future__ import annotations

import pytest

from tests.conftest import in_order
from userfold.core.redaction import is_address, redacted, redacted_in

R = "--redacted--"
ADDRESSES: list[tuple[str, str]] = [
    ("https://a.example/x", "https://a.example/x"),
    ("https://a.example/x?utm_source=x&api_key=S&q=1#frag", f"https://a.example/x?utm_source=x&api_key={R}&q=1"),
    ("https://a.example/?jwt=S&code=S&JWT=S&Code=S", f"https://a.example/?jwt={R}&code={R}&JWT={R}&Code={R}"),
    ("https://a.example/?jwts=1&decode=1&zip_code=1", "https://a.example/?jwts=1&decode=1&zip_code=1"),
    *(
        (f"https://a.example/?my{name}s=S&z=1", f"https://a.example/?my{name}s={R}&z=1")
        for name in ("Token", "password", "SECRET", "key", "auth", "nonce", "csrf")
    ),
    ("https://a.example/?%74oken=S&to%6Ben=S", f"https://a.example/?%74oken={R}&to%6Ben={R}"),
    ("https://a.example/?token=a=b", f"https://a.example/?token={R}"),
    ("https://a.example/?token=", f"https://a.example/?token={R}"),
    ("https://a.example/?token", "https://a.example/?token"),
    ("https://ada:S@a.example:8443/x", "https://a.example:8443/x"),
    ("https://ada:S@S@a.example/x@y", "https://a.example/x@y"),
    ("https://a.example/x#access_token=S", "https://a.example/x"),
    ("/x?token=S", f"/x?token={R}"),
    ("https://[broken/?key=S", f"https://[broken/?key={R}"),
    ("", ""),
]


@pytest.mark.parametrize(("address", "kept"), ADDRESSES, ids=in_order)
def test_secrets_users_and_fragments_are_taken_out(address: str, kept: str) -> None:
    assert redacted(address) == kept
    assert redacted(kept) == kept


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("https://a", True),
        ("HTTP://a", True),
        (" wss:a", True),
        ("mailto:a@b", False),
        ("a https://b", False),
        ("", False),
    ],
    ids=in_order,
)
def test_what_begins_as_the_address_of_a_page_is_one(text: str, is_one: bool) -> None:
    assert is_address(text) == is_one


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("?token=S is no address", "?token=S is no address"),
        (" https://a/?q=a b&token=S", f" https://a/?q=a b&token={R}"),
        ("from https://u:S@a/?key=S#S to HTTP://b/?code=S.", f"from https://a/?key={R} to HTTP://b/?code={R}"),
        ('<a href="https://a/?key=S">b</a>', f'<a href="https://a/?key={R}">b</a>'),
    ],
    ids=in_order,
)
def test_addresses_in_a_text_lose_their_secrets(text: str, kept: str) -> None:
    assert redacted_in(text) == kept
    assert redacted_in(kept) == kept
