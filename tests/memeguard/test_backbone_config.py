"""Settings of towers that would take a machine's memory are refused before a network is built."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from memeguard.backbone_config import FAMILIES, BackboneConfig

# Of initial values and outputs; and ids that are not set, which the network does not use.
IGNORED = dict.fromkeys(("bos_token_id", "eos_token_id"))


@pytest.mark.parametrize(
    ("tower", "settings", "reason"),
    [
        ("text_config", {"max_position_embeddings": 5000}, "max_position_embeddings is 5000"),
        ("text_config", {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ("vision_config", {"image_size": 1024, "patch_size": 8}, "number of patches is 16384"),
    ],
)
def test_a_tower_that_would_take_too_much_is_refused(tower: str, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BackboneConfig.from_dict({tower: settings})


def test_members_that_make_transformers_load_code_are_dropped() -> None:
    code = {"attn_implementation": "kernels-community/a", "quantization_config": {}, "_attn_implementation": "b"}
    clip = BackboneConfig.from_dict({**code, "text_config": code, "vision_config": code})
    assert clip.to_transformers() == BackboneConfig.from_dict({}).to_transformers()


JOINED = [
    {"text_config": {"model_type": text}, "vision_config": {"model_type": picture}}
    for text in ("bert", "roberta", "xlm-roberta")
    for picture in ("clip_vision_model", "vit")
]


@pytest.mark.parametrize(
    "settings",
    [
        *({"model_type": name} for name in FAMILIES if name != "vision-text-dual-encoder"),
        *({"model_type": "vision-text-dual-encoder", **towers} for towers in JOINED),
    ],
    ids=str,
)
def test_a_setting_that_is_not_named_is_that_of_transformers(settings: dict[str, Any]) -> None:
    values = dict(settings)
    expected = CONFIG_MAPPING[values.pop("model_type")](**values).to_dict()
    actual = BackboneConfig.from_dict(settings)
    assert actual == BackboneConfig.from_dict(expected)
    built = CONFIG_MAPPING[actual.model_type](**actual.to_transformers()).to_dict()
    for tower in ("text_config", "vision_config"):
        assert {**expected[tower], **IGNORED} == {**built[tower], **IGNORED}


def test_a_joined_backbone_must_name_its_towers() -> None:
    with pytest.raises(ValueError, match=r"model_type of text_config is None; it must be one of bert, roberta, xlm-"):
        BackboneConfig.from_dict({"model_type": "vision-text-dual-encoder"})


@pytest.mark.parametrize("model_type", ["blip", 7, None])
def test_another_kind_is_refused(model_type: object) -> None:
    with pytest.raises(ValueError, match=rf"model_type is {model_type!r}; it must be one of clip, "):
        BackboneConfig.from_dict({"model_type": model_type})


@pytest.mark.parametrize("model_type", FAMILIES)
def test_towers_of_every_kind_are_checked(model_type: str) -> None:
    towers = {"text_config": {"model_type": "bert"}, "vision_config": {"model_type": "vit", "num_hidden_layers": 10**9}}
    with pytest.raises(ValueError, match="num_hidden_layers is 1000000000"):
        BackboneConfig.from_dict({"model_type": model_type, **towers})


def test_towers_of_unlike_width_are_refused() -> None:
    with pytest.raises(ValueError, match="projection_size of the text tower is 64, hidden_size of the picture tower"):
        BackboneConfig.from_dict({"model_type": "siglip", "text_config": {"projection_size": 64}})
