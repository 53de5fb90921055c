"""The benchmark of bulk scoring runs, at a size that says nothing but that it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scoring.conftest import write_list

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "score_speed.py"


def test_score_is_measured_beside_its_ceiling(tmp_path: Path, bundle_folder: Path) -> None:
    source = write_list(tmp_path / "memes", 40)
    command = [sys.executable, BENCHMARK, "--model", bundle_folder, "--data", source, "--rounds", 1, "--batch-sizes",
               "4,8", "--memes", 20, "--json", tmp_path / "speed.json"]  # fmt: skip
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    result = json.loads((tmp_path / "speed.json").read_text())
    assert result["batch_size"] in {4, 8}
    for ceiling in ("serving", "one_stream", "streams"):
        assert result[f"ratio_{ceiling}"] == pytest.approx(result["score"] / result[f"ceiling_{ceiling}"], abs=2e-3)
        assert result[f"ratio_{ceiling}"] > 0
