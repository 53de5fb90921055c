"""Make a small CLIP from scratch, with a tokenizer that is trained on the captions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel

from memeguard.config import ImageConfig, TextConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

TINY: Final = "tiny"
TINY_IMAGE: Final = ImageConfig(size=64)
TINY_TEXT: Final = TextConfig(context_length=77, start_id=0, end_id=1)  # special tokens come first in the vocabulary
_VOCABULARY: Final = 4096
_START, _END = "<|startoftext|>", "<|endoftext|>"  # CLIP's own names (openai/CLIP clip/simple_tokenizer.py)


def make_tiny(texts: Iterable[str]) -> tuple[CLIPModel, Tokenizer]:
    """Make a CLIP with random weights, and a tokenizer trained on ``texts``."""
    tokenizer = train_tokenizer(texts)
    tower = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "projection_dim": 128}
    config = CLIPConfig(
        text_config={
            **tower,
            "num_hidden_layers": 2,
            "vocab_size": tokenizer.get_vocab_size(),
            "max_position_embeddings": TINY_TEXT.context_length,
            "bos_token_id": TINY_TEXT.start_id,
            "eos_token_id": TINY_TEXT.end_id,
            "pad_token_id": TINY_TEXT.end_id,
        },
        vision_config={**tower, "num_hidden_layers": 3, "image_size": TINY_IMAGE.size, "patch_size": 8},
        projection_dim=128,
    )
    return CLIPModel(config), tokenizer


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Train a byte-level BPE: every byte has a token, so that no text, emoji included, is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        min_frequency=2,
        special_tokens=[_START, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
