"""Small things with random weights, made in code: the same towers, head and files as a real one, in a second."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.bundle import Bundle
    from memes.meme import Meme


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-fault", action="store_true", help="run the faults that take long, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--every-fault"):
        kept = [item for item in items if item.get_closest_marker("every_fault") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


# The imports below wait until a test asks for a model: the proxy's tests need neither torch nor transformers.


@pytest.fixture(scope="session")
def _one_thread() -> None:
    """Matrices this small gain nothing from a second thread, and on a busy machine lose seconds by it."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_bundle(_one_thread: None) -> Bundle:
    """CLIP with towers of width 32 and one layer, pictures of 32 pixels; nobody may change it."""
    from tests.small_bundle import make_small_bundle  # noqa: PLC0415

    return make_small_bundle()


@pytest.fixture(scope="session")
def bundle_folder(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``small_bundle`` on disk, with a report; nobody may change it."""
    from memeguard.bundle import save_bundle  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(small_bundle, folder, report={"validation": {"model": {"auroc": 0.75}}})
    return folder


@pytest.fixture(scope="session")
def clip_folder(_one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A "pretrained" CLIP in the hub's layout, its tokenizer as OpenAI's files are; nobody may change it.

    Its vocabulary is the bytes, within a word and at its end, and the word "cat".
    """
    import torch  # noqa: PLC0415
    from tokenizers import pre_tokenizers  # noqa: PLC0415
    from transformers import CLIPConfig, CLIPModel  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("hub") / "clip"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"]
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(tokens),
            "bos_token_id": 514,
            "eos_token_id": 2,
        },  # as OpenAI's configurations have it
        vision_config={**tower, "image_size": 48, "patch_size": 16, "attention_dropout": 0.5},
        projection_dim=24,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        CLIPModel(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n", "utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", **special}), "utf-8")
    preprocessing = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {"shortest_edge": 48}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing), "utf-8")
    return folder


@pytest.fixture(scope="session")
def demo_folder(_one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn memes in MultiOFF's layout; nobody may change it."""
    from demo.drawing import write_demo_data  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("data") / "demo"
    write_demo_data(folder, num_train=40, num_validation=16, num_test=12)
    return folder


@pytest.fixture(scope="session")
def demo_splits(demo_folder: Path) -> dict[str, list[Meme]]:
    """``demo_folder`` as it is read."""
    from memes.reading import read_splits  # noqa: PLC0415

    return read_splits(demo_folder)
