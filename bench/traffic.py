"""What the load generator sends and what the answers must hold: one class per kind of traffic.

Connection i of n updates the users of one group, and in them one counter that nobody else writes. So an answer must
show exactly the count that was just sent, and no other count smaller than what had been answered when it was sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from bench.people import (
    COUNT_START,
    COUNTERS,
    Document,
    answer_of_nothing,
    counts_of,
    external_id,
    new_user,
    patch,
    without_counts,
)

SAMPLE_EVERY = 50
READ_BACK = 200  # users that are compared after the measurement
USERS = 1_000

decode = msgspec.json.decode
encode = msgspec.json.encode


class WrongAnswer(Exception):
    """An answer is not what it must be; the text says how."""


def expect(wanted: object, found: object, what: str) -> None:
    """Raise `WrongAnswer` unless both are equal."""
    if wanted != found:
        raise WrongAnswer(f"{what}: wanted {str(wanted)[:120]}, found {str(found)[:120]}")


class Requests:
    """Makes requests as bytes."""

    def __init__(self, port: int, token: str) -> None:
        self.token = token
        self._head = f"host: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n".encode()

    def make(self, method: str, path: str, body: bytes = b"", media_type: str = "application/json") -> bytes:
        """The whole request."""
        line = f"{method} {path} HTTP/1.1\r\n".encode()
        if not body:
            return line + self._head + b"\r\n"
        about_body = f"content-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        return line + self._head + about_body + body

    def read_user(self, user_id: str) -> bytes:
        """Through the native API, which the comparator has too."""
        return self.make("GET", f"/v1/users/{user_id}")


class Traffic:
    """Gives connections their requests, and takes the answers. This one sends nothing."""

    endless = False

    def __init__(self) -> None:
        self.checked = 0
        self.made_user_ids: list[str] = []
        self._stopped = False

    def before(self) -> Iterable[Traffic]:
        """What must have been sent before this."""
        return ()

    def after(self) -> Iterable[Traffic]:
        """What must be sent after this, to check it."""
        return ()

    def next(self, index: int) -> bytes | None:
        """The next request of connection `index`, or None if it is done."""
        return None

    def answered(self, index: int, status: int, body: bytes) -> None:
        """Connection `index` has the answer to its request. Raises `WrongAnswer`."""

    def stop(self) -> None:
        """Give no more requests."""
        self._stopped = True


class Once(Traffic):
    """Each of these requests once. `check` takes its place in the list, the status and the body of the answer."""

    def __init__(self, requests: list[bytes], check: Callable[[int, int, bytes], None]) -> None:
        super().__init__()
        self._requests: Iterator[tuple[int, bytes]] = iter(enumerate(requests))
        self._check = check
        self._place_of: dict[int, int] = {}

    def next(self, index: int) -> bytes | None:
        place, request = next(self._requests, (None, None))
        if place is not None:
            self._place_of[index] = place
        return request

    def answered(self, index: int, status: int, body: bytes) -> None:
        self.checked += 1
        self._check(self._place_of[index], status, body)


class Create(Once):
    """Makes the users. First, a key that is nobody's must be refused: whoever takes it is not our server."""

    def __init__(self, requests: Requests, user_ids: tuple[str, ...], connections: int, rng: random.Random) -> None:
        super().__init__([self._put(requests, number) for number in range(USERS)], self._made)
        wrong = Requests(0, "sk_wrong" + requests.token[8:])
        self._wrong = [wrong.make("PATCH", "/v1/users/u", encode(patch(0, 1)))]

    def before(self) -> Iterable[Traffic]:
        yield Once(self._wrong, lambda place, status, body: expect(401, status, "status for a wrong key"))

    def _put(self, requests: Requests, number: int) -> bytes:
        path = f"/v1/users/by-external-id/{external_id(number)}"
        return requests.make("PUT", path, encode(new_user(number)))

    def _made(self, place: int, status: int, body: bytes) -> None:
        expect(201, status, "status of a creation")
        self.made_user_ids.append(decode(body)["id"])


class Nothing(Traffic):
    """1 KB to the handler that does nothing."""

    endless = True

    def __init__(self, requests: Requests, user_ids: tuple[str, ...], connections: int, rng: random.Random) -> None:
        super().__init__()
        self._answer = answer_of_nothing(requests.token)
        self._request = requests.make("PATCH", "/v1/users/u", self._answer)
        self._left = SAMPLE_EVERY

    def next(self, index: int) -> bytes | None:
        return None if self._stopped else self._request

    def answered(self, index: int, status: int, body: bytes) -> None:
        expect(200, status, "status")
        self._left -= 1
        if not self._left:
            self._left = SAMPLE_EVERY
            self.checked += 1
            expect(self._answer, body, "body")


class _OfUsers(Traffic):
    """What updates and reads share: the users as they were, and one picked at random."""

    endless = True

    def __init__(self, requests: Requests, user_ids: tuple[str, ...], connections: int, rng: random.Random) -> None:
        super().__init__()
        assert user_ids, "make users first"
        self._requests = requests
        self._user_ids = user_ids
        self._pick = rng.random
        self._left = SAMPLE_EVERY
        self._known: list[Document] = [{}] * len(user_ids)

    def before(self) -> Iterable[Traffic]:
        yield Once([self._requests.read_user(user_id) for user_id in self._user_ids], self._learn)

    def _learn(self, place: int, status: int, body: bytes) -> None:
        expect(200, status, "status of a read")
        self._known[place] = decode(body)

    def _is_sampled(self) -> bool:
        self._left -= 1
        if self._left:
            return False
        self._left = SAMPLE_EVERY
        self.checked += 1
        return True


class Read(_OfUsers):
    """Reads of random users. Nobody writes meanwhile, so an answer is what was read at first."""

    def __init__(self, requests: Requests, user_ids: tuple[str, ...], connections: int, rng: random.Random) -> None:
        super().__init__(requests, user_ids, connections, rng)
        self._ready = [requests.read_user(user_id) for user_id in user_ids]
        self._asked = [0] * connections

    def next(self, index: int) -> bytes | None:
        if self._stopped:
            return None
        self._asked[index] = user = int(self._pick() * len(self._ready))
        return self._ready[user]

    def answered(self, index: int, status: int, body: bytes) -> None:
        expect(200, status, "status")
        if self._is_sampled():
            expect(self._known[self._asked[index]], decode(body), "user")


class Update(_OfUsers):
    """Updates of random users, each of one nested key, through the native API."""

    method_and_path = ("PATCH", "/v1/users/{id}")
    media_type = "application/merge-patch+json"

    def __init__(self, requests: Requests, user_ids: tuple[str, ...], connections: int, rng: random.Random) -> None:
        super().__init__(requests, user_ids, connections, rng)
        groups = -(-connections // COUNTERS)
        everybody = range(len(user_ids))
        self._users_of = [everybody[index % groups :: groups] for index in range(connections)]
        self._counter_of = [index // groups for index in range(connections)]
        self._ready = [[self._cut(user_id, index) for index in range(COUNTERS)] for user_id in user_ids]
        self._asked = [(0, 0, [0])] * connections  # user, count, all counts of the user as they were
        self._counts: list[list[int]] = []
        self._answered_of = [0] * len(user_ids)

    def _cut(self, user_id: str, index: int) -> tuple[bytes, bytes]:
        """The request before and after its count."""
        method, path = self.method_and_path
        body = encode(patch(index, COUNT_START))
        whole = self._requests.make(method, path.format(id=user_id), body, self.media_type)
        before, _, after = whole.rpartition(b"%d" % COUNT_START)
        return before, after

    def next(self, index: int) -> bytes | None:
        if self._stopped:
            return None
        if not self._counts:
            self._counts = [counts_of(user) for user in self._known]
        users = self._users_of[index]
        user = users[int(self._pick() * len(users))]
        mine = self._counter_of[index]
        counts = self._counts[user]
        count = counts[mine] + 1
        self._asked[index] = (user, count, counts.copy())
        before, after = self._ready[user][mine]
        return b"%b%d%b" % (before, count, after)

    def answered(self, index: int, status: int, body: bytes) -> None:
        if status != 200:
            raise WrongAnswer(f"status {status}: {body[:200]!r}")
        user, count, counts_then = self._asked[index]
        mine = self._counter_of[index]
        self._counts[user][mine] = count
        self._answered_of[user] += 1
        if self._is_sampled():
            found = decode(body)
            expect(without_counts(self._known[user]), without_counts(found), "what no update touches")
            found_counts = counts_of(found)
            expect(count, found_counts[mine], "the count that was sent")
            lost = [then for then, now in zip(counts_then, found_counts, strict=True) if now < then]
            expect([], lost, "counts that were answered before and are gone")

    def after(self) -> Iterable[Traffic]:
        sample = random.Random(0).sample(range(len(self._user_ids)), min(READ_BACK, len(self._user_ids)))

        def compare(place: int, status: int, body: bytes) -> None:
            user, found = sample[place], decode(body)
            self.checked += 1
            expect(self._wanted(user), {**found, "updated_at": 0}, f"user {self._user_ids[user]} at the end")

        yield Once([self._requests.read_user(self._user_ids[user]) for user in sample], compare)

    def _wanted(self, user: int) -> Document:
        wanted: dict[str, Any] = self._known[user]
        for index, count in enumerate(self._counts[user]):
            wanted = _deep_merged(wanted, patch(index, count))
        return {**wanted, "version": wanted["version"] + self._answered_of[user], "updated_at": 0}


class ClerkUpdate(Update):
    """The same updates, as Clerk's `updateUserMetadata`."""

    method_and_path = ("PATCH", "/clerk/v1/users/{id}/metadata")
    media_type = "application/json"


def _deep_merged(target: Document, given: Document) -> Document:
    nested = {name: _deep_merged(target[name], value) for name, value in given.items() if isinstance(value, dict)}
    return {**target, **given, **nested}


TRAFFIC: dict[str, Callable[[Requests, tuple[str, ...], int, random.Random], Traffic]] = {
    "create": Create,
    "nothing": Nothing,
    "read": Read,
    "update": Update,
    "clerk": ClerkUpdate,
}
