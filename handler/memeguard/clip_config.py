"""The settings of CLIP's towers from which the network is built, with checks that transformers lacks.

Settings for initial values, or for how transformers calls the network, are left out: they change no answer of a trained
network, but a wrong value would break it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from memeguard.checks import check_number, check_whole, check_word

_MAX_WIDTH = 65_536  # of any layer; the largest CLIP has 8,192
_MAX_LAYERS = 256
_MAX_POSITIONS = 4096  # of a tower; attention takes their square, and the largest CLIP has 1,025
_MAX_TOKENS = 1_000_000  # of a vocabulary


@dataclass(frozen=True, kw_only=True)
class _TowerConfig:
    """Settings of both towers; the defaults here and below are those of transformers."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    projection_dim: int = 512
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        for name in ("hidden_size", "intermediate_size", "num_attention_heads", "projection_dim"):
            check_whole(name, getattr(self, name), 1, _MAX_WIDTH)
        check_whole("num_hidden_layers", self.num_hidden_layers, 1, _MAX_LAYERS)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        check_word("hidden_act", self.hidden_act, 64)
        check_number("layer_norm_eps", self.layer_norm_eps, 1e-12, 1.0)
        check_number("attention_dropout", self.attention_dropout, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class TextTowerConfig(_TowerConfig):
    """Settings of the text tower. The ids of special tokens are not used; the bundle has its own."""

    vocab_size: int = 49408
    max_position_embeddings: int = 77
    bos_token_id: int = 49406
    eos_token_id: int = 49407
    pad_token_id: int = 1

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        super().__post_init__()
        check_whole("vocab_size", self.vocab_size, 1, _MAX_TOKENS)
        check_whole("max_position_embeddings", self.max_position_embeddings, 3, _MAX_POSITIONS)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            check_whole(name, getattr(self, name), -1, _MAX_TOKENS)


@dataclass(frozen=True, kw_only=True)
class VisionTowerConfig(_TowerConfig):
    """Settings of the picture tower."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        super().__post_init__()
        check_whole("num_channels", self.num_channels, 3, 3)
        check_whole("image_size", self.image_size, 1, _MAX_WIDTH)
        check_whole("patch_size", self.patch_size, 1, self.image_size)
        check_whole("number of patches", (self.image_size // self.patch_size) ** 2, 1, _MAX_POSITIONS)


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Both towers, and the width of the vectors that they give."""

    text: TextTowerConfig
    vision: VisionTowerConfig
    projection_dim: int

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        check_whole("projection_dim", self.projection_dim, 1, _MAX_WIDTH)

    @classmethod
    def from_dict(cls, clip: object) -> Self:
        """Read a dictionary of transformers; raise ``ValueError`` if a setting is wrong."""
        if not isinstance(clip, dict):
            raise ValueError(f"clip is a {type(clip).__name__}, not an object")  # noqa: TRY004 - a wrong value to users
        return cls(
            text=TextTowerConfig(**_choose(clip, "text_config", TextTowerConfig)),
            vision=VisionTowerConfig(**_choose(clip, "vision_config", VisionTowerConfig)),
            projection_dim=clip.get("projection_dim", 512),
        )

    def to_transformers(self) -> dict[str, Any]:
        """Return the arguments of transformers' ``CLIPConfig``."""
        return {
            "text_config": dataclasses.asdict(self.text),
            "vision_config": dataclasses.asdict(self.vision),
            "projection_dim": self.projection_dim,
        }


def _choose(clip: dict[str, Any], name: str, kind: type[_TowerConfig]) -> dict[str, Any]:
    """Return the settings of one tower from which the network is built."""
    tower = clip.get(name) or {}
    if not isinstance(tower, dict):
        raise ValueError(f"clip's {name} is a {type(tower).__name__}, not an object")  # noqa: TRY004
    known = {field.name for field in dataclasses.fields(kind)}
    # transformers writes None for a setting that is not set.
    return {key: value for key, value in tower.items() if key in known and value is not None}
