"""Keep a server running: start it again when it dies or stops answering, with a longer delay each time.

Every event is one line for the user. These lines are part of the interface:

    TorchServe was killed by SIGKILL; starting it again in 0.5 s
    TorchServe is ready again after 6 s
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.errors import ServeError
from rollout.store_files import ModelStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.processes import Process


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Delays and limits of a supervisor.

    Attributes:
        first_delay_s: Delay before the first restart; each further one waits twice as long.
        longest_delay_s: The longest delay.
        stable_s: After a server has been ready for this long, delays begin with ``first_delay_s`` again.
        num_failed_starts: After this many starts in a row without readiness, the supervisor gives up.
        start_timeout_s: How long a start may take; longer than startupTimeout of model-config.yaml, so that TorchServe
            reports its own timeout first.
        stop_grace_s: How long a server that is restarted may take to end by itself.
    """

    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    stable_s: float = 60.0
    num_failed_starts: int = 8
    start_timeout_s: float = 180.0
    stop_grace_s: float = 5.0


class Supervised:
    """One server, started by the first ``step`` and kept running by the next ones.

    Args:
        name: The server's name in messages.
        start: Starts the server.
        is_ready: Returns whether the server serves; raises ``ServeError`` if it never will.
        announce: Prints a line for each event.
        limits: Delays and limits; the defaults if None.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Process],
        is_ready: Callable[[Process], bool],
        announce: Callable[[str], None],
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self.process: Process | None = None
        self.is_ready = False
        self._start, self._ask, self._announce, self._limits = start, is_ready, announce, limits or Limits()
        self._start_at = self._since = time.monotonic()  # ``_since``: the last start, or the moment of readiness
        self._has_served = False
        self._num_failed = self._num_restarts = 0

    def step(self) -> None:
        """Start the server if it is time to, and check it; takes no longer than ``is_ready``.

        Raises:
            ServeError: The first start failed by a fault of the server, or too many starts failed in a row.
        """
        if self.process is None:
            if time.monotonic() >= self._start_at:
                self._begin()
        elif self.process.has_ended:
            end = self.process.describe_end()
            see = f"{self.process.last_line()} (see {self.process.log})"
            self._begin_again(f"{self.name} {end}", see, is_fault=not self.process.was_killed)
        elif not self.is_ready:
            self._check_start(self.process)

    def restart(self, reason: str) -> None:
        """End the server and start it again, as if it had died."""
        self._begin_again(reason, "")

    def stop(self) -> None:
        """End the server for good."""
        if self.process:
            self.process.stop()

    def _begin(self) -> None:
        self._since = time.monotonic()
        try:
            self.process = self._start()
        except (OSError, ModelStoreError) as error:  # such as a full disk, or an archive that has changed
            if not self._has_served:
                raise
            self._begin_again(f"{self.name} cannot be started", str(error))

    def _check_start(self, process: Process) -> None:
        try:
            self.is_ready = self._ask(process)
        except ServeError as error:
            self._begin_again(str(error), "")
            return
        seconds = time.monotonic() - self._since
        if self.is_ready:
            if self._num_restarts:
                self._announce(f"{self.name} is ready again after {seconds:.0f} s")
            self._since, self._has_served, self._num_failed = time.monotonic(), True, 0
        elif seconds > self._limits.start_timeout_s:
            self._begin_again(f"{self.name} was not ready after {seconds:.0f} s", f"see {process.log}")

    def _begin_again(self, reason: str, detail: str, *, is_fault: bool = True) -> None:
        now = time.monotonic()
        if self.is_ready and now - self._since > self._limits.stable_s:
            self._num_restarts = 0
        self._num_failed += not self.is_ready
        if not self._has_served and is_fault:
            raise ServeError(": ".join(filter(None, (reason, detail))))
        if self._num_failed >= self._limits.num_failed_starts:
            message = f"{self.name} could not be started {self._num_failed} times in a row; the last time: {reason}"
            raise ServeError(": ".join(filter(None, (message, detail))))
        delay = min(self._limits.longest_delay_s, self._limits.first_delay_s * 2**self._num_restarts)
        self._announce(f"{reason}; starting it again in {delay:g} s")
        if self.process:
            self.process.stop(self._limits.stop_grace_s)
        self.process, self.is_ready = None, False
        self._num_restarts += 1
        self._start_at = time.monotonic() + delay
