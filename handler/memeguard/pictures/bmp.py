"""Read the header of a BMP."""

from __future__ import annotations

import struct

from memeguard.errors import DamagedImageError
from memeguard.pictures.header import Picture

_OLD_HEADER_BYTES = 12  # OS/2's first, whose sides are 16-bit numbers
_RLE = {1, 2}


def read_bmp(data: bytes) -> Picture:
    """Read size, depth and compression; Pillow refuses the kinds of BMP that it cannot decode."""
    try:
        (header_bytes,) = struct.unpack_from("<L", data, 14)
        if header_bytes == _OLD_HEADER_BYTES:
            width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
            compression = 0
        else:
            width, height, _, depth, compression = struct.unpack_from("<LlHHL", data, 18)
    except struct.error:
        raise DamagedImageError(f"image (BMP, {len(data)} bytes) has a damaged header: it is cut off") from None
    palette_bytes = 4 if compression in _RLE else 1  # run-length coded pixels are unpacked twice
    return Picture(
        kind="BMP",
        width=width,
        height=abs(height),
        data=data,
        num_bytes=len(data),
        opaque=depth in {16, 24} or (depth, compression) == (32, 0),
        bytes_per_pixel=4 if depth > 8 else palette_bytes,  # noqa: PLR2004 - bits of a palette's index
    )
