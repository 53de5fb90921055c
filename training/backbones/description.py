"""Read the description of a backbone: architecture, preprocessing, tokenizer. No weights are needed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from transformers import AutoTokenizer, CLIPConfig

from memeguard.config import CLIP_MEAN, CLIP_STD, ImageConfig
from training.backbones.places import BackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from training.backbones.places import Place

_CONFIG: Final = "config.json"
_WORDS: Final = ("tokenizer.json", "vocab.json")  # one of them is enough
_TOKENIZER_FILES: Final = (
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "merges.txt",
    *_WORDS,
)
_NUM_BYTES: Final = 256  # the smallest byte-level vocabulary
_NUM_CHANNELS: Final = 3
# Members that make transformers run or download code: modules, quantizers, kernels of the hub.
_CODE: Final = frozenset({"auto_map", "custom_pipelines", "quantization_config", "attn_implementation"})


def read_clip_config(place: Place) -> CLIPConfig:
    """Read the architecture; raise ``BackboneError`` if it is not a CLIP's."""
    content = _read_json(place, _CONFIG)
    if content is None:
        raise BackboneError(f"backbone {place.name} cannot be loaded: it has no {_CONFIG}")
    if (kind := content.get("model_type")) != "clip":
        raise BackboneError(f"backbone {place.name} is a {kind!r}, not a 'clip'")
    try:
        return CLIPConfig.from_dict(_without_code(content))
    except Exception as error:  # transformers raises many kinds
        reason = " ".join(str(error).split())
        raise BackboneError(f"backbone {place.name} cannot be loaded: {_CONFIG}: {reason}") from error


def read_image_config(place: Place, size: int) -> ImageConfig:
    """Read mean and standard deviation for pictures of ``size`` pixels a side; CLIP's own if they are missing.

    As in transformers, a nested "image_processor" of processor_config.json comes first.
    """
    nested = (_read_json(place, "processor_config.json", may_lack=True) or {}).get("image_processor")
    said = nested if isinstance(nested, dict) else _read_json(place, "preprocessor_config.json") or {}
    mean = _read_channels(place, "image_mean", said.get("image_mean", CLIP_MEAN))
    std = _read_channels(place, "image_std", said.get("image_std", CLIP_STD))
    if min(std) <= 0:
        raise BackboneError(f"backbone {place.name} cannot be loaded: image_std is {list(std)}; it must be positive")
    return ImageConfig(size=size, mean=mean, std=std)


def read_tokenizer(place: Place) -> PreTrainedTokenizerFast:
    """Read the tokenizer, without truncation and padding; raise ``BackboneError`` if there is none."""
    if (config := place.find(_CONFIG)) is None:
        raise BackboneError(f"backbone {place.name} cannot be loaded: it has no {_CONFIG}")
    found = {file for file in _TOKENIZER_FILES if place.find(file, may_lack=True) is not None}
    if found.isdisjoint(_WORDS):
        place.find(_WORDS[0])  # raises if the hub cannot be asked
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.parent, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise many kinds
        reason = " ".join(str(error).split())
        raise BackboneError(f"backbone {place.name} cannot be loaded: its tokenizer: {reason}") from error
    if len(tokenizer) < _NUM_BYTES:  # what transformers makes up when the tokenizer's files are missing
        raise BackboneError(
            f"backbone {place.name} has no tokenizer: vocab.json and merges.txt, or tokenizer.json, are missing"
        )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _read_json(place: Place, file: str, *, may_lack: bool = False) -> dict[str, Any] | None:
    path = place.find(file, may_lack=may_lack)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BackboneError(f"backbone {place.name} cannot be loaded: {file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BackboneError(f"backbone {place.name} cannot be loaded: {file} is not a JSON object")
    return content


def _read_channels(place: Place, name: str, values: Any) -> tuple[float, float, float]:  # noqa: ANN401 - JSON's
    are_numbers = isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )
    if not are_numbers or len(values) != _NUM_CHANNELS:
        raise BackboneError(f"backbone {place.name} cannot be loaded: {name} is {values!r}; it must be three numbers")
    red, green, blue = map(float, values)
    return red, green, blue


def _without_code(content: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_code(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if name not in _CODE and not name.startswith("_")
    }
