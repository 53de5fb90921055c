"""Measure this project's server on a GPU: through the proxy, without it, and the bare model, in one run.

    make bench-gpu ARGS="--data data/mine"

Needs a CUDA device. It measures no other servers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from benchmarks.serving.archives import copy_archive, make_archive, make_model
from benchmarks.serving.ceiling import measure_ceiling
from benchmarks.serving.cells import measure_cell
from benchmarks.serving.costs import UNCACHED
from benchmarks.serving.load import Load
from benchmarks.serving.memes import read_memes
from benchmarks.serving.processes import exit_on_interrupt
from benchmarks.serving.servers import plan_memeguard, serving

if TYPE_CHECKING:
    from benchmarks.serving.memes import SentMeme
    from benchmarks.serving.servers import Target

_NUM_MEMES: Final = 600
_WARM_S: Final = 2.0
_BATCH_SIZES: Final = (1, 8, 16, 32, 64)  # of the bare model


def main() -> None:
    """Measure, print a line for each figure, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled memes; drawn ones otherwise")
    parser.add_argument("--device", default="cuda:0", help="of the bare model; TorchServe takes the first GPU")
    parser.add_argument("--model", choices=("vit-b-32", "tiny"), default="vit-b-32", help="of random weights")
    parser.add_argument("--clients", default="1,8,32,128")
    parser.add_argument("--batch-sizes", default="16,64", help="of the server, one after the other")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each cell")
    parser.add_argument("--out", type=Path, default=Path("run/bench-gpu"))
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit(f"error: device {options.device!r} is not available here")
    options.out.mkdir(parents=True, exist_ok=True)
    memes = read_memes(options.data, _NUM_MEMES)
    rows: list[dict[str, Any]] = []
    name = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    exit_on_interrupt()
    try:
        with tempfile.TemporaryDirectory(prefix="mgb-") as scratch:
            _measure(options, memes, Path(scratch), rows)
    finally:
        content = json.dumps({"device": name, "torch": torch.__version__, "rows": rows}, indent=1)
        (options.out / "results.json").write_text(content + "\n", encoding="utf-8")


def _measure(options: argparse.Namespace, memes: list[SentMeme], scratch: Path, rows: list[dict[str, Any]]) -> None:
    make_model(options.model, scratch)
    archive = make_archive(scratch / "bundle", scratch / "archive", "--runtime", "torch")
    for row in measure_ceiling(
        archive, memes, seconds=options.seconds / 2, batch_sizes=_BATCH_SIZES, device=options.device
    ):
        _tell(rows, {"what": "ceiling", **row})
    kind = "cpu" if options.device == "cpu" else "gpu"
    for batch_size in map(int, options.batch_sizes.split(",")):
        store = scratch / f"store-{batch_size}"
        copy_archive(archive, store, {**UNCACHED, "deviceType": kind, "batchSize": batch_size})
        with serving(plan_memeguard(store), options.out, memes[0]) as targets:
            for clients in map(int, options.clients.split(",")):
                for target in targets:
                    _tell(rows, {"batch_size": batch_size, **_measure_cell(target, memes, clients, options.seconds)})


def _measure_cell(target: Target, memes: list[SentMeme], clients: int, seconds: float) -> dict[str, Any]:
    load = Load(clients=clients, seconds=seconds, warm_s=min(_WARM_S, seconds), max_requests=10**6)
    return {"what": "cell", **measure_cell(target, memes, load, cell=f"{clients} clients")}


def _tell(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    rows.append(row)
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
