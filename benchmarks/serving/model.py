"""Write the model that every server of the benchmark serves: a CLIP with random weights, and a bundle made of it.

    python -m benchmarks.serving.model vit-b-32 run/bench/model

Speed does not depend on the weights, but on how many tokens a caption has. So the CLIP of ViT-B/32's geometry takes its
tokenizer from ``compact``, which was made from real captions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from benchmarks.random_backbone import write_tiny, write_vit_b_32
from memeguard.bundle import Bundle, save_bundle
from memeguard.classifier import MemeClassifier
from memeguard.config import LabelConfig, ModelConfig
from training.backbones import COMPACT, load_backbone, load_tokenizer

# Random weights answer 0.5 to every meme within 0.05. There the last bits would decide, and no archive would be proven.
_THRESHOLD = 0.25
_WRITERS = {"tiny": write_tiny, "vit-b-32": write_vit_b_32}


def write_model(kind: str, folder: Path) -> None:
    """Write ``folder/backbone``, in the layout of the hub, and ``folder/bundle``."""
    backbone_folder = folder / "backbone"
    _WRITERS[kind](backbone_folder)
    _write_tokenizer(backbone_folder, COMPACT if kind == "vit-b-32" else str(backbone_folder))
    backbone = load_backbone(str(backbone_folder), [])
    size = backbone.image.size
    preprocessing = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    (backbone_folder / "preprocessor_config.json").write_text(json.dumps(preprocessing), encoding="utf-8")
    config = ModelConfig(
        backbone=kind,
        clip=backbone.clip.config.to_dict(),
        image=backbone.image,
        text=backbone.text,
        labels=LabelConfig(threshold=_THRESHOLD),
    )
    bundle = Bundle(MemeClassifier(config, backbone.clip).eval(), backbone.tokenizer)
    save_bundle(bundle, folder / "bundle")


def _write_tokenizer(folder: Path, name: str) -> None:
    """Write the tokenizer of backbone ``name``, with start and end token around a caption as in OpenAI's CLIP."""
    tokenizer = load_tokenizer(name, [])
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    specials = [(name, tokenizer.token_to_id(name)) for name in names.values()]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{names['bos_token']} $A {names['eos_token']}", special_tokens=specials
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=names["eos_token"], **names)
    fast.save_pretrained(folder)


if __name__ == "__main__":
    write_model(sys.argv[1], Path(sys.argv[2]))
