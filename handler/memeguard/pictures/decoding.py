"""Decode a picture as small as possible, on white, in RGB and upright."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from memeguard.errors import (
    DamagedImageError,
    ImageTooLargeError,
    MemeError,
    SlowImageError,
    UnsupportedImageError,
    detached,
)
from memeguard.pictures import libwebp, webp
from memeguard.pictures.pixels import lay_on_canvas, scale_transparency, to_rgb, turn_upright
from memeguard.pictures.scaling import DRAFT_MARGIN, WHOLE_BYTES, shrink_factors, whole_bytes

if TYPE_CHECKING:
    from memeguard.pictures.header import Picture

_BLOCK_BYTES = 16 * 1024  # that a decoder reads between two checks of the time limit
_BAND_PIXELS = 1_000_000  # that are converted at once of a picture that is averaged down
_EXIF_ORIENTATION = 0x0112
# Pillow's classes instead of Image.open, which opens a JPEG that declares further pictures as MPO, and then neither
# counts its scans nor decodes it at a smaller size.
_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "AVIF": AvifImageFile,
}


class TimedBytes(io.BytesIO):
    """Bytes that can be read for a limited time, from any thread."""

    def __init__(self, data: bytes, timeout_s: float) -> None:
        super().__init__(data)
        self._timeout_s, self._deadline = timeout_s, time.monotonic() + timeout_s

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as ``BytesIO`` does; raise ``SlowImageError`` after the time limit."""
        if time.monotonic() > self._deadline:
            raise SlowImageError(f"image takes over {self._timeout_s} s to decode")
        return super().read(size)


def decode(picture: Picture, wanted_size: int | None, timeout_s: float | None) -> Image.Image:
    """Decode ``picture`` upright, in RGB, on white; average a large one down if ``wanted_size`` is given.

    Raises:
        SlowImageError: The decoder was still reading after ``timeout_s``.
        ImageTooLargeError: Decoding takes more memory than allowed.
        DamagedImageError: The picture cannot be decoded.
    """
    try:
        return turn_upright(*_decode_rgb(picture, wanted_size, timeout_s))
    except MemeError as error:
        failure = error
    except MemoryError:
        failure = ImageTooLargeError(f"image ({_name(picture)}) takes more memory to decode than one picture may take")
    except Exception as error:  # noqa: BLE001 - decoders raise many kinds: OSError, SyntaxError, struct.error
        failure = DamagedImageError(f"image ({_name(picture)}) cannot be decoded: {error}")
    raise detached(failure)  # outside of the except blocks, which would set a cause again


def _name(picture: Picture) -> str:
    return f"{picture.kind}, {picture.num_bytes} bytes"


def _decode_rgb(picture: Picture, wanted_size: int | None, timeout_s: float | None) -> tuple[Image.Image, int]:
    width, height = picture.width, picture.height
    if picture.kind == "WEBP" and whole_bytes(picture, (width, height)) > WHOLE_BYTES:
        return _decode_webp(picture, wanted_size), picture.orientation
    image = _open(picture, timeout_s)
    try:
        if picture.kind == "JPEG" and wanted_size:
            image.draft(None, (DRAFT_MARGIN * wanted_size, DRAFT_MARGIN * wanted_size))
        image.decodermaxblock = _BLOCK_BYTES
        image.load()
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1) if picture.kind == "AVIF" else picture.orientation
        factors = shrink_factors(picture, picture.canvas or image.size, wanted_size)
        frame = _shrink(image, factors)
        return lay_on_canvas(frame, picture.canvas, picture.offset, factors) if picture.canvas else frame, orientation
    except BaseException:
        image.close()  # otherwise the pixels stay in memory as long as the error
        raise


def _open(picture: Picture, timeout_s: float | None) -> ImageFile.ImageFile:
    try:
        image = _OPENERS[picture.kind](
            io.BytesIO(picture.data) if timeout_s is None else TimedBytes(picture.data, timeout_s)
        )
    except OSError as error:
        if str(error).startswith("Unsupported BMP"):
            reason = str(error).removeprefix("Unsupported BMP ")
            raise UnsupportedImageError(
                f"image ({_name(picture)}) is a BMP of an unsupported kind: {reason}; save it as a PNG"
            ) from None
        raise
    if image.width * image.height > picture.width * picture.height:
        raise DamagedImageError(
            f"image ({_name(picture)}) has two sizes: {image.size}, and a smaller one in its header"
        )
    if picture.depth:
        scale_transparency(image, picture.depth)
    return image


def _shrink(image: Image.Image, factors: tuple[int, int]) -> Image.Image:
    """Convert to RGB and average ``factors`` columns and rows into one, band by band."""
    if factors == (1, 1):
        return to_rgb(image)
    width, height = image.size
    small = Image.new("RGB", (-(-width // factors[0]), -(-height // factors[1])))
    band = max(1, _BAND_PIXELS // (width * factors[1])) * factors[1]
    for top in range(0, height, band):
        rows = to_rgb(image.crop((0, top, width, min(height, top + band))))
        small.paste(rows.reduce(factors), (0, top // factors[1]))
    return small


def _decode_webp(picture: Picture, wanted_size: int | None) -> Image.Image:
    """Decode a large WEBP with libwebp itself, at a smaller size if ``wanted_size`` is given."""
    factors = shrink_factors(picture, (picture.width, picture.height), wanted_size)
    data, offset = webp.still_frame(picture.data)
    width, height = webp.frame_size(data)
    if width * height > picture.width * picture.height:
        raise DamagedImageError(f"image ({_name(picture)}) has a frame larger than its canvas")
    frame = libwebp.decode_scaled(data, (-(-width // factors[0]), -(-height // factors[1])))
    return lay_on_canvas(frame, (picture.width, picture.height), offset, factors)
