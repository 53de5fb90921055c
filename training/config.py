"""The settings of a training, their defaults and their limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

from memeguard.config import Modalities
from memeguard.errors import MemeguardError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OptimizerName = Literal["adamw", "adam", "sgd"]
Tune = Literal["head", "lora", "last-blocks", "full"]
Precision = Literal["auto", "fp32", "bf16"]
Storage = Literal["fp32", "fp16"]

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "optimizer": get_args(OptimizerName),
    "tune": get_args(Tune),
    "precision": get_args(Precision),
    "storage": get_args(Storage),
    "modalities": get_args(Modalities),
}
# Lowest and highest value. The seed's are torch's. The highest learning rate is far above any useful one; 1e38 would
# overflow the optimizers' arithmetic.
_WHOLE_NUMBERS: Final = {
    "batch_size": (1, 2**20),
    "accumulation_steps": (1, 2**20),
    "num_epochs": (1, 10**6),
    "patience": (1, 10**6),
    "seed": (0, 2**63 - 1),
    "num_folds": (0, 100),
    "num_blocks": (1, 1000),
    "lora_rank": (1, 1024),
    "projection_dim": (1, 2**16),
    "hidden_dim": (1, 2**16),
}
_MAX_LEARNING_RATE: Final = 10.0
_SHARES: Final = ("averaging", "layer_decay", "lora_dropout", "weight_decay")

# Defaults of each way of tuning that differ from the dataclass's. Learning rates: Hu et al. 2021 for LoRA, Dong et al.
# 2022, "CLIP Itself is a Strong Fine-tuner", for the blocks of a CLIP.
_PRESETS: Final[Mapping[Tune | None, dict[str, Any]]] = {
    None: {},
    "head": {},
    "lora": {"num_epochs": 10, "patience": 4},
    "last-blocks": {"num_epochs": 10, "patience": 4},
    "full": {"num_epochs": 10, "patience": 4},
}
_BACKBONE_LEARNING_RATES: Final[dict[Tune, float]] = {"lora": 2e-4, "last-blocks": 1e-5, "full": 1e-5}
NUM_FOLDS_OF_HEAD: Final = 5


class TrainingError(MemeguardError):
    """Training that cannot start or continue, and why."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train. The defaults suit a head on a frozen backbone, and ``tiny``; ``preset`` has those of other tuning.

    Attributes:
        tune: What is trained besides the head: nothing, low-rank adapters (LoRA), the last blocks of both towers, or
            everything. None is ``head`` for a pretrained backbone and ``full`` for one made from scratch.
        optimizer: One of ``OptimizerName``.
        learning_rate: Peak learning rate of the head and of a backbone from scratch; see ``learning_rate_factor``.
        backbone_learning_rate: Peak learning rate of a pretrained backbone; None is the default of ``tune``.
        layer_decay: Factor by which each block learns more slowly than the block above it.
        num_blocks: Number of blocks of each tower that are trained if ``tune`` is ``last-blocks``.
        lora_rank: Rank of the adapters on the query, key and value projections of both towers.
        lora_dropout: Dropout on the adapters' inputs, in [0, 1].
        weight_decay: Weight decay, in [0, 1].
        batch_size: Memes per step, over all processes.
        accumulation_steps: Parts in which a batch passes through the network, to need less memory.
        num_epochs: Largest number of passes over the training split.
        patience: Epochs without a better validation AUROC after which training stops.
        num_folds: Folds of the cross-validation whose held-out predictions set calibration and thresholds; 0 uses the
            validation split. None is 5 if only the head is trained and the data is small, else 0.
        averaging: Decay per step, in [0, 1), of the moving average of the weights, which is validated and kept instead
            of them (Polyak & Juditsky 1992); 0 keeps the weights themselves.
        augment: Whether to vary each meme in every epoch (see ``memes.augmentation``); not for ``head``.
        seed: The same seed, data and machine give the same bundle.
        device: ``auto``, or one of torch's names.
        precision: ``bf16`` is mixed precision; ``auto`` uses it if towers are trained on a GPU that supports it.
        storage: Precision of the bundle's weights; ``fp16`` halves its size. Weights are rounded before
            calibration and thresholds are chosen; serving computes in fp32.
        modalities: What the model sees; less than both is for ablations.
        projection_dim: Width to which the head projects each modality.
        hidden_dim: Width of the head's hidden layer.

    Raises:
        TrainingError: A value is out of its range.
    """

    tune: Tune | None = None
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1e-3
    backbone_learning_rate: float | None = None
    layer_decay: float = 0.75
    num_blocks: int = 2
    lora_rank: int = 8
    lora_dropout: float = 0.25
    weight_decay: float = 1e-2
    batch_size: int = 32
    accumulation_steps: int = 1
    num_epochs: int = 40
    patience: int = 12
    num_folds: int | None = None
    averaging: float = 0.0
    augment: bool = False
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    storage: Storage = "fp32"
    modalities: Modalities = "both"
    projection_dim: int = 256
    hidden_dim: int = 256

    @classmethod
    def preset(cls, tune: Tune | None = None, **settings: Any) -> Self:  # noqa: ANN401 - of any of the fields' types
        """The defaults of ``tune``, with ``settings`` replacing some of them."""
        return cls(**{"tune": tune, **_PRESETS.get(tune, {}), **settings})

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices and (name, value) != ("tune", None):
                raise TrainingError(f"{name} {value!r} is none of {', '.join(choices)}")
        for name, (least, greatest) in _WHOLE_NUMBERS.items():
            if (name, value := getattr(self, name)) != ("num_folds", None):
                _check_whole_number(name, value, least, greatest)
        self._check_fractions()
        if self.num_folds == 1:
            raise TrainingError("num_folds is 1; it must be 0, or at least 2")
        if self.accumulation_steps > self.batch_size:
            limit = f"at most batch_size, {self.batch_size}"
            raise TrainingError(f"accumulation_steps is {self.accumulation_steps}; it must be {limit}")

    def _check_fractions(self) -> None:
        for name in _SHARES:
            if not 0 <= (value := getattr(self, name)) <= 1:  # also refuses nan
                raise TrainingError(f"{name} is {value}; it must be in [0, 1]")
        if self.augment and self.tune in {None, "head"}:
            raise TrainingError("augment needs towers that are trained: set tune to lora, last-blocks or full")
        if self.averaging == 1:
            raise TrainingError("averaging is 1; it must be below 1, or the average would keep the initial weights")
        for name in ("learning_rate", "backbone_learning_rate"):
            if (value := getattr(self, name)) is not None and not 0 < value <= _MAX_LEARNING_RATE:
                limit = f"a positive number of at most {_MAX_LEARNING_RATE:g}"
                raise TrainingError(f"{name} is {value}; it must be {limit}")


def describe_differences(found: Mapping[str, Any], wanted: Mapping[str, Any], names: Iterable[str]) -> str:
    """Describe the settings among ``names`` that differ between ``found`` and ``wanted``; empty if none does."""
    return "; ".join(
        f"{name} was {found.get(name)!r}, now it is {wanted.get(name)!r}"
        for name in names
        if found.get(name) != wanted.get(name)
    )


def _check_whole_number(name: str, value: object, least: int, greatest: int) -> None:
    if type(value) is not int or value < least:
        raise TrainingError(f"{name} is {value}; it must be at least {least}")
    if value > greatest:
        raise TrainingError(f"{name} is {value}; it must be at most {greatest}")


def defaults_by_tune(name: str) -> dict[Tune | None, Any]:
    """The default of the setting ``name``: in general (None), and for each way of tuning that has another one."""
    general = getattr(TrainingConfig(), name)
    special: dict[Tune | None, Any] = {tune: preset[name] for tune, preset in _PRESETS.items() if name in preset}
    if name == "backbone_learning_rate":
        special.update(_BACKBONE_LEARNING_RATES.items())
    if name == "num_folds":
        special["head"] = NUM_FOLDS_OF_HEAD
    return {None: general, **special}


def backbone_learning_rate(config: TrainingConfig, tune: Tune) -> float:
    """The peak learning rate of a pretrained backbone."""
    if config.backbone_learning_rate is not None:
        return config.backbone_learning_rate
    return _BACKBONE_LEARNING_RATES.get(tune, config.learning_rate)
