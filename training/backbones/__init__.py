"""Pretrained backbones to start from: from the Hugging Face hub, from a local folder, or made from scratch."""

from training.backbones.loading import Backbone, find_source, load_backbone, load_tokenizer, load_words
from training.backbones.places import COMPACT, COMPACT_FOLDER, BackboneError, Source
from training.backbones.tiny import TINY

__all__ = [
    "COMPACT",
    "COMPACT_FOLDER",
    "TINY",
    "Backbone",
    "BackboneError",
    "Source",
    "find_source",
    "load_backbone",
    "load_tokenizer",
    "load_words",
]
