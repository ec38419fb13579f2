"""Whose address a request came from, when proxies stand in between. Pure: text in, text out.

`X-Forwarded-For` grows from left to right: each proxy adds the address that it was called from. Anybody can begin such
a header, so it is read from the right, and only as long as the one who added an entry is trusted. The first address
that is not a trusted proxy's is the client's; what stands left of it is hearsay.

`Forwarded` (RFC 7239) is not read: a proxy that adds to one of the two headers hands the other one on as the client
sent it, so believing both would be believing everybody.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HOPS_MAX = 32  # entries of a header that are looked at; no chain of proxies is that long

# A request that carries one of these was handed on by somebody.
_FORWARDING = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)


def client_address(peer: str | None, lines: Sequence[bytes], trusted: Sequence[Network]) -> str:
    """The address of the client, in its shortest form; "" if the peer has none, such as one behind a Unix socket.

    `lines`: the values of all `X-Forwarded-For` lines, in order.
    """
    if peer is None:
        return ""
    address = _address(peer)
    if address is None:
        return peer
    for hop in _from_the_right(lines):
        if not _is_in(address, trusted):
            break
        told = _address_of_hop(hop)
        if told is None:
            break  # who was called by nobody knows whom is the last one of whom anything is known
        address = told
    return str(address)


def is_local(peer: str | None, headers: Container[bytes], host: str | None) -> bool:
    """Whether a program on this machine asks directly.

    A proxy on the same machine calls from loopback too, whoever its client is. It is told by the headers that it adds,
    or, if it adds none, by the name that its client asked for.
    """
    address = None if peer is None else _address(peer)
    if address is None or not address.is_loopback or host is None:
        return False
    return not any(name in headers for name in _FORWARDING) and _is_loopback_name(host)


def _is_loopback_name(host: str) -> bool:
    address = _address_of_hop(host)
    return address.is_loopback if address is not None else host.partition(":")[0].lower() == "localhost"


def _from_the_right(lines: Sequence[bytes]) -> Iterable[str]:
    hops = b",".join(lines).rsplit(b",", HOPS_MAX)[-HOPS_MAX:] if lines else []
    return (hop.decode("latin-1") for hop in reversed(hops))


def _address_of_hop(hop: str) -> Address | None:
    """The address in `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`."""
    hop = hop.strip(" \t")
    if hop.startswith("["):
        inner, bracket, port = hop[1:].partition("]")
        return _address(inner) if bracket and ":" in inner and _is_port(port) else None
    if hop.count(":") == 1:
        hop, _, number = hop.partition(":")
        return _address(hop) if _is_port(f":{number}") else None
    return _address(hop)


def _is_port(text: str) -> bool:
    """Whether this is nothing, or a colon and a port."""
    digits = text[1:]
    return not text or (text[0] == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])  # a zone means something on one machine only
    except ValueError:
        return None
    # A socket for both kinds of address shows an IPv4 client as ::ffff:1.2.3.4; it is the same client.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
