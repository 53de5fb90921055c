"""Teach a model what models like it, which did not see a meme, make of that meme, besides its label.

Labels of memes are opinions, and some are mistakes. A model that learns them by heart ranks new memes worse than one
that is told how sure to be of each. Its teachers have its own architecture and settings (Furlanello et al. 2018,
"Born-Again Neural Networks") and share each meme's target with its label (Reed et al. 2015, "Training Deep Neural
Networks on Noisy Labels with Bootstrapping"), but here none judges what it has learnt from, nor a near-duplicate.

Does not know how a model is trained, nor what becomes of the targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from training.calibration import fit_temperature
from training.evaluation.metrics import to_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.checkpoint import Checkpoints
    from training.config import TrainingConfig
    from training.cross_validation import Folds
    from training.experiment import Experiment


class SelfDistillation:
    """The teachers of one training, each trained when it is first asked: one for every fold, or pair, left out."""

    def __init__(
        self,
        experiment: Experiment,
        config: TrainingConfig,
        folds: Folds,
        *,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """Prepare to teach the training split of ``experiment``.

        Args:
            experiment: What teachers and pupil have in common.
            config: How teachers learn, from labels alone; its ``self_distillation`` is the share of the targets that
                is theirs.
            folds: Which memes of the training split are judged by the same teacher.
            checkpoints: Where unfinished teachers are kept, and the answers of finished ones.
        """
        self._experiment, self._config, self._folds, self._checkpoints = experiment, config, folds, checkpoints
        self._answers: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def targets(self, held_out: int | None = None) -> NDArray[np.float64]:
        """What to learn of each meme, its probability [N] of being offensive.

        Args:
            held_out: A fold whose labels nothing may depend on; N are the memes of the others then.

        Raises:
            TrainingError: A teacher's loss is not finite.
        """
        rows, logits, temperature = self._judge(held_out)
        share = self._config.self_distillation
        offensive = 1.0 - to_probabilities(logits, temperature)
        targets: NDArray[np.float64] = (1 - share) * self._experiment.labels["train"][rows] + share * offensive
        return targets

    def summarize(self) -> dict[str, Any]:
        """How good the teachers are: folds, AUROC over all memes, and their temperature, ready for JSON."""
        rows, logits, temperature = self._judge(None)
        auroc = float(roc_auc_score(self._experiment.labels["train"][rows], logits))
        return {"num_folds": self._folds.num, "auroc": auroc, "temperature": temperature}

    def _judge(self, held_out: int | None) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        """Rows outside ``held_out``, their teachers' offensive logits, and the temperature that suits these."""
        numbers = self._folds.numbers
        others = [number for number in range(self._folds.num) if number != held_out]
        logits = np.empty(len(numbers))
        for number in others:
            inside = numbers == number
            logits[inside] = self._ask((number,) if held_out is None else (number, held_out))[inside]
        rows = np.flatnonzero(np.isin(numbers, others))
        return rows, logits[rows], fit_temperature(self._experiment.labels["train"][rows], logits[rows])

    def _ask(self, left_out: tuple[int, ...]) -> NDArray[np.float64]:
        """What the teacher that was not taught these folds makes of them: offensive logits [N], nan of other memes."""
        left_out = tuple(sorted(left_out))
        if left_out not in self._answers:
            self._answers[left_out] = self._recall_or_train(left_out)
        return self._answers[left_out]

    def _recall_or_train(self, left_out: tuple[int, ...]) -> NDArray[np.float64]:
        name = "teacher-without-" + "-".join(str(number + 1) for number in left_out)
        kept = self._checkpoints.named(f"{name}-answers") if self._checkpoints else None
        if kept and (found := kept.read()):
            return found[0]["logits"].numpy()
        inside = np.isin(self._folds.numbers, left_out)
        checkpoint = self._checkpoints.named(name) if self._checkpoints else None
        fitted = self._experiment.fit(self._config, rows=np.flatnonzero(~inside), checkpoint=checkpoint, title=name)
        logits = np.full(len(inside), np.nan)
        logits[inside] = self._experiment.predict_logits(fitted.classifier, "train", np.flatnonzero(inside))
        if kept and checkpoint:
            kept.write({"logits": torch.from_numpy(logits)}, {})
            checkpoint.remove()  # weights and moments of twenty teachers would fill a disk
        return logits
