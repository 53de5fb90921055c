"""Run the serving benchmark and write results.json, report.md and speeds.png.

    .venv/bin/python -m benchmarks.serving --data ../shared/harmeme

Does not know how anything is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.serving.picture import draw_speeds
from benchmarks.serving.processes import ending_all
from benchmarks.serving.report import write_report
from benchmarks.serving.results import Results, describe_run
from benchmarks.serving.servers import PEERS
from benchmarks.serving.settings import CostSettings, Settings
from benchmarks.serving.suite import run_suite

if TYPE_CHECKING:
    from collections.abc import Sequence

_DATA = Path("../shared/harmeme")
_PICTURE = "speeds.png"


def main() -> None:
    """Parse the options, measure, write."""
    options = _parse(sys.argv[1:])
    settings = _settings(options)
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out / "results.json", describe_run(_plain(settings)), resume=options.resume)
    try:
        if not options.report_only:
            with ending_all():
                run_suite(settings, options.out.absolute(), results)
    finally:
        if results.rows("cells"):
            report = write_report(results, _PICTURE)
            (options.out / _PICTURE).write_bytes(draw_speeds(results))
            (options.out / "report.md").write_text(report, encoding="utf-8")
            print(f"{report}\nThis is {options.out / 'report.md'}, with {_PICTURE} and results.json.", flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("run/bench"))
    parser.add_argument("--data", type=Path, help=f"labelled memes; {_DATA} if it is there, drawn ones otherwise")
    parser.add_argument("--quick", action="store_true", help="a tiny model, two servers, a second each: does it run?")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of them, separated by commas; may be empty")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each cell")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the whole run, but for installing the peers")
    parser.add_argument("--resume", action="store_true", help="go on with results.json; measure what it lacks")
    parser.add_argument("--report-only", action="store_true", help="with --resume: write the report anew, no more")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Settings:
    if options.quick:
        costs = CostSettings(caption_words=(5,), picture_sides=(300,), seconds=0.5)
        return Settings(
            model="tiny",
            peers=("original",),
            clients=(1, 4),
            repetitions=1,
            seconds=1.0,
            ceiling_seconds=0.2,
            minutes=options.minutes,
            data_folder=options.data,
            own_venvs=False,
            costs=costs,
            restarts=False,
        )
    data = options.data or (_DATA if _DATA.is_dir() else None)
    peers = tuple(name for name in options.peers.split(",") if name)
    if unknown := set(peers) - set(PEERS):
        raise SystemExit(f"unknown peers {sorted(unknown)}; there are {', '.join(PEERS)}")
    return Settings(
        peers=peers, repetitions=options.repetitions, seconds=options.seconds, minutes=options.minutes, data_folder=data
    )


def _plain(settings: Settings) -> dict[str, Any]:
    """As JSON takes it."""
    return {**dataclasses.asdict(settings), "data_folder": settings.data_folder and settings.data_folder.name}


if __name__ == "__main__":
    main()
