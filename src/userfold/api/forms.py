"""Forms with files: bodies of `multipart/form-data` (RFC 7578), as browsers and SDKs upload pictures."""

from __future__ import annotations

from typing import Any

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from userfold.api.wire import Request, WireRefusal

MULTIPART = "multipart/form-data"
PARTS_MAX = 64
OVERHEAD_BYTES_MAX = 64 << 10  # what a form may have around its files


class FormInvalid(WireRefusal):
    """The body is not a form: {reason}."""

    code = "form_invalid"


class PartMissing(WireRefusal):
    """The form has no part {path}."""

    code = "form_part_missing"


class Part(msgspec.Struct, frozen=True):
    """One field of a form. A file name says nothing about what the content is, so none is kept."""

    name: str
    content: bytes


def parts(request: Request) -> tuple[Part, ...]:
    """The fields of a form in their order. Raises `ContentTypeUnsupported`, `FormInvalid`."""
    request.require_content_type((MULTIPART,))
    boundary = parse_options_header(request.header(b"content-type"))[1].get(b"boundary")
    if not boundary:
        raise FormInvalid(reason="its content type names no boundary")
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())  # type: ignore[arg-type]  # of a TypedDict all at once
        parser.write(request.body)
        parser.finalize()
    except FormParserError as error:
        raise FormInvalid(reason=str(error)) from None
    if not reader.complete:
        raise FormInvalid(reason="it breaks off")
    return tuple(reader.parts)


class _Reader:
    """Takes in what the parser finds."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._header = [bytearray(), bytearray()]  # its name and its value
        self._name = ""
        self._content = bytearray()

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin_part,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        if len(self.parts) == PARTS_MAX:
            raise FormInvalid(reason=f"it has more than {PARTS_MAX} parts")
        self._name, self._content = "", bytearray()

    def _begin_header(self) -> None:
        self._header = [bytearray(), bytearray()]

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._name = parse_options_header(bytes(value))[1].get(b"name", b"").decode("utf-8", "replace")

    def _end_part(self) -> None:
        if not self._name:
            raise FormInvalid(reason="a part has no name")
        self.parts.append(Part(self._name, bytes(self._content)))

    def _end(self) -> None:
        self.complete = True
