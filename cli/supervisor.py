"""Keep a server running: start it again when it dies or is of no use any more, more slowly each time.

Every event is one line for the person who watches; these lines are part of the interface (README, "Running it"):

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
    """How patient a supervisor is.

    Attributes:
        first_delay_s: Before the first new start; each further one waits twice as long.
        longest_delay_s: The longest such wait.
        stable_s: A server that has been ready for so long begins again with ``first_delay_s``.
        num_failed_starts: So many starts in a row after which it was not ready are the end.
        start_timeout_s: How long a start may take; above startupTimeout of model-config.yaml, so that TorchServe's own
            verdict comes first.
        stop_grace_s: How long a server of no use may take to end by itself.
    """

    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    stable_s: float = 60.0
    num_failed_starts: int = 8
    start_timeout_s: float = 180.0
    stop_grace_s: float = 5.0


class Supervised:
    """One server, started by the first ``step`` and kept running by the others.

    Args:
        name: For messages.
        start: Starts it.
        is_ready: Whether it has begun to serve; raises ``ServeError`` if it never will.
        announce: Takes a line for each event.
        limits: How patient to be.
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
        self._start_at = self._since = time.monotonic()  # the latter: of the last start, or of being ready
        self._has_served = False
        self._num_failed = self._num_restarts = 0

    def step(self) -> None:
        """Start it if it is time to, and see how it is; takes no longer than asking it.

        Raises:
            ServeError: It could not be started, be it the first time by a fault of its own or too often in a row.
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
        """End it and start it again, as if it had died."""
        self._begin_again(reason, "")

    def stop(self) -> None:
        """End it for good."""
        if self.process:
            self.process.stop()

    def _begin(self) -> None:
        self._since = time.monotonic()
        try:
            self.process = self._start()
        except (OSError, ModelStoreError) as error:  # a full disk, an archive that was changed meanwhile
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
