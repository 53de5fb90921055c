"""``python -m tests.soak``: start a server on free ports, load it, print a table and write run/soak.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.e2e.conftest import MEMEGUARD, REPOSITORY, serving
from tests.soak.run import SoakSettings, print_report, soak


def main() -> int:
    """Soak a server; the exit status is 1 where a promise was broken."""
    default = SoakSettings()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=default.normal_s / 60, help="at 80 %% of capacity")
    parser.add_argument("--overload-minutes", type=float, default=default.overload_s / 60, help="at 300 %%")
    parser.add_argument("--model-store", type=Path, help="what is served; the starter by default")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "run/soak.json", help="where the report is kept")
    arguments = parser.parse_args()
    settings = SoakSettings(normal_s=arguments.minutes * 60, overload_s=arguments.overload_minutes * 60)
    with tempfile.TemporaryDirectory(prefix="mg-") as scratch:
        store = arguments.model_store or Path(scratch) / "store"
        if arguments.model_store is None:
            subprocess.run([MEMEGUARD, "starter", f"--model-store={store}"], cwd=REPOSITORY, check=True)
        (tmp := Path(scratch) / "tmp").mkdir()
        with serving([MEMEGUARD, "serve", f"--model-store={store}"], Path(scratch) / "run", tmp) as server:
            report = soak(server.process, server.ports["port"], settings)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print_report(report)
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
