"""Measure the peak memory of `memeguard train` for few and for many memes: captions and names should be the difference.

    .venv/bin/python benchmarks/training_scale.py --sizes 10000,1000000 --json scale.json

The memes are made in code, in the plain CSV layout: as many different captions as asked for, over a few hundred
pictures. The backbone is a small CLIP with random weights, because memory does not depend on weights.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

NUM_PICTURES = 200
NUM_VALIDATION = 500
WORDS = [f"{start}{end}" for start in ("ba", "do", "ki", "lu", "me") for end in ("n", "r", "sh", "t", "xel", "nder")]


def write_data(folder: Path, num_train: int) -> None:
    """Write ``num_train`` memes in the plain CSV layout, with labels that have nothing to do with them."""
    numbers = random.Random(num_train)
    (folder / "pictures").mkdir(parents=True)
    for index in range(NUM_PICTURES):
        noise = Image.frombytes("RGB", (8, 8), numbers.randbytes(192)).resize((96, 96), Image.Resampling.BICUBIC)
        noise.save(folder / "pictures" / f"{index}.jpg", quality=80)
    for name, num in (("train", num_train), ("validation", NUM_VALIDATION)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "text", "label"))
            for number in range(num):
                text = f"{' '.join(numbers.choices(WORDS, k=8))} {number}"
                writer.writerow((f"pictures/{numbers.randrange(NUM_PICTURES)}.jpg", text, number % 2))


def measure(num_train: int, tune: str, backbone: Path, scratch: Path) -> dict[str, Any]:
    """Train for one epoch in a process of its own; return seconds and peak memory in MiB, with shared libraries."""
    write_data(scratch / f"data-{num_train}", num_train)
    command = [
        *(sys.executable, "-m", "cli.main", "train", "--device", "cpu", "--epochs", "1", "--folds", "0"),
        *("--data", scratch / f"data-{num_train}", "--out", scratch / f"bundle-{num_train}"),
        *("--backbone", backbone, "--tune", tune, "--cache", scratch / f"cache-{num_train}"),
    ]
    start = time.perf_counter()
    # This process stays small: a child's peak counts from that of its parent (Linux, exec keeps the old maximum).
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"training on {num_train} memes ended with status {process.returncode}")
    seconds = time.perf_counter() - start
    return {
        "tune": tune,
        "num_train": num_train,
        "seconds": round(seconds, 1),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
    }


def main() -> None:
    """Measure every size and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,1000000")
    parser.add_argument("--tune", default="head", choices=["head", "lora", "last-blocks", "full"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--scratch", type=Path, help="A folder on a real disk; it needs about 3 kB a meme.")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        backbone = Path(folder) / "backbone"
        subprocess.run([sys.executable, Path(__file__).with_name("random_backbone.py"), "tiny", backbone], check=True)
        for size in map(int, options.sizes.split(",")):
            result = measure(size, options.tune, backbone, Path(folder))
            print(f"{size:>9} memes: peak {result['peak_mib']:.0f} MiB, {result['seconds']:.0f} s", flush=True)
            results.append(result)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
