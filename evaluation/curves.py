"""Compute a model's curves: ROC, precision-recall, reliability, and the figures at every threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from evaluation.metrics import NUM_BINS, Scores, bin_scores, compute_decisions
from evaluation.result import Confusion, Curve, Point, ReliabilityBin, ThresholdPoint
from evaluation.statistics import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUM_THRESHOLDS: Final = 101


def trace_roc(model: str, scores: Scores) -> Curve:
    """False positive rate against true positive rate; both labels must occur."""
    false_rate, true_rate, _ = roc_curve(scores.labels, 1.0 - scores.probabilities)
    return Curve(model=model, points=_points(false_rate, true_rate))


def trace_precision_recall(model: str, scores: Scores) -> Curve:
    """Recall against precision of the label offensive, which must occur."""
    precision, recall, _ = precision_recall_curve(scores.labels, 1.0 - scores.probabilities, drop_intermediate=True)
    return Curve(model=model, points=_points(recall, precision))


def bin_reliability(scores: Scores) -> tuple[ReliabilityBin, ...]:
    """The bins of the calibration error that contain memes, in rising order of risk."""
    risk = 1.0 - scores.probabilities
    bins = bin_scores(risk)
    filled = []
    for index in range(NUM_BINS):
        rows = bins == index
        if num := int(rows.sum()):
            hits = int(scores.labels[rows].sum())
            low, high = wilson_interval(hits, num)
            mean = float(risk[rows].mean())
            filled.append(ReliabilityBin(num=num, risk=mean, offensive_share=hits / num, low=low, high=high))
    return tuple(filled)


def sweep_thresholds(scores: Scores) -> tuple[ThresholdPoint, ...]:
    """The model's figures at evenly spaced thresholds over [0, 1]."""
    return tuple(_at_threshold(scores, float(value)) for value in np.linspace(0.0, 1.0, _NUM_THRESHOLDS))


def count_answers(scores: Scores) -> Confusion:
    """Count the memes of each label by the answer they got."""
    offensive, flagged = scores.labels == 1, scores.predicted == 1
    return Confusion(
        offensive_as_offensive=int(np.sum(offensive & flagged)),
        offensive_as_non_offensive=int(np.sum(offensive & ~flagged)),
        non_offensive_as_offensive=int(np.sum(~offensive & flagged)),
        non_offensive_as_non_offensive=int(np.sum(~offensive & ~flagged)),
    )


def _at_threshold(scores: Scores, threshold: float) -> ThresholdPoint:
    moved = Scores(labels=scores.labels, probabilities=scores.probabilities, threshold=threshold)
    answers, figures = count_answers(moved), compute_decisions(moved)
    num_flagged = answers.offensive_as_offensive + answers.non_offensive_as_offensive
    num_offensive = answers.offensive_as_offensive + answers.offensive_as_non_offensive
    return ThresholdPoint(
        threshold=threshold,
        accuracy=figures["accuracy"],
        macro_f1=figures["macro_f1"],
        offensive_precision=answers.offensive_as_offensive / num_flagged if num_flagged else None,
        offensive_recall=answers.offensive_as_offensive / num_offensive if num_offensive else None,
    )


def _points(x: Iterable[float], y: Iterable[float]) -> tuple[Point, ...]:
    return tuple(Point(x=float(one), y=float(other)) for one, other in zip(x, y, strict=True))
