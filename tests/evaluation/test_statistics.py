"""Figures are scikit-learn's and by hand the same, intervals cover the truth, McNemar's test counts rightly."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from evaluation.statistics import Scores, bootstrap_figures, compare_answers, compute_figures, make_estimate


def random_scores(num: int, gap: float, seed: int = 0) -> Scores:
    """Offensive memes score lower by ``gap`` on average; many ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, num)
    probabilities = np.round(np.clip(random.normal(0.5 - gap * labels, 0.2), 0, 1), 2)
    return Scores(labels=labels, probabilities=probabilities, threshold=0.45)


def test_figures_are_those_of_scikit_learn() -> None:
    scores = random_scores(200, 0.2)
    figures, risk = compute_figures(scores), 1 - scores.probabilities
    assert figures["auroc"] == pytest.approx(roc_auc_score(scores.labels, risk))
    assert figures["average_precision"] == pytest.approx(average_precision_score(scores.labels, risk))
    assert figures["weighted_f1"] == pytest.approx(f1_score(scores.labels, scores.predicted, average="weighted"))
    assert figures["macro_f1"] == pytest.approx(f1_score(scores.labels, scores.predicted, average="macro"))
    assert figures["offensive_f1"] == pytest.approx(f1_score(scores.labels, scores.predicted))
    assert figures["brier"] == pytest.approx(np.mean((risk - scores.labels) ** 2))


def test_calibration_error_by_hand() -> None:
    scores = Scores(labels=np.array([1, 0, 1]), probabilities=np.array([0.1, 0.1, 0.9]), threshold=0.5)
    # Risks .9, .9 in one bin, half of them offensive: gap .4 for two; risk .1 alone and offensive: gap .9 for one.
    assert compute_figures(scores)["ece"] == pytest.approx((2 * 0.4 + 0.9) / 3)


def test_intervals_are_seeded_and_cover_the_truth() -> None:
    covered = 0
    for seed in range(40):
        right = np.random.default_rng(seed).random(200) < 0.8
        labels = np.ones(200, dtype=np.int64)
        scores = Scores(labels=labels, probabilities=np.where(right, 0.0, 1.0), threshold=0.5)
        resampled = bootstrap_figures({"model": scores}, num_resamples=400)["model"]["accuracy"]
        again = bootstrap_figures({"model": scores}, num_resamples=400)["model"]["accuracy"]
        assert (resampled == again).all()
        estimate = make_estimate(float(right.mean()), resampled)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0.8 <= estimate.high
    assert covered >= 34


def test_mcnemar_by_hand() -> None:
    labels = np.ones(10, dtype=np.int64)
    first = Scores(labels=labels, probabilities=np.array([0.0] * 8 + [1.0, 0.0]), threshold=0.5)
    second = Scores(labels=labels, probabilities=np.array([1.0] * 8 + [0.0, 0.0]), threshold=0.5)
    result = compare_answers(first, second)
    assert (result.only_first_right, result.only_second_right) == (8, 1)
    assert result.p_value == pytest.approx(2 * (1 + 9) / 2**9)
