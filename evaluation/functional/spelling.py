"""Spell a sentence as people do who want to get past a filter. Each function is deterministic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LONG_WORD: Final = re.compile(r"[^\W\d_]{5,}")  # short words stay, so that a reader still understands the sentence
_LEET: Final = str.maketrans("aeios", "43105")
_VOWELS: Final = frozenset("aeiouAEIOU")


def spell_leet(text: str) -> str:
    """Replace letters by digits: "v3rm1n"."""
    return text.translate(_LEET)


def space_letters(text: str) -> str:
    """Put blanks between the letters of long words: "v e r m i n"."""
    return _LONG_WORD.sub(lambda word: " ".join(word[0]), text)


def join_words(text: str) -> str:
    """Leave out the blanks between words."""
    return text.replace(" ", "")


def drop_letters(text: str) -> str:
    """Leave out the middle letter of long words: "vemin"."""
    return _LONG_WORD.sub(lambda word: _drop(word[0]), text)


def swap_letters(text: str) -> str:
    """Swap the two middle letters of long words: "vemrin"."""
    return _LONG_WORD.sub(lambda word: _swap(word[0]), text)


def star_vowels(text: str) -> str:
    """Replace the vowels inside long words by asterisks: "v*rm*n"."""
    return _LONG_WORD.sub(lambda word: _star(word[0]), text)


SPELLINGS: Final[dict[str, Callable[[str], str]]] = {
    "leet": spell_leet,
    "spaced": space_letters,
    "joined": join_words,
    "dropped": drop_letters,
    "swapped": swap_letters,
    "starred": star_vowels,
}


def _drop(word: str) -> str:
    half = (len(word) - 1) // 2
    return word[:half] + word[half + 1 :]


def _swap(word: str) -> str:
    half = (len(word) - 1) // 2
    return word[:half] + word[half + 1] + word[half] + word[half + 2 :]


def _star(word: str) -> str:
    return word[0] + "".join("*" if letter in _VOWELS else letter for letter in word[1:])
