"""Collect texts for the text tower: captions, variants of captions, and other English."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starter.materials import find_pictures, read_texts

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

VARIANTS_PER_CAPTION: Final = 8
_SHORTEST: Final = 3  # words of a piece cut out of a caption
_PIECES, _THINNED = 0.4, 0.3  # shares of the variants; the others are halves joined
_LEFT_OUT: Final = 0.25  # of a thinned caption's words
_LONGEST: Final = 60  # words; MiniLM was trained with 128 tokens at most


def collect_texts(captions: Sequence[str], packages: Path, rng: random.Random) -> list[str]:
    """Collect the captions in their order, then their variants, then other English without repetitions."""
    variants = [vary_caption(caption, captions, rng) for caption in captions for _ in range(VARIANTS_PER_CAPTION)]
    others = [*read_texts(packages), *(picture.name for picture in find_pictures(packages))]
    shortened = (" ".join(text.split()[:_LONGEST]) for text in others)
    return [*captions, *variants, *dict.fromkeys(text for text in shortened if text)]


def vary_caption(caption: str, others: Sequence[str], rng: random.Random) -> str:
    """Make a variant: a piece of ``caption``, some of its words, or half of it joined to half of another caption."""
    words = caption.split()
    kind = rng.random()
    if kind < _PIECES and len(words) > _SHORTEST:
        start = rng.randrange(len(words) - _SHORTEST + 1)
        return " ".join(words[start : rng.randint(start + _SHORTEST, len(words))])
    if kind < _PIECES + _THINNED:
        return " ".join(word for word in words if rng.random() > _LEFT_OUT) or caption
    other = rng.choice(others).split()
    return " ".join([*words[: len(words) // 2], *other[len(other) // 2 :]])
