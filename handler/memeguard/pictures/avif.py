"""Read the size of an AVIF. The header cannot bound the cost of decoding, because the AV1 stream has its own size."""

from __future__ import annotations

import re
import struct

from memeguard.errors import DamagedImageError
from memeguard.pictures.header import Picture

_MAX_SIZES = 1000  # that are read; a tiled picture has one for each tile
_DECODED_BYTES = 16  # per pixel with alpha or 10 bits: libavif's planes and RGB, and Pillow's copies; 9 without
_MOST_BYTES = 270 << 20  # of a large picture, which would be too large with alpha
# Times take 4 bytes in a tkhd of version 0, 8 in version 1, so that its size comes later (ISO 14496-12, 8.3.2).
_SIZE = re.compile(rb"ispe\0\0\0\0(?P<item>.{8})|tkhd(?:\0.{75}|\x01.{87})(?P<track>.{8})", re.DOTALL)


def read_avif(data: bytes) -> Picture:
    """Return a picture with the largest size that an item (ISO 23008-12, ``ispe``) or a track declares."""
    sizes = [_read_size(found) for found, _ in zip(_SIZE.finditer(data), range(_MAX_SIZES), strict=False)]
    if not sizes:
        raise DamagedImageError(f"image (AVIF, {len(data)} bytes) has a damaged header: no size in it")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Picture(
        kind="AVIF",
        width=width,
        height=height,
        data=data,
        num_bytes=len(data),
        bytes_per_pixel=min(_DECODED_BYTES, _MOST_BYTES // max(1, width * height)),
        bounded=False,
    )


def _read_size(found: re.Match[bytes]) -> tuple[int, int]:
    if found["item"]:
        return struct.unpack(">LL", found["item"])
    width, height = struct.unpack(">LL", found["track"])  # 16.16 fixed point
    return width >> 16, height >> 16
