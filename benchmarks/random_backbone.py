"""Write CLIPs with random weights in the layout of the hub, to measure what does not depend on weights.

.venv/bin/python benchmarks/random_backbone.py vit-b-32 /tmp/vit-b-32
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from training.backbones import TINY, load_backbone, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEXTS = ["a few words about a meme"] * 2


def write_tiny(folder: Path) -> None:
    """Write a CLIP of the geometry of ``tiny``."""
    backbone = load_backbone(TINY, _TEXTS)
    _write(folder, backbone.clip, backbone.tokenizer)


def write_vit_b_32(folder: Path) -> None:
    """Write a CLIP of ViT-B/32's geometry (Radford et al. 2021, table 20), except for the vocabulary."""
    text = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    _write(folder, CLIPModel(CLIPConfig(text_config=text)), load_tokenizer(TINY, _TEXTS))


def _write(folder: Path, clip: CLIPModel, tokenizer: Tokenizer) -> None:
    clip.save_pretrained(folder)
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}", encoding="utf-8")


if __name__ == "__main__":
    {"tiny": write_tiny, "vit-b-32": write_vit_b_32}[sys.argv[1]](Path(sys.argv[2]))
