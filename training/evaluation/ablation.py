"""Train the same model on picture and caption, on the picture alone, and on the caption alone.

If one modality alone does as well as both, the data does not need a multimodal model, or the model is none. Does not
know how training works.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, get_args

from memeguard.config import Modalities
from training.trainer import evaluate_memes, train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.config import TrainingConfig
    from training.data.memes import Meme
    from training.evaluation.metrics import Metrics


def compare_modalities(
    splits: Mapping[str, Sequence[Meme]], backbone_name: str, config: TrainingConfig
) -> dict[Modalities, Metrics]:
    """Metrics on ``splits["test"]`` of three models that differ in what they see and in nothing else."""
    results: dict[Modalities, Metrics] = {}
    for modalities in get_args(Modalities):
        bundle = train(splits, backbone_name, dataclasses.replace(config, modalities=modalities, num_folds=0)).bundle
        results[modalities] = evaluate_memes(bundle, splits["test"], device=config.device)
    return results
