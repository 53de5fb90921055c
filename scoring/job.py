"""Score a source of memes with a model into one file, from the start or from where the job was interrupted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tqdm import tqdm

import memeguard
from memeguard.bundle_files import read_model_config
from memeguard.bundle_source import hash_bundle, open_bundle
from memeguard.devices import resolve_device
from memeguard.preprocess import DecodingLimits
from memeguard.runtimes import AUTO, choose_runtime, load_predictor
from memes.meme_list import ENDINGS, read_list
from memes.picture_folder import read_folder
from scoring.errors import ScoringError
from scoring.inference import chunk_size, num_cores, predict_memes
from scoring.output import check_output, open_output, read_finished
from scoring.settings import Summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memeguard.predictor import Predictor
    from memes.source import Source
    from scoring.output import Output
    from scoring.partial_output import Progress
    from scoring.settings import ScoringSettings

_DECODE_TIMEOUT_S: Final = 60.0  # so that a busy machine does not decide which picture is slow; no client waits here


def score(settings: ScoringSettings, *, tell: Callable[[str], object]) -> Summary:
    """Score every meme of the source and write a row for each; see ``ScoringSettings``.

    The card beside the output, ``<out>.json``, says which job wrote it. A finished job is not run again.

    Raises:
        BundleError: The model cannot be read.
        DataError: The list of memes cannot be read.
        ScoringError: The job cannot be run, or another one holds its output.
        OSError: A file cannot be read or written; rows that are written stay.
    """
    check_output(settings.out)
    source = open_source(settings)
    with open_bundle(settings.model) as bundle:
        read_model_config(bundle)  # raises the error that names what a folder lacks to be a bundle
        job = _describe(settings, source, bundle)
        if finished := read_finished(settings.out, job):
            return _summarize(settings, source, job, finished, num_before=source.num_memes)
        with open_output(settings.out, job, resume=settings.resume) as output:
            if num_before := output.progress.num_memes:
                tell(f"resuming after {num_before:,} of {source.num_memes:,} memes")
            predictor = _load(bundle, job)
            begin = time.perf_counter()
            _score_rest(output, settings, source, predictor)
            seconds = time.perf_counter() - begin
            output.finish()
    return _summarize(settings, source, job, output.progress, num_before=num_before, seconds=seconds)


def open_source(settings: ScoringSettings) -> Source:
    """The memes to score.

    Raises:
        DataError: A list cannot be read.
        ScoringError: There are no memes, or options do not fit the source.
    """
    path, options = settings.source, (settings.images, settings.image_column, settings.text_column)
    if path.is_dir():
        if any(options):
            raise ScoringError(
                f"--images, --image-column and --text-column are for a list of memes; {path} is a folder"
            )
        source = read_folder(path)
    elif path.suffix.lower() in ENDINGS:
        if settings.images and not settings.images.is_dir():
            raise ScoringError(f"--images {settings.images} is not a folder")
        source = read_list(path, images=options[0], image_column=options[1], text_column=options[2])
    elif path.exists():
        raise ScoringError(f"{path} is neither a folder of pictures nor a list of memes ({', '.join(ENDINGS)})")
    else:
        raise ScoringError(f"{path} does not exist")
    if not source.num_memes:
        raise ScoringError(f"{path} has no memes; {source.num_skipped} files are neither pictures nor captions")
    return source


def _describe(settings: ScoringSettings, source: Source, bundle: Path) -> dict[str, Any]:
    """Everything on which the bytes of the output depend, except the pictures and the processor."""
    device = resolve_device(settings.device)
    return {
        "source": source.kind,
        "source_sha256": source.sha256,
        "memes": source.num_memes,
        "columns": list(source.columns) if source.columns else None,
        "images": str(source.folder.resolve()) if source.columns else None,
        "model_sha256": hash_bundle(bundle),
        "batch_size": settings.batch_size,
        "chunk_size": chunk_size(settings.batch_size),
        "runtime": choose_runtime(bundle, device) if settings.runtime == AUTO else settings.runtime,
        "device": device,
        "format": settings.out.suffix.lower().removeprefix("."),
        "memeguard_version": memeguard.__version__,
    }


def _load(bundle: Path, job: dict[str, Any]) -> Predictor:
    return load_predictor(
        bundle,
        runtime=job["runtime"],
        device=job["device"],
        num_streams=num_cores(),
        limits=DecodingLimits(timeout_s=_DECODE_TIMEOUT_S),
    )


def _score_rest(output: Output, settings: ScoringSettings, source: Source, predictor: Predictor) -> None:
    """Score the memes that have no row in ``output``."""
    num_done, memes = output.progress.num_memes, source.memes()
    for _ in range(num_done):
        next(memes, None)
    with tqdm(total=source.num_memes, initial=num_done, unit="meme", disable=None, smoothing=0.05) as bar:
        for rows in predict_memes(memes, predictor, batch_size=settings.batch_size, advance=bar.update):
            output.append(rows)
    if (num := output.progress.num_memes) != source.num_memes:
        raise ScoringError(f"{settings.source} changed meanwhile: it had {source.num_memes} memes, {num} were read")


def _summarize(
    settings: ScoringSettings,
    source: Source,
    job: dict[str, Any],
    progress: Progress,
    *,
    num_before: int,
    seconds: float = 0.0,
) -> Summary:
    return Summary(
        out=str(settings.out),
        model=job["model_sha256"],
        memes=progress.num_memes,
        predictions=dict(sorted(progress.predictions.items())),
        errors=dict(sorted(progress.errors.items())),
        skipped=source.num_skipped,
        resumed_at=num_before,
        seconds=round(seconds, 3),
        memes_per_s=round((progress.num_memes - num_before) / seconds, 1) if seconds else 0.0,
    )
