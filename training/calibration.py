"""Make probabilities mean what they say: undo the weights of the classes, then one temperature for all logits.

Does not know where logits come from; they should be of memes that no weight was learnt from.
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

_LOG_TEMPERATURES: Final = (math.log(0.05), math.log(20.0))  # beyond these a model is broken, not miscalibrated


def calibrate(labels: NDArray[np.int64], logits: NDArray[np.float64]) -> LabelConfig:
    """Temperature and threshold that suit offensive ``logits`` [N] of memes with ``labels`` [N], 1 = offensive."""
    temperature = fit_temperature(labels, logits)
    threshold = choose_threshold(labels, to_probabilities(logits, temperature))
    return LabelConfig(temperature=temperature, threshold=threshold)


def fit_temperature(labels: NDArray[np.int64], logits: NDArray[np.float64]) -> float:
    """The temperature of the least mean cross-entropy (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""
    signed = np.where(labels == 1, -logits, logits)  # positive where the answer is wrong

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, signed / math.exp(log_temperature)).mean())

    return float(math.exp(minimize_scalar(cross_entropy, bounds=_LOG_TEMPERATURES, method="bounded").x))


@torch.no_grad()
def undo_class_weights(head: FusionHead, labels: NDArray[np.int64]) -> None:
    """Shift the last bias by what the loss's weight of the offensive memes added to every logit.

    A weight w on the positive class moves the optimal log-odds by log w (Elkan 2001, "The Foundations of Cost-Sensitive
    Learning"); the order of the memes stays.
    """
    num_offensive = int(labels.sum())
    last: nn.Linear = head.classifier[-1]  # type: ignore[assignment]
    last.bias.sub_(math.log((len(labels) - num_offensive) / num_offensive))
