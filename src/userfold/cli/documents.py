"""JSON that a person gives: as an argument, or on standard input."""

from __future__ import annotations

import sys
from typing import Any

from userfold.cli.beside import told
from userfold.cli.saying import EXIT_USAGE, fail
from userfold.core.errors import DomainError
from userfold.core.jsontext import decode

BYTES_MAX = 1 << 20  # as the HTTP APIs


def read_document(given: str) -> dict[str, Any]:
    """The JSON object that is `given`, or on standard input if that is `-`. Anything else ends the command."""
    text = sys.stdin.buffer.read(BYTES_MAX + 1) if given == "-" else given.encode("utf-8", "surrogateescape")
    if len(text) > BYTES_MAX:
        fail(f"the document is larger than {BYTES_MAX:,} bytes", EXIT_USAGE)
    try:
        document = decode(text)
    except DomainError as refusal:
        fail(told(refusal), EXIT_USAGE)
    if not isinstance(document, dict):
        fail('a JSON object is needed, such as \'{"first_name": "Ada"}\'', EXIT_USAGE)
    return document
