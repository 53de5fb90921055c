"""What a model has to beat: the majority class and words alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.baselines import score_with_majority, score_with_tfidf
from evaluation.metrics import Metrics, measure_scores
from memes.meme import Label, Meme
from memes.meme_table import label_array


def majority_baseline(train: list[Meme], held_out: list[Meme]) -> Metrics:
    return measure_scores(score_with_majority(train, held_out))


def tfidf_baseline(train: list[Meme], validation: list[Meme], held_out: list[Meme]) -> Metrics:
    return measure_scores(score_with_tfidf(train, validation, held_out))


def memes_of(*rows: tuple[str, int]) -> list[Meme]:
    return [
        Meme(image_path=Path("none.png"), text=text, label=Label(label), file="train.csv", row=number)
        for number, (text, label) in enumerate(rows, 2)
    ]


def test_labels_are_one_where_a_meme_offends() -> None:
    labels = label_array(memes_of(("a", 1), ("b", 0), ("c", 1)))
    assert labels.tolist() == [1, 0, 1]
    assert labels.dtype == np.int64


@pytest.mark.parametrize("majority", [0, 1])
def test_the_majority_scores_its_share_and_ranks_nothing(majority: int) -> None:
    train = memes_of(*[("a", majority)] * 3, ("a", 1 - majority))
    held_out = memes_of(*[("a", majority)] * 7, *[("a", 1 - majority)] * 3)
    metrics = majority_baseline(train, held_out)
    assert (metrics.num, metrics.accuracy, metrics.auroc) == (10, pytest.approx(0.7), pytest.approx(0.5))


def test_the_majority_is_that_of_the_training_split() -> None:
    held_out = memes_of(*[("a", 1)] * 9, ("a", 0))
    assert majority_baseline(memes_of(("a", 0), ("a", 0), ("a", 1)), held_out).accuracy == pytest.approx(0.1)


def test_words_that_tell_the_label_are_found() -> None:
    train = memes_of(*[(f"you are rubbish {i}", 1) for i in range(8)], *[(f"have a nice day {i}", 0) for i in range(8)])
    metrics = tfidf_baseline(train, train, memes_of(("what rubbish", 1), ("nice weather", 0), ("nice", 0)))
    assert (metrics.num, metrics.accuracy, metrics.auroc) == (3, 1.0, 1.0)


def test_words_that_say_nothing_rank_nothing() -> None:
    memes = memes_of(*[("same words", label) for label in (0, 1)] * 8)
    assert tfidf_baseline(memes, memes, memes).auroc == 0.5


def test_the_threshold_is_the_validation_splits() -> None:
    """Most memes that share the held-out words are offensive in the validation split, few in the training split."""
    train = memes_of(*[("x", 1)] * 4, *[("x y", 0)] * 4, *[("y", 0)] * 4)
    held_out = memes_of(("x", 1), ("x y", 1), ("y", 0))
    lenient = tfidf_baseline(train, memes_of(("x", 1), ("x y", 0), ("y", 0)), held_out)
    strict = tfidf_baseline(train, memes_of(("x", 1), ("x y", 1), ("y", 0)), held_out)
    assert (lenient.accuracy, strict.accuracy) == (pytest.approx(2 / 3), 1.0)


@pytest.mark.parametrize("text", ["", "!?", "\N{GRINNING FACE}"])
def test_captions_without_a_word_rank_nothing(text: str) -> None:
    memes = memes_of(*[(text, label) for label in (0, 1)] * 4)
    assert tfidf_baseline(memes, memes, memes).auroc == 0.5
