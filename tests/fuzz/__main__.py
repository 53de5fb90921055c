"""``python -m tests.fuzz [TARGET ...] --executions N --seconds S``: fuzz targets, one after the other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.engine import fuzz
from tests.fuzz.targets import NAMES


def main() -> int:
    """Fuzz what is asked for; the exit status is 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of untrusted bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(NAMES)}; all by default")
    parser.add_argument("--executions", type=int, default=2**62, help="inputs per target; no limit by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="time per target, %(default)g by default")
    parser.add_argument("--seed", type=int, default=0, help="where chance starts; 0 chooses another each time")
    parser.add_argument("--out", type=Path, default=Path("run/fuzz"), help="where corpora and findings are kept")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(NAMES):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    num_found = 0
    for name in arguments.targets or NAMES:
        result = fuzz(
            name,
            arguments.out / name,
            num_executions=arguments.executions,
            seconds=arguments.seconds,
            seed=arguments.seed,
        )
        print(result.line(), flush=True)
        num_found += len(result.findings)
    return 1 if num_found else 0


if __name__ == "__main__":
    sys.exit(main())
