"""The command line without dropout, for a launcher to start in several processes: chance then is no matter of shares.

Not a test itself. The first argument is a file; each process adds a line of its rank and the number of processes to it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from accelerate import PartialState

from cli.main import main
from training import experiment


def run(arguments: list[str]) -> None:
    """Run the command with nothing dropped out of a backbone from scratch."""
    experiment._DROPOUT_FROM_SCRATCH = (0.0, 0.0, 0.0)
    main(arguments)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a", encoding="utf-8") as log:
        state = PartialState(cpu=True)
        os.write(log.fileno(), f"{state.process_index} of {state.num_processes}\n".encode())
    run(sys.argv[2:])
