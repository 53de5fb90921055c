"""``memeguard score``: score a source of memes in bulk and print the summary."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click

from scoring.job import score as run

if TYPE_CHECKING:
    from scoring.settings import ScoringSettings, Summary

SOME_FAILED = 3  # the exit status; 1 is a job that could not be run, 2 a wrong command line


def score(settings: ScoringSettings, *, as_json: bool) -> None:
    """Score, print the summary, and exit with ``SOME_FAILED`` if a meme could not be scored.

    Raises:
        BundleError, DataError, ScoringError, OSError: See ``scoring.job.score``.
    """
    try:
        summary = run(settings, tell=lambda line: click.echo(line, err=True))
    except (KeyboardInterrupt, SystemExit):
        click.echo("\ninterrupted; run the same command again to resume", err=True)
        raise
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), indent=2, ensure_ascii=False))
    else:
        click.echo(format_summary(summary))
    if summary.errors:
        sys.exit(SOME_FAILED)


def format_summary(summary: Summary) -> str:
    """The summary for people."""
    parts = [f"{num:,} {label}" for label, num in summary.predictions.items()]
    if summary.errors:
        which = ", ".join(f"{num:,} {code}" for code, num in summary.errors.items())
        parts.append(f"{sum(summary.errors.values()):,} could not be scored ({which})")
    counts = f"{summary.memes:,} memes: {', '.join(parts)}"
    if summary.skipped:
        counts += f"; {summary.skipped:,} other files skipped"
    if summary.resumed_at == summary.memes:
        return f"{counts}\n{summary.out} is complete"
    return f"{counts}\nwrote {summary.out} ({summary.memes_per_s:,} memes/s)"
