"""Probabilities that mean what they say: a temperature that is recovered, class weights undone, the best threshold."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from evaluation.metrics import Scores, measure_scores
from memeguard.predictor import non_offensive_probability
from training.calibration import calibrate, fit_temperature, undo_class_weights

if TYPE_CHECKING:
    from memeguard.bundle import Bundle

Memes = tuple[np.ndarray, np.ndarray]


def draw_memes(temperature: float, *, num: int = 20_000, bias: float = 0.0, seed: int = 0) -> Memes:
    """Labels, and logits whose probabilities are right once they are divided by ``temperature``."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(bias, 1.5, num)
    labels = (rng.random(num) < 1 / (1 + np.exp(-honest))).astype(np.int64)
    return labels, honest * temperature


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(labels == 1, -logits, logits)).mean())


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0, 12.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    assert fit_temperature(*draw_memes(temperature)) == pytest.approx(temperature, rel=0.05)


def test_no_temperature_near_it_is_better() -> None:
    labels, logits = draw_memes(2.0, num=500)
    best = fit_temperature(labels, logits)
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert cross_entropy(labels, logits / best) < cross_entropy(labels, logits / (factor * best))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e300])
def test_extreme_answers_stay_within_bounds(sign: float, scale: float) -> None:
    """All right or all wrong: the best temperature would be nothing, or without end."""
    labels = np.array([1, 0] * 20)
    logits = sign * scale * np.where(labels == 1, 1.0, -1.0) * np.linspace(1, 2, 40)
    config = calibrate(labels, logits)
    assert 0.05 <= config.temperature <= 20.0
    assert 0.0 <= config.threshold <= 1.0
    assert math.isfinite(config.threshold)


@pytest.mark.parametrize("temperature", [0.5, 5.0])
def test_the_threshold_is_the_best_one_for_the_tempered_probabilities(temperature: float) -> None:
    labels, logits = draw_memes(temperature, num=120, bias=-1.0)
    config = calibrate(labels, logits)
    probabilities = np.array([non_offensive_probability(logit, config.temperature) for logit in logits])

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
