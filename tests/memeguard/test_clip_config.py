"""Settings of CLIP's towers that would take a machine's memory are refused before a network is built."""

from __future__ import annotations

from typing import Any

import pytest

from memeguard.clip_config import ClipConfig


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
        ClipConfig.from_dict({tower: settings})


def test_members_that_make_transformers_load_code_are_dropped() -> None:
    code = {"attn_implementation": "kernels-community/a", "quantization_config": {}, "_attn_implementation": "b"}
    clip = ClipConfig.from_dict({**code, "text_config": code, "vision_config": code})
    assert clip.to_transformers() == ClipConfig.from_dict({}).to_transformers()
