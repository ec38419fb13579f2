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
from userfold.core.tracking import PAGE_VIEW

_CUSTOM = 5  # rrweb's type of events that are not its own


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch comes to. `size`: bytes of the events; `ends`: the app has stopped recording."""

    events: tuple[BrowserEvent, ...]
    size: int
    ends: bool


class _Event(msgspec.Struct, frozen=True, gc=False):
    """An event as it is sent. All have all three: so a batch has no more events than its size allows for."""

    type: int
    timestamp: int | float
    data: msgspec.Raw


class _Batch(msgspec.Struct, frozen=True):
    """A batch as it is sent."""

    events: list[_Event] = []
    isClientAbort: bool = False  # noqa: N815 - Milana's name


_decode = msgspec.json.Decoder(_Batch).decode


def read(text: bytes) -> Recording:
    """The recording in the text of a batch. Raises an `InputError` if it is none."""
    try:
        batch = _decode(text)
    except RecursionError:
        raise JsonTooDeep(levels_max=jsontext.TEXT_LEVELS_MAX) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonInvalid(reason=str(error)) from None
    found = [(event, len(sent.data)) for sent in batch.events if (event := _event(sent)) is not None]
    return Recording(
        events=tuple(event for event, _ in found), size=sum(size for _, size in found), ends=batch.isClientAbort
    )


def _event(sent: _Event) -> BrowserEvent | None:
    if sent.type != _CUSTOM:
        return None
    try:
        data = jsontext.decode(bytes(sent.data))
    except InputError:
        return None
    match data:
        case {"tag": "V", "payload": dict() as payload}:
            return _of_payload(payload, int(sent.timestamp))
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
