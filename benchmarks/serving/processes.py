"""A server's processes: started, found, paused, resumed, measured and ended together, whatever they are.

Does not know what a server does. Its processes are those that descend from the first, are in its session, or carry the
mark it was given in their environment; once seen, a process stays known, so that an orphan is ended too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

_MARK: Final = "MEMEGUARD_BENCHMARK"
_GRACE_S: Final = 20.0
_SIGN_OF_LIFE_S: Final = 0.7
_GONE: Final = (psutil.NoSuchProcess, psutil.AccessDenied, OSError)
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_families: Final[set[Family]] = set()  # that have been started and not been stopped


class Family:
    """A program and everything it starts; use it as a context manager, which ends them all.

    One that does not sleep stays awake when it is paused.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str], sleeps: bool = True
    ) -> None:
        self.log = log
        self._sleeps = sleeps
        self._mark = uuid.uuid4().hex
        self._known: dict[int, psutil.Process] = {}
        # An interrupt between the start of a process and the note of it would leave a process that nobody ends.
        with log.open("wb") as output, _holding_interrupts():
            self._popen = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, _MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _families.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def exit_status(self) -> int | None:
        """Of the first program; None while it runs."""
        return self._popen.poll()

    def members(self) -> list[psutil.Process]:
        """Every process that is alive, the first one first."""
        for process in psutil.process_iter():
            if process.pid not in self._known and self._is_member(process):
                self._known[process.pid] = process
        for process in list(self._known.values()):
            with contextlib.suppress(*_GONE):
                for child in process.children(recursive=True):
                    self._known.setdefault(child.pid, child)
        self._known = {pid: process for pid, process in self._known.items() if _is_alive(process)}
        return sorted(self._known.values(), key=lambda process: process.pid != self._popen.pid)

    def _is_member(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        with contextlib.suppress(*_GONE):
            if process.pid == self._popen.pid or os.getsid(process.pid) == self._popen.pid:
                return True
            return f"{_MARK}={self._mark}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
        return False

    def cpu_seconds(self) -> float:
        """Processor time of all of them so far, that of children that have ended included."""
        total = 0.0
        for process in self.members():
            with contextlib.suppress(*_GONE):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def pause(self) -> None:
        """Stop every process, parents first, so that none of them notices the others' silence."""
        if self._sleeps:
            self._signal(self.members(), signal.SIGSTOP)

    def resume(self) -> None:
        """Let every process go on, those without children first.

        gunicorn's arbiter, for one, replaces a worker that showed no sign of life for 30 s; so the worker shows one
        before the arbiter looks.
        """
        if not self._sleeps:
            return
        members = self.members()
        parents = set()
        for process in members:
            with contextlib.suppress(*_GONE):
                parents.add(process.ppid())
        self._signal([process for process in members if process.pid not in parents], signal.SIGCONT)
        time.sleep(_SIGN_OF_LIFE_S)
        self._signal([process for process in reversed(members) if process.pid in parents], signal.SIGCONT)

    def stop(self) -> None:
        """Ask the first program to end, then make all of them; waits until they are gone."""
        members = self.members()
        self._signal(members, signal.SIGCONT)
        if self._popen.poll() is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_GRACE_S)
        members = [*members, *self.members()]
        self._signal(members, signal.SIGKILL)
        psutil.wait_procs(members, timeout=10)
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
        _families.discard(self)

    @staticmethod
    def _signal(members: Sequence[psutil.Process], number: signal.Signals) -> None:
        for process in members:
            with contextlib.suppress(*_GONE):
                process.send_signal(number)


def stop_all() -> None:
    """End every family, those too whose ``with`` an interrupt kept from being entered."""
    for family in list(_families):
        family.stop()


@contextlib.contextmanager
def ending_all() -> Iterator[None]:
    """End every family when the block ends, be it by Ctrl-C, SIGTERM or SIGHUP; then this process ends too."""
    for number in _INTERRUPTS:
        signal.signal(number, _end)
    try:
        yield
    finally:
        stop_all()


def _end(number: int, _: object) -> None:
    """Leave in good order: every family is ended on the way out, and no second Ctrl-C interrupts that."""
    for other in _INTERRUPTS:
        signal.signal(other, signal.SIG_IGN)
    print("ending every server …", flush=True)
    sys.exit(128 + number)


@contextlib.contextmanager
def _holding_interrupts() -> Iterator[None]:
    """Let what interrupts this process do so when the block has ended; for its main thread."""
    held: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: held.append(number)) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(*_GONE):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class PeakMemory:
    """Samples the proportional set size (PSS) of a family while it is loaded.

    A page that several processes share counts once in the sum. The kernel walks every page to answer, so it is asked
    every ``interval_s`` only.

    Attributes:
        total: Largest sum over all processes, in bytes.
        largest: Largest of a single process, in bytes.
    """

    def __init__(self, family: Family, *, interval_s: float = 2.0) -> None:
        self.total = 0
        self.largest = 0
        self._family = family
        self._interval_s = interval_s

    @contextlib.contextmanager
    def sampling(self) -> Iterator[Self]:
        """Sample in a thread until the block ends, and once more then."""
        try:
            with repeating(self.sample, interval_s=self._interval_s):
                yield self
        finally:
            self.sample()

    def sample(self) -> None:
        """Look once."""
        sizes = [proportional_bytes(process) for process in self._family.members()]
        self.total = max(self.total, sum(sizes))
        self.largest = max(self.largest, *sizes, 0)


@contextlib.contextmanager
def repeating(look: Callable[[], None], *, interval_s: float) -> Iterator[None]:
    """Call ``look`` in a thread every ``interval_s`` seconds until the block ends."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(interval_s):
            look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def proportional_bytes(process: psutil.Process) -> int:
    """The proportional set size of ``process`` in bytes; 0 once it is gone."""
    with contextlib.suppress(*_GONE):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
