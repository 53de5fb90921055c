"""Figures measured so far, in a JSON file that is rewritten after each one, so that a run can be resumed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.serving.venvs import REPOSITORY, pinned_version


class Results:
    """Lists of dictionaries by kind: ``cells``, ``starts``, ``ceiling``, ``costs``, ``left_out``, ``notes``, …."""

    def __init__(self, path: Path, header: dict[str, Any], *, resume: bool = False) -> None:
        self._path = path
        if resume and path.is_file():
            self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return
        self.content = {**header, "rows": {}}

    def rows(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON values
        """The rows of ``kind`` whose members have these values."""
        rows: list[dict[str, Any]] = self.content["rows"].get(kind, [])
        return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]

    def add(self, kind: str, **row: Any) -> None:  # noqa: ANN401 - JSON values
        """Keep one row, on disk too."""
        self.content["rows"].setdefault(kind, []).append(row)
        self._write()

    def finish(self, **members: Any) -> None:  # noqa: ANN401 - JSON values
        """Add what is known at the end."""
        self.content.update(members)
        self._write()

    def _write(self) -> None:
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        partial.replace(self._path)


def describe_run(settings: dict[str, Any]) -> dict[str, Any]:
    """Where, when and of what a run is: hardware, commit, command."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "command": " ".join(["python -m benchmarks.serving", *sys.argv[1:]]),
        "hardware": _hardware(),
        "python": platform.python_version(),
        "settings": settings,
        "peers": {name: pinned_version(name) for name in settings["peers"]},
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _hardware() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    values = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": values.get("model name", platform.processor()).strip(),
        "cores": len(os.sched_getaffinity(0)),
        "amx": "amx_bf16" in values.get("flags", ""),
        "memory_gb": round(memory / 2**30, 1),
        "load_average_at_start": os.getloadavg()[0],
    }
