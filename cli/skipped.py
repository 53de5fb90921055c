"""Tell which memes are left out, the same for every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def tell_skipped(skipped: Sequence[str]) -> None:
    """List the memes that are left out, on the standard error stream; nothing if there are none."""
    if skipped:
        click.echo(f"left out {len(skipped)} faulty {'meme' if len(skipped) == 1 else 'memes'}:", err=True)
        for line in skipped:
            click.echo(f"  {line}", err=True)
