"""The benchmark of a GPU, run on a CPU: a real server, a tiny model, half a second a cell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "benchmarks.serving.gpu"]


def test_the_server_is_measured_beside_the_bare_model(tmp_path: Path) -> None:
    options = ["--device", "cpu", "--model", "tiny", "--clients", "2", "--batch-sizes", "4", "--seconds", "0.5"]
    done = subprocess.run(
        [*COMMAND, *options, "--out", str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["batch_size"] for row in rows if row["what"] == "ceiling"] == [1, 8, 16, 32, 64]
    cells = [row for row in rows if row["what"] == "cell"]
    assert [(row["target"], row["clients"]) for row in cells] == [("memeguard", 2), ("memeguard-direct", 2)]
    assert all(row["requests_per_s"] > 0 and row["num_errors"] == 0 for row in cells)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_told_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--out", str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: device 'cuda:0' is not available here\n"
