"""Read the header of a PNG, and drop what the pixels do not need: texts, profiles, EXIF, further frames."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from memeguard.errors import DamagedImageError
from memeguard.pictures.header import Picture, read_orientation

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CHUNKS = 100_000  # that are read; a picture of 16 MiB in chunks of 8 KiB has 2,000
_SIGNATURE_BYTES, _FRAME_BYTES = 8, 12  # of a chunk beside its content: length, name, checksum
_CHANNELS = {0: 1, 2: 4, 3: 1, 4: 4, 6: 4}  # bytes that Pillow keeps of a pixel, by colour type
_GREY, _RGB, _DEEP = 0, 2, 16


def read_png(data: bytes) -> Picture:
    """Read IHDR and EXIF, and keep the chunks that the first frame needs."""
    if data[12:16] != b"IHDR" or len(data) < 33:  # noqa: PLR2004 - signature and IHDR
        raise DamagedImageError(f"image (PNG, {len(data)} bytes) has a damaged header: no IHDR")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    kept, orientation, seen, previous = [data[:33]], 1, {b"IHDR"}, b"IHDR"
    end = 0
    for name, start, end in _chunks(data):
        if name == b"eXIf" and name not in seen:
            orientation = read_orientation(data[start + 8 : end - 4])
        elif (name == b"IDAT" and (previous == name or name not in seen)) or (
            name in {b"PLTE", b"tRNS"} and not seen & {name, b"IDAT"}
        ):
            kept.append(data[start:end])
        elif not name.isalpha():
            break  # not a chunk; the decoder reports it if it needs more
        seen.add(name)
        previous = name
    return Picture(
        kind="PNG",
        width=width,
        height=height,
        data=b"".join(kept) + (b"" if end > len(data) else b"\0\0\0\0IEND\xaeB`\x82"),  # a cut-off chunk stays so
        num_bytes=len(data),
        opaque=colour == _RGB and b"tRNS" not in seen,
        bytes_per_pixel=2 if (colour, depth) == (_GREY, _DEEP) else _CHANNELS.get(colour, 4),
        orientation=orientation,
        depth=depth,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of every chunk after IHDR, up to IEND or the end of ``data``."""
    position = 33
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + _FRAME_BYTES + length
        if name == b"IEND":
            return
        yield name, position, end
        position = end
    raise DamagedImageError(f"image is a PNG of over {_MAX_CHUNKS} chunks")
