"""The benchmark's short form: real servers, a tiny model, seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "benchmarks.serving", "--quick"]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_the_short_form_measures_every_target_and_writes_its_report(tmp_path: Path) -> None:
    command = [*COMMAND, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "results.json").read_text())
    rows = content["rows"]
    assert {(row["target"], row["clients"]) for row in rows["cells"]} == {
        (target, clients)
        for target in ("memeguard", "memeguard-direct", "memeguard-float", "original")
        for clients in (1, 4)
    }
    assert all(row["num_errors"] == 0 and row["requests_per_s"] > 0 for row in rows["cells"])
    assert all(row["cpu_s_per_request"] > 0 and row["peak_bytes"] > 10**8 for row in rows["cells"])
    assert {row["what"] for row in rows["costs"]} == {"caption_words", "picture_side"}
    assert {row["batch_size"] for row in rows["ceiling"]} == {1, 8, 16}
    assert min(row["requests_per_s"] for row in rows["generator"]) > 5 * max(
        row["requests_per_s"] for row in rows["cells"]
    )
    assert rows.keys().isdisjoint({"notes", "left_out"})
    assert "Flask and transformers" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "speeds.png").read_bytes().startswith(b"\x89PNG")
