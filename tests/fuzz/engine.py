"""Start a fuzzing process, wait for it, and read what it reports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPOSITORY: Final = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class FuzzResult:
    """One target's run; ``findings`` says by signature what was found, the inputs lie in the run's folder."""

    name: str
    num_executions: int
    num_answered: int
    executions_per_s: float
    findings: Mapping[str, str]

    def line(self) -> str:
        """One line for people, and one for each finding."""
        head = (
            f"{self.name}: {self.num_executions} executions ({self.num_answered} answered, "
            f"{self.executions_per_s:.0f}/s), {len(self.findings)} findings"
        )
        return "\n  ".join([head, *(f"{signature}: {detail}" for signature, detail in self.findings.items())])


def fuzz(name: str, folder: Path, *, num_executions: int, seconds: float, seed: int) -> FuzzResult:
    """Run one target; what its folder holds from earlier runs is the starting point.

    Args:
        name: One of ``tests.fuzz.targets.NAMES``.
        folder: Keeps the corpus, and an input of each finding.
        num_executions: Ends the run.
        seconds: Ends the run too; a crash of the interpreter ends it early and is a finding.
        seed: Where chance starts.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    arguments = (name, str(folder), str(num_executions), str(seconds), str(seed))
    command = [sys.executable, "-m", "tests.fuzz.worker", *arguments]
    done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, errors="replace", check=False)
    lines = done.stdout.splitlines()
    try:
        summary = json.loads(lines[-1] if lines else "")
    except ValueError:
        return _crashed(name, done)
    return FuzzResult(
        name=name,
        num_executions=summary["executions"],
        num_answered=summary["answered"],
        executions_per_s=summary["executions_per_s"],
        findings=summary["findings"],
    )


def _crashed(name: str, done: subprocess.CompletedProcess[str]) -> FuzzResult:
    last = [line for line in done.stderr.splitlines() if line.strip()][-12:]
    detail = f"the process ended with status {done.returncode}: " + " | ".join(last)
    return FuzzResult(name=name, num_executions=0, num_answered=0, executions_per_s=0.0, findings={"crash": detail})
