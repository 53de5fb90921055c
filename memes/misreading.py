"""Misspell captions as OCR and hasty typing do: letters replaced, left out or doubled, blanks lost or added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

# Characters that OCR confuses because of their shape (the confusion classes of Nguyen et al. 2019, "Deep Statistical
# Analysis of OCR Errors for Effective Post-OCR Processing": most errors are single substitutions, then splits and
# merges of words, then deletions).
_LOOKALIKES: Final = {
    "a": "o", "b": "h6", "c": "eo", "d": "cl", "e": "co", "f": "t", "g": "q9", "h": "bn", "i": "l1!", "j": "i",
    "l": "i1|", "m": "rn", "n": "ri", "o": "0c", "q": "g", "r": "t", "s": "5", "t": "fl", "u": "vo", "v": "u",
    "w": "vv", "y": "v", "z": "2", "0": "o", "1": "l", "5": "s", "'": "`", ".": ",", ",": ".",
}  # fmt: skip
_WHOLE: Final = frozenset("dmnw")  # their lookalike is two letters
_SHARES: Final = (0.6, 0.75, 0.9)  # cumulated: substituted; blank added or lost; left out; the rest is doubled


def misread(text: str, rng: random.Random, rate: float) -> str:
    """Misspell each character of ``text`` with probability ``rate`` in [0, 1]."""
    return "".join(_misspell(character, rng) if rng.random() < rate else character for character in text)


def _misspell(character: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < _SHARES[0]:
        lookalikes = _LOOKALIKES.get(character.lower())
        if not lookalikes:
            return character
        return lookalikes if character.lower() in _WHOLE else rng.choice(lookalikes)
    if kind < _SHARES[1]:
        return "" if character == " " else f"{character} "
    return "" if kind < _SHARES[2] else character * 2
