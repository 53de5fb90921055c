"""The figures are what their definitions say, offensive being positive; the threshold is the best there is."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from evaluation.metrics import (
    Metrics,
    Scores,
    choose_threshold,
    compute_calibration,
    compute_decisions,
    compute_figures,
    measure_scores,
    to_probabilities,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def random_scores(seed: int, num: int = 30) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and probabilities that go together somewhat, with many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, num)
    labels[:2] = (0, 1)
    return labels, np.round(np.clip(rng.normal(0.6 - 0.2 * labels, 0.2), 0, 1), 2)


def f1_of(labels: NDArray[np.int64], predicted: NDArray[np.int64], label: int) -> float:
    """Harmonic mean of precision and recall of one label."""
    hits = int(np.sum((labels == label) & (predicted == label)))
    found, there = int(np.sum(predicted == label)), int(np.sum(labels == label))
    return 2 * hits / (found + there) if found + there else 0.0


def measure(labels: NDArray[np.int64], probabilities: NDArray[np.float64], threshold: float) -> Metrics:
    return measure_scores(Scores(labels=labels, probabilities=probabilities, threshold=threshold))


@pytest.mark.parametrize("seed", range(5))
def test_figures_follow_their_definitions(seed: int) -> None:
    labels, probabilities = random_scores(seed)
    metrics = measure(labels, probabilities, threshold=0.45)
    predicted = (probabilities < 0.45).astype(int)
    assert metrics.num == 30
    assert metrics.accuracy == pytest.approx(np.mean(labels == predicted))
    assert metrics.macro_f1 == pytest.approx((f1_of(labels, predicted, 0) + f1_of(labels, predicted, 1)) / 2)
    pairs = itertools.product(probabilities[labels == 1], probabilities[labels == 0])
    ranked = [(offensive < harmless) + 0.5 * (offensive == harmless) for offensive, harmless in pairs]
    assert metrics.auroc == pytest.approx(np.mean(ranked))


def test_low_probabilities_of_being_harmless_are_offensive() -> None:
    metrics = measure(np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.8, 0.9]), threshold=0.5)
    assert (metrics.accuracy, metrics.macro_f1, metrics.auroc) == (1.0, 1.0, 1.0)


def test_a_probability_at_the_threshold_is_harmless() -> None:
    assert measure(np.array([0, 1]), np.array([0.5, 0.4]), threshold=0.5).accuracy == 1.0


def test_one_class_alone_has_no_auroc() -> None:
    metrics = measure(np.array([1, 1]), np.array([0.1, 0.9]), threshold=0.5)
    assert math.isnan(metrics.auroc)
    assert metrics.accuracy == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_no_other_threshold_between_two_scores_is_better(seed: int) -> None:
    labels, probabilities = random_scores(seed)
    scores = sorted({*probabilities.tolist()})
    candidates = [0.5, *((left + right) / 2 for left, right in itertools.pairwise(scores))]
    f1 = {candidate: f1_score(labels, probabilities < candidate, average="macro") for candidate in candidates}
    best = max(f1.values())
    chosen = choose_threshold(labels, probabilities)
    assert f1[chosen] == pytest.approx(best)
    equals = [candidate for candidate, value in f1.items() if value == pytest.approx(best)]
    assert abs(chosen - 0.5) == min(abs(candidate - 0.5) for candidate in equals)


def test_a_threshold_separates_what_can_be_separated() -> None:
    assert choose_threshold(np.array([1, 1, 0]), np.array([0.7, 0.8, 0.9])) == pytest.approx(0.85)


def test_equal_scores_leave_the_threshold_at_one_half() -> None:
    assert choose_threshold(np.array([1, 0]), np.array([0.3, 0.3])) == 0.5


def test_figures_are_those_of_scikit_learn() -> None:
    labels, probabilities = random_scores(0, 200)
    scores = Scores(labels=labels, probabilities=probabilities, threshold=0.45)
    figures, risk = compute_figures(scores), 1 - probabilities
    assert figures["auroc"] == roc_auc_score(labels, risk)
    assert figures["accuracy"] == accuracy_score(labels, scores.predicted)
    assert figures["macro_f1"] == f1_score(labels, scores.predicted, average="macro")
    assert figures["weighted_f1"] == pytest.approx(f1_score(labels, scores.predicted, average="weighted"))
    assert figures["offensive_f1"] == f1_score(labels, scores.predicted)
    assert figures["average_precision"] == pytest.approx(average_precision_score(labels, risk))
    assert figures["brier"] == pytest.approx(np.mean((risk - labels) ** 2))
    decisions = compute_decisions(scores)
    assert decisions == {name: figures[name] for name in ("accuracy", "macro_f1", "weighted_f1", "offensive_f1")}


def test_probabilities_are_of_being_harmless_scaled_and_shifted() -> None:
    probabilities = to_probabilities(np.array([-4.0, 0.0, 4.0]), 2.0, 1.0)
    assert probabilities == pytest.approx([1 / (1 + math.exp(value)) for value in (-1.0, 1.0, 3.0)])
    assert to_probabilities(np.array([3.0])).tolist() == pytest.approx([1 / (1 + math.exp(3.0))])


def test_calibration_error_by_hand() -> None:
    scores = Scores(labels=np.array([1, 0, 1]), probabilities=np.array([0.1, 0.1, 0.9]), threshold=0.5)
    # Risks .9, .9 in one bin, half of them offensive: gap .4 for two; risk .1 alone and offensive: gap .9 for one.
    assert compute_figures(scores)["ece"] == pytest.approx((2 * 0.4 + 0.9) / 3)
    assert compute_calibration(scores) == {name: compute_figures(scores)[name] for name in ("ece", "brier")}


def test_a_hundred_thousand_scores_are_no_more_work_than_sorting_them() -> None:
    """Trying each threshold on all memes would take hours."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100_000)
    assert choose_threshold(labels, 0.9 - 0.8 * labels + 0.1 * rng.random(100_000)) == 0.5
