"""Figures that say how good a set of scores is, and the threshold that suits them.

Offensive is the positive class; scores are probabilities of being **non-offensive**, as everywhere outside the model.
Does not know where scores come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from memeguard.predictor import non_offensive_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.statistics import Scores


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Accuracy, macro-averaged F1 and area under the ROC curve, each in [0, 1], over ``num`` memes."""

    num: int
    accuracy: float
    macro_f1: float
    auroc: float


def score_predictions(labels: NDArray[np.int64], probabilities: NDArray[np.float64], threshold: float) -> Metrics:
    """Compare labels [N] (1 = offensive) with probabilities [N] of being non-offensive at ``threshold``.

    AUROC is nan when only one class occurs.
    """
    predicted = (probabilities < threshold).astype(np.int64)
    both = len(np.unique(labels)) == 2  # noqa: PLR2004 - there are two classes
    return Metrics(
        num=len(labels),
        accuracy=float(accuracy_score(labels, predicted)),
        macro_f1=float(f1_score(labels, predicted, average="macro", zero_division=0)),
        auroc=float(roc_auc_score(labels, 1.0 - probabilities)) if both else float("nan"),
    )


def to_probabilities(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities [N] of being non-offensive of offensive ``logits`` [N]; see ``non_offensive_probability``."""
    return np.array([non_offensive_probability(logit, temperature) for logit in logits.tolist()])


def measure_scores(scores: Scores) -> Metrics:
    """The same of scores that know their labels and their threshold."""
    return score_predictions(scores.labels, scores.probabilities, scores.threshold)


def choose_threshold(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """The threshold of the best macro-F1, half-way between two scores; of equals, the one nearest to 0.5."""
    order = np.argsort(probabilities, kind="stable")
    ascending, offensive = probabilities[order], labels[order] == 1
    distinct = np.unique(ascending)
    candidates = np.append((distinct[1:] + distinct[:-1]) / 2, 0.5)
    candidates = candidates[np.argsort(np.abs(candidates - 0.5), kind="stable")]
    flagged = np.searchsorted(ascending, candidates, side="left")  # how many memes lie below each
    hits = np.append(0, np.cumsum(offensive))[flagged]
    rejections = np.append(0, np.cumsum(~offensive[::-1]))[len(labels) - flagged]
    wrong = len(labels) - hits - rejections
    with np.errstate(invalid="ignore"):  # 0 / 0 where a label neither occurs nor is answered
        scores = sum(np.nan_to_num(2 * right / (2 * right + wrong)) for right in (hits, rejections))
    return float(candidates[int(np.argmax(scores))])
