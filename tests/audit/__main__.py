"""``python -m tests.audit``: run every audit and print what it found; the exit status is 1 where that is anything."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.audit.advisories import ask_pip_audit
from tests.audit.jars import find_differences, read_table
from tests.audit.licences import find_disallowed, runtime_packages

OURS: Final = ("cli", "handler", "proxy", "rollout", "scoring", "starter", "training")


def run_bandit() -> subprocess.CompletedProcess[str]:
    """Bandit on our code, with the skips of pyproject.toml."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile=pyproject.toml", "--recursive", *OURS]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    """Run every audit."""
    bandit = run_bandit()
    print(f"bandit: {bandit.stdout or bandit.stderr}" if bandit.returncode else "bandit: nothing found")
    disallowed = find_disallowed()
    print(f"licences of {len(runtime_packages())} packages:", disallowed or "all agreed to")
    differences = find_differences()
    print("jars:", differences or f"as the table knows them; {_count_holes()}")
    advisories = ask_pip_audit()
    if advisories.unreachable:
        print(f"advisories: NOT CHECKED, no source can be reached here ({advisories.unreachable})")
    else:
        print("advisories:", advisories.found or "none")
    return int(bool(bandit.returncode or disallowed or differences or advisories.found))


def _count_holes() -> str:
    holes = [hole for library in read_table()["libraries"] for hole in library["holes"]]
    reachable = [hole["id"] for hole in holes if hole["reachable"] != "no"]
    return f"{len(holes)} known holes, of which {len(reachable)} can be reached in part: {', '.join(reachable)}"


if __name__ == "__main__":
    sys.exit(main())
