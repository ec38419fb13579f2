"""The native API's shapes, and the parts of HTTP that carry meaning in it: ETag, If-Match, cursors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from userfold.api.wire import JSON, HeaderInvalid, ParameterInvalid, Reply, Request, json_reply
from userfold.core.commands import IfMatch
from userfold.core.jsontext import encode
from userfold.core.records import Change, User
from userfold.core.rules import Applied

PAGE_SIZE = 100
PAGE_SIZE_MAX = 500

_ENTITY_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"\s*(?:,\s*(?:W/)?"[^"]*"\s*)*')
_STRONG_VERSION = re.compile(r'(?<!W/)"([1-9]\d{0,17})"')


def user_reply(status: int, user: User, applied: Applied, *headers: tuple[bytes, bytes]) -> Reply:
    """A user as its update left it, with the operations of that update under `changes`, and what was ignored."""
    added: dict[str, Any] = {"changes": applied.change.operations if applied.change else []}
    if applied.ignored:
        added["ignored"] = applied.ignored
    # The texts of two objects made one: this is on the path of every update, and saves a copy of the user as a dict.
    body = encode(user)[:-1] + b"," + encode(added)[1:]
    return Reply(status, body, (JSON, etag(user.version), *headers))


def history_page(changes: Sequence[Change], next_cursor: str | None) -> Reply:
    """One page of changes. `next_cursor` is null on the last one."""
    return json_reply(200, {"data": changes, "next_cursor": next_cursor})


def etag(version: int) -> tuple[bytes, bytes]:
    """A user's entity tag is its version."""
    return b"etag", b'"%d"' % version


def if_match(request: Request) -> IfMatch:
    """The condition that `If-Match` makes (RFC 9110, 13.1.1). Weak tags never match, as the RFC asks for."""
    value = request.header(b"if-match")
    if value is None:
        return None
    if value.strip() == "*":
        return "*"
    if not _ENTITY_TAGS.fullmatch(value):
        raise HeaderInvalid(name="If-Match", reason='a version in quotes is needed, such as "3"')
    return tuple(map(int, _STRONG_VERSION.findall(value)))


def positive(text: str, name: str, most: int | None = None) -> int:
    """A positive integer from a query parameter."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) > 0):
        raise ParameterInvalid(name=name, reason="a positive integer is needed")
    if most is not None and int(text) > most:
        raise ParameterInvalid(name=name, reason=f"at most {most} is allowed")
    return int(text)


def fields_of(document: dict[str, Any]) -> dict[str, Any]:
    """A document as it was sent, less what replies add to a user: a reply may be edited and sent back."""
    return {name: value for name, value in document.items() if name not in ("changes", "ignored")}
