"""Measure the bare model: the archive's own code on its own bundle, without HTTP, decoding and tokenizing.

Like the worker, it passes the settings of model-config.yaml and all cores to the loader.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.serving.archives import read_settings, unpack_archive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.serving.memes import SentMeme

BATCH_SIZES: Final = (1, 8, 16)
_NUM_MEMES: Final = 64

_SCRIPT: Final = """\
import inspect, json, pathlib, sys, time
folder = pathlib.Path.cwd()
sys.path[:] = [str(folder), *sys.path, *json.loads(sys.argv[1])]
from memeguard.runtimes import load_predictor
settings, sizes, seconds = json.loads(sys.argv[2]), json.loads(sys.argv[3]), float(sys.argv[4])
known = inspect.signature(load_predictor).parameters
predictor = load_predictor(folder / "bundle", **{name: value for name, value in settings.items() if name in known})
memes = json.loads((folder / "memes.json").read_text())
prepared = [predictor.prepare((folder / name).read_bytes(), text) for name, text in memes]
for size in sizes:
    batches = [prepared[start : start + size] for start in range(0, len(prepared) - size + 1, size)]
    predictor.logits(batches[0])
    predictor.logits(batches[-1])
    count, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        predictor.logits(batches[count % len(batches)])
        count += 1
    print(json.dumps({"batch_size": size, "memes_per_s": count * size / spent}), flush=True)
"""


def measure_ceiling(
    archive: Path,
    memes: Sequence[SentMeme],
    *,
    seconds: float,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Measure memes per second with each batch size, ``seconds`` each, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mgb-") as temporary:
        folder = Path(temporary)
        unpack_archive(archive, folder)
        listing = []
        for index, meme in enumerate(memes[:_NUM_MEMES]):
            (folder / f"meme-{index}").write_bytes(meme.image)
            listing.append((f"meme-{index}", meme.text))
        (folder / "memes.json").write_text(json.dumps(listing), encoding="utf-8")
        libraries = json.dumps([*site.getsitepackages(), site.getusersitepackages()])
        num_threads = len(os.sched_getaffinity(0))
        settings = {**read_settings(archive).get("memeguard", {}), "num_threads": num_threads, "device": device}
        arguments = [libraries, json.dumps(settings), json.dumps(batch_sizes), str(seconds)]
        # -I and -S leave nothing of this source tree on the path, as in archiving/archive.py.
        command = [sys.executable, "-I", "-S", "-c", _SCRIPT, *arguments]
        environment = {"OMP_NUM_THREADS": str(num_threads), **os.environ}
        done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
