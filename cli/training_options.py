"""The options of every command that trains: one for each setting of ``TrainingConfig``."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from cli.options import OptionText, backbone_option, format_default, given, settings_options, together
from training.config import TrainingConfig, defaults_by_tune


def _default(name: str) -> str:
    """A default that depends on ``--tune``: "40; 10 for lora, last-blocks and full"."""
    defaults = defaults_by_tune(name)
    general = defaults.pop(None)
    parts = [] if general is None else [format_default(general)]
    for value, tunes in groupby(defaults, key=defaults.__getitem__):
        *others, last = map(str, tunes)
        names = f"{', '.join(others)} and {last}" if others else last
        parts.append(f"{format_default(value)} for {names}")
    return "; ".join(parts)


_TEXTS: Final = {
    "tune": OptionText("--tune", "What is trained besides the head.", "head; full for tiny"),
    "optimizer": OptionText("--optimizer", "Optimizer."),
    "learning_rate": OptionText("--lr", "Peak learning rate of the head."),
    "backbone_learning_rate": OptionText(
        "--backbone-lr", "Peak learning rate of a pretrained backbone.", _default("backbone_learning_rate")
    ),
    "layer_decay": OptionText("--layer-decay", "Factor by which each lower block learns more slowly."),
    "num_blocks": OptionText("--blocks", "Number of blocks that --tune last-blocks trains."),
    "lora_rank": OptionText("--lora-rank", "Rank of the LoRA adapters."),
    "lora_dropout": OptionText("--lora-dropout", "Dropout on the inputs of the LoRA adapters."),
    "weight_decay": OptionText("--weight-decay", "Weight decay of the optimizer."),
    "batch_size": OptionText("--batch-size", "Memes per step."),
    "accumulation_steps": OptionText("--accumulate", "Parts that a batch is split into, to need less memory."),
    "num_epochs": OptionText("--epochs", "Largest number of passes over the train split.", _default("num_epochs")),
    "patience": OptionText("--patience", "Epochs without improvement before training stops.", _default("patience")),
    "projection_dim": OptionText("--projection-dim", "Width to which the head projects each modality."),
    "hidden_dim": OptionText("--hidden-dim", "Width of the head's hidden layer."),
    "averaging": OptionText("--averaging", "Decay of the moving average of the weights, such as 0.99; 0 is off."),
    "augment": OptionText("--augment", "Vary each meme in every epoch: crop, misread, leave out. Not for head."),
    "seed": OptionText("--seed", "The same seed on the same machine gives the same bundle."),
    "device": OptionText("--device", "Where to compute: auto, cpu, cuda, cuda:1, …"),
    "precision": OptionText("--precision", "bf16 is mixed precision; auto uses it for towers trained on a GPU."),
    "storage": OptionText("--storage", "Precision of the bundle's weights; fp16 halves its size."),
    "num_folds": OptionText(
        "--folds",
        "Folds whose held-out predictions set calibration and thresholds; 0 uses the validation split.",
        _default("num_folds"),
    ),
}
OPTIONS: Final = settings_options(TrainingConfig, _TEXTS)
OPTION_NAMES: Final = {name: text.name for name, text in _TEXTS.items()}  # of each setting of ``TrainingConfig``

training_options = together(backbone_option, *(OPTIONS[name] for name in OPTIONS if name != "num_folds"))


def training_config(options: dict[str, Any]) -> TrainingConfig:
    """The settings that ``options`` ask for; raises ``TrainingError`` for a value out of its range."""
    return TrainingConfig.preset(**given(options))
