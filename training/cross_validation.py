"""Judge every meme of the training split by a model that saw neither it nor a near-duplicate of it.

Does not know what the judgements are used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.metrics import roc_auc_score

from training.folds import assign_folds, group_duplicates

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.checkpoint import Checkpoints
    from training.config import TrainingConfig
    from training.experiment import Experiment

_NUM_FOLDS: Final = 5
_MAX_MEMES: Final = 50_000  # of more, a validation split says as much


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """Out-of-fold predictions.

    Attributes:
        logits: Offensive logit of each meme, float64 [N].
        folds: In which fold it was held out, int64 [N].
        num_groups: Memes that are no near-duplicates of each other.
    """

    logits: NDArray[np.float64]
    folds: NDArray[np.int64]
    num_groups: int

    def summarize(self, labels: NDArray[np.int64]) -> dict[str, Any]:
        """AUROC over all memes and of each fold, ready for JSON."""
        numbers = range(int(self.folds.max()) + 1)
        rows = [self.folds == number for number in numbers]
        return {
            "num_folds": len(rows),
            "num_groups": self.num_groups,
            "auroc": float(roc_auc_score(labels, self.logits)),
            "fold_auroc": [float(roc_auc_score(labels[held_out], self.logits[held_out])) for held_out in rows],
        }


def choose_num_folds(config: TrainingConfig, experiment: Experiment) -> int:
    """``config.num_folds``, or what None means: folds where they cost seconds and the validation split may be small."""
    if config.num_folds is not None:
        return config.num_folds
    return _NUM_FOLDS if experiment.tune == "head" and len(experiment.labels["train"]) <= _MAX_MEMES else 0


def predict_out_of_fold(
    experiment: Experiment,
    config: TrainingConfig,
    num_folds: int,
    *,
    cache_dir: Path | None = None,
    checkpoints: Checkpoints | None = None,
) -> OutOfFold:
    """Train once for each fold on the others; each training stops early on the validation split, as the final one does.

    Raises:
        TrainingError: Too few memes of a label are no near-duplicates, or a loss is not finite.
    """
    labels = experiment.labels["train"]
    groups = group_duplicates(experiment.memes["train"], cache_dir)
    folds = assign_folds(labels, groups, num_folds, seed=config.seed)
    logits = np.empty(len(labels))
    for number in range(num_folds):
        name = f"fold-{number + 1}"
        rest, held_out = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
        checkpoint = checkpoints.named(name) if checkpoints else None
        fitted = experiment.fit(config, rows=rest, checkpoint=checkpoint, title=name)
        logits[held_out] = experiment.predict_logits(fitted.classifier, "train", held_out)
    return OutOfFold(logits=logits, folds=folds, num_groups=len(np.unique(groups)))
