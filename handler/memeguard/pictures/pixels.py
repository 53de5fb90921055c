"""Convert decoded pixels to what browsers show: on white, in RGB, upright."""

from __future__ import annotations

import numpy as np
from PIL import Image

_UPRIGHT = {  # EXIF 2.32, table "Orientation"
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def scale_transparency(image: Image.Image, depth: int) -> None:
    """Scale a PNG's transparent colour from ``depth`` bits to 8, as Pillow scales the pixels.

    A colour of 16 bits then matches all colours with the same upper 8 bits.
    """
    colour = image.info.get("transparency")
    if image.mode == "L" and isinstance(colour, int):
        image.info["transparency"] = colour * 255 // (2**depth - 1)
    elif image.mode == "RGB" and isinstance(colour, tuple) and depth > 8:  # noqa: PLR2004
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def lay_on_canvas(
    frame: Image.Image, canvas: tuple[int, int], offset: tuple[int, int], factors: tuple[int, int]
) -> Image.Image:
    """Lay ``frame`` on a white canvas of the size ``canvas`` divided by ``factors``."""
    size = -(-canvas[0] // factors[0]), -(-canvas[1] // factors[1])
    if size == frame.size:
        return frame
    white = Image.new("RGB", size, "white")
    white.paste(frame, (offset[0] // factors[0], offset[1] // factors[1]))
    return white


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Apply an EXIF orientation; ignore an unknown one."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB, transparency laid on white."""
    if image.mode.startswith("I;16") or image.mode == "I":  # Pillow would clip 16-bit grey to 255 instead of scaling
        values = np.asarray(image)
        grey = (values.astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        if isinstance(key := image.info.get("transparency"), int):
            grey[values == key] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
