"""A model's configuration: everything that must travel with the weights, as ``config.json`` holds it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from memeguard.backbone_config import BackboneConfig
from memeguard.checks import check_named_numbers, check_number, check_numbers, check_whole, check_word, is_positive
from memeguard.errors import BundleError

FORMAT_VERSION = 3  # 1 had no temperature, 2 no shift and no operating points
READABLE_VERSIONS = (1, 2, 3)
Modalities = Literal["both", "image", "text"]
Resampling = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]  # Pillow's, in its order
# Members that are not written if they have these values: bundles made before there was a choice lack them.
_UNWRITTEN: dict[str, dict[str, Any]] = {"image": {"resampling": "bicubic"}, "text": {"pad_id": None}}

# Mean and standard deviation of CLIP's training pictures (Radford et al. 2021, openai/CLIP clip/clip.py).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_MAX_SIDE = 4096  # of a picture in pixels; the largest CLIP reads 448
_MAX_WIDTH = 65_536  # of the head's layers
_MAX_SPREAD = 255.0  # of mean and deviation, if pixels are not scaled to [0, 1]
_MIN_DEVIATION = 1e-3
_NUM_CHANNELS = 3
_MAX_SHIFT = 1000.0  # of log-odds; 37 makes a probability 0 or 1
_MAX_OPERATING_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """How a picture becomes pixels.

    ``size`` is the side in pixels, ``mean`` and ``std`` are mean and standard deviation per channel in [0, 1], and
    ``resampling`` is Pillow's filter for resizing.
    """

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resampling: Resampling = "bicubic"

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        check_whole("image size", self.size, 1, _MAX_SIDE)
        check_numbers("mean", self.mean, _NUM_CHANNELS, -_MAX_SPREAD, _MAX_SPREAD)
        check_numbers("std", self.std, _NUM_CHANNELS, _MIN_DEVIATION, _MAX_SPREAD)
        if self.resampling not in get_args(Resampling):
            raise ValueError(f"resampling {self.resampling!r} is not one of {', '.join(get_args(Resampling))}")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How a caption becomes chunks of token ids.

    ``context_length`` counts the special tokens, as CLIP does (77). A caption may fill ``max_chunks`` chunks; 32 of
    CLIP's chunks are 2,400 tokens, four times the longest text of MultiOFF. A chunk has no start token if ``start_id``
    is None, and is padded to ``context_length`` with ``pad_id`` unless that is None.
    """

    context_length: int
    start_id: int | None
    end_id: int
    max_chunks: int = 32
    pad_id: int | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        check_whole("context_length", self.context_length, 3, _MAX_WIDTH)
        check_whole("end_id", self.end_id, 0, 2**31 - 1)
        for name in ("start_id", "pad_id"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 0, 2**31 - 1)
        check_whole("max_chunks", self.max_chunks, 1, 4096)

    @property
    def room(self) -> int:
        """Number of tokens of a chunk besides the special ones."""
        return self.context_length - (1 if self.start_id is None else 2)


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The fusion head: which modalities it sees, its widths, and dropout at projection, fusion and hidden layer.

    The recipe is Hate-CLIPper's "align" fusion (Kumar & Nandakumar 2022).
    """

    modalities: Modalities = "both"
    projection_dim: int = 256
    hidden_dim: int = 256
    dropout: tuple[float, float, float] = (0.2, 0.4, 0.1)

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        if self.modalities not in get_args(Modalities):
            raise ValueError(f"modalities {self.modalities!r} is not one of {get_args(Modalities)}")
        check_whole("projection_dim", self.projection_dim, 1, _MAX_WIDTH)
        check_whole("hidden_dim", self.hidden_dim, 1, _MAX_WIDTH)
        check_numbers("dropout", self.dropout, 3, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How a logit becomes a verdict.

    The log-odds of being offensive are ``logit / temperature + shift`` (Platt 1999, "Probabilistic Outputs for Support
    Vector Machines"). From the probability ``threshold`` of being non-offensive on, the verdict is "Non-offensive".
    ``operating_points`` are other thresholds, by name; an archive may serve one of them.
    """

    offensive: str = "Offensive"
    non_offensive: str = "Non-offensive"
    threshold: float = 0.5
    temperature: float = 1.0
    shift: float = 0.0
    operating_points: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        check_number("threshold", self.threshold, 0.0, 1.0)
        if not is_positive(self.temperature):
            raise ValueError(f"temperature {self.temperature!r} is not a positive number")
        check_number("shift", self.shift, -_MAX_SHIFT, _MAX_SHIFT)
        check_named_numbers("operating_points", self.operating_points, _MAX_OPERATING_POINTS, 0.0, 1.0)
        words, expected = (self.offensive, self.non_offensive), ("Offensive", "Non-offensive")
        if words != expected:
            raise ValueError(f"labels are {words}; clients rely on {expected}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One classifier. ``clip`` is the configuration of its backbone in transformers, as a dictionary."""

    backbone: str
    clip: dict[str, Any]
    image: ImageConfig
    text: TextConfig
    head: HeadConfig = HeadConfig()
    labels: LabelConfig = LabelConfig()

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong or does not fit another one."""
        check_word("backbone", self.backbone, 4096)
        towers = self.read_backbone()
        if self.image.size != towers.picture.image_size:
            raise ValueError(f"image size is {self.image.size}; the picture tower reads {towers.picture.image_size}")
        if self.text.context_length > (room := towers.text.max_tokens):
            raise ValueError(f"context_length is {self.text.context_length}; the text tower has {room} positions")
        if (self.text.pad_id is not None) != (towers.family.pooling == "padded"):
            raise ValueError(f"pad_id is {self.text.pad_id}, which does not suit a {towers.model_type!r}")
        if self.text.start_id is None and towers.family.pooling in ("first", "pooler"):
            raise ValueError(f"start_id is None; a {towers.model_type!r} reads its feature at the start token")
        for name in ("start_id", "end_id", "pad_id"):
            if getattr(self.text, name) is not None:
                check_whole(name, getattr(self.text, name), 0, towers.text.vocab_size - 1)

    def read_backbone(self) -> BackboneConfig:
        """Return the settings of ``clip`` from which the network is built."""
        return BackboneConfig.from_dict(self.clip)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as values that JSON can hold."""
        content = dataclasses.asdict(self)
        for part, members in _UNWRITTEN.items():
            for name, value in members.items():
                if content[part][name] == value:
                    del content[part][name]
        return content

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the result of ``to_dict``; raise ``BundleError`` naming the member that is missing or wrong."""
        try:
            return cls(
                backbone=values["backbone"],
                clip=values["clip"],
                image=ImageConfig(**_tuples(values["image"])),
                text=TextConfig(**values["text"]),
                head=HeadConfig(**_tuples(values["head"])),
                labels=LabelConfig(**values["labels"]),
            )
        except KeyError as error:
            raise BundleError(f"config.json lacks the member {error}") from error
        except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BundleError(f"config.json does not describe a memeguard model: {error}") from error


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
