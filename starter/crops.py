"""Augment pictures for the picture tower: random crops with other colours, the same for teacher and student."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageEnhance

if TYPE_CHECKING:
    import random

_SMALLEST: Final = 0.2  # of the picture's area
_LOG_RATIO: Final = 0.4  # log of the largest stretch of a side
_COLOURS: Final = 0.4  # largest change of brightness, contrast and saturation


def draw_crop(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Crop a random part of an RGB picture and change its colours; never mirror it, for it may contain words."""
    area = rng.uniform(_SMALLEST, 1.0) * picture.width * picture.height
    stretch = math.exp(rng.uniform(-_LOG_RATIO, _LOG_RATIO))
    width = max(1, min(picture.width, round(math.sqrt(area * stretch))))
    height = max(1, min(picture.height, round(math.sqrt(area / stretch))))
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    crop = picture.crop((left, top, left + width, top + height))
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        crop = enhance(crop).enhance(1.0 + rng.uniform(-_COLOURS, _COLOURS))
    return crop
