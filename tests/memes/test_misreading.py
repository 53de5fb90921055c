"""Captions are misread as often as is asked, always in the same way for the same numbers, and stay text."""

from __future__ import annotations

import difflib
import random

import pytest

from memes.misreading import misread

TEXT = "when the whole family sits down at the table and nobody has read the news"
EMOJI = "\N{PILE OF POO}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}"


def test_a_rate_of_nothing_leaves_everything() -> None:
    for text in (TEXT, EMOJI, "", " \n\t "):
        assert misread(text, random.Random(0), 0.0) == text


def test_an_empty_text_stays_empty() -> None:
    assert misread("", random.Random(0), 1.0) == ""


def test_the_same_numbers_misread_the_same() -> None:
    first, again, other = (misread(TEXT, random.Random(seed), 0.3) for seed in (0, 0, 1))
    assert first == again != other


def test_a_rate_of_one_spoils_most_letters() -> None:
    for seed in range(50):
        found = misread(TEXT, random.Random(seed), 1.0)
        kept = sum(
            block.size for block in difflib.SequenceMatcher(a=TEXT, b=found, autojunk=False).get_matching_blocks()
        )
        assert kept < 0.65 * len(TEXT), found  # doubled ones and those before a blank are kept, too


@pytest.mark.parametrize("letter", ["e", "M", "'"])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 1.0])
def test_as_many_letters_are_spoilt_as_the_rate_says(letter: str, rate: float) -> None:
    rng = random.Random(0)
    num = sum(misread(letter, rng, rate) != letter for _ in range(10_000))
    assert num / 10_000 == pytest.approx(rate, abs=0.015)


def test_a_letter_is_taken_for_another_parted_left_out_or_doubled() -> None:
    rng = random.Random(0)
    found = [misread("b", rng, 1.0) for _ in range(4000)]
    shares = {"h": 0.3, "6": 0.3, "b ": 0.15, "": 0.15, "bb": 0.1}
    assert set(found) == set(shares)
    for reading, share in shares.items():
        assert found.count(reading) / 4000 == pytest.approx(share, abs=0.03), reading


@pytest.mark.parametrize(("letter", "readings"), [("m", {"rn"}), ("W", {"vv"}), ("d", {"cl"}), ("n", {"ri"})])
def test_a_letter_may_be_taken_for_two(letter: str, readings: set[str]) -> None:
    rng = random.Random(0)
    found = {misread(letter, rng, 1.0) for _ in range(200)}
    assert found == readings | {f"{letter} ", "", letter * 2}


def test_words_are_joined_and_parted() -> None:
    rng = random.Random(0)
    assert {misread(" ", rng, 1.0) for _ in range(200)} == {" ", "", "  "}
    assert any(" " in misread("family", random.Random(seed), 0.3) for seed in range(20))


def test_emoji_are_never_taken_for_anything_else() -> None:
    for seed in range(100):
        found = misread(EMOJI * 3, random.Random(seed), 1.0)
        assert set(found) <= {*EMOJI, " "}
        assert found.encode()
