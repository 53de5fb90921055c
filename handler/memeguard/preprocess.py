"""Turn the bytes of a picture into a tower's input pixels, in the same way in training, evaluation and serving."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from memeguard.checks import check_number, check_whole
from memeguard.errors import BusyError, ImageTooLargeError, MissingPartError
from memeguard.pictures import avif, bmp, gif, jpeg, png, webp
from memeguard.pictures.budget import MemoryBudget
from memeguard.pictures.decoding import decode
from memeguard.pictures.kinds import IMAGE_FORMATS, recognise
from memeguard.pictures.process import LARGE_BYTES, decode_apart
from memeguard.pictures.scaling import BOX_MARGIN, WHOLE_BYTES, drafted_size, whole_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memeguard.config import Resampling
    from memeguard.pictures.header import Picture

__all__ = ["DEFAULT_LIMITS", "IMAGE_FORMATS", "MAX_PIXELS", "DecodingLimits", "decode_image", "resize_image"]

MAX_PIXELS = 50_000_000  # a 50-megapixel camera's picture
MAX_SIDE = 20_000  # resizing a very long and narrow picture needs much memory
_MAX_KIND_PIXELS = {"AVIF": 25_000_000}  # its decoder takes more memory for a pixel than others
_MAX_DECODED_BYTES = 280 << 20  # of one picture
_BUDGET = MemoryBudget(300 << 20)  # of all pictures decoded at once, in this process and its decoding processes
_EXTRA_BYTES = 4 << 20  # for buffers and averaged pixels
_READERS = {
    "JPEG": jpeg.read_jpeg,
    "PNG": png.read_png,
    "GIF": gif.read_gif,
    "WEBP": webp.read_webp,
    "BMP": bmp.read_bmp,
    "AVIF": avif.read_avif,
}
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own check, which refuses twice as many


@dataclass(frozen=True, kw_only=True)
class DecodingLimits:
    """What decoding one picture may cost.

    Attributes:
        max_pixels: Width times height above which a picture is refused; a format's own limit may be lower.
        timeout_s: Seconds that decoding may take; without a limit if None. In a process of its own, seconds of
            computing. Decoders have no such limit, and a picture of a few kilobytes can keep one busy for long.

    Raises:
        ValueError: A value is of another type, or out of range.
    """

    max_pixels: int = MAX_PIXELS
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        check_whole("max_pixels", self.max_pixels, 1, 2**40)
        if self.timeout_s is not None:
            check_number("decode_timeout_s", self.timeout_s, 0.0, 3600.0)


DEFAULT_LIMITS = DecodingLimits()


def decode_image(
    data: bytes,
    *,
    limits: DecodingLimits = DEFAULT_LIMITS,
    wanted_size: int | None = None,
    deadline: float | None = None,
) -> Image.Image:
    """Decode the first frame of a picture, upright, in RGB, transparency laid on white.

    The cost is computed from the header first. All threads of a process share one memory budget.

    Args:
        data: The bytes of a JPEG, PNG, GIF, WEBP, BMP or AVIF file, recognised by its content.
        limits: What the picture may cost.
        wanted_size: Side of the square that the picture will be resized to. A large picture is then decoded at a
            fraction of its size, or averaged down while it is converted, but to at least twice this side.
        deadline: The time, by ``time.monotonic``, after which a large picture is refused. Large pictures wait for
            each other, because they share the memory budget.

    Raises:
        MissingPartError: ``data`` is empty.
        UnsupportedImageError: The format is not one of ``IMAGE_FORMATS``.
        ImageTooLargeError: According to the header, the picture has too many pixels, or a side over ``MAX_SIDE``.
        SlowImageError: Decoding takes, or would take, too long.
        DamagedImageError: The picture cannot be decoded.
        BusyError: The picture is large, and the deadline has passed.
    """
    picture, num_bytes = examine(data, limits.max_pixels, wanted_size)
    with _BUDGET.take(num_bytes):
        if deadline is not None and num_bytes > LARGE_BYTES and time.monotonic() > deadline:
            size = f"{picture.width}x{picture.height}"
            raise BusyError(
                f"image ({picture.kind}, {size}) is too large to be decoded beside others now; send it again"
            )
        if picture.bounded and (num_bytes <= LARGE_BYTES or not wanted_size):
            return decode(picture, wanted_size, limits.timeout_s)
        return decode_apart(picture, wanted_size, limits.timeout_s, num_bytes)


def examine(data: bytes, max_pixels: int, wanted_size: int | None) -> tuple[Picture, int]:
    """Read a picture's header and return it with the bytes of memory that decoding takes; raise as ``decode_image``."""
    if not data:
        raise MissingPartError("image is empty (0 bytes)")
    picture = _READERS[recognise(data)](data)
    _check_size(picture, max_pixels)
    return picture, _decoded_bytes(picture, wanted_size)


def _check_size(picture: Picture, max_pixels: int) -> None:
    limit = min(max_pixels, _MAX_KIND_PIXELS.get(picture.kind, max_pixels))
    for width, height in ((picture.width, picture.height), picture.canvas or (1, 1)):
        if (num_pixels := width * height) > limit:
            raise ImageTooLargeError(f"image has {num_pixels} pixels ({width}x{height}); the limit is {limit}")
        if max(width, height) > MAX_SIDE:
            raise ImageTooLargeError(f"image is {width}x{height}; the limit of a side is {MAX_SIDE}")


def _decoded_bytes(picture: Picture, wanted_size: int | None) -> int:
    """Return the bytes of memory that decoding takes; raise ``ImageTooLargeError`` if they exceed the limit."""
    size = picture.canvas or drafted_size(picture, wanted_size)
    decoded = size[0] * size[1] * picture.bytes_per_pixel
    num_bytes = max(min(whole_bytes(picture, size), WHOLE_BYTES), decoded) + _EXTRA_BYTES + picture.scan_bytes
    if wanted_size and num_bytes > _MAX_DECODED_BYTES:
        raise ImageTooLargeError(
            f"image ({picture.kind}, {picture.width}x{picture.height}) takes {num_bytes >> 20} MB to decode; "
            f"the limit is {_MAX_DECODED_BYTES >> 20} MB"
        )
    return num_bytes


def resize_image(image: Image.Image, size: int, resampling: Resampling = "bicubic") -> NDArray[np.uint8]:
    """Resize an RGB picture to a square, as uint8 [3, size, size].

    CLIP's own transform crops the centre. Nothing is cropped here, because a meme has words and faces at its edges.
    SigLIP's own transform crops nothing either.
    """
    method = Image.Resampling[resampling.upper()]
    square = image.resize((size, size), method, reducing_gap=BOX_MARGIN)
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))
