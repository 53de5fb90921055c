"""The commands that train: train, sweep and ablate."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from cli.options import (
    FILE,
    FOLDER,
    backbone_option,
    cache_option,
    data_option,
    device_option,
    given,
    json_option,
    skip_option,
)
from cli.training_options import OPTION_NAMES, OPTIONS, training_config, training_options
from training.job import TrainingJob

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@data_option
@click.option("--out", type=FOLDER, required=True, help="Folder of the bundle: new or empty.")
@training_options
@OPTIONS["num_folds"]
@cache_option
@skip_option
@click.option("--resume", is_flag=True, help="Resume an interrupted training, if there is one.")
@click.option(
    "--checkpoint-every", "checkpoint_every_s", type=click.FloatRange(min=0), metavar="SECONDS",
    default=TrainingJob.checkpoint_every_s, show_default=True,
    help="How often to write a checkpoint within an epoch; each epoch ends with one.",
)  # fmt: skip
@click.option(
    "--operating-point", "wanted_points", multiple=True, metavar="FIGURE=VALUE",
    help="Keep a threshold of that name in the bundle: precision=0.9, recall=0.8 or flag-rate=0.02. Repeatable.",
)  # fmt: skip
def train(data: Path, out: Path, backbone: str, cache_dir: Path, *, max_skipped: int, resume: bool,
          checkpoint_every_s: float, wanted_points: tuple[str, ...], **options: Any) -> None:  # fmt: skip # noqa: ANN401
    """Fine-tune a CLIP on labelled memes and write a bundle.

    Example: memeguard train --data data/mine --backbone openai/clip-vit-base-patch32 --out bundles/mine

    The exit status is 3 when the bundle is written but the memes cannot support an operating point.

    On several GPUs: accelerate launch --multi_gpu -m cli.main train …
    """
    from cli.skipped import tell_skipped
    from evaluation.operating_points import parse_target
    from memeguard.errors import BundleError
    from memeguard.output_folder import OutputError
    from training.devices import is_main_process
    from training.run import can_resume, run_training

    job = TrainingJob(
        data=data,
        out=out,
        config=training_config(options),
        backbone=backbone,
        cache_dir=cache_dir,
        max_skipped=max_skipped,
        resume=resume,
        checkpoint_every_s=checkpoint_every_s,
        operating_points=tuple(map(parse_target, wanted_points)),
    )
    try:
        outcome = run_training(job, tell_skipped=tell_skipped)
    except (KeyboardInterrupt, SystemExit, OSError, BundleError, OutputError):
        if can_resume(job):
            click.echo("\nNothing is lost: run the same command with --resume to continue.", err=True)
        raise
    if is_main_process():
        _tell_outcome(out, outcome.report, was_complete=outcome.was_complete)


def _tell_outcome(out: Path, report: dict[str, Any], *, was_complete: bool) -> None:
    from evaluation.metrics_table import format_calibration, format_metrics, format_point
    from evaluation.operating_points import RefusedPointsError

    if was_complete:
        click.echo(f"{out} is complete")
        return
    for warning in report["warnings"]:
        click.echo(f"warning: {warning}")
    click.echo(format_metrics("validation", report["validation"]))
    click.echo(format_calibration(report["calibration"]["validation"]))
    for name, measured in report["operating_points"].items():
        for point in measured.values():
            click.echo(format_point(name, point))
    click.echo(f"wrote {out}")
    if refused := report["operating_points_refused"]:
        raise RefusedPointsError("\n".join([f"the bundle is written without {', '.join(refused)}", *refused.values()]))


@click.command()
@data_option
@click.option("--out", type=FOLDER, required=True, help="Folder of the sweep. An interrupted sweep there is resumed.")
@click.option("--space", type=FILE, help="TOML file of settings with values or ranges, and seeds.  "
              "[default: 3 optimizers, 3 batch sizes, 3 learning rates, 3 seeds]")  # fmt: skip
@click.option("--trials", "num_trials", type=click.IntRange(1),
              help="Number of configurations to sample from a space that has a range.")  # fmt: skip
@click.option("--jobs", "num_jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Number of worker processes, with one thread each.")  # fmt: skip
@backbone_option
@OPTIONS["tune"]
@OPTIONS["num_epochs"]
@device_option
@cache_option
@skip_option
@json_option
def sweep(*, tune: str | None, num_epochs: int | None, as_json: bool, max_skipped: int, **options: Any) -> None:  # noqa: ANN401
    """Train with every setting of a search space and several seeds, rank the results, and build the winner's bundle.

    Resume an interrupted sweep by running the same command again. Several processes may work on one folder.

    Example: memeguard sweep --data data/mine --backbone openai/clip-vit-base-patch32 --out sweeps/mine --jobs 2
    """
    from cli.sweep import SweepSettings
    from cli.sweep import sweep as run
    from memeguard.output_folder import check_writable

    check_writable(options["out"])
    asked = SweepSettings(
        settings=given({"tune": tune, "num_epochs": num_epochs}),
        options=OPTION_NAMES,
        skip_damaged=max_skipped,
        **options,
    )
    run(asked, as_json=as_json)


@click.command()
@data_option
@training_options
@cache_option
@skip_option
@json_option
def ablate(data: Path, backbone: str, *, cache_dir: Path, max_skipped: int, as_json: bool,
           **options: Any) -> None:  # fmt: skip # noqa: ANN401
    """Train on picture and caption, on the picture alone, on the caption alone; evaluate each on the validation split.

    Example: memeguard ablate --data data/demo --epochs 8
    """
    from cli.skipped import tell_skipped
    from evaluation.metrics_table import format_metrics
    from memes.reading import Skipping, read_splits
    from training.ablation import compare_modalities

    skipping = Skipping(max_memes=max_skipped)
    splits = read_splits(data, others=False, skipping=skipping)  # evaluate alone reads the test split
    tell_skipped(skipping.skipped)
    results = compare_modalities(splits, backbone, training_config(options), cache_dir=cache_dir)
    rows: dict[str, Any] = {name: dataclasses.asdict(metrics) for name, metrics in results.items()}
    click.echo(json.dumps(rows, indent=2) if as_json else format_metrics("validation", rows))
