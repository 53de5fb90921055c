"""Compare a model with its baselines on the same memes, and warn where it is not better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from evaluation.metrics import FIGURES, compute_figures
from evaluation.result import MAJORITY, MODEL, TFIDF, ModelFigures
from evaluation.statistics import (
    NUM_RESAMPLES,
    Estimate,
    bootstrap_figures,
    make_centred_estimate,
    make_estimate,
)
from memes.meme import Label

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from evaluation.metrics import Scores
    from memes.meme import Split

_CHANCE: Final = 0.5  # AUROC of random scores


class Measured(NamedTuple):
    """Figures of every model with their intervals, and the model's AUROC minus that of TF-IDF."""

    models: dict[str, ModelFigures]
    auroc_difference: Estimate


def measure(scores: Mapping[str, Scores], num_resamples: int = NUM_RESAMPLES, *, seed: int = 0) -> Measured:
    """Compute the figures of every model, with intervals from the same resamples, so that differences are paired.

    Args:
        scores: Scores of the same memes, by the name of the model: ``MODEL``, ``TFIDF`` and any others.
        num_resamples: Resamples of the bootstrap.
        seed: The same seed draws the same resamples.
    """
    resampled = bootstrap_figures(dict(scores), seed=seed, num_resamples=num_resamples)
    values = {name: compute_figures(one) for name, one in scores.items()}
    models = {
        name: ModelFigures(
            threshold=one.threshold,
            **{
                figure: make_centred_estimate(values[name][figure], resampled[name][figure], least=0.0)
                if figure == "ece"
                else make_estimate(values[name][figure], resampled[name][figure])
                for figure in FIGURES
            },
        )
        for name, one in scores.items()
    }
    difference = make_estimate(
        values[MODEL]["auroc"] - values[TFIDF]["auroc"], resampled[MODEL]["auroc"] - resampled[TFIDF]["auroc"]
    )
    return Measured(models, difference)


def find_warnings(measured: Measured, labels: NDArray[np.int64], num_seen: int, split: Split) -> list[str]:
    """List every reason to distrust the figures or the model, the most serious first.

    Args:
        measured: Figures of ``MODEL``, ``TFIDF`` and ``MAJORITY`` at least.
        labels: int64 [N] of the memes, 1 = offensive.
        num_seen: Number of memes that have a near-duplicate in train.
        split: Split of the memes.
    """
    models, difference = measured
    model, tfidf, majority = models[MODEL], models[TFIDF], models[MAJORITY]
    warnings = _warn_of_chance(model.auroc)
    if difference.low is not None and difference.low <= 0:
        verdict = "does not beat" if _value(difference) <= 0 else "is not shown to beat"
        warnings.append(
            f"The model {verdict} TF-IDF, which does not see pictures: AUROC {_value(model.auroc):.3f} against "
            f"{_value(tfidf.auroc):.3f}, a difference of {_format(difference)}."
        )
    if (accuracy := _value(model.accuracy)) <= (rival := _value(majority.accuracy)):
        warnings.append(
            "The model does not beat always answering the more frequent label: "
            f"accuracy {accuracy:.3f} against {rival:.3f}."
        )
    if split == "train":
        warnings.append("The model was evaluated on the train split: the figures say nothing about new memes.")
    elif num_seen:
        warnings.append(
            f"{num_seen} of {len(labels)} memes have a near-duplicate in train, in picture or caption; "
            "trust the slice without them."
        )
    if len(set(labels.tolist())) == 1:
        only = Label(labels[0]).word
        warnings.append(f"All memes of this split are {only}: AUROC and the figures that depend on it are not defined.")
    return warnings


def _warn_of_chance(auroc: Estimate) -> list[str]:
    if auroc.low is None or auroc.high is None or auroc.low > _CHANCE:
        return []
    if auroc.high < _CHANCE:
        return [f"The model is worse than chance: AUROC {_format(auroc)}. Are labels swapped?"]
    return [f"The model is no better than chance, which has AUROC 0.5: AUROC {_format(auroc)}."]


def _format(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"


def _value(estimate: Estimate) -> float:
    return float("nan") if estimate.value is None else estimate.value
