"""Identifiers that Userfold makes: a prefix, then 26 characters of Crockford base 32 that sort by time (ULID)."""

from __future__ import annotations

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ".lower()
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)

ENTROPY_BITS = 80


def make_id(prefix: str, at_ms: int, entropy: int) -> str:
    """`prefix` and 128 bits: `at_ms` (ms since the epoch), then the low 80 bits of `entropy`."""
    number = at_ms << ENTROPY_BITS | entropy & (1 << ENTROPY_BITS) - 1
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)]
    return prefix + "".join(pairs)


def time_of(id_: str) -> int:
    """When an id of `make_id` was made (ms since the epoch)."""
    number = 0
    for letter in id_.rpartition("_")[2]:
        number = number << 5 | _ALPHABET.index(letter)
    return number >> ENTROPY_BITS


class Mint:
    """Hands out ids and the time while one command is applied; the same inputs give the same ids in the same order."""

    def __init__(self, now_ms: int, entropy: int) -> None:
        self.now = now_ms
        self.entropy = entropy
        self._made = 0

    def after(self, earlier: int) -> int:
        """The time (ms) of what follows something of the time `earlier`: now, or just after it if the clock is behind.

        Processes have clocks of their own, and one may be set back between two runs. Where somebody asks whether a
        record is still what it was by its time, it must not be the same for two of its versions.
        """
        return self.now if self.now >= earlier else earlier + 1

    def id(self, prefix: str) -> str:
        """A new id. Ids of one command differ by one, and so sort in the order they were made (as ULID's do)."""
        self._made += 1
        return make_id(prefix, self.now, self.entropy + self._made)
