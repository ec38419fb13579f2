"""Whose address a request comes from: a table of chains, honest and spoofed, and what the application does with it."""

from __future__ import annotations

from ipaddress import ip_network

import httpx
import msgspec
import pytest

from tests.api.browser import Browser, in_browser
from tests.server import InProcess
from userfold.app import App
from userfold.forwarded import HOPS_MAX, client_address, is_local

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("2001:db8:ff::/48"))
LONG = b",".join([b"10.0.0.9"] * 10_000)

# (the peer, the lines of X-Forwarded-For, the client)
CHAINS: list[tuple[str | None, list[bytes], str]] = [
    # Nobody stands in between, or nobody who is trusted.
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", [b"203.0.113.7"], "192.0.2.1"),
    ("192.0.2.1", [b"10.0.0.1"], "192.0.2.1"),
    ("11.0.0.1", [b"203.0.113.7"], "11.0.0.1"),
    # A trusted proxy says who called it.
    ("10.0.0.1", [b"203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.7, 10.0.0.2"], "203.0.113.7"),
    ("10.0.0.1", [b"203.0.113.7,10.0.0.3,127.0.0.1"], "203.0.113.7"),
    ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("127.0.0.1", [b"2001:db8::7"], "2001:db8::7"),
    ("2001:db8:ff::1", [b"203.0.113.7"], "203.0.113.7"),
    # What stands left of an address that is not trusted is hearsay.
    ("10.0.0.1", [b"198.51.100.9, 203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [b"127.0.0.1, 203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [b"198.51.100.9, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
    ("10.0.0.1", [b"203.0.113.7, 198.51.100.9, 10.0.0.3, 203.0.113.8, 10.0.0.2"], "203.0.113.8"),
    # Several lines are one list.
    ("10.0.0.1", [b"198.51.100.9", b"203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [b"198.51.100.9, 203.0.113.7", b"10.0.0.2", b"10.0.0.3"], "203.0.113.7"),
    # Garbage ends the chain at the last one of whom anything is known.
    ("10.0.0.1", [b""], "10.0.0.1"),
    ("10.0.0.1", [b"unknown"], "10.0.0.1"),
    ("10.0.0.1", [b"_hidden"], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.7, "], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.7,,10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", [b"203.0.113.7, x, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", [b"203.0.113.7", b""], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.256"], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113"], "10.0.0.1"),
    ("10.0.0.1", [b"0x7f000001"], "10.0.0.1"),
    ("10.0.0.1", [b"3405803783"], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.07"], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.7/32"], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.7 10.0.0.1"], "10.0.0.1"),
    ("10.0.0.1", [b"client.example"], "10.0.0.1"),
    ("10.0.0.1", [b"\xff\x00\n"], "10.0.0.1"),
    ("10.0.0.1", [b"for=203.0.113.7"], "10.0.0.1"),
    # Ports and brackets.
    ("10.0.0.1", [b"203.0.113.7:4711"], "203.0.113.7"),
    ("10.0.0.1", [b"203.0.113.7:"], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.7:http"], "10.0.0.1"),
    ("10.0.0.1", [b"203.0.113.7:123456"], "10.0.0.1"),
    ("10.0.0.1", [b"[2001:db8::7]"], "2001:db8::7"),
    ("10.0.0.1", [b"[2001:db8::7]:4711"], "2001:db8::7"),
    ("10.0.0.1", [b"[2001:DB8:0::7]:4711, [2001:db8:ff::1]:80"], "2001:db8::7"),
    ("10.0.0.1", [b"[2001:db8::7"], "10.0.0.1"),
    ("10.0.0.1", [b"[2001:db8::7]x"], "10.0.0.1"),
    ("10.0.0.1", [b"[203.0.113.7]"], "10.0.0.1"),
    ("10.0.0.1", [b"2001:db8::7:99999"], "10.0.0.1"),
    ("10.0.0.1", [b"fe80::1%eth0"], "fe80::1"),
    # A client has one address however a socket shows it.
    ("::ffff:192.0.2.1", [b"203.0.113.7"], "192.0.2.1"),
    ("::ffff:10.0.0.1", [b"203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [b"::ffff:203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [b"203.0.113.7, [::ffff:10.0.0.2]:80"], "203.0.113.7"),
    ("2001:0DB8:0:0::1", [], "2001:db8::1"),
    # Very long ones are read from the right, and not to the end.
    ("10.0.0.1", [LONG, b"203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [b"203.0.113.7," + LONG], "10.0.0.9"),
    ("10.0.0.1", [b",".join([b"203.0.113.7"] + [b"10.0.0.9"] * (HOPS_MAX - 1))], "203.0.113.7"),
    ("10.0.0.1", [b",".join([b"203.0.113.7"] + [b"10.0.0.9"] * HOPS_MAX)], "10.0.0.9"),
    ("10.0.0.1", [b"9" * 1_000_000], "10.0.0.1"),
    # A peer without an address is nobody of whom an operator could have said anything.
    (None, [b"203.0.113.7"], ""),
    ("", [b"203.0.113.7"], ""),
    ("a name", [b"203.0.113.7"], "a name"),
]


@pytest.mark.parametrize(("peer", "lines", "client"), CHAINS, ids=lambda value: repr(value)[:60])
def test_the_client_is_the_first_from_the_right_that_is_no_trusted_proxy(
    peer: str | None, lines: list[bytes], client: str
) -> None:
    assert client_address(peer, lines, TRUSTED) == client


@pytest.mark.parametrize(("peer", "lines", "client"), CHAINS, ids=lambda value: repr(value)[:60])
def test_where_no_proxy_is_trusted_the_peer_is_the_client(peer: str | None, lines: list[bytes], client: str) -> None:
    assert client_address(peer, lines, ()) == client_address(peer, [], ())


@pytest.mark.parametrize("line", [b"203.0.113.7", b"2001:db8::7", b"198.51.100.1, 203.0.113.7"])
def test_who_trusts_everybody_believes_the_first(line: bytes) -> None:
    everybody = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert client_address("192.0.2.1", [line], everybody) == line.partition(b",")[0].decode()


LOCAL: list[tuple[str | None, list[bytes], str | None, bool]] = [
    ("127.0.0.1", [], "127.0.0.1:8787", True),
    ("127.0.0.1", [], "localhost", True),
    ("127.0.0.1", [], "LocalHost:8787", True),
    ("127.8.9.1", [], "127.0.0.1", True),
    ("::1", [], "[::1]:8787", True),
    ("::ffff:127.0.0.1", [], "localhost:1", True),
    ("127.0.0.1", [b"accept", b"x-request-id"], "localhost", True),
    # Another machine.
    ("192.0.2.1", [], "localhost", False),
    ("10.0.0.1", [], "127.0.0.1", False),
    (None, [], "localhost", False),
    # A proxy on this machine, which says so,
    ("127.0.0.1", [b"x-forwarded-for"], "localhost", False),
    ("127.0.0.1", [b"x-forwarded-proto"], "localhost", False),
    ("127.0.0.1", [b"x-forwarded-host"], "localhost", False),
    ("127.0.0.1", [b"x-real-ip"], "localhost", False),
    ("127.0.0.1", [b"forwarded"], "localhost", False),
    ("127.0.0.1", [b"via"], "localhost", False),
    # or hands on what its client asked for; or a page whose name someone made to mean this machine.
    ("127.0.0.1", [], "users.example", False),
    ("127.0.0.1", [], "localhost.example", False),
    ("127.0.0.1", [], "192.0.2.7:8787", False),
    ("127.0.0.1", [], "", False),
    ("127.0.0.1", [], None, False),
]


@pytest.mark.parametrize(("peer", "headers", "host", "local"), LOCAL)
def test_only_a_program_on_this_machine_that_asks_directly_is_local(
    peer: str | None, headers: list[bytes], host: str | None, local: bool
) -> None:
    assert is_local(peer, headers, host) is local


# In the application.


def behind_a_proxy(api: InProcess) -> Browser:
    service = msgspec.structs.replace(api.app.service, trusted_proxies=TRUSTED)
    api.app = App(service)
    browser = in_browser(api)
    browser.limit(new_sessions_per_minute=1)
    return browser


def start_session(browser: Browser, peer: str, *lines: str) -> int:
    headers = [("authorization", f"Bearer {browser.api.keys.publishable}"), *(("X-Forwarded-For", x) for x in lines)]
    request = httpx.Request("POST", "http://userfold.test/browser/sessions", headers=headers)
    return browser.api.send(request, address=peer).status_code


def test_behind_a_trusted_proxy_clients_are_limited_one_by_one(api: InProcess) -> None:
    browser = behind_a_proxy(api)
    assert start_session(browser, "10.0.0.1", "203.0.113.7") == 201
    assert start_session(browser, "10.0.0.1", "203.0.113.8") == 201
    assert start_session(browser, "10.0.0.1", "203.0.113.7") == 429
    assert start_session(browser, "203.0.113.8") == 429


def test_a_client_gets_no_second_address_by_inventing_proxies(api: InProcess) -> None:
    browser = behind_a_proxy(api)
    assert start_session(browser, "10.0.0.1", "203.0.113.7") == 201
    assert start_session(browser, "10.0.0.1", "198.51.100.1, 203.0.113.7") == 429
    assert start_session(browser, "10.0.0.1", "198.51.100.2", "203.0.113.7") == 429
    assert start_session(browser, "10.0.0.1", "10.0.0.9, 198.51.100.3, 203.0.113.7:99") == 429


def test_a_header_of_a_stranger_changes_nothing(api: InProcess) -> None:
    browser = behind_a_proxy(api)
    assert start_session(browser, "203.0.113.7") == 201
    assert start_session(browser, "203.0.113.7", "198.51.100.1") == 429
