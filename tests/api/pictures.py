"""Pictures, and what only looks like one."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(format: str, size: tuple[int, int] = (4, 2), color: Any = RED, **options: Any) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, format, **options)
    return buffer.getvalue()


def animation(format: str) -> bytes:
    """First red, then blue."""
    buffer = io.BytesIO()
    first, second = (Image.new("RGB", (4, 2), color) for color in (RED, BLUE))
    first.save(buffer, format, save_all=True, append_images=[second], duration=100)
    return buffer.getvalue()


def opened(content: bytes) -> Image.Image:
    """What a client sees."""
    return Image.open(io.BytesIO(content))


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of that size. It has no pixels, so whoever tries to decode it says that it breaks off."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", b"")


def png_bomb(side: int) -> bytes:
    """A whole, valid PNG of few bytes that decodes to `side` × `side` pixels."""
    line = b"\0" * (1 + (side + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def ico_of(png: bytes) -> bytes:
    """An icon that says to be of 16 × 16 pixels, with any PNG inside."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png


def ico_of_bitmap(width: int, height: int) -> bytes:
    """An icon that says to be of 16 × 16 pixels, with the beginning of a larger bitmap inside."""
    header = struct.pack("<IiiHHIIiiII", 40, width, 2 * height, 1, 32, 0, 0, 0, 0, 0, 0)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(header), 22) + header


def webp_header(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is that large, and that has nothing on it."""
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
