"""Run the serving benchmark and write results.json, report.md and speeds.png.

    .venv/bin/python -m benchmarks.serving --data data/mine

The headline comes first: every server with every number of clients. What a meme costs is measured in the time left.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.serving.picture import draw_speeds
from benchmarks.serving.processes import exit_on_interrupt
from benchmarks.serving.report import write_report
from benchmarks.serving.results import Results, describe_run
from benchmarks.serving.settings import CostSettings, Settings
from benchmarks.serving.suite import run_suite
from benchmarks.serving.targets import FLASK, PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_PICTURE = "speeds.png"


def main() -> None:
    """Parse the options, measure, write."""
    options = _parse(sys.argv[1:])
    settings = _settings(options)
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out / "results.json", describe_run(_plain(settings)), resume=options.resume)
    try:
        if not options.report_only:
            exit_on_interrupt()
            run_suite(settings, options.out.absolute(), results)
    finally:
        if results.rows("cells"):
            report = write_report(results, _PICTURE)
            (options.out / _PICTURE).write_bytes(draw_speeds(results))
            (options.out / "report.md").write_text(report, encoding="utf-8")
            print(f"{report}\nThis is {options.out / 'report.md'}, with {_PICTURE} and results.json.", flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Settings()
    parser.add_argument("--out", type=Path, default=Path("run/bench"), help="folder (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="labelled memes to send (default: drawn ones)")
    parser.add_argument("--headline", action="store_true", help="measure the headline and nothing else")
    parser.add_argument("--quick", action="store_true", help="check that it runs: a tiny model, two servers, 1 s each")
    parser.add_argument(
        "--peers", default=",".join(default.peers), help="separated by commas, may be empty (default: %(default)s)"
    )
    parser.add_argument("--repetitions", type=int, default=default.repetitions, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="of each cell (default: %(default)s)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=default.minutes,
        help="of the whole run without installing the peers (default: %(default)s); the headline's first repetition is "
        "measured in any case",
    )
    parser.add_argument("--resume", action="store_true", help="read results.json and measure what it lacks")
    parser.add_argument("--report-only", action="store_true", help="with --resume: only write the report again")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Settings:
    costs = None if options.headline else CostSettings()
    if options.quick:
        quick_costs = CostSettings(caption_words=(5,), picture_sides=(300,), seconds=0.5)
        return Settings(
            model="tiny",
            peers=(FLASK,),
            clients=(1, 4),
            repetitions=1,
            seconds=1.0,
            ceiling_seconds=0.2,
            minutes=options.minutes,
            data_folder=options.data,
            costs=costs and quick_costs,
            restarts=False,
        )
    peers = tuple(name for name in options.peers.split(",") if name)
    if unknown := set(peers) - set(PEERS):
        raise SystemExit(f"error: unknown peers {', '.join(sorted(unknown))}; known are {', '.join(PEERS)}")
    return Settings(
        peers=peers,
        repetitions=options.repetitions,
        seconds=options.seconds,
        minutes=options.minutes,
        data_folder=options.data,
        costs=costs,
    )


def _plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values."""
    return {**dataclasses.asdict(settings), "data_folder": settings.data_folder and settings.data_folder.name}


if __name__ == "__main__":
    main()
