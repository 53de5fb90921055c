"""Start programs, watch them, and end them with everything they started.

Does not know what the programs are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

_GRACE_S = 40.0  # how long a program may take to end by itself: the longest prediction takes 30


class Process:
    """A program in a session of its own, so that Ctrl-C reaches its starter alone and its children end with it.

    Its output goes to ``log``.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Ask it to end, and after a while make it; then end whatever is left of its session."""
        if self._popen.poll() is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_GRACE_S)
        # Children may outlive a program that died; the group's id is its own until the last of them is gone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


def is_port_free(host: str, port: int) -> bool:
    """Whether a server could listen on ``host:port`` now; raises ``OSError`` where the address is none of ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
