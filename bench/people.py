"""The users that are measured: 1,000 of about 1 KB each, and how one update changes one of them.

A user holds eight counters. Each connection of the load generator owns one counter of each user that it updates, so
whoever reads a user can tell which updates it must hold, although eight connections write to it at the same time.
Imports nothing of userfold: the comparators use it too.
"""

from __future__ import annotations

from typing import Any

import msgspec

COUNTERS = 8
COUNT_START = 1_000_000  # all counts have as many digits, so requests of one length can be made ready beforehand

Document = dict[str, Any]


def new_user(number: int) -> Document:
    """The fields with which user `number` is created."""
    return {
        "first_name": "Ada",
        "last_name": f"Lovelace-{number}",
        "email_addresses": [f"ada.{number}@example.com"],
        "locale": "en-GB",
        "timezone": "Europe/London",
        "public_metadata": {
            "plan": {"name": "team", "seats": 25},
            "counters": {counter(index): {"count": COUNT_START} for index in range(COUNTERS)},
        },
        "private_metadata": {"billing": {"customer": f"cus_{number:014}", "overdue": False}},
        "traits": {"company": "Analytical Engines Ltd", "visits": 17},
    }


def external_id(number: int) -> str:
    """The name by which user `number` is made."""
    return f"customer-{number:06}"


def counter(index: int) -> str:
    """The name of a counter."""
    return f"c{index}"


def patch(index: int, count: int) -> Document:
    """The merge patch that sets one counter: one nested key."""
    return {"public_metadata": {"counters": {counter(index): {"count": count}}}}


def counts_of(document: Document) -> list[int]:
    """The counts of a user, in the order of the counters."""
    counters = document["public_metadata"]["counters"]
    return [counters[counter(index)]["count"] for index in range(COUNTERS)]


def without_counts(document: Document) -> Document:
    """What updates must leave as it is, and what every API and comparator shows alike."""
    names = ("id", "external_id", "first_name", "last_name", "locale", "timezone", "private_metadata", "created_at")
    plan = document["public_metadata"]["plan"]
    return {"plan": plan, **{name: document[name] for name in names}}


def answer_of_nothing(token: str) -> bytes:
    """What the handler that does nothing is sent and answers: as large as a user. The token shows who answers."""
    body = {"token": token, **new_user(0)}
    missing = 1024 - len(msgspec.json.encode(body))
    return msgspec.json.encode({**body, "filler": "x" * (missing - len(',"filler":""'))})
