"""A classifier with random weights: CLIP's towers of width 32 and one layer, the same head and files as a real one."""

from __future__ import annotations

from typing import Final

import torch
from transformers import CLIPConfig

from memeguard.bundle import Bundle
from memeguard.classifier import MemeClassifier
from memeguard.config import HeadConfig, ImageConfig, LabelConfig, ModelConfig, TextConfig
from training.backbones import TINY, load_tokenizer

_CAPTIONS: Final = ("a caption of many words", "this is the exact opposite of your whole family")


def make_small_bundle() -> Bundle:
    """Build it, for pictures of 32 pixels; the weights are the same each time."""
    tokenizer = load_tokenizer(TINY, [*_CAPTIONS] * 2)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
    clip = CLIPConfig(
        text_config={**tower, "vocab_size": tokenizer.get_vocab_size(), "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**tower, "image_size": 32, "patch_size": 16},
        projection_dim=32,
    )
    config = ModelConfig(
        backbone="small",
        clip=clip.to_dict(),
        image=ImageConfig(size=32),
        text=TextConfig(context_length=77, start_id=0, end_id=1),
        head=HeadConfig(projection_dim=16, hidden_dim=16),
        labels=LabelConfig(threshold=0.375),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Bundle(MemeClassifier(config).eval(), tokenizer)
