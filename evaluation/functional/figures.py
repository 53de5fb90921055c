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
    functionalities = tuple(_measure_functionalities(suite, scores, other))
    groups = np.array([case.group for case in suite.cases])
    harmless, offensive = ((groups != "") & (scores.labels == int(label)) for label in Label)
    false_positive_rate, recall = (_estimate_flagged(scores, rows) for rows in (harmless, offensive))
    names = sorted(set(groups[groups != ""].tolist()), key=str.casefold)
    return SettingFigures(
        model=_measure_all(scores, num_resamples),
        mean_accuracy=float(np.mean([one.accuracy.value for one in functionalities])),
        functionalities=functionalities,
        groups=tuple(_measure_group(name, groups == name, scores, false_positive_rate, recall) for name in names),
        false_positive_rate=false_positive_rate,
        false_positive_gap=_find_gap(names, groups, harmless, scores),
        recall=recall,
        recall_gap=_find_gap(names, groups, offensive, scores),
        mcnemar=compare_answers(scores, other) if other else None,
    )


def _measure_all(scores: Scores, num_resamples: int) -> ModelFigures:
    values = compute_figures(scores)
    resampled = bootstrap_figures({MODEL: scores}, num_resamples=num_resamples)[MODEL]
    return ModelFigures(
        threshold=scores.threshold,
        **{figure: make_estimate(values[figure], resampled[figure]) for figure in FIGURES},
    )


def _measure_functionalities(suite: Suite, scores: Scores, other: Scores | None) -> Iterator[FunctionalityFigures]:
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


def _find_mistakes(suite: Suite, scores: Scores, rows: NDArray[np.bool_]) -> list[str]:
    """Distinct captions of the most confident wrong answers among ``rows``."""
    wrong = np.flatnonzero(rows & (scores.predicted != scores.labels))
    confidence = np.abs(scores.probabilities[wrong] - scores.threshold)
    ordered = wrong[np.argsort(-confidence, kind="stable")].tolist()
    return list(dict.fromkeys(suite.cases[row].text for row in ordered))[:NUM_MISTAKES]


def _measure_group(
    name: str, rows: NDArray[np.bool_], scores: Scores, all_harmless: Estimate, all_offensive: Estimate
) -> GroupFigures:
    part = _select(scores, rows)
    harmless, offensive = (part.labels == int(label) for label in Label)
    false_positive_rate, recall = (_estimate_flagged(part, one) for one in (harmless, offensive))
    auroc = compute_auroc(part.labels, 1.0 - part.probabilities)
    return GroupFigures(
        name=name,
        num_harmless=int(harmless.sum()),
        false_positive_rate=false_positive_rate,
        false_positive_gap=_subtract(false_positive_rate, all_harmless),
        num_offensive=int(offensive.sum()),
        recall=recall,
        recall_gap=_subtract(recall, all_offensive),
        auroc=auroc if np.isfinite(auroc) else None,
    )


def _find_gap(names: Sequence[str], groups: NDArray[np.str_], rows: NDArray[np.bool_], scores: Scores) -> Gap | None:
    """How far the share of ``rows`` that is flagged differs between groups."""
    flagged = rows & (scores.predicted == 1)
    counts = {name: (int((flagged & (groups == name)).sum()), int((rows & (groups == name)).sum())) for name in names}
    rates = {name: hits / num for name, (hits, num) in counts.items() if num}
    if len(rates) < 2:  # noqa: PLR2004 - a difference is between two
        return None
    highest, lowest = max(rates, key=rates.__getitem__), min(rates, key=rates.__getitem__)
    table = np.array([(hits, num - hits) for hits, num in counts.values() if num])
    # All are flagged, or none: the test has nothing to compare.
    p_value = float(chi2_contingency(table, correction=False).pvalue) if table.any(axis=0).all() else 1.0
    return Gap(highest=highest, lowest=lowest, value=rates[highest] - rates[lowest], p_value=p_value)


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
