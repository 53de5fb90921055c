"""Predict every meme of the training split with a model that was trained on neither it nor a near-duplicate of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from evaluation.metrics import compute_auroc
from training.config import NUM_FOLDS_OF_HEAD, TrainingConfig, TrainingError
from training.folds import assign_folds, group_duplicates

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.checkpoint import Checkpoints
    from training.experiment import Experiment

_MAX_MEMES: Final = 50_000  # with more memes the validation split is large enough


class Folds(NamedTuple):
    """The fold of each meme of the training split, int64 [N], and the number of groups of near-duplicates."""

    numbers: NDArray[np.int64]
    num_groups: int

    @property
    def num(self) -> int:
        """Number of folds."""
        return int(self.numbers.max()) + 1


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """Out-of-fold predictions.

    Attributes:
        logits: Offensive logit of each meme, float64 [N].
        validation_logits: Offensive logits of the validation split by the model of each fold, float64 [folds, M].
        folds: The fold in which each meme was held out.
    """

    logits: NDArray[np.float64]
    validation_logits: NDArray[np.float64]
    folds: Folds

    def align(self, logits_M: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring the logits [N] to the scale of the model that has ``logits_M`` on the validation split.

        Early stopping leaves some models several times as sure as others. Calibration fitted to a mixture of them suits
        none. Each fold's logits are moved and stretched so that mean and deviation on the validation split, whose
        labels have no part in this, become those of the other model.
        """
        aligned = np.empty(len(self.logits))
        for number, own_M in enumerate(self.validation_logits):
            rows = self.folds.numbers == number
            standard = (self.logits[rows] - own_M.mean()) / (own_M.std() or 1.0)
            aligned[rows] = standard * logits_M.std() + logits_M.mean()
        return aligned

    def summarize(self, labels: NDArray[np.int64]) -> dict[str, Any]:
        """Summarize AUROC over all memes and in each fold, ready for JSON.

        Args:
            labels: int64 [N], 1 = offensive.
        """
        rows = [self.folds.numbers == number for number in range(self.folds.num)]
        return {
            "num_folds": self.folds.num,
            "num_groups": self.folds.num_groups,
            "auroc": compute_auroc(labels, self.logits),
            "fold_auroc": [compute_auroc(labels[held_out], self.logits[held_out]) for held_out in rows],
        }


def choose_num_folds(config: TrainingConfig, experiment: Experiment) -> int:
    """Resolve ``config.num_folds``: None means folds if they take seconds and the validation split may be small."""
    if config.num_folds is not None:
        return config.num_folds
    return NUM_FOLDS_OF_HEAD if experiment.tune == "head" and len(experiment.labels["train"]) <= _MAX_MEMES else 0


def part_into_folds(experiment: Experiment, config: TrainingConfig, cache_dir: Path | None = None) -> Folds | None:
    """Divide the training split into the folds of ``choose_num_folds``; None if there are none.

    Raises:
        TrainingError: The folds that ``config.num_folds`` asks for cannot be made.
    """
    labels, num_folds = experiment.labels["train"], choose_num_folds(config, experiment)
    if not num_folds:
        return None
    groups = group_duplicates(experiment.memes["train"], cache_dir)
    try:
        return Folds(assign_folds(labels, groups, num_folds, seed=config.seed), len(np.unique(groups)))
    except TrainingError:
        if config.num_folds is None:
            return None
        raise


def predict_out_of_fold(
    experiment: Experiment, config: TrainingConfig, folds: Folds, *, checkpoints: Checkpoints | None = None
) -> OutOfFold:
    """Train once per fold on the other folds; each training stops early by the validation split, as the final one does.

    Raises:
        TrainingError: A loss is not finite.
    """
    logits, validation_logits = np.empty(len(folds.numbers)), []
    for number in range(folds.num):
        name = f"fold-{number + 1}"
        rest, held_out = np.flatnonzero(folds.numbers != number), np.flatnonzero(folds.numbers == number)
        checkpoint = checkpoints.named(name) if checkpoints else None
        fitted = experiment.fit(config, rows=rest, checkpoint=checkpoint, title=name)
        logits[held_out] = experiment.predict_logits(fitted.classifier, "train", held_out)
        validation_logits.append(experiment.predict_logits(fitted.classifier, "validation"))
    return OutOfFold(logits=logits, validation_logits=np.array(validation_logits), folds=folds)
