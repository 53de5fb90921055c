"""Get a CLIP to start from: a hub id, a local folder of the same layout, or a small one made from scratch.

Does not know what is built on top of it, nor how it is trained.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from memeguard.config import CLIP_MEAN, CLIP_STD, ImageConfig, TextConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from transformers import PreTrainedTokenizerFast

TINY, COMPACT = "tiny", "compact"
COMPACT_FOLDER = Path(__file__).parents[1] / "starter" / "compact"
_TINY_VOCABULARY = 4096
_NUM_BYTES = 256  # tokens of any byte-level vocabulary at least
_START, _END = "<|startoftext|>", "<|endoftext|>"  # CLIP's own names (openai/CLIP clip/simple_tokenizer.py)


class BackboneError(Exception):
    """A backbone that cannot be loaded, or is no CLIP."""


class Backbone(NamedTuple):
    """A CLIP, its tokenizer, and what its inputs look like; ``pretrained`` is false for one made from scratch."""

    name: str
    clip: CLIPModel
    tokenizer: Tokenizer
    image: ImageConfig
    text: TextConfig
    pretrained: bool


def load_backbone(name: str, texts: Iterable[str]) -> Backbone:
    """Load the CLIP called ``name``.

    Args:
        name: ``tiny``; ``compact``, which comes with the repository; a hub id such as
            ``openai/clip-vit-base-patch32``; or a folder of that layout.
        texts: Captions from which ``tiny`` learns its vocabulary; a pretrained backbone brings its own.

    Raises:
        BackboneError: Nothing of that name can be loaded, or it is no CLIP.
    """
    return _make_tiny(texts) if name == TINY else _load_pretrained(_locate(name))._replace(name=name)


def load_tokenizer(name: str, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer of the CLIP called ``name``, without its weights; arguments and errors as ``load_backbone``'s."""
    return _train_tokenizer(texts) if name == TINY else _load_pretrained_tokenizer(_locate(name)).backend_tokenizer


def _locate(name: str) -> str:
    if name != COMPACT:
        return name
    if not COMPACT_FOLDER.is_dir():
        raise BackboneError(f"backbone {COMPACT} is a part of the repository, and {COMPACT_FOLDER} is not there")
    return str(COMPACT_FOLDER)


def _load_pretrained_tokenizer(name: str) -> PreTrainedTokenizerFast:
    with _errors_of(name):
        tokenizer = AutoTokenizer.from_pretrained(name)
    if len(tokenizer) < _NUM_BYTES:  # what transformers makes up when the tokenizer's files are missing
        raise BackboneError(
            f"backbone {name} has no tokenizer: vocab.json and merges.txt, or tokenizer.json, are missing"
        )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _load_pretrained(name: str) -> Backbone:
    with _errors_of(name):
        config = transformers.AutoConfig.from_pretrained(name)
    if not isinstance(config, CLIPConfig):
        raise BackboneError(f"backbone {name} is a {config.model_type!r}, not a 'clip'")
    transformers.utils.logging.disable_progress_bar()  # of reading a file that is here already
    with _errors_of(name):
        # Only safetensors: a .bin file is a pickle, which may run code.
        clip, found = CLIPModel.from_pretrained(name, use_safetensors=True, dtype="float32", output_loading_info=True)
        clip.config.name_or_path = ""  # a bundle does not tell in which folder somebody kept it
        preprocessing = transformers.image_processing_utils.BaseImageProcessor.get_image_processor_dict(name)[0]
        image = ImageConfig(
            size=config.vision_config.image_size,
            mean=tuple(preprocessing.get("image_mean", CLIP_MEAN)),
            std=tuple(preprocessing.get("image_std", CLIP_STD)),
        )
    if missing := sorted(found["missing_keys"]):  # transformers would go on with random ones
        raise BackboneError(f"backbone {name} lacks {len(missing)} of its weights, such as {missing[0]}")
    tokenizer = _load_pretrained_tokenizer(name)
    start_id, end_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    if start_id is None or end_id is None:
        raise BackboneError(f"backbone {name}: its tokenizer has no start or end token")
    text = TextConfig(
        context_length=config.text_config.max_position_embeddings,
        start_id=start_id,
        end_id=end_id,
    )
    return Backbone(name, clip, tokenizer.backend_tokenizer, image, text, pretrained=True)


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn whatever the hub, safetensors or transformers raise into one line about the backbone called ``name``."""
    try:
        yield
    except Exception as error:
        where = "" if Path(name).is_dir() else "there is no such folder; as a hub id: "
        reason = " ".join(str(error).split())
        raise BackboneError(f"backbone {name} cannot be loaded: {where}{reason}") from error


def _make_tiny(texts: Iterable[str]) -> Backbone:
    tokenizer = _train_tokenizer(texts)
    start_id, end_id = 0, 1  # special tokens come first in the vocabulary
    tower = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "projection_dim": 128}
    config = CLIPConfig(
        text_config={
            **tower,
            "num_hidden_layers": 2,
            "vocab_size": tokenizer.get_vocab_size(),
            "max_position_embeddings": 77,
            "bos_token_id": start_id,
            "eos_token_id": end_id,
            "pad_token_id": end_id,
        },
        vision_config={**tower, "num_hidden_layers": 3, "image_size": 64, "patch_size": 8},
        projection_dim=128,
    )
    text = TextConfig(context_length=77, start_id=start_id, end_id=end_id)
    return Backbone(TINY, CLIPModel(config), tokenizer, ImageConfig(size=64), text, pretrained=False)


def _train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Learn a byte-level BPE: every byte has a token, so no text, emoji included, is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=_TINY_VOCABULARY,
        min_frequency=2,
        special_tokens=[_START, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
