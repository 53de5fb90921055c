"""Spellings change long words in the way that they say, and always in the same way."""

from __future__ import annotations

import pytest

from evaluation.functional.spelling import SPELLINGS

SPELLED = {
    "leet": "th3 v3rm1n 1n my t0wn",
    "spaced": "the v e r m i n in my town",
    "joined": "thevermininmytown",
    "dropped": "the vemin in my town",
    "swapped": "the vemrin in my town",
    "starred": "the v*rm*n in my town",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelling_changes_long_words(name: str) -> None:
    assert SPELLINGS[name]("the vermin in my town") == SPELLED[name]


@pytest.mark.parametrize("name", sorted(SPELLINGS.keys() - {"leet", "joined"}))
def test_short_words_stay(name: str) -> None:
    assert SPELLINGS[name]("I am a big fan") == "I am a big fan"
