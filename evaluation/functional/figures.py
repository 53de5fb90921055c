"""Compute the figures of a functional test by functionality and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import chi2_contingency

from evaluation.functional.result import FunctionalityFigures, Gap, GroupFigures, SettingFigures
from evaluation.metrics import FIGURES, Scores, compute_auroc, compute_figures
from evaluation.result import MODEL, ModelFigures
from evaluation.statistics import (
    NUM_RESAMPLES,
    Estimate,
    bootstrap_figures,
    compare_answers,
    make_estimate,
    wilson_interval,
)
from memes.meme import Label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from evaluation.functional.cases import Suite

NUM_MISTAKES: Final = 3  # of each functionality


def compute_setting(
    suite: Suite, scores: Scores, other: Scores | None = None, num_resamples: int = NUM_RESAMPLES
) -> SettingFigures:
    """Compute every figure of one setting.

    Args:
        suite: N cases.
        scores: The bundle's scores [N].
        other: Scores [N] of the bundle to compare it with.
        num_resamples: Resamples of the bootstrap.
    """
    functionalities = tuple(measure_functionalities(suite, scores, other))
    groups = np.array([case.group for case in suite.cases])
    harmless, offensive = ((groups != "") & (scores.labels == int(label)) for label in Label)
    return SettingFigures(
        model=_measure_all(scores, num_resamples),
        mean_accuracy=average_accuracy(functionalities),
        functionalities=functionalities,
        groups=tuple(measure_groups(suite, scores)),
        false_positive_rate=_estimate_flagged(scores, harmless),
        false_positive_gap=_find_gap(groups, harmless, scores),
        recall=_estimate_flagged(scores, offensive),
        recall_gap=_find_gap(groups, offensive, scores),
        mcnemar=compare_answers(scores, other) if other else None,
    )


def measure_functionalities(
    suite: Suite, scores: Scores, other: Scores | None = None
) -> Iterator[FunctionalityFigures]:
    """Yield the figures of each functionality and label, in the suite's order; arguments as in ``compute_setting``."""
    names = np.array([case.functionality for case in suite.cases])
    for name in dict.fromkeys(names.tolist()):
        for label in reversed(Label):
            rows = (names == name) & (scores.labels == int(label))
            if rows.any():
                part = _select(scores, rows)
                yield FunctionalityFigures(
                    name=name,
                    about=suite.about.get(name, ""),
                    label=label.word,
                    num=len(part.labels),
                    accuracy=_estimate_share(part.predicted == part.labels),
                    mcnemar=compare_answers(part, _select(other, rows)) if other else None,
                    mistakes=tuple(_find_mistakes(suite, scores, rows)),
                )


def measure_groups(suite: Suite, scores: Scores) -> Iterator[GroupFigures]:
    """Yield the figures of each group, in the order of names; arguments as in ``compute_setting``."""
    groups = np.array([case.group for case in suite.cases])
    all_harmless, all_offensive = (
        _estimate_flagged(scores, (groups != "") & (scores.labels == int(label))) for label in Label
    )
    for name in sorted(set(groups[groups != ""].tolist()), key=str.casefold):
        part = _select(scores, groups == name)
        harmless, offensive = (part.labels == int(label) for label in Label)
        false_positive_rate, recall = (_estimate_flagged(part, rows) for rows in (harmless, offensive))
        auroc = compute_auroc(part.labels, 1.0 - part.probabilities)
        yield GroupFigures(
            name=name,
            num_harmless=int(harmless.sum()),
            false_positive_rate=false_positive_rate,
            false_positive_gap=_subtract(false_positive_rate, all_harmless),
            num_offensive=int(offensive.sum()),
            recall=recall,
            recall_gap=_subtract(recall, all_offensive),
            auroc=auroc if np.isfinite(auroc) else None,
        )


def average_accuracy(functionalities: Sequence[FunctionalityFigures]) -> float:
    """Mean accuracy of the functionalities, each of which counts the same."""
    return float(np.mean([one.accuracy.value for one in functionalities if one.accuracy.value is not None]))


def find_worst(functionalities: Sequence[FunctionalityFigures]) -> FunctionalityFigures:
    """The functionality with the lowest accuracy; of equals, the one with the most cases."""
    return min(functionalities, key=lambda one: (one.accuracy.value, -one.num))


def _measure_all(scores: Scores, num_resamples: int) -> ModelFigures:
    values = compute_figures(scores)
    resampled = bootstrap_figures({MODEL: scores}, num_resamples=num_resamples)[MODEL]
    return ModelFigures(
        threshold=scores.threshold,
        **{figure: make_estimate(values[figure], resampled[figure]) for figure in FIGURES},
    )


def _find_mistakes(suite: Suite, scores: Scores, rows: NDArray[np.bool_]) -> list[str]:
    """Distinct captions of the most confident wrong answers among ``rows``."""
    wrong = np.flatnonzero(rows & (scores.predicted != scores.labels))
    confidence = np.abs(scores.probabilities[wrong] - scores.threshold)
    ordered = wrong[np.argsort(-confidence, kind="stable")].tolist()
    return list(dict.fromkeys(suite.cases[row].text for row in ordered))[:NUM_MISTAKES]


def _find_gap(groups: NDArray[np.str_], rows: NDArray[np.bool_], scores: Scores) -> Gap | None:
    """How far the share of ``rows`` that is flagged differs between groups; rows without a group do not count."""
    names = [name for name in dict.fromkeys(groups[rows].tolist()) if name]
    if len(names) < 2:  # noqa: PLR2004 - a difference is between two
        return None
    flagged = [scores.predicted[rows & (groups == name)] for name in names]
    rates = [float(one.mean()) for one in flagged]
    highest, lowest = int(np.argmax(rates)), int(np.argmin(rates))
    table = np.array([(one.sum(), len(one) - one.sum()) for one in flagged])
    # Where all are flagged, or none, there is nothing to compare.
    p_value = float(chi2_contingency(table, correction=False).pvalue) if table.any(axis=0).all() else 1.0
    return Gap(highest=names[highest], lowest=names[lowest], value=rates[highest] - rates[lowest], p_value=p_value)


def _select(scores: Scores, rows: NDArray[np.bool_]) -> Scores:
    return Scores(labels=scores.labels[rows], probabilities=scores.probabilities[rows], threshold=scores.threshold)


def _estimate_flagged(scores: Scores, rows: NDArray[np.bool_]) -> Estimate:
    return _estimate_share(scores.predicted[rows] == 1)


def _estimate_share(hits: NDArray[np.bool_]) -> Estimate:
    if not len(hits):
        return Estimate(value=None, low=None, high=None)
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return Estimate(value=float(hits.mean()), low=low, high=high)


def _subtract(one: Estimate, other: Estimate) -> float | None:
    return None if one.value is None or other.value is None else one.value - other.value
