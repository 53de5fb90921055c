"""How to train: every setting a person may choose. Does not know what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from memeguard.config import Modalities

OptimizerName = Literal["adamw", "adam", "sgd"]
_MAX_SEED = 2**63 - 1  # what torch takes
_MAX_LEARNING_RATE = 10.0  # far above what any of them wants; 1e38 would overflow their arithmetic


class TrainingError(Exception):
    """Training that cannot start or cannot go on, and why."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The defaults suit a head on a frozen backbone as well as ``tiny`` from scratch.

    Attributes:
        optimizer: One of ``OptimizerName``.
        learning_rate: Its peak; it rises linearly over the first tenth of the steps, then falls along a cosine.
        batch_size: Memes per step.
        num_epochs: Passes over the training split at most.
        patience: Epochs without a better validation AUROC after which training stops.
        seed: Same seed, same data, same machine: same bundle.
        device: ``auto``, or one of torch's names.
        modalities: What the model sees; less than both is for ablations.

    Raises:
        TrainingError: A value out of its range.
    """

    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1e-3
    batch_size: int = 32
    num_epochs: int = 40
    patience: int = 12
    seed: int = 0
    device: str = "auto"
    modalities: Modalities = "both"

    def __post_init__(self) -> None:
        if self.optimizer not in get_args(OptimizerName):
            raise TrainingError(f"optimizer {self.optimizer!r} is none of {', '.join(get_args(OptimizerName))}")
        for name, minimum in (("batch_size", 1), ("num_epochs", 1), ("patience", 1), ("seed", 0)):
            if (value := getattr(self, name)) < minimum:
                raise TrainingError(f"{name} is {value}; it must be at least {minimum}")
        if self.seed > _MAX_SEED:
            raise TrainingError(f"seed is {self.seed}; it must be at most {_MAX_SEED}")
        if not 0 < self.learning_rate <= _MAX_LEARNING_RATE:  # also refuses nan
            raise TrainingError(
                f"learning_rate is {self.learning_rate}; it must be a positive number of at most {_MAX_LEARNING_RATE:g}"
            )
