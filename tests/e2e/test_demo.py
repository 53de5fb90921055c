"""The demo memes are what docs/train.md says they are: only picture and caption together tell the label."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.docs.pages import find_block
from tests.e2e.conftest import run_memeguard

if TYPE_CHECKING:
    from pathlib import Path


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
