"""Measure the robustness and speed in the model card: ``python -m starter.measure --data HARMEME``.

``memeguard evaluate`` measures AUROC with intervals, halves and comparisons.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click
import numpy as np
from tqdm import tqdm

from evaluation.metrics import compute_auroc
from memeguard.bundle_source import open_bundle
from memeguard.runtimes import load_predictor
from memes.augmentation import blank_picture
from memes.meme_table import label_array
from memes.misreading import misread
from memes.reading import read_split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memeguard.predictor import Predictor, PreparedMeme, Verdict
    from memes.meme import Meme

_SEED: Final = 0
_BATCH: Final = 32
_WARM_UP: Final = 10


class Robustness(NamedTuple):
    """How much answers change with a variant of the captions, compared with the captions as they are."""

    auroc: float
    median_change: float  # of the probability, absolute
    num_flipped: int


def caption_variants() -> dict[str, Callable[[str], str]]:
    """Variants of a caption as a keyboard or an OCR program may produce them."""
    rng = random.Random(_SEED)  # noqa: S311 - not a secret
    return {
        "as it is": lambda text: text,
        "upper case": str.upper,
        "2 % misread": lambda text: misread(text, rng, 0.02),
        "5 % misread": lambda text: misread(text, rng, 0.05),
        "10 % misread": lambda text: misread(text, rng, 0.10),
        "missing": lambda _: "",
    }


def measure_robustness(predictor: Predictor, memes: Sequence[Meme]) -> dict[str, Robustness]:
    """Measure AUROC, change and flips for each of ``caption_variants``, and with a grey picture."""
    prepared = [predictor.prepare(meme.read_picture(), "") for meme in tqdm(memes, disable=None)]
    offensive_N = label_array(memes)
    found: dict[str, Robustness] = {}
    usual: list[Verdict] = []
    for name, write in caption_variants().items():
        written = [meme._replace(chunks=predictor.captions.encode(write(source.text)))
                   for meme, source in zip(prepared, memes, strict=True)]  # fmt: skip
        verdicts = _predict(predictor, written)
        usual = usual or verdicts
        found[name] = _compare(verdicts, usual, offensive_N)
    grey = blank_picture(predictor.config.image.size)
    alone = [meme._replace(pixels_CHW=grey, chunks=predictor.captions.encode(source.text))
             for meme, source in zip(prepared, memes, strict=True)]  # fmt: skip
    found["picture missing"] = _compare(_predict(predictor, alone), usual, offensive_N)
    return found


def measure_latency(predictor: Predictor, memes: Sequence[Meme]) -> list[float]:
    """Measure the milliseconds of inference for each meme by itself, without decoding and tokenizing."""
    times = []
    for number, meme in enumerate(memes):
        prepared = predictor.prepare(meme.read_picture(), meme.text)
        start = time.perf_counter()
        predictor.logits([prepared])
        if number >= _WARM_UP:
            times.append(1e3 * (time.perf_counter() - start))
    return times


def _predict(predictor: Predictor, memes: Sequence[PreparedMeme]) -> list[Verdict]:
    return [
        verdict
        for start in range(0, len(memes), _BATCH)
        for verdict in predictor.predict(memes[start : start + _BATCH])
    ]


def _compare(verdicts: Sequence[Verdict], usual: Sequence[Verdict], offensive_N: np.ndarray) -> Robustness:
    changes = [abs(one.probability - other.probability) for one, other in zip(verdicts, usual, strict=True)]
    return Robustness(
        auroc=compute_auroc(offensive_N, np.array([verdict.logit for verdict in verdicts])),
        median_change=statistics.median(changes),
        num_flipped=sum(one.prediction != other.prediction for one, other in zip(verdicts, usual, strict=True)),
    )


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option(
    "--model", type=click.Path(path_type=Path, exists=True), default=Path(__file__).parent / "bundle",
    help="A bundle (torch computes), or an archive (as it is served).  [default: the starter]",
)  # fmt: skip
def main(data: Path, model: Path) -> None:
    """Measure how robust and how fast MODEL is on the validation memes in DATA."""
    memes = read_split(data, "validation", verify_images=False)
    click.echo("| caption | AUROC | median change | flipped |\n|---|---|---|---|")
    with open_bundle(model) as folder:
        predictor = load_predictor(folder)
        for name, found in measure_robustness(predictor, memes).items():
            figures = f"{found.auroc:.3f} | {found.median_change:.3f} | {found.num_flipped} of {len(memes)}"
            click.echo(f"| {name} | {figures} |")
        times = measure_latency(predictor, memes)
    p50, p95 = np.percentile(times, [50, 95])
    click.echo(f"one meme at a time: p50 {p50:.1f} ms, p95 {p95:.1f} ms")


if __name__ == "__main__":
    main()
