"""Records as text and back, in the normal form. What every store shares."""

from __future__ import annotations

from typing import Any

import msgspec

from userfold.core.records import KINDS, Record

_encode = msgspec.json.Encoder().encode
_decoders: dict[str, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(type_) for kind, type_ in KINDS.items()}


def to_text(record: Record) -> str:
    """The document that is stored for `record`."""
    return _encode(record).decode()


def from_text(kind: str, text: str) -> Record:
    """The record whose document is `text`. Fields that were added since then have their defaults."""
    record: Record = _decoders[kind].decode(text)
    return record
