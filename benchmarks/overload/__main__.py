"""Offer a server three times what it can do, then slow clients; print JSON.

    .venv/bin/python -m benchmarks.overload --model-store model_store --compare ../before

starts `memeguard serve` of this checkout and of each compared one, in turn, and ends them. --port measures a server
that runs already.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.overload.scenarios import flood, hold
from benchmarks.serving.memes import make_requests, read_memes
from benchmarks.serving.processes import exit_on_interrupt
from benchmarks.serving.servers import StartError, plan_memeguard, serving
from benchmarks.serving.venvs import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.serving.memes import SentMeme

_LOGS = Path("run/overload")
_NUM_MEMES = 256


def main() -> None:
    """Parse the options, measure each server, print."""
    options = _parse()
    memes = read_memes(options.data, _NUM_MEMES)
    results: dict[str, Any] = {}
    if options.port:
        results[f"port {options.port}"] = _measure(options.port, memes, options)
    else:
        exit_on_interrupt()
        for checkout in (REPOSITORY, *options.compare):
            results[str(checkout)] = _measure_checkout(checkout.resolve(), memes, options)
    text = json.dumps(results, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--compare", type=Path, action="append", default=[], help="another checkout; may be repeated")
    parser.add_argument("--port", type=int, help="a server on 127.0.0.1 that runs already, in place of all others")
    parser.add_argument("--data", type=Path, help="labelled memes to send; drawn ones otherwise")
    parser.add_argument("--factor", type=float, default=3.0, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the flood")
    parser.add_argument("--slow", type=int, default=200, help="connections with slow heads, and with slow bodies")
    parser.add_argument("--slow-seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, help="a file for the JSON, too")
    return parser.parse_args()


def _measure_checkout(checkout: Path, memes: list[SentMeme], options: argparse.Namespace) -> dict[str, Any]:
    _LOGS.mkdir(parents=True, exist_ok=True)
    plan = plan_memeguard(options.model_store.resolve(), checkout=checkout)
    try:
        with serving(plan, _LOGS, memes[0]) as (proxy, _):
            return _measure(proxy.port, memes, options)
    except StartError as error:
        raise SystemExit(f"error: {checkout}: {error}") from error


def _measure(port: int, memes: list[SentMeme], options: argparse.Namespace) -> dict[str, Any]:
    def requests_of(cell: str) -> Callable[[int], bytes]:
        return make_requests(memes, "/predict", {"Connection": "close"}, cell=f"{cell} {time.time_ns()}")

    slow = hold(port, requests_of("slow"), each=options.slow, seconds=options.slow_seconds)
    return {"slow": slow, "flood": flood(port, requests_of("flood"), factor=options.factor, seconds=options.seconds)}


if __name__ == "__main__":
    main()
