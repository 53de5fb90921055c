"""Measure how near `memeguard score` comes to the bare network, side by side in one run.

    .venv/bin/python benchmarks/score_speed.py --model starter/bundle --data harmeme/memes.csv --images harmeme/img

The ceiling is the network alone: memes that are prepared already, in batches of like caption length, at the best of
--batch-sizes; no file is opened. Against it stands what `scoring.job` makes of the same memes, from reading the list to
the last row on disk, without loading the model. Rounds alternate, for a machine's speed drifts; the ratio is the median
of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from memeguard.errors import MemeError
from memeguard.runtimes import load_predictor
from scoring.job import ScoringSettings, open_source, score
from scoring.meme_source import read_picture

if TYPE_CHECKING:
    from memeguard.predictor import Predictor, PreparedMeme


def prepare(asked: ScoringSettings, predictor: Predictor, num: int) -> list[PreparedMeme]:
    """The first ``num`` memes that can be judged, ordered by the length of their captions."""
    prepared = []
    with open_source(asked) as source:
        for item in itertools.islice(source.items(), num):
            try:
                prepared.append(predictor.prepare(read_picture(item.path), item.text))
            except MemeError as error:
                print(f"left out: {item.image}: {error}")
    return sorted(prepared, key=lambda meme: sum(map(len, meme.chunks)))


def measure_ceiling(predictor: Predictor, memes: list[PreparedMeme], batch_size: int) -> float:
    """Memes a second through the network alone."""
    start = time.perf_counter()
    for first in range(0, len(memes), batch_size):
        predictor.logits(memes[first : first + batch_size])
    return len(memes) / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what `memeguard score` takes as SOURCE")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--batch-sizes", default="8,16,32,64", help="tried for the ceiling; score takes the best")
    parser.add_argument("--memes", type=int, default=512, help="of the ceiling")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        asked = ScoringSettings(
            source=options.data, model=options.model, out=Path(scratch), images=options.images, runtime=options.runtime,
            device="cpu",
        )  # fmt: skip
        predictor = load_predictor(options.model, runtime=options.runtime)
        memes = prepare(asked, predictor, options.memes)
        sizes = [int(size) for size in options.batch_sizes.split(",")]
        for size in sizes:
            measure_ceiling(predictor, memes, size)  # OpenVINO prepares itself for every new shape
        tried = {size: measure_ceiling(predictor, memes, size) for size in sizes}
        best = max(tried, key=lambda size: tried[size])
        rounds = []
        for number in range(options.rounds):
            before = measure_ceiling(predictor, memes, best)
            settings = {**vars(asked), "out": Path(scratch) / f"{number}.csv", "batch_size": best}
            summary = score(ScoringSettings(**settings), tell=print)
            after = measure_ceiling(predictor, memes, best)
            ceiling = statistics.mean([before, after])
            rounds.append({"ceiling": ceiling, "score": summary.memes_per_s, "ratio": summary.memes_per_s / ceiling})
            print(json.dumps({name: round(value, 3) for name, value in rounds[-1].items()}), flush=True)
    result = {
        "precision": predictor.precision,
        "tokens_a_meme": round(statistics.mean(sum(map(len, meme.chunks)) for meme in memes), 1),
        "batch_sizes": {size: round(speed, 1) for size, speed in tried.items()},
        "batch_size": best,
        "ratio": round(statistics.median(each["ratio"] for each in rounds), 3),
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps({**result, "rounds": rounds}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
