"""Memes that an archive is proven on: those of a labelled split, or a few synthetic ones."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from archiving.errors import ArchiveError
from memes.reading import read_split

if TYPE_CHECKING:
    from pathlib import Path

    from memes.meme import Meme

NUM_SYNTHETIC: Final = 24
_MIN_MEMES, _MAX_MEMES = 16, 256  # of a validation split; with ViT-B/32 a proof takes a second for twenty memes
_MIN_CALIBRATION, _MAX_CALIBRATION = 16, 300  # NNCF's own default is 300
_LONG_CAPTION = "a caption of many words " * 40  # several chunks of 77 tokens
_WORDS: Final = ("you", "me", "what", "when", "every", "never", "dog", "people", "hate", "love", "look", "this", "my")

Probe = tuple[bytes, str]  # a picture's file and its caption


def make_probes() -> list[Probe]:
    """Make 24 synthetic memes: coloured noise with random words, an empty, a long and a strange caption."""
    rng = np.random.default_rng(7)
    captions = ["", _LONG_CAPTION, "\N{GRINNING FACE} MEME\n\x00 caption"]
    captions += [" ".join(rng.choice(_WORDS, rng.integers(3, 16))) for _ in range(NUM_SYNTHETIC - len(captions))]
    probes = []
    for caption in captions:
        patches = Image.fromarray(rng.integers(0, 256, (*rng.integers(2, 12, 2), 3), dtype=np.uint8))
        patches.resize((320, 240), Image.Resampling.BICUBIC).save(picture := io.BytesIO(), "PNG")
        probes.append((picture.getvalue(), caption))
    return probes


def read_probes(data: Path) -> list[Probe]:
    """Read up to 256 memes of the validation split in ``data``; raise ``ArchiveError`` if there are too few."""
    memes = read_split(data, "validation", verify_images=False)[:_MAX_MEMES]
    if len(memes) < _MIN_MEMES:
        raise ArchiveError(f"{data} has {len(memes)} validation memes; at least {_MIN_MEMES} are needed")
    return [_read_probe(meme) for meme in memes]


def read_calibration(data: Path) -> list[Probe]:
    """Draw up to 300 memes from the train split in ``data``; raise ``ArchiveError`` if there are too few."""
    memes = read_split(data, "train", verify_images=False)
    if len(memes) < _MIN_CALIBRATION:
        raise ArchiveError(
            f"{data} has {len(memes)} training memes to calibrate int8 with; at least {_MIN_CALIBRATION} are needed"
        )
    chosen = random.Random(0).sample(range(len(memes)), min(len(memes), _MAX_CALIBRATION))  # noqa: S311 - no secret
    return [_read_probe(memes[index]) for index in chosen]


def _read_probe(meme: Meme) -> Probe:
    try:
        return meme.read_picture(), meme.text
    except OSError as error:
        raise ArchiveError(f"{meme.where}: unreadable picture, {str(meme.image_path)!r}: {error.strerror}") from error
