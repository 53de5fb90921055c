"""How to train: every setting a person may choose. Does not know what is done with them."""

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
# Least value and greatest; the seed's is what torch takes, the learning rate's is far above what any of them wants
# (1e38 would overflow their arithmetic).
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

# What suits each way of tuning where it is not the dataclass's default; learning rates as in the literature: LoRA's of
# Hu et al. 2021, 1e-5 for the blocks of a CLIP (Dong et al. 2022, "CLIP Itself is a Strong Fine-tuner").
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
    """Training that cannot start or cannot go on, and why."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The defaults suit a head on a frozen backbone as well as ``tiny`` from scratch; ``preset`` knows the others.

    Attributes:
        tune: What learns besides the head: nothing, low-rank adapters (LoRA), the last blocks of both towers, or
            everything. None is ``head`` for a pretrained backbone and ``full`` for one made from scratch.
        optimizer: One of ``OptimizerName``.
        learning_rate: Its peak, for the head and for a backbone from scratch; it rises linearly over the first tenth
            of the steps, then falls along a cosine.
        backbone_learning_rate: The same for what learns of a pretrained backbone; None is what suits ``tune``.
        layer_decay: Each block below the last learns by this factor slower than the one above it.
        num_blocks: How many of each tower's blocks learn if ``tune`` is ``last-blocks``.
        lora_rank: Rank of the adapters on the query, key and value projections of both towers.
        lora_dropout: In [0, 1], on the adapters' inputs.
        weight_decay: In [0, 1].
        batch_size: Memes per step, over all processes.
        accumulation_steps: Parts in which a batch goes through the network, to need less memory.
        num_epochs: Passes over the training split at most.
        patience: Epochs without a better validation AUROC after which training stops.
        num_folds: Folds of the cross-validation from whose held-out predictions threshold and temperature come; with
            0 they come from the validation split. None is 5 where the head alone learns and data is small.
        averaging: Decay per step, in [0, 1), of the moving average of the weights that is validated and kept in their
            place (Polyak & Juditsky 1992); 0 keeps the weights themselves.
        augment: Whether towers that learn see each meme a little otherwise each time (see ``augmentation``); ``tune``
            has to say which.
        seed: Same seed, same data, same machine: same bundle.
        device: ``auto``, or one of torch's names.
        precision: ``bf16`` is mixed precision; ``auto`` is that for towers that learn on a GPU that has
            it, fp32 otherwise.
        storage: How the bundle keeps its weights; ``fp16`` halves its size. They are rounded before threshold and
            temperature are chosen; serving works in fp32 again.
        modalities: What the model sees; less than both is for ablations.
        projection_dim: Width to which the head projects each modality.
        hidden_dim: Width of the head's hidden layer.

    Raises:
        TrainingError: A value out of its range.
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
        """The defaults that suit ``tune``, with ``settings`` in their place."""
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
            raise TrainingError("augment needs towers that learn: set tune to lora, last-blocks or full")
        if self.averaging == 1:
            raise TrainingError("averaging is 1; it must be below, or the average would stay where training begins")
        for name in ("learning_rate", "backbone_learning_rate"):
            if (value := getattr(self, name)) is not None and not 0 < value <= _MAX_LEARNING_RATE:
                limit = f"a positive number of at most {_MAX_LEARNING_RATE:g}"
                raise TrainingError(f"{name} is {value}; it must be {limit}")


def describe_differences(found: Mapping[str, Any], wanted: Mapping[str, Any], names: Iterable[str]) -> str:
    """Which of ``names`` are other settings in ``wanted`` than they were in ``found``; empty if none is."""
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
        special |= _BACKBONE_LEARNING_RATES
    if name == "num_folds":
        special["head"] = NUM_FOLDS_OF_HEAD
    return {None: general, **special}


def backbone_learning_rate(config: TrainingConfig, tune: Tune) -> float:
    """The peak learning rate of what learns of a pretrained backbone."""
    if config.backbone_learning_rate is not None:
        return config.backbone_learning_rate
    return _BACKBONE_LEARNING_RATES.get(tune, config.learning_rate)
