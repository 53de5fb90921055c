"""Known holes of the installed packages, by pip-audit, where a source of advisories can be reached."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

_TIMEOUT_S = 300
_SOURCE_TIMEOUT_S = 15


class Advisories(NamedTuple):
    """What pip-audit found, by package; or why it could not look."""

    found: dict[str, list[str]]
    unreachable: str = ""


def ask_pip_audit(source: str = "pypi") -> Advisories:
    """Run pip-audit on this environment with one of its ``--vulnerability-service`` sources."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--local",
        "--skip-editable",
        "--format=json",
        "--progress-spinner=off",
    ]
    command += [f"--vulnerability-service={source}", f"--timeout={_SOURCE_TIMEOUT_S}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    return read_answer(done.stdout, done.stderr)


def read_answer(stdout: str, stderr: str) -> Advisories:
    """Read pip-audit's JSON; without it, its last line says what went wrong."""
    try:
        report = json.loads(stdout)
    except ValueError:
        lines = [line for line in stderr.splitlines() if line.strip()]
        return Advisories({}, lines[-1] if lines else "pip-audit printed nothing")
    skipped = [package["skip_reason"] for package in report["dependencies"] if "skip_reason" in package]
    if len(skipped) == len(report["dependencies"]):  # a mirror without advisories knows none of the packages
        return Advisories(
            {}, f"all {len(skipped)} packages were skipped, as in: {skipped[0]}" if skipped else "nothing to ask about"
        )
    return Advisories(
        {
            f"{package['name']} {package['version']}": [hole["id"] for hole in package["vulns"]]
            for package in report["dependencies"]
            if package.get("vulns")
        }
    )
