"""The commands for labelled memes on disk: check-data and demo-data."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from cli.options import FOLDER, backbone_option, json_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("directory", type=FOLDER)
@backbone_option
@json_option
def check_data(directory: Path, backbone: str, *, as_json: bool) -> None:
    """Check labelled memes in DIRECTORY: rows per split and label, long texts, duplicates, conflicting labels.

    Tokens are counted by the tokenizer of --backbone.

    Example: memeguard check-data data/demo --backbone openai/clip-vit-base-patch32
    """
    from memes.inspection import format_report, inspect_data
    from memes.reading import read_splits
    from training.backbones import load_tokenizer

    splits = read_splits(directory, verify_images=False)  # for their captions; inspect_data verifies
    tokenizer = load_tokenizer(backbone, (meme.text for memes in splits.values() for meme in memes))
    report = inspect_data(directory, lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids) + 2)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report), indent=2))
    else:
        click.echo(f"{format_report(report)}\n\ntokens are those of backbone {backbone}")


@click.command()
@click.argument("directory", type=FOLDER)
@click.option("--seed", default=0, show_default=True, help="The same seed writes the same bytes.")
@click.option("--render", is_flag=True, help="Draw the caption into the picture too.")
def demo_data(directory: Path, seed: int, *, render: bool) -> None:
    """Draw labelled memes into the new folder DIRECTORY: only picture and caption together tell the label.

    Example: memeguard demo-data data/demo --seed 1
    """
    from demo.drawing import write_demo_data

    write_demo_data(directory, seed=seed, render=render)
    click.echo(f"wrote {directory}")
