"""Run one training from the data folder to the saved bundle: check the output, resume, read, fit, save.

``accelerate launch`` may start several processes for one training; the main process alone writes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tqdm import tqdm

from memeguard.bundle import load_bundle, save_bundle
from memeguard.bundle_files import CONFIG, read_report
from memeguard.output_folder import OutputError, check_new_folder, check_writable
from memes.reading import Skipping, data_hash, read_splits
from training.backbones import find_source
from training.checkpoint import Checkpoints
from training.config import TrainingError
from training.devices import is_main_process
from training.trainer import require_same_training, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.job import TrainingJob


class Outcome(NamedTuple):
    """What training measured, and whether the bundle was complete before this run."""

    report: dict[str, Any]
    was_complete: bool


def run_training(job: TrainingJob, *, tell_skipped: Callable[[Sequence[str]], None]) -> Outcome:
    """Train as ``job`` says and save the bundle; resume an interrupted training, or find it complete, if it allows so.

    Args:
        job: What to train.
        tell_skipped: Gets the memes that are left out, a line each, before training starts.

    Raises:
        OutputError: The bundle's folder is not empty, or cannot be written.
        TrainingError: An interrupted training is in the way, or the training fails.
        DataError: The memes are faulty.
        BackboneError: The backbone cannot be loaded.
        BundleError: The bundle cannot be saved, or a complete one is damaged.
    """
    checkpoints = Checkpoints(folder=job.checkpoint_folder, every_s=job.checkpoint_every_s)
    if job.resume and (job.out / CONFIG).exists():
        return _confirm_complete(job, checkpoints)
    check_new_folder(job.out)
    if not job.resume and checkpoints.exist():
        hint = "add --resume to continue it, or remove that folder"
        raise TrainingError(f"{checkpoints.folder} contains an interrupted training: {hint}")
    skipping = Skipping(max_memes=job.max_skipped)
    splits = read_splits(job.data, others=False, skipping=skipping)  # evaluate alone reads the test split
    if is_main_process():
        tell_skipped(skipping.skipped)
    result = train(
        splits,
        job.backbone,
        job.config,
        data_hash=data_hash(job.data),
        skipped=skipping.skipped,
        cache_dir=job.cache_dir,
        checkpoints=checkpoints if _can_keep(checkpoints) else None,
        operating_points=job.operating_points,
    )
    if is_main_process():
        dtype = torch.float16 if job.config.storage == "fp16" else torch.float32
        save_bundle(result.bundle, job.out, report=result.report, dtype=dtype)
        checkpoints.remove()
    return Outcome(result.report, was_complete=False)


def can_resume(job: TrainingJob) -> bool:
    """Whether an interrupted training left a checkpoint."""
    return Checkpoints(folder=job.checkpoint_folder).exist()


def _confirm_complete(job: TrainingJob, checkpoints: Checkpoints) -> Outcome:
    """Check that the bundle is whole and of this very training."""
    load_bundle(job.out)
    report = read_report(job.out)
    source = find_source(job.backbone, download=False)
    require_same_training(report, job.backbone, job.config, data_hash(job.data), source)
    _require_points(report, job)
    checkpoints.remove()  # the process was killed after it had saved the bundle
    return Outcome(report, was_complete=True)


def _require_points(report: dict[str, Any], job: TrainingJob) -> None:
    """Raise ``TrainingError`` if the bundle was made without an operating point that is asked for."""
    known = {*report.get("operating_points", {}), *report.get("operating_points_refused", {})}
    if missing := [target.name for target in job.operating_points if target.name not in known]:
        hint = f"memeguard archive {job.out} --operating-point {missing[0]} finds its threshold"
        raise TrainingError(f"the bundle is complete, but without the operating point {missing[0]}; {hint}")


def _can_keep(checkpoints: Checkpoints) -> bool:
    try:
        check_writable(checkpoints.folder)
    except OutputError as error:
        tqdm.write(f"warning: this training cannot be resumed: {error}", file=sys.stderr)
        return False
    return True
