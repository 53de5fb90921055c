"""Read the header of a WEBP, and keep only the first frame."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from memeguard.errors import DamagedImageError
from memeguard.pictures.header import Picture, read_orientation

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CHUNKS = 10_000  # that are read
_STILL, _MOVING = {b"ALPH", b"VP8 ", b"VP8L"}, {b"ANIM", b"ANMF"}
_IN_PROCESS_PIXELS = 4_000_000  # for which Pillow needs 64 MB; it decodes them without interruption
_ALPHA, _ANIMATED = 0x10, 0x02
_LOSSLESS_BYTES, _ALPHA_BYTES, _LOSSY_BYTES = 5, 5, 1  # per pixel, if libwebp scales while it decodes


def read_webp(data: bytes) -> Picture:
    """Read size and orientation, and keep the first frame without profiles and metadata."""
    try:
        return _read(data)
    except (struct.error, IndexError):
        raise DamagedImageError(f"image (WEBP, {len(data)} bytes) has a damaged header") from None


def _read(data: bytes) -> Picture:
    kept: list[tuple[bytes, bytes]] = []
    orientation, animated = 1, False
    for name, content in _chunks(data, 12):
        if name == b"VP8X" and not kept:
            animated = bool(content[0] & _ANIMATED)
            kept.append((name, bytes((content[0] & (_ALPHA | _ANIMATED),)) + content[1:]))
        elif name == b"EXIF" and orientation == 1:
            orientation = read_orientation(content)
        elif name in (_MOVING if animated else _STILL):
            kept += [(name, content)] * (name not in dict(kept))
    parts = dict(kept)
    frame = dict(_chunks(parts[b"ANMF"], 16)) if b"ANMF" in parts else parts
    width, height = _size(parts)
    lossless, alpha = b"VP8L" in frame, b"ALPH" in frame
    return Picture(
        kind="WEBP",
        width=width,
        height=height,
        data=riff(kept),
        num_bytes=len(data),
        bytes_per_pixel=_LOSSLESS_BYTES if lossless else _ALPHA_BYTES if alpha else _LOSSY_BYTES,
        orientation=orientation,
        # A lossless stream may ask for any number of tables, and nothing interrupts the decoding of a large picture.
        bounded=not lossless and not alpha and width * height <= _IN_PROCESS_PIXELS,
    )


def still_frame(data: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return the frame of a WEBP of ``read_webp`` as a still WEBP, and the frame's left and top on the canvas."""
    parts = dict(_chunks(data, 12))
    if b"ANMF" not in parts:
        return data, (0, 0)
    frame = parts[b"ANMF"]
    left, top, *_ = (2 * int.from_bytes(frame[start : start + 3], "little") for start in (0, 3))
    pictures = [(name, content) for name, content in _chunks(frame, 16) if name in {b"ALPH", b"VP8 ", b"VP8L"}]
    flags = bytes((_ALPHA if b"ALPH" in dict(pictures) else 0, 0, 0, 0))
    return riff([(b"VP8X", flags + frame[6:12]), *pictures]), (left, top)


def frame_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a still WEBP."""
    return _size(dict(_chunks(data, 12)))


def riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a WEBP of ``chunks``, each a name and its content."""
    body = b"".join(
        name + struct.pack("<L", len(content)) + content + b"\0" * (len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WEBP" + body


def _chunks(data: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sL", data, position)
        if position + 8 + length > len(data) and name in _STILL | _MOVING:
            raise struct.error("the picture is cut off")
        yield name, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _size(parts: dict[bytes, bytes]) -> tuple[int, int]:
    if b"VP8X" in parts:
        content = parts[b"VP8X"]
        width, height = (
            struct.unpack("<L", content[4:7] + b"\0")[0] + 1,
            struct.unpack("<L", content[7:10] + b"\0")[0] + 1,
        )
    elif b"VP8L" in parts:
        (bits,) = struct.unpack_from("<L", parts[b"VP8L"], 1)
        width, height = (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    elif b"VP8 " in parts:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", parts[b"VP8 "], 6))
    else:
        raise struct.error("no frame")
    return width, height
