"""Read the tokenizer of a backbone, and how its texts become chunks. No weights are needed."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenizers import Regex, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from memeguard.backbone_config import BackboneConfig
from memeguard.bundle_files import check_tokenizer
from memeguard.config import TextConfig
from training.backbones.description import CONFIG, read_json
from training.backbones.places import BackboneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig

    from training.backbones.places import Place

_WORDS: Final = ("tokenizer.json", "vocab.json")  # one of them is enough
_OTHER_WORDS: Final = ("vocab.txt", "sentencepiece.bpe.model", "spiece.model")  # looked for if both are missing
_TOKENIZER_CONFIG: Final = "tokenizer_config.json"
_TOKENIZER_FILES: Final = ("added_tokens.json", "special_tokens_map.json", _TOKENIZER_CONFIG, "merges.txt", *_WORDS)
_SIGLIP_CLASSES: Final = ("SiglipTokenizer", "SiglipTokenizerFast")
_NUM_BYTES: Final = 256  # the smallest byte-level vocabulary
_CAPTION_TOKENS: Final = 2400  # that a caption may have at least: four times the longest text of MultiOFF


class _SiglipTokenizer(PreTrainedTokenizerFast):  # type: ignore[misc]  # transformers has no types
    """SigLIP's tokenizer from a tokenizer.json; transformers' own class reads the SentencePiece model beside it."""


class Words(NamedTuple):
    """How a backbone reads texts.

    Attributes:
        tokenizer: Makes ids of texts, without truncation and padding.
        text: How a text becomes chunks of ids.
        unknown_id: Id of the token for what the tokenizer cannot write; None if it can write everything.
    """

    tokenizer: Tokenizer
    text: TextConfig
    unknown_id: int | None


def read_words(place: Place, config: PreTrainedConfig) -> Words:
    """Read how the backbone of this configuration reads texts; raise ``BackboneError`` if its files do not say it."""
    tokenizer = _read_tokenizer(place)
    _fit_to_family(tokenizer, config)
    text = _read_text_config(place.name, tokenizer, config)
    try:  # now, since a bundle of it would be refused after the training
        check_tokenizer(tokenizer.backend_tokenizer, BackboneConfig.from_dict(config.to_dict()).text.vocab_size)
    except ValueError as error:
        raise BackboneError(f"backbone {place.name} cannot be loaded: its tokenizer: {error}") from error
    return Words(tokenizer.backend_tokenizer, text, tokenizer.unk_token_id)


def _read_tokenizer(place: Place) -> PreTrainedTokenizerFast:
    """Read the tokenizer, without truncation and padding; raise ``BackboneError`` if there is none."""
    if (config := place.find(CONFIG)) is None:
        raise BackboneError(f"backbone {place.name} cannot be loaded: it has no {CONFIG}")
    _find_files(place)
    said = read_json(place, _TOKENIZER_CONFIG, may_lack=True) or {}
    kind: Any = _SiglipTokenizer if said.get("tokenizer_class") in _SIGLIP_CLASSES else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(config.parent, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise many kinds
        reason = " ".join(str(error).split())
        raise BackboneError(f"backbone {place.name} cannot be loaded: its tokenizer: {reason}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BackboneError(f"backbone {place.name} cannot be loaded: its tokenizer needs a file tokenizer.json")
    if len(tokenizer) < _NUM_BYTES:  # what transformers makes up when the tokenizer's files are missing
        raise BackboneError(
            f"backbone {place.name} has no tokenizer: vocab.json and merges.txt, or tokenizer.json, are missing"
        )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _fit_to_family(tokenizer: PreTrainedTokenizerFast, config: PreTrainedConfig) -> None:
    """Make the tokenizer normalize texts as SigLIP's training did, if its files do not say so.

    SigLIP and SigLIP 2 have learned from lower case only (Zhai et al. 2023, Tschannen et al. 2025), SigLIP also without
    punctuation (``canonicalize_text`` of transformers' SiglipTokenizer). But the files of SigLIP 2 name the tokenizer
    of Gemma, which keeps capitals, and a tokenizer.json need not have what that class does.
    """
    if config.model_type != "siglip":
        return
    normalizer = tokenizer.backend_tokenizer.normalizer
    probe = normalizer.normalize_str("A,") if normalizer else "A,"
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if "A" in probe else []
    if "," in probe and isinstance(tokenizer, _SiglipTokenizer):
        steps += [normalizers.Replace(punctuation, "") for punctuation in string.punctuation]
        steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    if steps:
        own = [normalizer] if normalizer else []
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([*steps, *own])


def _read_text_config(name: str, tokenizer: PreTrainedTokenizerFast, config: PreTrainedConfig) -> TextConfig:
    """Find out how the backbone called ``name`` frames, pads and limits its texts.

    Raises:
        BackboneError: The tokenizer lacks a special token, or adds other ones than one at each end.
    """
    backbone = BackboneConfig.from_dict(config.to_dict())
    starts: Sequence[int | None]
    ends: Sequence[int | None]
    if backbone.family.pooling == "last":
        starts, ends = (tokenizer.bos_token_id,), (tokenizer.eos_token_id,)
        context_length = backbone.text.max_tokens
    else:
        starts, ends = _find_special_tokens(tokenizer)
        context_length = min(backbone.text.max_tokens, tokenizer.model_max_length)
    if len(starts) > 1 or len(ends) != 1:
        added = f"{len(starts)} tokens before a text and {len(ends)} behind it"
        raise BackboneError(f"backbone {name}: its tokenizer adds {added}; it must be at most 1 before and 1 behind")
    if None in starts or (end_id := ends[0]) is None:
        raise BackboneError(f"backbone {name}: its tokenizer has no start or end token")
    pad_id = tokenizer.pad_token_id if backbone.family.pooling == "padded" else None
    if backbone.family.pooling == "padded" and pad_id is None:
        raise BackboneError(f"backbone {name}: its tokenizer has no padding token")
    room = max(1, context_length - len(starts) - len(ends))
    return TextConfig(
        context_length=context_length,
        start_id=starts[0] if starts else None,
        end_id=end_id,
        max_chunks=-(-_CAPTION_TOKENS // room),
        pad_id=pad_id,
    )


def _find_files(place: Place) -> None:
    """Download the tokenizer's files if necessary; raise ``BackboneError`` if the hub cannot be asked for any."""
    found = {file for file in _TOKENIZER_FILES if place.find(file, may_lack=True) is not None}
    if found.isdisjoint(_WORDS):
        found |= {file for file in _OTHER_WORDS if place.find(file, may_lack=True) is not None}
    if found.isdisjoint((*_WORDS, *_OTHER_WORDS)):
        place.find(_WORDS[0])  # raises if the hub cannot be asked


def _find_special_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[Sequence[int], Sequence[int]]:
    """Return the ids that the tokenizer adds before and behind a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    framed = tokenizer("a")["input_ids"]
    start = next((at for at in range(len(framed)) if framed[at : at + len(bare)] == bare), 0)
    return framed[:start], framed[start + len(bare) :]
