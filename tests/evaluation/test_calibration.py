"""Calibration before and after: the same memes, the size of chance, and intervals around what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.calibration import compare_calibration


def draw(num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the risks by which they were drawn."""
    rng = np.random.default_rng(seed)
    risk = rng.random(num)
    return (rng.random(num) < risk).astype(np.int64), risk


def test_before_and_after_are_measured_on_the_same_memes() -> None:
    labels, risk = draw(500)
    compared = compare_calibration(labels, 1 - risk**3, 1 - risk, num_resamples=200)
    assert (compared.num, compared.offensive_share) == (500, labels.mean())
    assert compared.before.mean_risk == pytest.approx((risk**3).mean())
    assert compared.after.brier.value == pytest.approx(np.mean((risk - labels) ** 2))
    assert sum(one.num for one in compared.before.reliability) == 500
    for change, before, after in (
        (compared.ece_change, compared.before.ece, compared.after.ece),
        (compared.brier_change, compared.before.brier, compared.after.brier),
    ):
        assert change.value == pytest.approx(after.value - before.value)
        assert change.low < change.value < change.high < 0


@pytest.mark.parametrize("num", [100, 177, 3000])
def test_the_interval_of_a_calibration_error_is_around_it(num: int) -> None:
    """The resamples' own lie above it."""
    labels, risk = draw(num)
    ece = compare_calibration(labels, 1 - risk, 1 - risk, num_resamples=300).after.ece
    assert 0.0 <= ece.low < ece.value < ece.high


def test_perfect_probabilities_have_the_calibration_error_of_chance() -> None:
    """In 19 of 20 draws; wrong ones have more."""
    inside = []
    for seed in range(60):
        labels, risk = draw(150, seed)
        after = compare_calibration(labels, 1 - risk, 1 - risk, num_resamples=200).after
        inside.append(after.ece_by_chance.low <= after.ece.value <= after.ece_by_chance.high)
    assert np.mean(inside) >= 0.85
    wrong = compare_calibration(labels, 1 - risk**3, 1 - risk, num_resamples=200).before
    assert wrong.ece.value > wrong.ece_by_chance.high


def test_chance_grows_smaller_with_more_memes() -> None:
    few, many = (
        compare_calibration(labels, 1 - risk, 1 - risk, num_resamples=100).after.ece_by_chance.value
        for labels, risk in (draw(100), draw(10_000))
    )
    assert many < few / 5
