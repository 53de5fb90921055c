"""What a bundle says about its model: everything that must travel with the weights.

Knows no tensors; reading and writing the file is ``bundle``'s business.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from memeguard.errors import BundleError

FORMAT_VERSION = 2  # 1 had no temperature
READABLE_VERSIONS = (1, 2)
Modalities = Literal["both", "image", "text"]

# Mean and standard deviation of CLIP's training pictures (Radford et al. 2021, openai/CLIP clip/clip.py).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """How a picture becomes pixels: side in pixels, mean and standard deviation per channel in [0, 1]."""

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How a caption becomes chunks of token ids.

    ``context_length`` counts the two special tokens, as CLIP does (77). A caption may fill ``max_chunks`` chunks;
    32 chunks are 2,400 tokens, four times the longest text of MultiOFF.
    """

    context_length: int
    start_id: int
    end_id: int
    max_chunks: int = 32


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The fusion head: which modalities it sees, its widths, and dropout at projection, fusion and hidden layer.

    The recipe is Hate-CLIPper's "align" fusion (Kumar & Nandakumar 2022).
    """

    modalities: Modalities = "both"
    projection_dim: int = 256
    hidden_dim: int = 256
    dropout: tuple[float, float, float] = (0.2, 0.4, 0.1)


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How a logit becomes an answer.

    ``temperature`` divides the logit before it becomes a probability (Guo et al. 2017, "On Calibration of Modern Neural
    Networks"); from the probability ``threshold`` of being non-offensive on, the answer is "non-offensive".
    """

    offensive: str = "Offensive"
    non_offensive: str = "Non-offensive"
    threshold: float = 0.5
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One classifier: ``clip`` is transformers' own CLIP configuration, as a dictionary."""

    backbone: str
    clip: dict[str, Any]
    image: ImageConfig
    text: TextConfig
    head: HeadConfig = HeadConfig()
    labels: LabelConfig = LabelConfig()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of ``to_dict``; raises ``BundleError`` naming the member that does not fit."""
        try:
            config = cls(
                backbone=values["backbone"],
                clip=dict(values["clip"]),
                image=ImageConfig(**_tuples(values["image"])),
                text=TextConfig(**values["text"]),
                head=HeadConfig(**_tuples(values["head"])),
                labels=LabelConfig(**values["labels"]),
            )
        except KeyError as error:
            raise BundleError(f"config.json lacks the member {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise BundleError(f"config.json does not describe a memeguard model: {error}") from error
        config._check()
        return config

    def _check(self) -> None:
        """Raise ``BundleError`` for values that would judge wrongly, or fail only at the first meme."""
        if self.head.modalities not in get_args(Modalities):
            raise BundleError(f"config.json: modalities {self.head.modalities!r} is none of {get_args(Modalities)}")
        threshold = self.labels.threshold
        if type(threshold) not in (int, float) or not 0.0 <= threshold <= 1.0:
            raise BundleError(f"config.json: threshold {threshold!r} is not a number in [0, 1]")
        temperature = self.labels.temperature
        if type(temperature) not in (int, float) or not 0.0 < temperature < math.inf:
            raise BundleError(f"config.json: temperature {temperature!r} is not a positive number")
        if (words := (self.labels.offensive, self.labels.non_offensive)) != (
            expected := ("Offensive", "Non-offensive")
        ):
            raise BundleError(f"config.json: labels are {words}; clients rely on {expected}")
        if any(not value > 0 for value in self.image.std) or len(self.image.std) != len(self.image.mean):
            raise BundleError(f"config.json: std {self.image.std} does not have a positive value per channel")
        if type(self.text.max_chunks) is not int or self.text.max_chunks < 1:
            raise BundleError(f"config.json: max_chunks is {self.text.max_chunks!r}; it must be at least 1")


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
