"""Resamples count memes as often as they were drawn, intervals cover the truth, McNemar's test counts rightly."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.metrics import Scores, compute_figures, weighted_figures
from evaluation.statistics import bootstrap_figures, compare_answers, make_estimate, wilson_interval


def random_scores(num: int, gap: float, seed: int = 0) -> Scores:
    """Offensive memes score lower by ``gap`` on average; many ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, num)
    probabilities = np.round(np.clip(random.normal(0.5 - gap * labels, 0.2), 0, 1), 2)
    return Scores(labels=labels, probabilities=probabilities, threshold=0.45)


def test_figures_of_a_resample_are_those_of_its_memes() -> None:
    """A meme that was drawn three times counts as three memes."""
    scores = random_scores(60, 0.2)
    counts = np.random.default_rng(1).integers(0, 4, 60)
    repeated = Scores(
        labels=np.repeat(scores.labels, counts), probabilities=np.repeat(scores.probabilities, counts), threshold=0.45
    )
    figures = weighted_figures(scores, counts[None].astype(float))
    assert {name: values[0] for name, values in figures.items()} == pytest.approx(compute_figures(repeated))


@pytest.mark.parametrize(("hits", "num"), [(0, 5), (3, 10), (5, 5), (170, 200)])
def test_wilsons_interval_ends_where_the_share_would_be_two_standard_errors_away(hits: int, num: int) -> None:
    low, high = wilson_interval(hits, num)
    assert 0 <= low <= hits / num <= high <= 1
    for bound in {low, high} - {0.0, 1.0}:
        assert abs(hits / num - bound) == pytest.approx(1.959964 * (bound * (1 - bound) / num) ** 0.5)


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
