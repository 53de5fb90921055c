"""Read the description of a backbone: architecture and preprocessing of pictures. No weights are needed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, cast

from PIL import Image
from transformers import CONFIG_MAPPING

from memeguard.backbone_config import FAMILIES, BackboneConfig
from memeguard.config import CLIP_MEAN, CLIP_STD, ImageConfig
from training.backbones.places import BackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from memeguard.config import Resampling
    from training.backbones.places import Place

CONFIG: Final = "config.json"
_HALVES: Final = (0.5, 0.5, 0.5)
# What transformers' image processors of other picture towers than CLIP's do if a file does not say it.
_OWN_STATISTICS: Final = dict.fromkeys(("siglip_vision_model", "vit"), (_HALVES, _HALVES))
_OWN_RESAMPLING: Final = {"vit": Image.Resampling.BILINEAR}
_ASSUMED: Final = {"do_normalize": True, "do_rescale": True}
# What is close to a supported kind, and what to use instead.
_HINTS: Final = {
    "siglip2": "SigLIP 2 of flexible resolution is not supported, SigLIP 2 of fixed resolution is a 'siglip', such as "
    "google/siglip2-base-patch16-224"
}
_NUM_CHANNELS: Final = 3
# Members that make transformers run or download code: modules, quantizers, kernels of the hub.
_CODE: Final = frozenset({"auto_map", "custom_pipelines", "quantization_config", "attn_implementation"})


def read_backbone_config(place: Place) -> PreTrainedConfig:
    """Read the architecture; raise ``BackboneError`` if it is none of the supported ones."""
    content = read_json(place, CONFIG)
    if content is None:
        raise BackboneError(f"backbone {place.name} cannot be loaded: it has no {CONFIG}")
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        hint = f": {hint}" if (hint := _HINTS.get(str(kind))) else ""
        raise BackboneError(f"backbone {place.name} is a {kind!r}; it must be one of {', '.join(FAMILIES)}{hint}")
    if kind == "siglip" and isinstance(text := content.get("text_config"), dict):
        # Not used; transformers warns of its own defaults, which are outside the vocabulary.
        content = {**content, "text_config": text | dict.fromkeys(("bos_token_id", "eos_token_id"))}
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[kind].from_dict(_without_code(content))
        BackboneConfig.from_dict(config.to_dict())
    except Exception as error:  # transformers raises many kinds
        reason = " ".join(str(error).split())
        raise BackboneError(f"backbone {place.name} cannot be loaded: {CONFIG}: {reason}") from error
    return config


def read_image_config(place: Place, config: PreTrainedConfig) -> ImageConfig:
    """Read how pictures become pixels; mean, deviation and filter are the picture tower's own if missing.

    As in transformers, a nested "image_processor" of processor_config.json comes first.
    """
    nested = (read_json(place, "processor_config.json", may_lack=True) or {}).get("image_processor")
    said = nested if isinstance(nested, dict) else read_json(place, "preprocessor_config.json") or {}
    tower = config.vision_config
    own_mean, own_std = _OWN_STATISTICS.get(tower.model_type, (CLIP_MEAN, CLIP_STD))
    mean = _read_channels(place, "image_mean", said.get("image_mean", own_mean))
    std = _read_channels(place, "image_std", said.get("image_std", own_std))
    if min(std) <= 0:
        raise BackboneError(f"backbone {place.name} cannot be loaded: image_std is {list(std)}; it must be positive")
    for name, expected in _ASSUMED.items():
        if said.get(name, expected) != expected:
            raise BackboneError(
                f"backbone {place.name} cannot be loaded: {name} is {said[name]!r}; it must be {expected}"
            )
    own_resampling = _OWN_RESAMPLING.get(tower.model_type, Image.Resampling.BICUBIC)
    resampling = _read_resampling(place, said.get("resample", own_resampling))
    return ImageConfig(size=tower.image_size, mean=mean, std=std, resampling=resampling)


def read_json(place: Place, file: str, *, may_lack: bool = False) -> dict[str, Any] | None:
    """Read a JSON object of the backbone, None if it lacks the file; raise ``BackboneError`` if it is damaged."""
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


def _read_resampling(place: Place, value: Any) -> Resampling:  # noqa: ANN401 - JSON's
    try:
        return cast("Resampling", Image.Resampling(value).name.lower())
    except ValueError as error:
        raise BackboneError(
            f"backbone {place.name} cannot be loaded: resample is {value!r}; it must be a number from 0 to 5"
        ) from error


def _without_code(content: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_code(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if name not in _CODE and not name.startswith("_")
    }
