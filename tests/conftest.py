"""A small classifier with random weights, made in code: the same towers, head and files as a real one, in a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.bundle import Bundle

# The imports below wait until a test asks for a model: the proxy's tests need neither torch nor transformers.


@pytest.fixture(scope="session")
def small_bundle() -> Bundle:
    """CLIP with towers of width 32 and one layer, pictures of 32 pixels; nobody may change it."""
    import torch  # noqa: PLC0415
    from transformers import CLIPConfig  # noqa: PLC0415

    from memeguard.bundle import Bundle  # noqa: PLC0415
    from memeguard.classifier import MemeClassifier  # noqa: PLC0415
    from memeguard.config import HeadConfig, ImageConfig, LabelConfig, ModelConfig, TextConfig  # noqa: PLC0415
    from training.backbones import TINY, load_tokenizer  # noqa: PLC0415

    tokenizer = load_tokenizer(TINY, ["a caption of many words", "this is the exact opposite of your whole family"] * 2)
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
        classifier = MemeClassifier(config).eval()
    return Bundle(classifier, tokenizer)


@pytest.fixture(scope="session")
def bundle_folder(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``small_bundle`` on disk, with a report; nobody may change it."""
    from memeguard.bundle import save_bundle  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(small_bundle, folder, report={"validation": {"model": {"auroc": 0.75}}})
    return folder
