"""The command line: ``memeguard <command>``.

A command imports what it needs when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from cli import archive, data, evaluate, serve_command, train
from memeguard.errors import MemeguardError


class _Commands(click.Group):
    """Shows an error that a person can mend as one message, with its exit status; any other error is a defect."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not isinstance(error, OSError | MemeguardError):
                raise
            click.ClickException(str(error)).show()
            raise SystemExit(error.exit_status if isinstance(error, MemeguardError) else 1) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="memeguard")
def main() -> None:
    """Fine-tune CLIP to tell offensive memes from harmless ones, and serve it."""
    # As an exception SIGTERM removes what is half-made, as Ctrl-C does. `serve` has handlers of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


for _command in (
    data.check_data,
    data.demo_data,
    train.train,
    train.sweep,
    train.ablate,
    evaluate.evaluate,
    evaluate.score,
    archive.archive,
    archive.starter,
    archive.demo,
    serve_command.serve,
    serve_command.torchserve,
):
    main.add_command(_command)

if __name__ == "__main__":
    sys.exit(main())
