"""Evaluate a bundle on one split of labelled memes, and compare it with baselines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import memeguard
from evaluation.baselines import score_with_majority, score_with_tfidf
from evaluation.calibration import compare_calibration
from evaluation.comparison import find_warnings, measure
from evaluation.curves import (
    bin_reliability,
    count_answers,
    sweep_thresholds,
    trace_precision_recall,
    trace_roc,
)
from evaluation.metrics import Scores, compute_figures
from evaluation.openings import record_opening
from evaluation.result import MAJORITY, MODEL, TFIDF, UNCALIBRATED, EvaluationResult, Mistake, SliceFigures
from evaluation.scorers import score_with_bundle
from evaluation.slices import Slice, find_seen, slice_memes
from evaluation.statistics import NUM_RESAMPLES, Estimate, compare_answers
from evaluation.threshold_curve import measure_threshold
from memeguard.bundle_files import read_report
from memeguard.bundle_source import hash_bundle, open_bundle
from memeguard.devices import resolve_device
from memeguard.errors import BundleError
from memeguard.torch_runtime import TorchPredictor
from memes.meme import Label, Meme, Split
from memes.preparing import check_captions
from memes.reading import Skipping, data_hash, read_splits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NUM_MISTAKES: Final = 12


def evaluate(
    source: Path,
    data: Path,
    split: Split,
    *,
    device: str = "auto",
    num_resamples: int = NUM_RESAMPLES,
    max_skipped: int = 0,
) -> EvaluationResult:
    """Evaluate the bundle in ``source`` on one split of ``data``.

    An evaluation on the test split is counted, see ``evaluation.openings``; if it cannot be, a warning says so.

    Args:
        source: A bundle's folder or a .mar archive.
        data: Labelled memes; TF-IDF learns from its train and validation splits.
        split: Memes to evaluate on.
        device: Where the model computes.
        num_resamples: Resamples of the bootstrap.
        max_skipped: Largest number of faulty memes, over the splits that are read, that may be left out.

    Raises:
        BundleError: ``source`` is not a bundle, is damaged, or gives answers that are not numbers.
        DataError: A split is missing, empty or faulty, the train split holds one label only, or a caption has more
            tokens than the model may read.
        DeviceError: This machine has no such device.
    """
    with open_bundle(source) as folder:
        predictor = TorchPredictor.from_folder(folder, device=resolve_device(device))
        bundle_hash, trained = hash_bundle(folder), read_report(folder)
    skipping = Skipping(max_memes=max_skipped)
    splits = read_splits(data, required={"train", "validation", split}, others=False, skipping=skipping)
    memes = splits[split]
    check_captions(predictor, memes)
    csv_hash = data_hash(data)
    num_openings, uncounted = _count_opening(source, bundle_hash, csv_hash) if split == "test" else (None, [])
    scores = {
        **score_with_bundle(predictor, memes, f"predict {split}"),
        TFIDF: score_with_tfidf(splits["train"], splits["validation"], memes),
        MAJORITY: score_with_majority(splits["train"], memes),
    }
    uncalibrated = scores.pop(UNCALIBRATED)
    measured = measure(scores, num_resamples)
    seen = find_seen(memes, splits["train"])
    model = scores[MODEL]
    ranked = _with_curves(scores)
    return EvaluationResult(
        bundle=bundle_name(source),
        bundle_sha256=bundle_hash,
        backbone=predictor.config.backbone,
        backbone_commit=trained.get("backbone_commit"),
        backbone_sha256=trained.get("backbone_sha256"),
        data_sha256=csv_hash,
        split=split,
        num=len(memes),
        num_offensive=int(model.labels.sum()),
        num_seen=int(seen.sum()),
        num_openings=num_openings,
        temperature=predictor.config.labels.temperature,
        shift=predictor.config.labels.shift,
        num_resamples=num_resamples,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        memeguard_version=memeguard.__version__,
        warnings=(
            *find_warnings(measured, model.labels, int(seen.sum()), split),
            *uncounted,
            *_warn_of_skipped(skipping.skipped),
        ),
        skipped=skipping.skipped,
        models=measured.models,
        auroc_difference=measured.auroc_difference,
        mcnemar=compare_answers(model, scores[TFIDF]),
        confusion=count_answers(model),
        roc=tuple(trace_roc(name, one) for name, one in ranked.items()),
        precision_recall=tuple(trace_precision_recall(name, one) for name, one in ranked.items()),
        reliability=bin_reliability(model),
        calibration=compare_calibration(
            model.labels, uncalibrated.probabilities, model.probabilities, num_resamples=num_resamples
        ),
        thresholds=sweep_thresholds(model),
        operating_points={
            name: measure_threshold(threshold, model)
            for name, threshold in predictor.config.labels.operating_points.items()
        },
        slices=tuple(
            _measure_slice(one, model)
            for one in slice_memes(memes, lambda text: predictor.captions.count_tokens(text) - 2, seen)
        ),
        mistakes=tuple(find_mistakes(memes, model, data)),
    )


def bundle_name(source: Path) -> str:
    """Name of the bundle: that of its folder, or of the archive without its suffix."""
    path = source.resolve()
    return path.name if path.is_dir() else path.stem


def tabulate(result: EvaluationResult) -> dict[str, dict[str, Any]]:
    """Rows for ``format_metrics``; a figure that is not defined is nan."""
    return {
        name: {"num": result.num, **{key: _value(getattr(figures, key)) for key in ("accuracy", "macro_f1", "auroc")}}
        for name, figures in result.models.items()
    }


def find_mistakes(memes: Sequence[Meme], scores: Scores, data: Path) -> list[Mistake]:
    """Find the ``NUM_MISTAKES`` wrong answers with the highest probability, the highest first."""
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
        for index in worst.tolist()
    ]


def _count_opening(source: Path, bundle_hash: str, csv_hash: str) -> tuple[int | None, list[str]]:
    """The number of openings including this one, or a warning that it is not known."""
    try:
        return record_opening(source, bundle_hash, csv_hash), []
    except BundleError as error:
        return None, [f"This opening of the test split could not be counted, and later counts will miss it: {error}."]


def _warn_of_skipped(skipped: Sequence[str]) -> list[str]:
    return [f"{len(skipped)} faulty memes were left out; the first: {skipped[0]}."] if skipped else []


def _with_curves(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    """The scores whose curves are drawn; none if only one label occurs."""
    both = len(np.unique(scores[MODEL].labels)) == len(Label)
    return {name: scores[name] for name in (MODEL, TFIDF)} if both else {}


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


def _value(estimate: Estimate) -> float:
    return float("nan") if estimate.value is None else estimate.value


def _word(label: Label) -> str:
    return "Offensive" if label is Label.OFFENSIVE else "Non-offensive"
