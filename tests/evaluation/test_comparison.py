"""A model that does not beat what it has to beat is told so, in words that say by how much; a good one is not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from evaluation.comparison import Measured, find_warnings, measure
from evaluation.metrics import Scores
from evaluation.result import MAJORITY, MODEL, TFIDF

LABELS = np.tile([0, 1], 75)


def scores(gap: float, seed: int = 0) -> Scores:
    """Offensive memes score lower by ``gap`` on average; many ties."""
    noise = np.random.default_rng(seed).normal(0.5, 0.2, len(LABELS))
    return Scores(labels=LABELS, probabilities=np.round(np.clip(noise - gap * LABELS, 0, 1), 2), threshold=0.45)


def compare(model: Scores, tfidf: Scores) -> Measured:
    majority = Scores(labels=LABELS, probabilities=np.full(len(LABELS), 0.6), threshold=0.5)
    return measure({MODEL: model, TFIDF: tfidf, MAJORITY: majority}, num_resamples=200)


def test_a_model_that_beats_all_is_not_warned_of() -> None:
    assert find_warnings(compare(scores(0.5), scores(0.1, seed=1)), LABELS, 0, "test") == []


def test_a_model_of_random_scores_is_no_better_than_chance_and_worse_than_words() -> None:
    warnings = find_warnings(compare(scores(0.0), scores(0.3, seed=1)), LABELS, 3, "test")
    assert "no better than chance" in warnings[0]
    assert "does not beat TF-IDF" in warnings[1]
    assert "3 of 150 memes have a near-duplicate in train" in warnings[-1]


def test_swapped_labels_are_suspected() -> None:
    warnings = find_warnings(compare(scores(-0.3), scores(0.0, seed=1)), LABELS, 0, "test")
    assert "worse than chance" in warnings[0]
    assert "Are labels swapped?" in warnings[0]


def test_a_lead_within_chance_is_not_shown() -> None:
    measured = compare(scores(0.35), scores(0.2, seed=1))
    assert measured.auroc_difference.value is not None
    assert measured.auroc_difference.value > 0
    assert any("is not shown to beat TF-IDF" in warning for warning in find_warnings(measured, LABELS, 0, "test"))


def test_the_train_split_proves_nothing() -> None:
    warnings = find_warnings(compare(scores(0.5), scores(0.1, seed=1)), LABELS, 150, "train")
    assert len(warnings) == 1
    assert "evaluated on the train split" in warnings[0]


@pytest.mark.parametrize(("label", "word"), [(0, "non-offensive"), (1, "offensive")])
def test_one_label_alone_is_named(label: int, word: str) -> None:
    labels = np.full(150, label)
    one = Scores(labels=labels, probabilities=scores(0.0).probabilities, threshold=0.45)
    measured = measure({MODEL: one, TFIDF: one, MAJORITY: one}, num_resamples=20)
    assert any(
        f"All memes of this split are {word}:" in warning for warning in find_warnings(measured, labels, 0, "test")
    )


def test_models_are_compared_on_the_same_resamples() -> None:
    """Otherwise a model would differ from itself."""
    model = scores(0.2)
    difference = compare(model, model).auroc_difference
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_a_comparison_needs_no_torch() -> None:
    program = "import sys, evaluation.comparison; assert not {'torch', 'transformers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
