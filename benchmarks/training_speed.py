"""Measure how many memes per second training reads, with and without loading them from disk, in one run.

    .venv/bin/python benchmarks/training_speed.py --data data/demo --tunes head,lora,full --json speed.json

Without --backbone it trains a CLIP of ViT-B/32's geometry with random weights, because speed does not depend on them.
Every round times the same number of steps twice: with pictures read and decoded (for a head: features read back), and
with one batch that is ready. The ratio of the medians says whether loading slows training down.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from random_backbone import write_vit_b_32

from memes.reading import read_splits
from training import inputs as inputs_module
from training.config import TrainingConfig
from training.experiment import Experiment
from training.stepper import Stepper
from training.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.config import Precision, Tune

MAX_MEMES = 512


def measure(experiment: Experiment, config: TrainingConfig, num_steps: int, num_rounds: int) -> dict[str, Any]:
    """Return memes per second with and without loading, medians over the rounds."""
    classifier = experiment._make_classifier(config).to(experiment._device)  # noqa: SLF001 - a look inside
    tuning = Tuning(classifier, config, pretrained=True)
    source = experiment.inputs["train"]
    labels = experiment.labels["train"]
    stepper = Stepper(source.network(classifier), tuning.groups, labels, config, 10**6)
    stepper.network.train()
    rows = torch.arange(len(labels)).repeat(1 + num_steps * config.batch_size // len(labels))
    batches = torch.split(rows[: num_steps * config.batch_size], config.batch_size)
    ready = next(iter(source.batches(batches[:1])))

    def run(arguments: Iterator[tuple[Any, ...]]) -> float:
        synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
        synchronize()
        start = time.perf_counter()
        for number, batch in enumerate(batches):
            stepper.step(number, batch, arguments)
        synchronize()
        return num_steps * config.batch_size / (time.perf_counter() - start)

    run(itertools.repeat(ready))  # warm-up
    speeds: dict[str, list[float]] = {"loading": [], "ready": []}
    for _ in range(num_rounds):
        speeds["loading"].append(run(source.batches(batches)))
        speeds["ready"].append(run(itertools.repeat(ready)))
    stepper.release()
    loading, ready_ = (statistics.median(speeds[name]) for name in ("loading", "ready"))
    return {"with_loading": round(loading, 1), "without": round(ready_, 1), "ratio": round(loading / ready_, 3)}


def main() -> None:
    """Measure every way of tuning and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbone", type=Path)
    parser.add_argument("--tunes", default="head,lora,last-blocks,full")
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    inputs_module._KEPT_BYTES = 0  # noqa: SLF001 - every picture is decoded every time
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        backbone = options.backbone or Path(scratch) / "backbone"
        if not options.backbone:
            write_vit_b_32(backbone)
        splits = {name: memes[:MAX_MEMES] for name, memes in read_splits(options.data, others=False).items()}
        for tune in options.tunes.split(","):
            experiment = Experiment(splits, str(backbone), tune=tune, device=options.device)
            for precision in options.precisions.split(","):
                config = configure(tune, precision, options.batch_size)
                result = measure(experiment, config, options.steps, options.rounds)
                results.append({"tune": tune, "precision": precision, **result})
                print(json.dumps(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def configure(tune: Tune, precision: Precision, batch_size: int) -> TrainingConfig:
    """Return the preset of ``tune`` in ``precision``."""
    return TrainingConfig.preset(tune, precision=precision, batch_size=batch_size)


if __name__ == "__main__":
    main()
