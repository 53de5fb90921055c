"""Probabilities that mean what they say: scale and shift recovered, class weights undone, the best threshold."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from evaluation.metrics import Scores, compute_calibration, measure_scores, to_probabilities
from memeguard.predictor import non_offensive_probability
from training.calibration import calibrate, calibrate_in_folds, fit_scale_and_shift, undo_class_weights

if TYPE_CHECKING:
    from memeguard.bundle import Bundle

Memes = tuple[np.ndarray, np.ndarray]


def draw_memes(temperature: float, shift: float = 0.0, *, num: int = 20_000, bias: float = 0.0, seed: int = 0) -> Memes:
    """Labels, and logits whose probabilities are right once scaled by ``temperature`` and moved by ``shift``."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(bias, 1.5, num)
    labels = (rng.random(num) < 1 / (1 + np.exp(-honest))).astype(np.int64)
    return labels, (honest - shift) * temperature


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(labels == 1, -logits, logits)).mean())


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0, 12.0])
@pytest.mark.parametrize("shift", [-2.0, 0.0, 0.7])
def test_a_known_scale_and_shift_are_recovered(temperature: float, shift: float) -> None:
    fitted = fit_scale_and_shift(*draw_memes(temperature, shift))
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.shift == pytest.approx(shift, abs=0.08)


def test_no_scale_and_shift_near_them_are_better() -> None:
    """Of 20,000 memes, Platt's targets are the labels but for one in ten thousand."""
    labels, logits = draw_memes(2.0, 0.5)
    temperature, shift = fit_scale_and_shift(labels, logits)
    best = cross_entropy(labels, logits / temperature + shift)
    for factor, step in ((0.95, 0.0), (1.05, 0.0), (1.0, 0.05), (1.0, -0.05), (0.97, 0.03), (1.03, -0.03)):
        assert best < cross_entropy(labels, logits / (factor * temperature) + shift + step)


def test_the_mean_probability_becomes_the_share_of_offensive_memes() -> None:
    """This is what a temperature alone cannot do."""
    labels, logits = draw_memes(3.0, -1.5, num=400)
    temperature, shift = fit_scale_and_shift(labels, logits)
    assert 1 - to_probabilities(logits, temperature, shift).mean() == pytest.approx(labels.mean(), abs=0.005)
    assert abs(1 - to_probabilities(logits, temperature).mean() - labels.mean()) > 0.1


def test_a_weight_counts_as_copies_of_a_meme() -> None:
    labels, logits = draw_memes(2.0, 0.5, num=300)
    weights = np.random.default_rng(0).integers(0, 4, 300)
    copies = np.repeat(np.arange(300), weights)
    weighted = fit_scale_and_shift(labels, logits, weights.astype(np.float64))
    assert weighted == pytest.approx(fit_scale_and_shift(labels[copies], logits[copies]), rel=1e-4)


def test_a_few_memes_that_are_all_right_do_not_make_certain() -> None:
    """Platt's targets: 5 of 5 right say 6 in 7."""
    labels, logits = np.array([1] * 5 + [0] * 5), np.array([3.0] * 5 + [-3.0] * 5)
    probabilities = to_probabilities(logits, *fit_scale_and_shift(labels, logits))
    assert probabilities == pytest.approx([1 / 7] * 5 + [6 / 7] * 5, abs=1e-4)


def test_logits_that_are_all_the_same_say_how_frequent_the_label_is() -> None:
    labels, logits = np.array([1] * 30 + [0] * 70), np.full(100, 2.5)
    assert to_probabilities(logits, *fit_scale_and_shift(labels, logits)) == pytest.approx(np.full(100, 0.7), abs=0.01)


def test_calibration_in_folds_does_not_see_the_meme_itself() -> None:
    """Labels by lot: fitted to few memes, the calibration looks better on them than it is on others."""
    errors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels, logits = rng.permutation(np.arange(24) % 2), rng.normal(0, 3, 24)
        own = to_probabilities(logits, *fit_scale_and_shift(labels, logits))
        others = calibrate_in_folds(labels, logits)
        errors.append([compute_calibration(Scores(labels=labels, probabilities=one, threshold=0.5))["brier"]
                       for one in (own, others)])  # fmt: skip
    own, others = np.mean(errors, axis=0)
    assert others > own + 0.005


@pytest.mark.parametrize("num_offensive", [1, 2, 11])
def test_calibration_in_folds_needs_two_memes(num_offensive: int) -> None:
    labels = np.array([1] * num_offensive + [0])
    probabilities = calibrate_in_folds(labels, labels * 2.0)
    assert np.isfinite(probabilities).all()
    assert np.array_equal(probabilities, calibrate_in_folds(labels, labels * 2.0))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e300])
def test_extreme_answers_stay_within_bounds(sign: float, scale: float) -> None:
    """All right or all wrong: the best temperature would be nothing, or without end."""
    labels = np.array([1, 0] * 20)
    logits = sign * scale * np.where(labels == 1, 1.0, -1.0) * np.linspace(1, 2, 40)
    config = calibrate(labels, logits)
    assert 0.05 <= config.temperature <= 20.0
    assert -1000.0 <= config.shift <= 1000.0
    assert 0.0 <= config.threshold <= 1.0
    assert math.isfinite(config.threshold)


@pytest.mark.parametrize("temperature", [0.5, 5.0])
def test_the_threshold_is_the_best_one_for_the_calibrated_probabilities(temperature: float) -> None:
    labels, logits = draw_memes(temperature, 0.5, num=120, bias=-1.0)
    config = calibrate(labels, logits)
    probabilities = np.array([non_offensive_probability(one, config.temperature, config.shift) for one in logits])

    def macro_f1(threshold: float) -> float:
        return measure_scores(Scores(labels=labels, probabilities=probabilities, threshold=threshold)).macro_f1

    every = [0.0, *np.nextafter(probabilities, 1.0)]  # between any two memes
    assert macro_f1(config.threshold) == pytest.approx(max(map(macro_f1, every)))
    assert macro_f1(config.threshold) > macro_f1(0.0)


@pytest.mark.parametrize("num_offensive", [2, 10, 18])
def test_undone_class_weights_shift_every_logit_by_their_logarithm(small_bundle: Bundle, num_offensive: int) -> None:
    head = copy.deepcopy(small_bundle.classifier.head).eval()
    features = torch.randn(2, 50, 32, generator=torch.Generator().manual_seed(0))
    labels = np.array([1] * num_offensive + [0] * (20 - num_offensive))
    with torch.no_grad():
        before = head(*features)
        undo_class_weights(head, labels)
        after = head(*features)
    shift = math.log((20 - num_offensive) / num_offensive)
    torch.testing.assert_close(before - after, torch.full((50,), shift), rtol=0, atol=1e-6)
    assert torch.equal(before.argsort(stable=True), after.argsort(stable=True))
    assert (shift > 0) == (num_offensive < 10)


def test_what_the_weights_added_is_what_is_taken_away(small_bundle: Bundle) -> None:
    """Where features say nothing, the best weighted logit is 0; without the weights it is the share's log-odds."""
    head = copy.deepcopy(small_bundle.classifier.head)
    with torch.no_grad():
        head.classifier[-1].weight.zero_()
        head.classifier[-1].bias.zero_()
    labels = np.array([1] * 30 + [0] * 70)
    undo_class_weights(head, labels)
    probability = torch.sigmoid(head(torch.ones(1, 32), torch.ones(1, 32))).item()
    assert probability == pytest.approx(0.3, abs=1e-6)
