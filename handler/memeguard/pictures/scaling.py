"""Choose the size at which a large picture is decoded, and compute what converting it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memeguard.pictures.header import Picture

WHOLE_BYTES = 64_000_000  # a picture that takes more is averaged down before or while it is converted
_CONVERTED_BYTES = 16  # of a pixel that is not opaque: decoded, with alpha, white, and both together
_OPAQUE_BYTES = 4
# A large picture is first averaged down to this many times the wanted size; Pillow calls 3 "almost the same".
BOX_MARGIN = 3.0
DRAFT_MARGIN = 2  # a JPEG is decoded to at least this many times the wanted size


def drafted_size(picture: Picture, wanted_size: int | None) -> tuple[int, int]:
    """Return the size at which ``picture`` is decoded.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is at least twice the wanted one; others at full size.
    """
    width, height = picture.width, picture.height
    if picture.kind != "JPEG" or not wanted_size:
        return width, height
    scale = min(width, height) // (DRAFT_MARGIN * wanted_size)
    divisor = next(divisor for divisor in (8, 4, 2, 1) if divisor <= max(1, scale))
    return -(-width // divisor), -(-height // divisor)


def whole_bytes(picture: Picture, size: tuple[int, int]) -> int:
    """Return the bytes of memory that it takes to convert ``picture`` in one piece, decoded at ``size``."""
    return size[0] * size[1] * (_OPAQUE_BYTES if picture.opaque else _CONVERTED_BYTES)


def shrink_factors(picture: Picture, size: tuple[int, int], wanted_size: int | None) -> tuple[int, int]:
    """Return how many columns and rows of ``picture``, decoded at ``size``, are averaged into one.

    A picture that can be converted in one piece is not averaged: (1, 1).
    """
    if not wanted_size or whole_bytes(picture, size) <= WHOLE_BYTES:
        return 1, 1
    across, down = (max(1, int(side / wanted_size / BOX_MARGIN)) for side in size)
    return across, down
