"""Score a source of memes with a model into one file, from the beginning or from where it was interrupted.

Does not know the command line.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tqdm import tqdm

import memeguard
from memeguard.bundle_files import hash_file, read_model_config
from memeguard.bundle_source import hash_bundle, open_bundle
from memeguard.devices import resolve_device
from memeguard.preprocess import DecodingLimits
from memeguard.runtimes import AUTO, choose_runtime, load_predictor
from memes.atomic_file import write_whole_json
from scoring.errors import ScoringError
from scoring.judging import chunk_size, judge, num_cores
from scoring.meme_table import KINDS, read_table
from scoring.parquet_file import require_pyarrow, write_parquet
from scoring.partial_output import PartialOutput, Progress, require_same_job, sync_folder
from scoring.picture_folder import read_folder
from scoring.verdict_row import VerdictRow, format_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memeguard.predictor import Predictor
    from scoring.meme_source import Source

FORMATS: Final = (".csv", ".parquet")
_MODEL_DIGITS: Final = 12  # of the bundle's hash, in each row
_DECODE_TIMEOUT_S: Final = 60.0  # a busy machine must not decide what is slow; nobody waits for an answer here


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """What is asked for.

    Attributes:
        source: A folder of pictures, or a list of memes.
        model: A bundle's folder or an archive.
        out: The file of verdicts; its ending says which format.
        batch_size: How many memes go through the network at once.
        images: What a list's picture names are relative to; the list's folder if not given.
        image_column: A list's column; found out if not given.
        text_column: Likewise.
        runtime: What computes, see ``memeguard.runtimes``.
        device: "auto", or one of torch's.
        resume: Whether to go on with what an interrupted run left; else it is dropped.
    """

    source: Path
    model: Path
    out: Path
    batch_size: int = 32
    images: Path | None = None
    image_column: str | None = None
    text_column: str | None = None
    runtime: str = AUTO
    device: str = "auto"
    resume: bool = True


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of a job.

    Attributes:
        out: The file of verdicts.
        model: SHA-256 of the bundle's config.json, in hex.
        memes: How many rows it has.
        predictions: How many memes got each label.
        errors: How many could not be judged, by code.
        skipped: Files of a folder that are neither pictures nor captions.
        resumed_at: How many rows were there already.
        seconds: How long this run judged.
        memes_per_s: How many memes a second it dealt with.
    """

    out: str
    model: str
    memes: int
    predictions: dict[str, int]
    errors: dict[str, int]
    skipped: int
    resumed_at: int
    seconds: float
    memes_per_s: float


def score(asked: ScoringSettings, *, tell: Callable[[str], object]) -> Summary:
    """Judge every meme of the source and write the verdicts; see ``ScoringSettings``.

    Beside ``out`` a card, ``<out>.json``, says which job it came from. A job that is finished already is not done
    again.

    Raises:
        BundleError: The model cannot be read.
        DataError: The list of memes cannot be read.
        ScoringError: The job cannot be done, or another one is in its way.
        OSError: A file cannot be read or written; nothing that was scored is lost.
    """
    _check_output(asked.out)
    with open_source(asked) as source, open_bundle(asked.model) as folder:
        read_model_config(folder)  # says what is wrong with a folder that is no bundle
        model = hash_bundle(folder)
        job = _describe(asked, source, folder)
        if asked.out.exists():
            return _finished(asked, source, job)
        with PartialOutput(_partial_of(asked.out)) as partial:
            if asked.out.exists():  # another process was faster
                return _finished(asked, source, job)
            _begin(partial, asked, job)
            if resumed_at := partial.progress.num_memes:
                tell(f"going on after {resumed_at:,} of {source.num_memes:,} memes")
            try:
                predictor = _load(folder, job)
                start = time.perf_counter()
                _score_rest(partial, asked, source, predictor, model[:_MODEL_DIGITS])
                seconds = time.perf_counter() - start
            except BaseException:
                if not partial.progress.num_memes:
                    partial.remove()
                raise
            progress = partial.progress
            _finish(partial, asked.out, job)
    return Summary(
        out=str(asked.out),
        model=model,
        memes=progress.num_memes,
        predictions=dict(sorted(progress.predictions.items())),
        errors=dict(sorted(progress.errors.items())),
        skipped=source.num_skipped,
        resumed_at=resumed_at,
        seconds=round(seconds, 3),
        memes_per_s=round((progress.num_memes - resumed_at) / seconds, 1),
    )


def open_source(asked: ScoringSettings) -> Source:
    """The memes that are asked for; raises ``ScoringError`` if there are none."""
    if asked.source.is_dir():
        if asked.images or asked.image_column or asked.text_column:
            raise ScoringError("--images, --image-column and --text-column are for a list of memes; "
                               f"{asked.source} is a folder")  # fmt: skip
        source = read_folder(asked.source)
    elif asked.source.suffix.lower() in KINDS:
        if asked.images and not asked.images.is_dir():
            raise ScoringError(f"--images {asked.images} is not a folder")
        source = read_table(
            asked.source, images=asked.images, image_column=asked.image_column, text_column=asked.text_column
        )
    elif asked.source.exists():
        raise ScoringError(f"{asked.source} is neither a folder of pictures nor a list of memes ({', '.join(KINDS)})")
    else:
        raise ScoringError(f"{asked.source} does not exist")
    if not source.num_memes:
        source.close()
        raise ScoringError(f"{asked.source} has no memes; {source.num_skipped} files are neither pictures nor captions")
    return source


def _check_output(out: Path) -> None:
    if out.suffix.lower() not in FORMATS:
        raise ScoringError(f"--out {out} must end in {' or '.join(FORMATS)}")
    if out.is_dir():
        raise ScoringError(f"--out {out} is a folder")
    if out.suffix.lower() == ".parquet":
        require_pyarrow()


def _describe(asked: ScoringSettings, source: Source, bundle: Path) -> dict[str, Any]:
    """All on which the bytes of the output depend, but for the pictures and the processor."""
    device = resolve_device(asked.device)
    return {
        "source": source.kind,
        "source_sha256": source.sha256,
        "memes": source.num_memes,
        "columns": list(source.columns) if source.columns else None,
        "images": str(source.folder.resolve()) if source.columns else None,
        "model_sha256": hash_bundle(bundle),
        "batch_size": asked.batch_size,
        "chunk_size": chunk_size(asked.batch_size),
        "runtime": choose_runtime(bundle, device) if asked.runtime == AUTO else asked.runtime,
        "device": device,
        "format": asked.out.suffix.lower().removeprefix("."),
        "memeguard_version": memeguard.__version__,
    }


def _begin(partial: PartialOutput, asked: ScoringSettings, job: dict[str, Any]) -> None:
    card = _card_of(asked.out)
    if not asked.resume:
        partial.empty()
    if card.exists() and not partial.rows.exists():
        partial.remove()
        raise ScoringError(f"{card} exists already; nothing is overwritten")
    partial.begin(job)


def _score_rest(
    partial: PartialOutput, asked: ScoringSettings, source: Source, predictor: Predictor, model: str
) -> None:
    done = partial.progress
    items = source.items()
    for _ in range(done.num_memes):
        next(items, None)
    for_spreadsheets = asked.out.suffix.lower() == ".csv"
    with tqdm(total=source.num_memes, initial=done.num_memes, unit="meme", disable=None, smoothing=0.05) as bar:
        for rows in judge(items, predictor, batch_size=asked.batch_size, advance=bar.update):
            lines = [format_row(row, model, for_spreadsheets=for_spreadsheets) for row in rows]
            partial.append("".join(lines), _count(partial.progress, rows))
    if partial.progress.num_memes != source.num_memes:
        raise ScoringError(f"{asked.source} has changed meanwhile: it had {source.num_memes} memes, "
                           f"{partial.progress.num_memes} were read")  # fmt: skip


def _count(before: Progress, rows: list[VerdictRow]) -> Progress:
    return Progress(
        num_memes=before.num_memes + len(rows),
        predictions=before.predictions + Counter(row.prediction for row in rows if not row.error),
        errors=before.errors + Counter(row.error for row in rows if row.error),
    )


def _finish(partial: PartialOutput, out: Path, job: dict[str, Any]) -> None:
    """Let the output appear, complete; the card first, for without it nobody knows what the output is."""
    whole = partial.rows
    if job["format"] == "parquet":
        whole = partial.folder / "rows.parquet"
        write_parquet(partial.rows, whole, {name: job[name] for name in ("model_sha256", "memeguard_version")})
        with whole.open("rb") as file:
            os.fsync(file.fileno())
    progress = partial.progress
    counts = {
        "predictions": dict(sorted(progress.predictions.items())),
        "errors": dict(sorted(progress.errors.items())),
    }
    write_whole_json(_card_of(out), {"job": job, **counts, "sha256": hash_file(whole)})
    if out.exists():
        raise ScoringError(f"{out} exists already; nothing is overwritten")
    whole.rename(out)
    sync_folder(out.parent)
    partial.remove()


def _finished(asked: ScoringSettings, source: Source, job: dict[str, Any]) -> Summary:
    """What the card of the finished output says, if it is that of this very job."""
    card = _card_of(asked.out)
    refusal = f"{asked.out} exists already and is never overwritten"
    try:
        found = json.loads(card.read_text(encoding="utf-8"))
        require_same_job(found["job"], job, f"{refusal}; it is the result")
        sha256, predictions, errors = found["sha256"], found["predictions"], found["errors"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScoringError(f"{refusal}; choose another --out") from error
    if hash_file(asked.out) != sha256:
        raise ScoringError(f"{refusal}; it has changed since it was scored")
    leftover = _partial_of(asked.out)
    if leftover.exists():  # the kill came between the two
        with PartialOutput(leftover) as partial:
            partial.remove()
    return Summary(
        out=str(asked.out), model=job["model_sha256"], memes=source.num_memes, predictions=predictions, errors=errors,
        skipped=source.num_skipped, resumed_at=source.num_memes, seconds=0.0, memes_per_s=0.0,
    )  # fmt: skip


def _card_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def _partial_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _load(folder: Path, job: dict[str, Any]) -> Predictor:
    return load_predictor(
        folder,
        runtime=job["runtime"],
        device=job["device"],
        num_streams=num_cores(),
        limits=DecodingLimits(timeout_s=_DECODE_TIMEOUT_S),
    )
