"""Memes to score, drawn in code, and the command as a person starts it."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import main

if TYPE_CHECKING:
    from click.testing import Result

MEMEGUARD = str(Path(sys.executable).with_name("memeguard"))
WORDS = ("this", "is", "the", "exact", "opposite", "of", "your", "whole", "family", "and", "a", "friend")


def draw(number: int) -> bytes:
    """A PNG unlike that of any other number."""
    file = io.BytesIO()
    Image.effect_noise((24, 24 + number % 7), 40 + number).convert("RGB").save(file, "PNG")
    return file.getvalue()


def write_list(folder: Path, num: int) -> Path:
    """A CSV of ``num`` memes, a few pictures among them, every seventh damaged or missing."""
    folder.mkdir(exist_ok=True)
    for number in range(8):
        (folder / f"{number}.png").write_bytes(draw(number))
    (folder / "damaged.png").write_bytes(draw(1)[:-30])
    path = folder / "list.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_name", "sentence"])
        for number in range(num):
            image = ("damaged.png", "gone.png")[number % 2] if number % 7 == 3 else f"{number % 8}.png"
            writer.writerow([image, " ".join(WORDS[: number % len(WORDS)])])
    return path


def score(source: Path, model: Path, out: Path, *more: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, list(map(str, ["score", source, "--model", model, "--out", out, *more])))


def start(source: Path, model: Path, out: Path, *more: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        list(map(str, [MEMEGUARD, "score", source, "--model", model, "--out", out, *more])),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def read_rows(out: Path) -> list[dict[str, str]]:
    """The rows of a CSV of predictions."""
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def memes(tmp_path: Path) -> Path:
    """A folder of its own for pictures."""
    (tmp_path / "memes").mkdir()
    return tmp_path / "memes"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output file."""
    return tmp_path / "out" / "verdicts.csv"
