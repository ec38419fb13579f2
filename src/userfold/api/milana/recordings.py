"""What is kept of a recording: tracked events and page views. All else of it, the pages themselves, is dropped unread.

A batch is a list of events of rrweb. Those of Milana are of its type 5 and have the tag `V`; of them, the payload of
type 1 is what `trackEvent` was called with, and that of type 2 a page view.

Almost every batch is what it should be, and is read in one go. One that is not is read once more, event by event, so
that what is wrong with one of them costs no other.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from userfold.api.milana.wire import TOKEN_NAMES
from userfold.core import jsontext
from userfold.core.commands import BrowserEvent
from userfold.core.errors import InputError, JsonInvalid, JsonTooDeep
from userfold.core.tracking import PAGE_VIEW

_CUSTOM = 5  # rrweb's type of events that are not its own

# Commas in a batch that is read event by event: there are no more events than that, and each costs some 100 bytes.
COMMAS_MAX = 500_000

# A page may hold half of a character: where a script or a keystroke cut a text, JSON has a lone surrogate. Our decoder
# takes none. U+FFFF, which is no character, stands for it, written as no browser writes it.
_STAND_IN = rb"\uffff"
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_SURROGATES = re.compile(rb"(?:\\\\)+|" + _HIGH + _LOW + rb"|(" + _HIGH + rb"|" + _LOW + rb")")


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


class _OddBatch(msgspec.Struct, frozen=True):
    """The same, of which nothing is sure but that it has a list."""

    events: list[msgspec.Raw] = []
    isClientAbort: Any = False  # noqa: N815 - Milana's name


_decode = msgspec.json.Decoder(_Batch).decode
_decode_odd = msgspec.json.Decoder(_OddBatch).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def read(text: bytes) -> Recording:
    """The recording in the text of a batch. Raises an `InputError` if it is none."""
    try:
        batch = _batch(text)
    except RecursionError:
        raise JsonTooDeep(levels_max=jsontext.TEXT_LEVELS_MAX) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonInvalid(reason=str(error)) from None
    found = [(event, len(sent.data)) for sent in batch.events if (event := _event(sent)) is not None]
    return Recording(
        events=tuple(event for event, _ in found), size=sum(size for _, size in found), ends=batch.isClientAbort
    )


def _batch(text: bytes) -> _Batch:
    try:
        return _decode(text)
    except msgspec.DecodeError:
        if text.count(b",") > COMMAS_MAX:
            raise
        odd = _decode_odd(_without_lone_surrogates(text))
    events = [event for one in odd.events if (event := _sent(one)) is not None]
    return _Batch(events=events, isClientAbort=odd.isClientAbort is True)


def _without_lone_surrogates(text: bytes) -> bytearray:
    changed = bytearray(text)  # in place, because there may be a million of them
    for found in _SURROGATES.finditer(text):
        if found[1] is not None:
            changed[found.start() : found.end()] = _STAND_IN
    return changed


def _sent(text: msgspec.Raw) -> _Event | None:
    try:
        return _decode_event(text)
    except msgspec.DecodeError:
        return None


def _event(sent: _Event) -> BrowserEvent | None:
    if sent.type != _CUSTOM:
        return None
    text = bytes(sent.data)
    if _STAND_IN in text:
        return None  # as of any other body, half a character is not kept
    try:
        data = jsontext.decode(text)
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
            properties = {key: value for key, value in (attributes or {}).items() if key not in TOKEN_NAMES}
            return BrowserEvent(name=name, properties=properties, occurred_at=at)
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
