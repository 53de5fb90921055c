"""What the text tower reads: captions, parts of captions, and English, in an order the recipe relies on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from starter.texts import VARIANTS_PER_CAPTION, collect_texts, vary_caption

if TYPE_CHECKING:
    from pathlib import Path

CAPTIONS = ["one two three four five six seven eight", "nine ten", "", "one two three four five six seven eight"]


def is_part_of(words: list[str], whole: list[str]) -> bool:
    """Whether ``words`` are some of ``whole``, in their order."""
    rest = iter(whole)
    return all(word in rest for word in words)


def test_captions_come_first_then_their_variants_then_english(packages: Path) -> None:
    texts = collect_texts(CAPTIONS, packages, random.Random(0))
    num_variants = len(CAPTIONS) * VARIANTS_PER_CAPTION
    assert texts[: len(CAPTIONS)] == CAPTIONS
    known = {word for caption in CAPTIONS for word in caption.split()}
    variants = texts[len(CAPTIONS) : len(CAPTIONS) + num_variants]
    assert {word for variant in variants for word in variant.split()} <= known
    assert texts[len(CAPTIONS) + num_variants :] == [
        "a small animal",  # which is among the fortunes as well
        "the cat sat",
        "cats | dogs",
        "a larger animal",
        "speak as a dog does",
        "Two lines.",
        "Caf\N{REPLACEMENT CHARACTER} au lait",
        "animals big cats cat",
        "A dog & its tail.",
    ]


def test_the_same_seed_collects_the_same_texts(packages: Path) -> None:
    first, again, other = (collect_texts(CAPTIONS, packages, random.Random(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_english_longer_than_the_teacher_reads_is_cut(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starter.texts._LONGEST", 2)
    texts = collect_texts([], packages, random.Random(0))
    assert "a small" in texts
    assert max(len(text.split()) for text in texts) == 2
    assert len(set(texts)) == len(texts)


def test_a_variant_is_a_piece_some_words_or_two_halves() -> None:
    caption, other = "one two three four five six seven eight", "a b c d"
    words = caption.split()
    kinds = {"piece": 0, "thinned": 0, "joined": 0}
    for seed in range(2000):
        variant = vary_caption(caption, [other], random.Random(seed)).split()
        if variant == [*words[:4], "c", "d"]:
            kinds["joined"] += 1
        elif any(variant == words[start : start + len(variant)] for start in range(8)) and len(variant) >= 3:
            kinds["piece"] += 1
        else:
            assert is_part_of(variant, words)
            kinds["thinned"] += 1
    assert kinds["joined"] == pytest.approx(600, abs=100)
    assert kinds["piece"] >= 700  # a thinned one may be a piece too
    assert kinds["thinned"] >= 300


def test_pieces_have_three_words_at_least_and_may_be_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starter.texts._PIECES", 1.0)
    pieces = {vary_caption("a b c d", ["x"], random.Random(seed)) for seed in range(200)}
    assert pieces == {"a b c", "b c d", "a b c d"}


@pytest.mark.parametrize("caption", ["", "  ", "one", "one two three"])
def test_captions_of_few_words_have_variants_too(caption: str) -> None:
    for seed in range(100):
        variant = vary_caption(caption, [""], random.Random(seed))
        assert is_part_of(variant.split(), caption.split())


def test_no_word_is_lost_to_nothing() -> None:
    """A caption that thinning would leave empty stays as it was; the halves of two single words are the second one."""
    variants = {vary_caption("one", ["two"], random.Random(seed)) for seed in range(100)}
    assert variants == {"one", "two"}
