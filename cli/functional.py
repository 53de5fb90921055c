"""The options of ``memeguard evaluate`` that belong to functional tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import click

from cli.options import FOLDER, together

_EXTRAS: Final = {"images": "--images", "backgrounds": "--backgrounds", "against": "--against"}

functional_options = together(
    click.option("--functional", metavar="FILE",
                 help="Run a functional test instead: builtin, or a CSV in HateCheck's layout."),
    click.option("--images", type=FOLDER,
                 help="Folder of the pictures that a functional test names.  [default: the test's folder]"),
    click.option("--backgrounds", type=FOLDER,
                 help="Folder of harmless pictures, to show too with the cases that have no picture."),
    click.option("--against", type=click.Path(path_type=Path), metavar="BUNDLE",
                 help="Another bundle or archive that takes the same functional test."),
)  # fmt: skip


def check_options(data: Path | None, split: str | None, functional: str | None, **extras: Path | None) -> None:
    """Raise ``click.UsageError`` unless the options belong to one kind of evaluation, on a split or functional."""
    if functional is not None:
        if data is not None or split is not None:
            raise click.UsageError("A functional test has cases of its own; leave out --data and --split.")
        return
    for name, value in {"--data": data, "--split": split}.items():
        if value is None:
            raise click.UsageError(f"Missing option '{name}'. Without it, give '--functional'.")
    if given := [_EXTRAS[name] for name, value in extras.items() if value is not None]:
        raise click.UsageError(f"{given[0]} belongs to a functional test; give --functional too.")


def run_functional(
    bundle: Path,
    functional: str,
    *,
    images: Path | None,
    backgrounds: Path | None,
    against: Path | None,
    out: Path,
    json_path: Path | None,
    device: str,
    max_skipped: int,
) -> None:
    """Run the functional test that ``functional`` names, a file or "builtin"; write and print what it found."""
    from cli.skipped import tell_skipped
    from evaluation.functional.builtin import BUILTIN, read_builtin
    from evaluation.functional.evaluate import evaluate_functional
    from evaluation.functional.files import read_suite
    from evaluation.functional.page import write_functional
    from evaluation.functional.pictures import find_backgrounds
    from evaluation.functional.table import format_result
    from memes.atomic_file import write_whole_json

    if functional == BUILTIN:
        suite = read_builtin()
    else:
        suite = read_suite(Path(functional), images=images, max_skipped=max_skipped)
    behind = find_backgrounds(backgrounds) if backgrounds else ()
    result = evaluate_functional(bundle, suite, backgrounds=behind, against=against, device=device)
    tell_skipped(result.skipped)
    page = write_functional(result, out)
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        write_whole_json(json_path, dataclasses.asdict(result))
    for warning in result.warnings:
        click.echo(f"warning: {warning}")
    click.echo(format_result(result))
    click.echo(f"wrote {page}")
