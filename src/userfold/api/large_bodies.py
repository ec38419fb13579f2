"""Bodies that may be large, and compressed: taken in within bounds, then inflated and read beside the event loop.

How much memory that takes is bounded whatever arrives: by what one body may be, packed and unpacked, by what all that
wait may be together, by one thread that reads them one after the other, and by how long one may take to arrive: of a
phone whose network has gone nothing more comes, and nobody says so.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from userfold.api.bodies import BodyTooLarge, Incoming
from userfold.core.errors import JsonInvalid
from userfold.engine import Overloaded

BYTES_MAX = 8 << 20  # of one body, as it is sent and once it is inflated
WAITING_BYTES_MAX = 32 << 20  # of all that have arrived, in whole or in part, and were not read yet

ARRIVAL_S_MAX = 120.0  # then what has come is given up

_GZIP = 31  # zlib's number for the format of RFC 1952

T = TypeVar("T")


class LargeBodies:
    """Takes bodies in and has them read. One per process; use it from one event loop."""

    def __init__(self, *, waiting_bytes_max: int = WAITING_BYTES_MAX, arrival_s_max: float = ARRIVAL_S_MAX) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="userfold-bodies")
        self._bytes_left = waiting_bytes_max
        self._arrival_s_max = arrival_s_max

    async def read(self, incoming: Incoming, read: Callable[[bytes], T], *, gzipped: bool) -> T:
        """What `read` makes of a body, in the thread. `gzipped`: it is sent so.

        Raises `BodyTooLarge`, and takes no more of it; `Overloaded`, `ClientGone`, `JsonInvalid` if it is no gzip or
        does not come to its end, and what `read` raises.
        """
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._arrival_s_max):
                async for chunk in incoming.chunks():
                    if size + len(chunk) > BYTES_MAX:
                        raise BodyTooLarge(size_max=BYTES_MAX)
                    if len(chunk) > self._bytes_left:
                        raise Overloaded
                    self._bytes_left -= len(chunk)
                    size += len(chunk)
                    chunks.append(chunk)
            unpack = inflated if gzipped else bytes
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: read(unpack(_joined(chunks))))
        except TimeoutError:
            raise JsonInvalid(reason=f"it had not arrived within {self._arrival_s_max:g} s") from None
        finally:
            self._bytes_left += size

    def close(self) -> None:
        """Let go of the thread, once it has done what it is at."""
        self._thread.shutdown()


def inflated(text: bytes) -> bytes:
    """What gzip (RFC 1952) packed into `text`. Raises `BodyTooLarge` as soon as it is more than `BYTES_MAX`."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        content = inflater.decompress(text, BYTES_MAX + 1)
    except zlib.error as error:
        raise JsonInvalid(reason="it is not the gzip that it says it is") from error
    if len(content) > BYTES_MAX:
        raise BodyTooLarge(size_max=BYTES_MAX)
    if not inflater.eof:
        raise JsonInvalid(reason="its gzip breaks off")
    return content


def _joined(chunks: list[bytes]) -> bytes:
    """The whole; the parts are given up."""
    whole = b"".join(chunks)
    chunks.clear()
    return whole
