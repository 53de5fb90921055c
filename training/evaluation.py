"""Measure a bundle on one split, beside what it has to beat, and say first what speaks against it.

Does not know how a report is shown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

import memeguard
from memeguard.predictor import Predictor
from training.baselines import score_with_majority, score_with_tfidf
from training.bundle_source import hash_bundle, open_bundle, record_opening
from training.curves import bin_reliability, count_answers, sweep_thresholds, trace_precision_recall, trace_roc
from training.data import data_hash, read_split
from training.evaluation_report import EvaluationReport, Mistake, ModelFigures, SliceFigures
from training.inputs import check_captions
from training.memes import SPLITS, Label, Meme, Split
from training.scorers import MAJORITY, MODEL, TFIDF, score_with_bundle
from training.slices import Slice, find_seen, slice_memes
from training.statistics import (
    FIGURES,
    NUM_RESAMPLES,
    Estimate,
    Scores,
    bootstrap_figures,
    compare_answers,
    compute_figures,
    make_estimate,
)
from training.trainer import resolve_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NUM_MISTAKES: Final = 12
_CHANCE: Final = 0.5  # AUROC of scores that say nothing


class Measured(NamedTuple):
    """Every model's figures with their intervals, and by how much the model's AUROC exceeds that of TF-IDF."""

    models: dict[str, ModelFigures]
    auroc_difference: Estimate


def evaluate(
    source: Path, data: Path, split: Split, *, device: str = "auto", num_resamples: int = NUM_RESAMPLES
) -> EvaluationReport:
    """Measure the bundle in ``source`` on one split of ``data``.

    Opening the test split is recorded beside the bundle, unless that is in an archive.

    Args:
        source: A bundle's folder or a .mar archive.
        data: Labelled memes in MultiOFF's layout; TF-IDF learns from its train and validation splits.
        split: Which memes to measure on.
        device: Where the model runs.
        num_resamples: Of the bootstrap.

    Raises:
        BundleError: ``source`` is no bundle, or a damaged one.
        DataError: A split is missing, empty or faulty, or a caption has more tokens than the model may read.
        TrainingError: The train split holds one label only, or the model's answers are not numbers.
    """
    with open_bundle(source) as folder:
        predictor = Predictor.from_folder(folder, device=resolve_device(device))
        bundle_hash = hash_bundle(folder)
    splits = {name: read_split(data, name) for name in SPLITS if name in {"train", "validation", split}}
    memes = splits[split]
    check_captions(predictor, memes)
    csv_hash = data_hash(data)
    num_openings = record_opening(source, bundle_hash, csv_hash) if split == "test" and source.is_dir() else None

    scores = {
        **score_with_bundle(predictor, memes, f"judge {split}"),
        TFIDF: score_with_tfidf(splits["train"], splits["validation"], memes),
        MAJORITY: score_with_majority(splits["train"], memes),
    }
    measured = measure(scores, num_resamples)
    seen = find_seen(memes, splits["train"])
    model = scores[MODEL]
    both = len(np.unique(model.labels)) == len(Label)
    ranked = {name: scores[name] for name in (MODEL, TFIDF)} if both else {}
    return EvaluationReport(
        bundle=bundle_name(source),
        bundle_sha256=bundle_hash,
        backbone=predictor.config.backbone,
        data_sha256=csv_hash,
        split=split,
        num=len(memes),
        num_offensive=int(model.labels.sum()),
        num_seen=int(seen.sum()),
        num_openings=num_openings,
        num_resamples=num_resamples,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        memeguard_version=memeguard.__version__,
        warnings=tuple(find_warnings(measured, model.labels, int(seen.sum()), split)),
        models=measured.models,
        auroc_difference=measured.auroc_difference,
        mcnemar=compare_answers(model, scores[TFIDF]),
        confusion=count_answers(model),
        roc=tuple(trace_roc(name, one) for name, one in ranked.items()),
        precision_recall=tuple(trace_precision_recall(name, one) for name, one in ranked.items()),
        reliability=bin_reliability(model),
        thresholds=sweep_thresholds(model),
        slices=tuple(
            _measure_slice(one, model)
            for one in slice_memes(memes, lambda text: predictor.captions.count_tokens(text) - 2, seen)
        ),
        mistakes=tuple(find_mistakes(memes, model, data)),
    )


def bundle_name(source: Path) -> str:
    """What people call the bundle: its folder's name, or the archive's without its ending."""
    path = source.resolve()
    return path.name if path.is_dir() else path.stem


def tabulate(report: EvaluationReport) -> dict[str, dict[str, Any]]:
    """Rows for ``report.format_metrics``; what is not defined is nan."""
    return {
        name: {"num": report.num, **{key: _value(getattr(figures, key)) for key in ("accuracy", "macro_f1", "auroc")}}
        for name, figures in report.models.items()
    }


def measure(scores: Mapping[str, Scores], num_resamples: int = NUM_RESAMPLES, *, seed: int = 0) -> Measured:
    """Figures of every model with intervals from the same resamples; ``scores`` has ``MODEL`` and ``TFIDF``."""
    resampled = bootstrap_figures(dict(scores), seed=seed, num_resamples=num_resamples)
    values = {name: compute_figures(one) for name, one in scores.items()}
    models = {
        name: ModelFigures(
            threshold=one.threshold,
            **{figure: make_estimate(values[name][figure], resampled[name][figure]) for figure in FIGURES},
        )
        for name, one in scores.items()
    }
    difference = make_estimate(
        values[MODEL]["auroc"] - values[TFIDF]["auroc"], resampled[MODEL]["auroc"] - resampled[TFIDF]["auroc"]
    )
    return Measured(models, difference)


def find_warnings(measured: Measured, labels: NDArray[np.int64], num_seen: int, split: Split) -> list[str]:
    """Every reason to distrust the figures or the model, the gravest first."""
    models, difference = measured
    model, tfidf, majority = models[MODEL], models[TFIDF], models[MAJORITY]
    warnings = _warn_of_chance(model.auroc)
    if difference.low is not None and difference.low <= 0:
        verdict = "does not beat" if _value(difference) <= 0 else "is not shown to beat"
        warnings.append(
            f"The model {verdict} TF-IDF, which sees no picture: AUROC {_value(model.auroc):.3f} against "
            f"{_value(tfidf.auroc):.3f}, a difference of {_format(difference)}."
        )
    if (accuracy := _value(model.accuracy)) <= (rival := _value(majority.accuracy)):
        warnings.append(
            "The model does not beat always answering the more frequent label: "
            f"accuracy {accuracy:.3f} against {rival:.3f}."
        )
    if split == "train":
        warnings.append(
            "The train split was measured: the figures say how well it was learnt, nothing about new memes."
        )
    elif num_seen:
        warnings.append(
            f"{num_seen} of {len(labels)} memes have a near-duplicate in train, in picture or caption; "
            "the slice without them is the honest one."
        )
    if len(set(labels.tolist())) == 1:
        only = Label(labels[0]).name.lower().replace("_", "-")
        warnings.append(f"All memes of this split are {only}: AUROC and what depends on it are not defined.")
    return warnings


def find_mistakes(memes: Sequence[Meme], scores: Scores, data: Path) -> list[Mistake]:
    """The ``NUM_MISTAKES`` wrong answers to which the model gives the highest probability, the highest first."""
    predicted = scores.predicted
    confidence = np.where(predicted == 1, 1.0 - scores.probabilities, scores.probabilities)
    wrong = np.flatnonzero(predicted != scores.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:NUM_MISTAKES]
    return [
        Mistake(
            file=memes[index].file,
            row=memes[index].row,
            image_path=str(memes[index].image_path.relative_to(data)),
            text=memes[index].text,
            label=_word(memes[index].label),
            prediction=_word(Label(predicted[index])),
            confidence=float(confidence[index]),
        )
        for index in worst
    ]


def _measure_slice(one: Slice, scores: Scores) -> SliceFigures:
    part = Scores(
        labels=scores.labels[one.rows], probabilities=scores.probabilities[one.rows], threshold=scores.threshold
    )
    figures = compute_figures(part)
    return SliceFigures(
        aspect=one.aspect,
        name=one.name,
        num=len(part.labels),
        num_offensive=int(part.labels.sum()),
        accuracy=figures["accuracy"],
        auroc=figures["auroc"] if np.isfinite(figures["auroc"]) else None,
    )


def _warn_of_chance(auroc: Estimate) -> list[str]:
    if auroc.low is None or auroc.high is None or auroc.low > _CHANCE:
        return []
    if auroc.high < _CHANCE:
        return [f"The model is worse than chance: AUROC {_format(auroc)}. Are labels swapped?"]
    return [f"The model is no better than chance: AUROC {_format(auroc)}, and 0.5 is a coin's."]


def _format(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"


def _value(estimate: Estimate) -> float:
    return float("nan") if estimate.value is None else estimate.value


def _word(label: Label) -> str:
    return "Offensive" if label is Label.OFFENSIVE else "Non-offensive"
