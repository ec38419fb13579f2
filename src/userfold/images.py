"""Pictures of users: judged by their bytes, made anew without metadata, and stored under names that are used once.

A picture that was taken in is decoded and encoded again, so that what is served holds the pixels and nothing else: no
place where it was taken, no second file inside. Of an animation the first frame is kept: what it would cost to decode
the others cannot be told from its size.

Bytes are stored before the record that names them (`image_rules`), and removed by a sweep (`image_sweep`).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import itertools
import os
import re
import struct
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore
from PIL import IcoImagePlugin, ImageOps, UnidentifiedImageError
from PIL import Image as Pixels

from userfold.core.errors import ImageInvalid, ImageTooLarge
from userfold.core.ids import make_id
from userfold.core.image_names import image_name, is_image_name
from userfold.core.records import Image
from userfold.engine import Overloaded
from userfold.storage.port import StoreFull, StoreUnavailable

IMAGE_BYTES_MAX = 10 << 20
SIDE_MAX = 4_096
THREADS = 2  # a picture of the greatest size takes up to some 260 MiB while it is decoded and encoded
WAITING_MAX = 16  # each holds up to `IMAGE_BYTES_MAX`
LISTED_AT_ONCE = 200
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # on the disk, in its quota, in a file

# What is read. Pillow knows a hundred formats more, some of which start other programs.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")  # and icons
ICO_MAGIC, PNG_MAGIC = b"\0\0\1\0", b"\x89PNG\r\n\x1a\n"

# Pillow says on standard error what we say to who asked: that a picture is too large.
warnings.filterwarnings("ignore", category=Pixels.DecompressionBombWarning)

T = TypeVar("T")


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as it is stored."""

    content: bytes
    content_type: str
    extension: str
    sha256: str
    width: int
    height: int


class _Output(msgspec.Struct, frozen=True, kw_only=True):
    """How pixels are written."""

    format: str
    content_type: str
    extension: str
    modes: tuple[str, ...]  # the ways to keep a pixel that the format knows and everybody can show
    options: dict[str, Any] = {}


_PNG = _Output(format="PNG", content_type="image/png", extension="png", modes=("1", "L", "LA", "RGB", "RGBA"))
_JPEG = _Output(format="JPEG", content_type="image/jpeg", extension="jpg", modes=("L", "RGB"), options={"quality": 90})
# What it came as (MPO: several JPEGs in one file, as phones make them) → what it is kept as, if nothing of it is
# transparent. All others: PNG. WebP is not written: that takes seconds and 400 MiB, and fails for some pictures.
_OUTPUTS = {"JPEG": _JPEG, "MPO": _JPEG, "WEBP": _JPEG}


def picture_of(content: bytes) -> Picture:
    """The picture that `content` shows. Takes up to seconds. Raises `ImageInvalid`, `ImageTooLarge`."""
    try:
        with _opened(content) as image:
            _check_size(*image.size)
            kept_as = _PNG if image.has_transparency_data else _OUTPUTS.get(image.format or "", _PNG)
            ImageOps.exif_transpose(image, in_place=True)
            return _encoded(image, kept_as)
    except (ImageInvalid, ImageTooLarge):
        raise
    except (Pixels.DecompressionBombError, Pixels.DecompressionBombWarning):
        raise ImageTooLarge(side_max=SIDE_MAX) from None
    except UnidentifiedImageError:
        raise ImageInvalid(reason="its first bytes are of no kind that is known") from None
    except Exception as error:  # what a broken file leads to is not documented, and differs from format to format
        raise ImageInvalid(reason="it is damaged, or breaks off") from error


def _opened(content: bytes) -> Pixels.Image:
    """The picture in a file, of which only the header was read."""
    if content.startswith(ICO_MAGIC):
        return _largest_of_icon(content)
    return Pixels.open(io.BytesIO(content), formats=FORMATS)


def _largest_of_icon(content: bytes) -> Pixels.Image:
    """Pillow decodes an icon when it opens it, whatever size it then is: the header of an icon may lie about that."""
    icon = IcoImagePlugin.IcoFile(io.BytesIO(content))
    start = icon.entry[0].offset  # the largest comes first
    if not content.startswith(PNG_MAGIC, start):
        width, height = struct.unpack_from("<ii", content, start + 4)  # of a bitmap, which has a mask below it
        _check_size(width, abs(height) // 2)
    return icon.frame(0)


def _check_size(width: int, height: int) -> None:
    if max(width, height) > SIDE_MAX:
        raise ImageTooLarge(side_max=SIDE_MAX)


def _encoded(image: Pixels.Image, kept_as: _Output) -> Picture:
    if image.mode not in kept_as.modes or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.info.clear()  # some of it would be written again, such as comments
    buffer = io.BytesIO()
    image.save(buffer, kept_as.format, **kept_as.options)
    content = buffer.getvalue()
    return Picture(
        content=content,
        content_type=kept_as.content_type,
        extension=kept_as.extension,
        sha256=hashlib.sha256(content).hexdigest(),
        width=image.width,
        height=image.height,
    )


def named_image(picture: Picture, user_id: str, now: int, entropy: int) -> Image:
    """What a user's record says of a picture that is stored for it under a new name."""
    return Image(
        name=image_name(user_id, make_id("img_", now, entropy), picture.extension),
        content_type=picture.content_type,
        size=len(picture.content),
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
        created_at=now,
    )


class Images:
    """Where the bytes of pictures are, and the threads that work on them. One per process."""

    def __init__(self, objects: LocalStore | MemoryStore) -> None:
        self._objects = objects
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="userfold-images")
        self._waiting = 0

    async def picture_of(self, content: bytes) -> Picture:
        """See `picture_of`; beside the event loop, a few at a time. Raises `Overloaded` too."""
        if self._waiting >= WAITING_MAX:
            raise Overloaded
        self._waiting += 1
        try:
            return await self._beside_the_loop(picture_of, content)
        finally:
            self._waiting -= 1

    async def put(self, name: str, content: bytes) -> None:
        """Store bytes under a name that nothing has had. Durable when it returns. Raises a `StoreError`."""
        try:
            await self._objects.put_async(_path(name), content, mode="create")
            if self._folder is not None:
                await asyncio.to_thread(_sync, self._folder, _path(name))
        except (BaseError, OSError) as error:
            raise _as_ours(error) from error

    async def get(self, name: str) -> bytes | None:
        """The bytes of that name, or None. Raises a `StoreError`."""
        try:
            found = await self._objects.get_async(_path(name))
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise _as_ours(error) from error

    async def delete(self, name: str) -> None:
        """Remove the bytes of that name, if there are any. Raises a `StoreError`."""
        try:
            await self._objects.delete_async(_path(name))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _as_ours(error) from error

    async def names(self, folder: str | None = None) -> AsyncIterator[Sequence[str]]:
        """The names of all that is stored, or of one `image_folder`, some at a time. Raises a `StoreError`."""
        try:
            async for chunk in self._objects.list(folder and _folder_path(folder), chunk_size=LISTED_AT_ONCE):
                yield [name for entry in chunk if is_image_name(name := _name(entry["path"]))]
        except (BaseError, OSError) as error:
            raise _as_ours(error) from error

    async def remove_unfinished(self, is_over: Callable[[str], bool], folder: str | None = None) -> int:
        """Remove what was left where a process was killed while it stored something, if `is_over(its name)`."""
        if self._folder is None:
            return 0
        try:
            return await asyncio.to_thread(_remove_unfinished, self._folder, folder, is_over)
        except OSError as error:
            raise _as_ours(error) from error

    def close(self) -> None:
        """Let go of the threads, once they have done what they are at."""
        self._threads.shutdown()

    @property
    def _folder(self) -> Path | None:
        return self._objects.prefix if isinstance(self._objects, LocalStore) else None

    async def _beside_the_loop(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def images_in(folder: Path) -> Images:
    """Images in a local folder, which is made. Raises `StoreUnavailable`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A folder of a user who is gone would still tell the user's id.
        return Images(LocalStore(folder.absolute(), automatic_cleanup=True))
    except (BaseError, OSError) as error:
        raise StoreUnavailable(f"the images cannot be kept in {folder}: {error}") from error


def images_in_memory() -> Images:
    """Images that go with the process."""
    return Images(MemoryStore())


# obstore writes into `NAME#1`, and renames that: a name is that of a whole file. It does not sync the disk, nor list
# what it did not get to rename.

_UNFINISHED = re.compile(r"(.+)#\d+")
_PART_LENGTH_MAX = 200  # file systems take 255 bytes and `#1`; an id of 255 characters may be written in 3,060


def _path(name: str) -> str:
    """Where the bytes of that name are."""
    folder, _, file = name.partition("/")
    return f"{_folder_path(folder)}/{file}"


def _folder_path(folder: str) -> str:
    return "/".join(folder[at : at + _PART_LENGTH_MAX] for at in range(0, len(folder), _PART_LENGTH_MAX))


def _name(path: str) -> str:
    """The name of what is at `path`."""
    *folder, file = path.split("/")
    return f"{''.join(folder)}/{file}"


def _sync(folder: Path, path: str) -> None:
    """Once it returns, neither the file nor its name is lost in a power cut."""
    file = folder / path
    for place in (file, *itertools.takewhile(lambda above: above != folder.parent, file.parents)):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_unfinished(root: Path, folder: str | None, is_over: Callable[[str], bool]) -> int:
    removed = 0
    for path in (root / _folder_path(folder or "")).rglob("*#*"):
        matched = _UNFINISHED.fullmatch(_name(path.relative_to(root).as_posix()))
        if matched is not None and is_image_name(matched[1]) and is_over(matched[1]):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _as_ours(error: Exception) -> StoreFull | StoreUnavailable:
    full = any(getattr(error, "errno", None) == number or f"(os error {number})" in str(error) for number in NO_ROOM)
    kind = StoreFull if full else StoreUnavailable
    return kind(f"images: {str(error).partition(chr(10))[0]}")
