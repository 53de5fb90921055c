"""The demo memes are what docs/train.md says they are: only picture and caption together tell the label."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import find_block
from tests.e2e.conftest import run_memeguard

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that `memeguard demo` makes: data, bundle, and model store with 0.1.0."""
    folder = tmp_path_factory.mktemp("demo")
    done = run_memeguard(
        *("demo", "--data", folder / "data", "--out", folder / "bundle", "--model-store", folder / "store")
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_demo_model_tells_them_apart(demo: Path) -> None:
    card = json.loads((demo / "store/meme-0.1.0.json").read_text())
    assert card["report"]["validation"]["model"]["accuracy"] >= 0.95


def test_neither_picture_nor_caption_alone_tells_the_label(demo: Path) -> None:
    program, *arguments = find_block("run: demo").code.strip().replace("data/demo", str(demo / "data")).split()
    assert program == ".venv/bin/memeguard"
    done = run_memeguard(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows["both"]["num"] == 300
    assert rows["both"]["accuracy"] >= 0.95
    assert rows["image"]["accuracy"] <= 0.60
    assert rows["text"]["accuracy"] <= 0.60


def test_check_data_finds_nothing_wrong_with_them(demo: Path) -> None:
    done = run_memeguard("check-data", demo / "data", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {split["name"]: split["num_rows"] for split in report["splits"]} == {
        "train": 2000,
        "validation": 300,
        "test": 300,
    }
    assert all(split["num_offensive"] == split["num_non_offensive"] for split in report["splits"])
