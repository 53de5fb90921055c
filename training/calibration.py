"""Calibrate probabilities: undo the class weights of the loss, then fit one temperature for all logits.

Use logits of memes that the model was not trained on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from evaluation.metrics import choose_threshold, to_probabilities
from memeguard.config import LabelConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from memeguard.classifier import FusionHead

_LOG_TEMPERATURES: Final = (math.log(0.05), math.log(20.0))  # beyond these bounds a model is broken, not miscalibrated


def calibrate(labels: NDArray[np.int64], logits: NDArray[np.float64]) -> LabelConfig:
    """Fit temperature and threshold to offensive ``logits`` [N] of memes with ``labels`` [N], 1 = offensive."""
    temperature = fit_temperature(labels, logits)
    threshold = choose_threshold(labels, to_probabilities(logits, temperature))
    return LabelConfig(temperature=temperature, threshold=threshold)


def fit_temperature(labels: NDArray[np.int64], logits: NDArray[np.float64]) -> float:
    """Find the temperature of lowest cross-entropy (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""
    signed = np.where(labels == 1, -logits, logits)  # positive if the answer is wrong

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, signed / math.exp(log_temperature)).mean())

    return float(math.exp(minimize_scalar(cross_entropy, bounds=_LOG_TEMPERATURES, method="bounded").x))


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
