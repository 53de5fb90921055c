"""Train the same model on picture and caption, on the picture alone, and on the caption alone.

If one modality does as well as both, the data does not need a multimodal model, or the model does not combine them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, get_args

from evaluation.metrics import Scores, measure_scores, to_probabilities
from memeguard.config import Modalities
from training.calibration import calibrate
from training.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evaluation.metrics import Metrics
    from memes.meme import Meme
    from training.config import TrainingConfig


def compare_modalities(
    splits: Mapping[str, Sequence[Meme]], backbone_name: str, config: TrainingConfig, *, cache_dir: Path | None = None
) -> dict[Modalities, Metrics]:
    """Train three models that differ only in what they see; return their metrics on the validation split.

    Args:
        splits: Memes of ``train`` and ``validation``.
        backbone_name: See ``load_backbone``.
        config: How to train; ``modalities`` is ignored.
        cache_dir: Folder in which the features of a frozen backbone are kept.
    """
    experiment = Experiment(splits, backbone_name, tune=config.tune, device=config.device, cache_dir=cache_dir)
    labels = experiment.labels["validation"]
    results: dict[Modalities, Metrics] = {}
    for modalities in get_args(Modalities):
        fitted = experiment.fit(dataclasses.replace(config, modalities=modalities), title=modalities)
        logits = experiment.predict_logits(fitted.classifier, "validation")
        chosen = calibrate(labels, logits)
        probabilities = to_probabilities(logits, chosen.temperature, chosen.shift)
        scores = Scores(labels=labels, probabilities=probabilities, threshold=chosen.threshold)
        results[modalities] = measure_scores(scores)
    return results
