"""The settings of single towers, a class for each kind, with checks that transformers lacks.

Settings for initial values, or for how transformers calls the network, are left out: they change no answer of a trained
network, but a wrong value would break it. Defaults are those of transformers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from memeguard.checks import check_number, check_whole, check_word

_MAX_WIDTH: Final = 65_536  # of any layer; the largest CLIP has 8,192
_MAX_LAYERS: Final = 256
_MAX_POSITIONS: Final = 4096  # of a tower; attention takes their square, and the largest CLIP has 1,025
_MAX_TOKENS: Final = 1_000_000  # of a vocabulary; MetaCLIP 2 has 901,629
_WHOLE: Final = {
    **dict.fromkeys(("hidden_size", "intermediate_size", "num_attention_heads"), (1, _MAX_WIDTH)),
    **dict.fromkeys(("projection_dim", "project_dim", "projection_size"), (1, _MAX_WIDTH)),
    "num_hidden_layers": (1, _MAX_LAYERS),
    "vocab_size": (1, _MAX_TOKENS),
    "max_position_embeddings": (3, _MAX_POSITIONS),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), (-1, _MAX_TOKENS)),
    "type_vocab_size": (1, 64),
    "num_channels": (3, 3),
    "image_size": (1, _MAX_WIDTH),
    "patch_size": (1, _MAX_WIDTH),
}
_NUMBERS: Final = {
    "layer_norm_eps": (1e-12, 1.0),
    **dict.fromkeys(("attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob"), (0.0, 1.0)),
}


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """Settings of every tower."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in _WHOLE:
                check_whole(name, value, *_WHOLE[name])
            elif name in _NUMBERS:
                check_number(name, value, *_NUMBERS[name])
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        check_word("hidden_act", self.hidden_act, 64)


@dataclass(frozen=True, kw_only=True)
class TextTower(TowerConfig):
    """Settings of every text tower. Ids of special tokens are not used but for ``pad_token_id``, see ``max_tokens``."""

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    bos_token_id: int = 0
    eos_token_id: int = 0
    pad_token_id: int = 0

    @property
    def max_tokens(self) -> int:
        """Number of tokens that the tower has positions for."""
        return self.max_position_embeddings


@dataclass(frozen=True, kw_only=True)
class PictureTower(TowerConfig):
    """Settings of every picture tower."""

    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        super().__post_init__()
        check_whole("patch_size", self.patch_size, 1, self.image_size)
        check_whole("number of patches", (self.image_size // self.patch_size) ** 2, 1, _MAX_POSITIONS)


@dataclass(frozen=True, kw_only=True)
class ClipText(TextTower):
    """The text tower of CLIP and MetaCLIP 2."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_attention_heads: int = 8
    hidden_act: str = "quick_gelu"
    vocab_size: int = 49408
    max_position_embeddings: int = 77
    bos_token_id: int = 49406
    eos_token_id: int = 49407
    pad_token_id: int = 1
    projection_dim: int = 512
    attention_dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ClipPicture(PictureTower):
    """The picture tower of CLIP, MetaCLIP 2, AltCLIP and Chinese-CLIP."""

    hidden_act: str = "quick_gelu"
    projection_dim: int = 512
    attention_dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SiglipText(TextTower):
    """The text tower of SigLIP."""

    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    vocab_size: int = 32000
    max_position_embeddings: int = 64
    bos_token_id: int = 49406
    eos_token_id: int = 49407
    pad_token_id: int = 1
    attention_dropout: float = 0.0
    projection_size: int = 768


@dataclass(frozen=True, kw_only=True)
class SiglipPicture(PictureTower):
    """The picture tower of SigLIP."""

    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    patch_size: int = 16
    attention_dropout: float = 0.0
    vision_use_head: bool = True

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        super().__post_init__()
        if self.vision_use_head is not True:
            raise ValueError(f"vision_use_head is {self.vision_use_head!r}; without its head the tower has no features")


@dataclass(frozen=True, kw_only=True)
class BertText(TextTower):
    """BERT, and the text tower of Chinese-CLIP."""

    layer_norm_eps: float = 1e-12
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1


@dataclass(frozen=True, kw_only=True)
class RobertaText(BertText):
    """RoBERTa, which counts positions from the one behind the padding token's id."""

    vocab_size: int = 50265
    eos_token_id: int = 2
    pad_token_id: int = 1

    @property
    def max_tokens(self) -> int:
        """Number of tokens that the tower has positions for."""
        return self.max_position_embeddings - self.pad_token_id - 1


@dataclass(frozen=True, kw_only=True)
class XlmRobertaText(RobertaText):
    """XLM-RoBERTa, which is built as RoBERTa is."""

    vocab_size: int = 30522


@dataclass(frozen=True, kw_only=True)
class AltClipText(RobertaText):
    """The text tower of AltCLIP: XLM-RoBERTa and a projection of its own."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    layer_norm_eps: float = 1e-5
    vocab_size: int = 250002
    max_position_embeddings: int = 514
    type_vocab_size: int = 1
    attention_probs_dropout_prob: float = 0.0
    project_dim: int = 768


@dataclass(frozen=True, kw_only=True)
class VitPicture(PictureTower):
    """ViT, a picture tower of its own."""

    layer_norm_eps: float = 1e-12
    patch_size: int = 16
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    qkv_bias: bool = True
    pooler_act: str = "tanh"

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        super().__post_init__()
        check_word("pooler_act", self.pooler_act, 64)
        if not isinstance(self.qkv_bias, bool):
            raise ValueError(f"qkv_bias is {self.qkv_bias!r}; it must be true or false")  # noqa: TRY004 - of a file
