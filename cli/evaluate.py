"""The commands that run a model over many memes: evaluate and score."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from cli.functional import check_options, functional_options, run_functional
from cli.options import DATA_HELP, FOLDER, device_option, json_option, skip_option


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", type=FOLDER, help=DATA_HELP)
@click.option("--split", type=click.Choice(["test", "validation", "train"]),
              help="Split to evaluate on; each evaluation on test is counted.")  # fmt: skip
@functional_options
@click.option("--out", type=FOLDER,
              help="Folder for the page and its plots.  [default: reports/BUNDLE-SPLIT or BUNDLE-FILE]")  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the figures to this JSON file too.")  # fmt: skip
@device_option
@skip_option
def evaluate(bundle: Path, *, data: Any, split: Any, functional: str | None, images: Path | None,  # noqa: ANN401
             backgrounds: Path | None, against: Path | None, out: Path | None, json_path: Path | None, device: str,
             max_skipped: int) -> None:  # fmt: skip
    """Evaluate BUNDLE, a folder or a .mar archive, on one split or by a functional test, and write a page.

    On a split, it is compared with baselines. A functional test shows what it does with each kind of sentence, and with
    mentions of each group of people.

    Example: memeguard evaluate bundles/mine --data data/mine --split validation
    """
    from cli.skipped import tell_skipped
    from evaluation.evaluate import bundle_name, tabulate
    from evaluation.evaluate import evaluate as measure
    from evaluation.metrics_table import format_calibration, format_metrics, format_point
    from evaluation.page import write_evaluation
    from memeguard.output_folder import check_writable
    from memes.atomic_file import write_whole_json

    check_options(data, split, functional, images=images, backgrounds=backgrounds, against=against)
    out = out or Path("reports") / f"{bundle_name(bundle)}-{split or Path(str(functional)).stem}"
    for folder in (out, json_path.parent) if json_path else (out,):
        check_writable(folder)
    if functional is not None:
        run_functional(bundle, functional, images=images, backgrounds=backgrounds, against=against, out=out,
                       json_path=json_path, device=device, max_skipped=max_skipped)  # fmt: skip
        return
    result = measure(bundle, data, split, device=device, max_skipped=max_skipped)
    tell_skipped(result.skipped)
    page = write_evaluation(result, data, out)
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        write_whole_json(json_path, dataclasses.asdict(result))
    for warning in result.warnings:
        click.echo(f"warning: {warning}")
    click.echo(format_metrics(split, tabulate(result)))
    click.echo(format_calibration(dataclasses.asdict(result.calibration)))
    for name, point in result.operating_points.items():
        click.echo(format_point(name, dataclasses.asdict(point)))
    click.echo(f"wrote {page}")


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), required=True, help="A bundle's folder or a .mar archive.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="File of verdicts: .csv or .parquet.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True, help="Memes per batch.")
@click.option("--images", type=FOLDER, help="Folder of a list's pictures.  [default: the list's folder]")
@click.option("--image-column", metavar="NAME", help="A list's column of picture names.  [default: found by its name]")
@click.option("--text-column", metavar="NAME", help="A list's column of captions.  [default: found by its name]")
@click.option("--resume/--no-resume", default=True, show_default=True,
              help="Resume an interrupted job, or discard what it left.")  # fmt: skip
@click.option("--runtime", type=click.Choice(["auto", "openvino", "torch"]), default="auto", show_default=True,
              help="What computes; auto prefers OpenVINO on a CPU.")  # fmt: skip
@device_option
@json_option
def score(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Score every meme of SOURCE in bulk: a folder of pictures, or a list of memes (.csv, .jsonl).

    A folder's captions are the .txt files beside the pictures. Resume an interrupted job by running the same command
    again. The exit status is 3 when the verdicts are written but some memes could not be scored.

    Example: memeguard score memes/ --model bundles/mine --out verdicts.csv
    """
    from cli.score import score as run
    from memeguard.output_folder import check_writable
    from scoring.settings import ScoringSettings

    settings = ScoringSettings(**options)
    if not settings.out.exists():
        check_writable(settings.out.parent)
    run(settings, as_json=as_json)
