"""Read the header of a GIF, and keep only the first frame.

The frame is decoded alone and laid on the canvas afterwards. Pixels that it does not cover are then transparent, as in
browsers, and neither the canvas nor the disposal method costs memory.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from memeguard.errors import DamagedImageError
from memeguard.pictures.header import Picture

_MAX_BLOCKS = 200_000  # before the first frame, with comments; 50 MB if they are full
_EXTENSION, _IMAGE, _CONTROL = 0x21, 0x2C, 0xF9
_PALETTE, _TRANSPARENT = 0x80, 0x01


class _Start(NamedTuple):
    """Where the first frame starts, and the graphic control extension that belongs to it."""

    position: int
    control: bytes


def read_gif(data: bytes) -> Picture:
    """Find the first frame and return a GIF of it alone."""
    try:
        screen_width, screen_height, flags = struct.unpack_from("<HHB", data, 6)
        palette_end = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & _PALETTE else 0)
        position, control = _find_frame(data, palette_end)
        left, top, width, height = struct.unpack_from("<HHHH", data, position + 1)
    except (struct.error, IndexError):
        raise DamagedImageError(f"image (GIF, {len(data)} bytes) has a damaged header: no frame in it") from None
    screen = data[:6] + struct.pack("<HH", width, height) + data[10:palette_end]
    frame = data[position : position + 1] + struct.pack("<HHHH", 0, 0, width, height) + data[position + 9 :]
    return Picture(
        kind="GIF",
        width=width,
        height=height,
        data=screen + control + frame,
        num_bytes=len(data),
        bytes_per_pixel=2,
        canvas=(max(screen_width, left + width), max(screen_height, top + height)),
        offset=(left, top),
    )


def _find_frame(data: bytes, position: int) -> _Start:
    control, num_blocks = b"", 0
    while data[position] != _IMAGE:
        start = position
        if data[position] != _EXTENSION:
            position += 1  # decoders skip a stray byte, too
            num_blocks += 1
        else:
            position, passed = _skip_blocks(data, position + 2, _MAX_BLOCKS - num_blocks)
            num_blocks += passed
            if data[start + 1] == _CONTROL and data[start + 2] >= 4:  # noqa: PLR2004 - its size
                flags = data[start + 3] & _TRANSPARENT  # the disposal method does not matter without a second frame
                control = b"\x21\xf9\x04" + bytes((flags, 0, 0, data[start + 6])) + b"\0"
        if num_blocks >= _MAX_BLOCKS:
            raise DamagedImageError(f"image is a GIF of over {_MAX_BLOCKS} blocks before its first frame")
    return _Start(position, control)


def _skip_blocks(data: bytes, position: int, most: int) -> tuple[int, int]:
    """Return where the sub-blocks from ``position`` on end, and how many there are, up to ``most``."""
    passed = 1
    while data[position] and passed < most:
        position += 1 + data[position]
        passed += 1
    return position + 1, passed
