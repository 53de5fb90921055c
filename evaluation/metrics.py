"""How good scores are: accuracy, F1, AUROC, average precision, calibration error, Brier score; and the best threshold.

Offensive is the positive class; scores are probabilities of being **non-offensive**. Every figure is computed here.

Shape suffixes: N memes, R weightings of the memes, G distinct scores, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.metrics import roc_auc_score

from memeguard.predictor import non_offensive_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_BINS: Final = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks"
FIGURES: Final = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "offensive_f1",
    "auroc",
    "average_precision",
    "ece",
    "brier",
)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The predictions of one model for N memes.

    Attributes:
        labels: int64 [N], 1 = offensive.
        probabilities: float64 [N] of being non-offensive.
        threshold: From this probability on the answer is "non-offensive".
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    threshold: float

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Answers [N], 1 = offensive."""
        return (self.probabilities < self.threshold).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Accuracy, macro-averaged F1 and area under the ROC curve, each in [0, 1], over ``num`` memes."""

    num: int
    accuracy: float
    macro_f1: float
    auroc: float


def measure_scores(scores: Scores) -> Metrics:
    """The figures that training reports; AUROC is nan if only one label occurs."""
    figures = compute_figures(scores)
    return Metrics(
        num=len(scores.labels), accuracy=figures["accuracy"], macro_f1=figures["macro_f1"], auroc=figures["auroc"]
    )


def compute_figures(scores: Scores) -> dict[str, float]:
    """Every one of ``FIGURES``; nan where a figure is not defined."""
    weights_1N = np.ones((1, len(scores.labels)))
    figures = {name: float(values[0]) for name, values in weighted_figures(scores, weights_1N).items()}
    return {**figures, "auroc": compute_auroc(scores.labels, 1.0 - scores.probabilities)}


def compute_decisions(scores: Scores) -> dict[str, float]:
    """Those of ``FIGURES`` that depend on the threshold: accuracy and the F1 scores."""
    weights_1N = np.ones((1, len(scores.labels)))
    figures = _decision_figures(scores.labels == 1, scores.predicted == 1, weights_1N)
    return {name: float(values[0]) for name, values in figures.items()}


def compute_calibration(scores: Scores) -> dict[str, float]:
    """Those of ``FIGURES`` that say how well probabilities are calibrated: ECE and Brier score."""
    weights_1N = np.ones((1, len(scores.labels)))
    return {name: float(values[0]) for name, values in weighted_calibration(scores, weights_1N).items()}


def compute_auroc(labels: NDArray[np.int64], risk: NDArray[np.float64]) -> float:
    """Area under the ROC curve of ``labels`` [N] by ``risk`` [N]; nan if only one label occurs.

    ``weighted_figures`` computes it for many resamples at once; the last bits may differ.
    """
    return float(roc_auc_score(labels, risk)) if len(np.unique(labels)) == 2 else float("nan")  # noqa: PLR2004


def weighted_figures(scores: Scores, weights_RN: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every one of ``FIGURES`` [R] on R weightings of the memes; a weight counts how often a meme was drawn."""
    offensive = scores.labels == 1
    risk = 1.0 - scores.probabilities  # of being offensive
    with np.errstate(invalid="ignore", divide="ignore"):  # what is not defined becomes nan
        return {
            **_decision_figures(offensive, scores.predicted == 1, weights_RN),
            **_ranking_figures(offensive, risk, weights_RN),
            **weighted_calibration(scores, weights_RN),
        }


def weighted_calibration(scores: Scores, weights_RN: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Calibration error and Brier score [R] on R weightings of the memes, as in ``weighted_figures``."""
    offensive, risk = scores.labels == 1, 1.0 - scores.probabilities
    return {
        "ece": _calibration_error(offensive, risk, weights_RN),
        "brier": weights_RN @ (risk - offensive) ** 2 / weights_RN.sum(axis=1),
    }


def bin_scores(risk: NDArray[np.float64], num_bins: int = NUM_BINS) -> NDArray[np.int64]:
    """The bin [N] of each score: equal widths over [0, 1], closed above as in Guo et al."""
    return np.clip(np.ceil(risk * num_bins).astype(np.int64) - 1, 0, num_bins - 1)


def to_probabilities(logits: NDArray[np.float64], temperature: float = 1.0, shift: float = 0.0) -> NDArray[np.float64]:
    """Probabilities [N] of being non-offensive from offensive ``logits`` [N]; without calibration by default."""
    return np.array([non_offensive_probability(logit, temperature, shift) for logit in logits.tolist()])


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
    f1, other_f1 = _f1_scores(hits, rejections, len(labels) - hits - rejections)
    return float(candidates[int(np.argmax(f1 + other_f1))])


def _f1_scores(
    hits: NDArray[Any], rejections: NDArray[Any], wrong: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F1 = 2 TP / (2 TP + FP + FN) of offensive and of non-offensive.

    A label that neither occurs nor is predicted scores 0, as with scikit-learn's ``zero_division=0``.
    """
    with np.errstate(invalid="ignore"):
        f1, other_f1 = (np.nan_to_num(2 * right / (2 * right + wrong)) for right in (hits, rejections))
    return f1, other_f1


def _decision_figures(
    offensive: NDArray[np.bool_], predicted: NDArray[np.bool_], weights_RN: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    hits, rejections, wrong = (
        weights_RN @ rows.astype(np.float64)
        for rows in (offensive & predicted, ~offensive & ~predicted, offensive != predicted)
    )
    total, positive = weights_RN.sum(axis=1), weights_RN @ offensive.astype(np.float64)
    f1, other_f1 = _f1_scores(hits, rejections, wrong)
    return {
        "accuracy": (hits + rejections) / total,
        "macro_f1": (f1 + other_f1) / 2,
        "weighted_f1": (f1 * positive + other_f1 * (total - positive)) / total,
        "offensive_f1": f1,
    }


def _ranking_figures(
    offensive: NDArray[np.bool_], risk: NDArray[np.float64], weights_RN: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Rank once, highest risk first; memes of equal risk form one group, which no threshold splits."""
    order = np.argsort(-risk, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(risk[order]) != 0))
    ordered_RN, positive_N = weights_RN[:, order], offensive[order].astype(np.float64)
    positives_RG = np.add.reduceat(ordered_RN * positive_N, starts, axis=1)
    negatives_RG = np.add.reduceat(ordered_RN * (1 - positive_N), starts, axis=1)
    hits_RG, alarms_RG = positives_RG.cumsum(axis=1), negatives_RG.cumsum(axis=1)
    num_positive, num_negative = hits_RG[:, -1], alarms_RG[:, -1]
    # A positive wins against each negative that ranks lower, and half against each one of equal risk.
    lower_RG = num_negative[:, None] - alarms_RG + negatives_RG / 2
    precision_RG = np.nan_to_num(hits_RG / (hits_RG + alarms_RG))  # 0 / 0 where no drawn meme ranks so high
    return {
        "auroc": (positives_RG * lower_RG).sum(axis=1) / (num_positive * num_negative),
        "average_precision": (positives_RG * precision_RG).sum(axis=1) / num_positive,
    }


def _calibration_error(
    offensive: NDArray[np.bool_], risk: NDArray[np.float64], weights_RN: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean gap between risk and share of offensive memes over the bins, weighted by their memes.

    Guo et al. bin the probability of the answer. With two classes the probability of being offensive does not depend
    on the threshold, and is what the reliability curve shows.
    """
    bins_NB = np.eye(NUM_BINS)[bin_scores(risk)]
    gaps_RB = weights_RN @ (bins_NB * (risk - offensive)[:, None])
    error: NDArray[np.float64] = np.abs(gaps_RB).sum(axis=1) / weights_RN.sum(axis=1)
    return error
