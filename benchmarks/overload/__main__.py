"""Offer a server three times what it can do, then slow clients; print JSON.

    .venv/bin/python -m benchmarks.overload --model-store model_store --compare ../before

starts `memeguard serve` of this checkout and of each compared one, in turn, and ends them. --port asks a server that
runs already. Does not know what a server does with too much.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.overload.scenarios import flood, hold
from benchmarks.serving.memes import make_requests, read_memes
from benchmarks.serving.processes import Family, ending_all
from benchmarks.serving.servers import free_ports
from benchmarks.serving.venvs import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PORTS = ("port", "inference-port", "management-port", "metrics-port", "grpc-inference-port", "grpc-management-port")
_START_TIMEOUT_S = 180.0
_NUM_FILES = 16_384  # every request of a flood has a connection


def main() -> None:
    """Parse the options, measure each server, print."""
    options = _parse()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_NUM_FILES if hard < 0 else min(_NUM_FILES, hard), hard))
    results: dict[str, Any] = {}
    if options.port:
        results[f"port {options.port}"] = _measure(options.port, options)
    else:
        with ending_all():
            for checkout in (REPOSITORY, *options.compare):
                with _serving(checkout.resolve(), options.model_store.resolve()) as port:
                    results[str(checkout)] = _measure(port, options)
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


def _measure(port: int, options: argparse.Namespace) -> dict[str, Any]:
    memes = read_memes(options.data, 256)

    def requests_of(cell: str) -> Callable[[int], bytes]:
        return make_requests(memes, "/predict", {"Connection": "close"}, cell=f"{cell} {time.time_ns()}")

    slow = hold(port, requests_of("slow"), each=options.slow, seconds=options.slow_seconds)
    return {"slow": slow, "flood": flood(port, requests_of("flood"), factor=options.factor, seconds=options.seconds)}


@contextlib.contextmanager
def _serving(checkout: Path, model_store: Path) -> Iterator[int]:
    """Run the checkout's `memeguard serve` for the length of the block; yields its port."""
    with tempfile.TemporaryDirectory(prefix="mg-") as folder:
        run_dir, log = Path(folder) / "run", Path(folder) / "serve.log"
        ports = free_ports(len(_PORTS))
        command = [
            *(str(checkout / ".venv/bin/memeguard"), "serve", "--model-store", str(model_store)),
            *("--run-dir", str(run_dir)),
            *(f"--{name}={port}" for name, port in zip(_PORTS, ports, strict=True)),
        ]
        with Family(command, log=log, cwd=checkout, env=os.environ | {"TMPDIR": folder}) as family:
            _wait_until_ready(family, f"http://127.0.0.1:{ports[0]}/readyz")
            yield ports[0]


def _wait_until_ready(family: Family, url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while family.exit_status is None and time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=5).ok:
                return
        time.sleep(0.2)
    raise SystemExit(f"the server did not become ready: {family.log.read_text(errors='replace')[-2000:]}")


if __name__ == "__main__":
    main()
