"""What a scoring job is asked to do, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memeguard.runtimes import AUTO

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """Settings of a scoring job.

    Attributes:
        source: A folder of pictures, or a list of memes.
        model: A bundle's folder or an archive.
        out: The output file, a .csv or a .parquet.
        batch_size: How many memes go through the network at once.
        images: The folder that a list's picture names are relative to; the list's folder if not given.
        image_column: The column of a list that names the pictures; found by its name if not given.
        text_column: The column of a list that has the captions; found by its name if not given.
        runtime: What computes, see ``memeguard.runtimes``.
        device: "auto", or one of torch's devices.
        resume: Whether to resume an interrupted job; if not, what it wrote is dropped.
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
    """The result of a scoring job.

    Attributes:
        out: The output file.
        model: SHA-256 of the bundle's config.json, in hex.
        memes: How many rows the output has.
        predictions: How many memes got each label.
        errors: How many memes could not be scored, by error code.
        skipped: Files of a folder that are neither pictures nor captions.
        resumed_at: How many rows earlier runs had written.
        seconds: How long this run scored, without loading the model.
        memes_per_s: How many memes this run scored a second.
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
