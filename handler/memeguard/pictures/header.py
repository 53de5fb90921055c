"""The header of a picture, which is read before any decoder runs."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ORIENTATION = 0x0112
_MAX_EXIF_TAGS = 1000  # that are read; cameras write fewer than a hundred
_SHORT = 3


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture's header, and the part of its file that the pixels need.

    Attributes:
        kind: Pillow's name of the format.
        width: Width in pixels, as stored, before the orientation is applied.
        height: Height in pixels, as stored.
        data: The file without metadata, further frames and anything else that the first frame does not need.
        num_bytes: Size of the file as it was sent.
        opaque: Whether the decoder gives RGB at once, without another copy at full size.
        bytes_per_pixel: Memory of the decoder for each pixel at full size.
        scan_bytes: Further memory of a JPEG with several scans, at whatever size it is decoded.
        orientation: EXIF orientation, 1 to 8.
        canvas: Size of the canvas of a GIF's frame; None for other formats.
        offset: Left and top of the frame on the canvas.
        depth: Bits of a PNG's sample; 0 for other formats.
        bounded: Whether the header bounds the cost of decoding; if not, it runs in a separate process.
    """

    kind: str
    width: int
    height: int
    data: bytes
    num_bytes: int
    opaque: bool = False
    bytes_per_pixel: int = 4
    scan_bytes: int = 0
    orientation: int = 1
    canvas: tuple[int, int] | None = None
    offset: tuple[int, int] = (0, 0)
    depth: int = 0
    bounded: bool = True


def read_orientation(exif: bytes) -> int:
    """Read the orientation from an EXIF block as browsers do: one SHORT in the first directory; otherwise 1."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]))
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "L", tiff, 4)
        (num_tags,) = struct.unpack_from(order + "H", tiff, start)
        for index in range(min(num_tags, _MAX_EXIF_TAGS)):
            tag, kind, count, value = struct.unpack_from(order + "HHLH", tiff, start + 2 + 12 * index)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and count == 1 and value in range(1, 9) else 1
    except struct.error:
        pass  # damaged metadata does not make a picture unreadable
    return 1
