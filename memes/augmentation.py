"""Augment memes for training: misread captions, crop and recolour pictures, drop one of the two.

A picture is never mirrored, because it contains words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from memeguard.errors import TextTooLongError
from memeguard.predictor import PreparedMeme
from memes.misreading import misread

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

    from memeguard.captions import CaptionTokenizer

MID_GREY: Final = 128  # of a picture without content
_MISSING: Final = 0.1  # share of captions dropped, and of pictures; never both of one meme ("modality dropout")
_LEFT_OUT: Final = 0.1  # share of words
_MISREAD: Final = 0.3  # share of captions
_MAX_RATE: Final = 0.1  # share of a misread caption's characters
_CROPPED: Final = 0.7  # share of pictures
_SMALLEST_SIDE: Final = 0.75  # of a crop, as a share of the picture's side
_LIGHT: Final = 0.2  # largest change of contrast and of brightness, either way


def augment(pixels_CHW: NDArray[np.uint8], text: str, captions: CaptionTokenizer, rng: random.Random) -> PreparedMeme:
    """Augment one meme.

    Args:
        pixels_CHW: The picture, uint8 [3, size, size]; not changed.
        text: The caption.
        captions: The model's tokenizer.
        rng: Source of every random choice.
    """
    missing = rng.random()
    pixels, varied = _vary_picture(pixels_CHW, rng), vary_caption(text, rng)
    if missing < _MISSING and text.strip():
        pixels = blank_picture(pixels_CHW.shape[-1])
    elif missing > 1.0 - _MISSING:
        varied = ""
    try:
        return PreparedMeme(pixels, captions.encode(varied))
    except TextTooLongError:  # misread words have more tokens; the original caption fits
        return PreparedMeme(pixels, captions.encode(text))


def blank_picture(size: int) -> NDArray[np.uint8]:
    """A grey picture, uint8 [3, size, size]."""
    return np.full((3, size, size), MID_GREY, dtype=np.uint8)


def vary_caption(text: str, rng: random.Random) -> str:
    """Leave out some words, but not all, and misread letters."""
    kept = " ".join(word for word in text.split() if rng.random() >= _LEFT_OUT) or text
    return misread(kept, rng, rng.uniform(0.0, _MAX_RATE)) if rng.random() < _MISREAD else kept


def _vary_picture(pixels_CHW: NDArray[np.uint8], rng: random.Random) -> NDArray[np.uint8]:
    size = pixels_CHW.shape[-1]
    picture = Image.fromarray(np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0)))
    if rng.random() < _CROPPED:
        width, height = (size * rng.uniform(_SMALLEST_SIDE, 1.0) for _ in range(2))
        left, top = rng.uniform(0, size - width), rng.uniform(0, size - height)
        box = (left, top, left + width, top + height)
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    contrast, brightness = (rng.uniform(1 - _LIGHT, 1 + _LIGHT) for _ in range(2))
    values = (np.asarray(picture, dtype=np.float32) - MID_GREY) * contrast + MID_GREY * brightness
    return np.ascontiguousarray(values.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
