"""The benchmarks of training run, at sizes that say nothing but that they run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *arguments: object) -> None:
    command = [sys.executable, BENCHMARKS / name, *arguments]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def test_peak_memory_is_measured(tmp_path: Path) -> None:
    run("training_scale.py", "--sizes", "40", "--scratch", tmp_path, "--json", tmp_path / "scale.json")
    results = json.loads((tmp_path / "scale.json").read_text())
    assert [result["num_train"] for result in results] == [40]
    assert all(100 < result["peak_mib"] < 4000 for result in results)


def test_speed_is_measured_with_and_without_loading(tmp_path: Path, demo_folder: Path, clip_folder: Path) -> None:
    where = ("--data", demo_folder, "--backbone", clip_folder, "--json", tmp_path / "speed.json")
    run("training_speed.py", *where, "--tunes", "head,full", "--precisions", "fp32", "--steps", 1, "--rounds", 1)
    results = json.loads((tmp_path / "speed.json").read_text())
    assert [result["tune"] for result in results] == ["head", "full"]
    assert all(result["with_loading"] > 0 and result["without"] > 0 for result in results)
