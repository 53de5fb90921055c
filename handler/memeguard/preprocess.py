"""Turn the bytes of a picture into the pixels CLIP reads; training, evaluation and serving share it.

Does not know what the pixels are for: neither the model nor the caption.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from memeguard.errors import (
    DamagedImageError,
    ImageTooLargeError,
    MissingPartError,
    SlowImageError,
    UnsupportedImageError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Formats people post. TIFF is left out on purpose: no browser shows it, and its decoder has a long record of holes.
IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
MAX_PIXELS = 50_000_000  # a 50-megapixel camera's picture; 150 MB once decoded
MAX_SIDE = 20_000  # resizing needs much memory for a picture that is a mere line
_MAX_SCANS = 100  # of a progressive JPEG; real ones have about ten, and each costs a pass over all pixels
_MAX_SCANNED_PIXELS = 1_000_000_000  # of all scans; 20 of 50 megapixels
_BLOCK_BYTES = 16 * 1024  # that a decoder is given at once, between two looks at the clock
_DRAFT_MARGIN = 2  # a JPEG is decoded to at least so many times the size that is wanted
_BOX_MARGIN = 3.0  # a large picture is first averaged down to so many times that size; Pillow calls 3 "almost the same"
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns; ours, checked before anything is decoded, refuses
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {  # EXIF 2.32, table "Orientation"
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, wanted_size: int | None = None, timeout_s: float | None = None
) -> Image.Image:
    """Decode the first frame of a picture, upright, in RGB, transparency laid on white.

    Args:
        data: The bytes of a JPEG, PNG, GIF, WEBP or BMP file; the name it had is irrelevant.
        max_pixels: Width times height above which nothing is decoded.
        wanted_size: To which square it will be resized. A large JPEG is then decoded to 1/2, 1/4 or 1/8 of its size,
            yet to at least twice this one, which costs a fraction and is hardly seen.
        timeout_s: How long a decoder may go on being given bytes. Decoders have no limit of their own, and a picture of
            a few kilobytes can keep one busy for a long time.

    Raises:
        MissingPartError: ``data`` is empty.
        UnsupportedImageError: Not one of ``IMAGE_FORMATS``.
        ImageTooLargeError: More than ``max_pixels``, or a side over ``MAX_SIDE``, according to the header.
        SlowImageError: It takes, or would take, too long.
        DamagedImageError: The header is fine, the rest is not.
    """
    if not data:
        raise MissingPartError("image is empty (0 bytes)")
    image = _open(io.BytesIO(data) if timeout_s is None else _TimedBytes(data, timeout_s), len(data))
    _check_cost(image, data, max_pixels)
    if image.format == "JPEG" and wanted_size is not None:
        image.draft(None, (_DRAFT_MARGIN * wanted_size, _DRAFT_MARGIN * wanted_size))
    if isinstance(image, ImageFile.ImageFile):
        image.decodermaxblock = _BLOCK_BYTES
    try:
        image.load()
        return _to_rgb(_turn_upright(image))
    except SlowImageError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they stumble over: OSError, SyntaxError, struct.error
        raise DamagedImageError(f"image ({image.format}, {len(data)} bytes) cannot be decoded: {error}") from error


class _TimedBytes(io.BytesIO):
    """Bytes that can be read for some seconds only; what reads them may be in any thread."""

    def __init__(self, data: bytes, timeout_s: float) -> None:
        super().__init__(data)
        self._timeout_s, self._deadline = timeout_s, time.monotonic() + timeout_s

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._deadline:
            raise SlowImageError(f"image takes over {self._timeout_s} s to decode")
        return super().read(size)


def _check_cost(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse what its header alone says is too much."""
    num_pixels = image.width * image.height
    if num_pixels > max_pixels:
        raise ImageTooLargeError(
            f"image has {num_pixels} pixels ({image.width}x{image.height}); the limit is {max_pixels}"
        )
    if max(image.size) > MAX_SIDE:
        raise ImageTooLargeError(f"image is {image.width}x{image.height}; the limit of a side is {MAX_SIDE}")
    if image.format == "JPEG":
        num_scans = data.count(b"\xff\xda")
        if num_scans > _MAX_SCANS:
            raise DamagedImageError(f"image is a JPEG of {num_scans} scans; the limit is {_MAX_SCANS}")
        if (scanned := num_scans * num_pixels) > _MAX_SCANNED_PIXELS:
            raise SlowImageError(
                f"image is a JPEG of {num_scans} scans of {num_pixels} pixels, {scanned} in all; "
                f"the limit is {_MAX_SCANNED_PIXELS}"
            )


def _open(file: io.BytesIO, num_bytes: int) -> Image.Image:
    try:
        return Image.open(file, formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        readable = ", ".join(IMAGE_FORMATS)
        raise UnsupportedImageError(f"image ({num_bytes} bytes) is not a picture in one of {readable}") from error
    except SlowImageError:
        raise
    except Exception as error:
        raise DamagedImageError(f"image ({num_bytes} bytes) has a damaged header: {error}") from error


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged metadata does not make a picture unreadable
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":  # Pillow would clip 16-bit grey to 255 instead of scaling
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def resize_image(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Squash an RGB picture to a square, bicubic, as uint8 [3, size, size].

    CLIP's own transform crops the centre; a meme's words and faces stand at its edges, so nothing is cropped here.
    """
    square = image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=_BOX_MARGIN)
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))
