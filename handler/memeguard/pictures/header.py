"""What the header of a picture says, before any decoder sees the picture."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ORIENTATION = 0x0112
_MAX_EXIF_TAGS = 1000  # looked at; cameras write under a hundred
_SHORT = 3


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture's header, and as much of its file as its pixels need.

    Attributes:
        kind: Pillow's name of the format.
        width: In pixels, as stored: before the orientation is undone.
        height: In pixels, as stored.
        data: The file without metadata, further frames and whatever else the first frame does without.
        num_bytes: Size of the file as it was sent.
        opaque: Whether it is decoded to RGB at once, and nothing else is made of it at full size.
        bytes_per_pixel: Memory that its decoder takes for each pixel, if it is decoded at full size.
        scan_bytes: Memory that a JPEG of several scans takes beside its pixels, at whatever size it is decoded.
        orientation: EXIF's, 1 to 8.
        canvas: Size of the screen that a GIF's frame is drawn on; other formats have none.
        offset: Where on the canvas the frame begins.
        depth: Bits of a PNG's sample; 0 for other formats.
        bounded: Whether the header bounds what decoding costs. If not, it is done in a process of its own.
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
    """Read the orientation from an EXIF block as browsers do: one SHORT in the first directory; 1 if there is none."""
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
