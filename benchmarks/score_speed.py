"""Measure how close `memeguard score` comes to the speed of the bare network, in one run.

    .venv/bin/python benchmarks/score_speed.py --model starter/bundle --data harmeme/memes.csv --images harmeme/img

A ceiling is the speed of the network alone, on memes that are prepared already. There are three:

- serving: memes in the order of the list, in batches of 16, as in the serving benchmark
- one_stream: memes sorted by caption length, in the best of --batch-sizes, one batch at a time on all cores
- streams: the same, but as many batches at once as there are cores

They are compared with `scoring.job` on the same memes, from reading the list to the last row on disk, without loading
the model. Rounds alternate, because a machine's speed drifts; each ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from memeguard.errors import MemeError
from memeguard.runtimes import load_predictor
from memes.source import read_picture
from scoring.inference import num_cores
from scoring.job import open_source, score
from scoring.settings import ScoringSettings

if TYPE_CHECKING:
    from memeguard.predictor import Predictor, PreparedMeme

_SERVED = 16  # memes of a batch in the serving benchmark's best ceiling, and of the archive's batchSize


def prepare(asked: ScoringSettings, predictor: Predictor, num: int) -> list[PreparedMeme]:
    """Prepare the first ``num`` memes that can be read, in their order."""
    prepared = []
    for meme in itertools.islice(open_source(asked).memes(), num):
        try:
            prepared.append(predictor.prepare(read_picture(meme), meme.text))
        except MemeError as error:
            print(f"left out: {meme.image}: {error}")
    return prepared


def count_tokens(meme: PreparedMeme) -> int:
    """Count the tokens of a caption."""
    return sum(map(len, meme.chunks))


def measure_ceiling(predictor: Predictor, memes: list[PreparedMeme], batch_size: int) -> float:
    """Return memes per second of the network alone, with as many batches at once as it has streams."""
    batches = [memes[first : first + batch_size] for first in range(0, len(memes), batch_size)]
    start = time.perf_counter()
    with ThreadPoolExecutor(predictor.num_streams) as pool:
        list(pool.map(predictor.logits, batches))
    return len(memes) / (time.perf_counter() - start)


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="SOURCE of `memeguard score`")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--batch-sizes", default="8,16,32,64", help="tried for each ceiling; score uses the best")
    parser.add_argument("--memes", type=int, default=512, help="number that the ceilings are measured with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        asked = ScoringSettings(
            source=options.data, model=options.model, out=Path(scratch), images=options.images, runtime=options.runtime,
            device="cpu",
        )  # fmt: skip
        alone, parallel = predictors = [
            load_predictor(options.model, runtime=options.runtime, num_streams=num) for num in (1, num_cores())
        ]
        unsorted = prepare(asked, alone, options.memes)
        memes = sorted(unsorted, key=count_tokens)
        sizes = [int(size) for size in options.batch_sizes.split(",")]
        for predictor, size in itertools.product(predictors, sizes):
            measure_ceiling(predictor, memes, size)  # OpenVINO prepares itself for every new shape
        measure_ceiling(alone, unsorted, _SERVED)
        tried = [{size: measure_ceiling(predictor, memes, size) for size in sizes} for predictor in predictors]
        of_alone, of_parallel = (max(speeds, key=lambda size: speeds[size]) for speeds in tried)
        ceilings = {
            "serving": (alone, unsorted, _SERVED),
            "one_stream": (alone, memes, of_alone),
            "streams": (parallel, memes, of_parallel),
        }
        rounds = []
        for number in range(options.rounds):
            # The middle of the round is score's, so that a drift of the machine takes from both sides alike.
            before = {name: measure_ceiling(*ceiling) for name, ceiling in ceilings.items()}
            settings = {**vars(asked), "out": Path(scratch) / f"{number}.csv", "batch_size": of_parallel}
            speed = score(ScoringSettings(**settings), tell=print).memes_per_s
            after = {name: measure_ceiling(*ceiling) for name, ceiling in ceilings.items()}
            means = {name: (before[name] + after[name]) / 2 for name in ceilings}
            rounds.append({
                "score": speed,
                **{f"ceiling_{name}": mean for name, mean in means.items()},
                **{f"ratio_{name}": speed / mean for name, mean in means.items()},
            })  # fmt: skip
            print(json.dumps({name: round(value, 3) for name, value in rounds[-1].items()}), flush=True)
    result = {
        "precision": alone.precision,
        "num_streams": parallel.num_streams,
        "tokens_a_meme": round(statistics.mean(map(count_tokens, memes)), 1),
        "batch_sizes": [{size: round(speed, 1) for size, speed in speeds.items()} for speeds in tried],
        "batch_size": of_parallel,
        **{name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]},
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps({**result, "rounds": rounds}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
