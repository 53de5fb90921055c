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

    Tokens are counted by the tokenizer of --backbone. The report names the scripts that it cannot write.

    Example: memeguard check-data data/demo --backbone openai/clip-vit-base-patch32
    """
    from memeguard.captions import CaptionTokenizer
    from memes.coverage import format_coverage, measure_coverage
    from memes.inspection import format_report, inspect_data
    from memes.reading import read_splits
    from training.backbones import load_words

    splits = read_splits(directory, verify_images=False)  # for their captions; inspect_data verifies
    words = load_words(backbone, (meme.text for memes in splits.values() for meme in memes))
    count_tokens = CaptionTokenizer(words.tokenizer, words.text).count_tokens
    report = inspect_data(directory, count_tokens, max_tokens=words.text.context_length)
    captions = (meme.text for memes in splits.values() for meme in memes)
    coverage = measure_coverage(captions, words.tokenizer, words.unknown_id)
    if as_json:
        content = {**dataclasses.asdict(report), "coverage": dataclasses.asdict(coverage)}
        click.echo(json.dumps(content, indent=2))
    else:
        lines = (format_report(report), format_coverage(coverage), f"tokens are those of backbone {backbone}")
        click.echo("\n\n".join(lines))


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
