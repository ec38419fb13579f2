"""What is kept of a recording: tracked events and page views. All else of it, the pages themselves, is dropped unread.

A batch is a list of events of rrweb. Those of Milana are of its type 5 and have the tag `V`; of them, the payload of
type 1 is what `trackEvent` was called with, and that of type 2 a page view.
"""

from __future__ import annotations

from typing import Any

import msgspec

from userfold.core import jsontext
from userfold.core.commands import BrowserEvent
from userfold.core.errors import InputError, JsonInvalid, JsonTooDeep

PAGE_VIEW = "page_view"

_MARK = b'"V"'  # the tag: what has it nowhere is not looked into


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch comes to. `size`: bytes of the events; `ends`: the app has stopped recording."""

    events: tuple[BrowserEvent, ...]
    size: int
    ends: bool


class _Batch(msgspec.Struct, frozen=True):
    """A batch as it is sent, its events as text."""

    events: list[msgspec.Raw] = []
    isClientAbort: bool = False  # noqa: N815 - Milana's name


_decode = msgspec.json.Decoder(_Batch).decode


def read(text: bytes) -> Recording:
    """The recording in the text of a batch. Raises an `InputError` if it is none; an event that is none is left out."""
    try:
        batch = _decode(text)
    except RecursionError:
        raise JsonTooDeep(levels_max=jsontext.TEXT_LEVELS_MAX) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonInvalid(reason=str(error)) from None
    texts = [text for text in map(bytes, batch.events) if _MARK in text]
    found = [(event, len(text)) for text in texts if (event := _event(text)) is not None]
    return Recording(
        events=tuple(event for event, _ in found), size=sum(size for _, size in found), ends=batch.isClientAbort
    )


def _event(text: bytes) -> BrowserEvent | None:
    try:
        event = jsontext.decode(text)
    except InputError:
        return None
    match event:
        case {"type": 5, "timestamp": int() | float() as at, "data": {"tag": "V", "payload": dict() as payload}}:
            return _of_payload(payload, int(at))
        case _:
            return None


def _of_payload(payload: dict[str, Any], at: int) -> BrowserEvent | None:
    attributes = payload.get("attributes")
    match payload:
        case {"type": 1, "name": str() as name} if attributes is None or isinstance(attributes, dict):
            return BrowserEvent(name=name, properties=attributes or {}, occurred_at=at)
        case {"type": 2, "attributes": {"url": str()}}:
            return BrowserEvent(name=PAGE_VIEW, properties=_page_view(payload), occurred_at=at)
        case _:
            return None


def _page_view(payload: dict[str, Any]) -> dict[str, Any]:
    """Which page, and how it was come to: by loading it, or by the page itself through the history."""
    attributes = payload["attributes"]
    shown = {
        "url": attributes["url"],
        "title": attributes.get("title"),
        "navigation": payload.get("name"),
        "navigation_type": attributes.get("navigationType"),
    }
    return {name: value for name, value in shown.items() if isinstance(value, str)}
