"""Calibrate probabilities: undo the class weights of the loss, then fit a scale and a shift to all logits.

Use logits of memes that the model was not trained on. Everything here works on the logits of one yes-or-no question, so
that each question of a model with several is calibrated on its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from evaluation.metrics import choose_threshold, to_probabilities
from memeguard.config import LabelConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from memeguard.classifier import FusionHead

_SCALES: Final = (0.05, 20.0)  # beyond these bounds a model is broken, not miscalibrated
_SHIFTS: Final = (-1000.0, 1000.0)  # as in a bundle's configuration
_MAX_LOGIT: Final = 1e4  # at the smallest scale, more changes no probability
_NUM_FOLDS: Final = 10
_ITERATIONS: Final = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-10}


class ScaleAndShift(NamedTuple):
    """Log-odds are ``logit / temperature + shift``."""

    temperature: float
    shift: float


def calibrate(labels: NDArray[np.int64], logits: NDArray[np.float64]) -> LabelConfig:
    """Fit scale, shift and threshold to offensive ``logits`` [N] of memes with ``labels`` [N], 1 = offensive."""
    fitted = fit_scale_and_shift(labels, logits)
    threshold = choose_threshold(labels, to_probabilities(logits, *fitted))
    return LabelConfig(temperature=fitted.temperature, shift=fitted.shift, threshold=threshold)


def fit_scale_and_shift(
    labels: NDArray[np.int64], logits: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> ScaleAndShift:
    """Find scale and shift of the lowest cross-entropy, by Platt's method (1999).

    As in "Probabilistic Outputs for Support Vector Machines", a label counts as nearly 0 or 1, the nearer the more
    memes have it, so that a few memes that are all answered rightly do not make the model certain.

    Args:
        labels: [N], 1 = yes (offensive, or of a category).
        logits: [N], positive means yes.
        weights: [N], how much each meme counts; 1 by default.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    num_yes, num_no = float(weights @ (labels == 1)), float(weights @ (labels == 0))
    targets = np.where(labels == 1, (num_yes + 1) / (num_yes + 2), 1 / (num_no + 2))
    clipped = np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)
    mean, spread = float(clipped.mean()), float(clipped.std()) or 1.0
    standard = (clipped - mean) / spread  # the search converges in a few steps if both coefficients are of one size

    def cross_entropy(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = coefficients[0] * standard + coefficients[1]
        loss = weights @ (np.logaddexp(0.0, log_odds) - targets * log_odds)
        error = weights * (expit(log_odds) - targets)
        return float(loss) / len(labels), np.array([error @ standard, error.sum()]) / len(labels)

    bounds = [(_SCALES[0] * spread, _SCALES[1] * spread), (None, None)]
    found = minimize(cross_entropy, [spread, mean], jac=True, method="L-BFGS-B", bounds=bounds, options=_ITERATIONS)
    scale = float(np.clip(found.x[0] / spread, *_SCALES))
    return ScaleAndShift(1.0 / scale, float(np.clip(found.x[1] - scale * mean, *_SHIFTS)))


def calibrate_in_folds(labels: NDArray[np.int64], logits: NDArray[np.float64], *, seed: int = 0) -> NDArray[np.float64]:
    """Probabilities [N] of being non-offensive, each by a scale and a shift that were fitted without its meme.

    They say how well a calibration that is fitted to these memes will do on others.

    Args:
        labels: [N], 1 = offensive; 2 memes at least.
        logits: [N].
        seed: The same seed makes the same folds.
    """
    numbers = np.empty(len(labels), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    numbers[by_label] = np.arange(len(labels)) % min(_NUM_FOLDS, len(labels))
    probabilities = np.empty(len(labels))
    for number in np.unique(numbers):
        held_out = numbers == number
        fitted = fit_scale_and_shift(labels[~held_out], logits[~held_out])
        probabilities[held_out] = to_probabilities(logits[held_out], *fitted)
    return probabilities


@torch.no_grad()
def undo_class_weights(head: FusionHead, labels: NDArray[np.int64]) -> None:
    """Subtract from the last bias what the class weight of the loss added to every logit.

    A weight w on the positive class moves the optimal log-odds by log w (Elkan 2001, "The Foundations of Cost-Sensitive
    Learning"). The ranking of memes does not change.

    Args:
        head: Changed in place.
        labels: int64 [N] of the training split, 1 = offensive.
    """
    num_offensive = int(labels.sum())
    last: nn.Linear = head.classifier[-1]  # type: ignore[assignment]
    last.bias.sub_(math.log((len(labels) - num_offensive) / num_offensive))
