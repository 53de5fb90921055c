"""Faults injected into a running server, and the promises it must keep meanwhile: right answers and honest errors."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import requests

from benchmarks.open_loop import NO_ANSWER, Answer, Stream, send_stream
from tests.soak.memory import find_processes
from tests.traffic import Memes, Verdicts, draw_memes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psutil

    from tests.e2e.conftest import Server

_RATE: Final = 8.0  # requests a second: light load
_DEADLINE_S: Final = 35.0  # 30 s for a prediction, and what the proxy needs around it
_HONEST: Final = frozenset({502, 503, 504})
_READY_LIE_S: Final = 5.0  # how far /readyz may lag behind predictions
_CALM: Final = 10  # right answers in a row after which a server counts as healed


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is done to a server.

    Attributes:
        name: The fault, in words.
        inject: Injects the fault, and undoes it if it does not end by itself.
        heal_s: Seconds within which the server must have recovered.
        closes: Whether connections may be refused or cut meanwhile, because the proxy itself is hit.
    """

    name: str
    inject: Callable[[Victim], None]
    heal_s: float = 60.0
    closes: bool = False


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A server, its temporary folder, and access to its processes."""

    server: Server
    tmp: Path

    def processes(self, group: str) -> list[psutil.Process]:
        """Return the processes of one group, see ``tests.soak.memory``."""
        return find_processes(self.server.process).get(group, [])

    def signal(self, group: str, number: signal.Signals, *, which: int = 0) -> None:
        """Send a signal to one process of a group."""
        self.processes(group)[which].send_signal(number)

    def pause(self, group: str, seconds: float, *, which: int = 0) -> None:
        """Stop one process of a group for a while."""
        process = self.processes(group)[which]
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)


@dataclass
class Watch:
    """Observations during a fault."""

    answers: list[Answer] = field(default_factory=list)
    ready: list[tuple[float, bool]] = field(default_factory=list)
    healed_after_s: float | None = None


class Observer:
    """Sends memes and asks /readyz until the server has recovered or the fault's time is over."""

    def __init__(self, victim: Victim, *, memes: Memes | None = None) -> None:
        self._victim = victim
        self._port = victim.server.ports["port"]
        self._memes = memes or draw_memes(16, name="faults")
        self.verdicts = Verdicts(self._memes, self._port)

    def observe(self, fault: Fault) -> Watch:
        """Inject ``fault`` under load and observe until the server has recovered."""
        watch, done = Watch(), threading.Event()
        threads = [threading.Thread(target=each, args=(watch, done)) for each in (self._load, self._ask_readiness)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(2)
            fault.inject(self._victim)
            watch.healed_after_s = self._wait_for_calm(fault.heal_s)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        return watch

    def _load(self, watch: Watch, done: threading.Event) -> None:
        stream = Stream(seconds=math.inf, rate=_RATE, patience_s=_DEADLINE_S)
        watch.answers += send_stream(self._port, self._memes.request, stream, stop=done)

    def _ask_readiness(self, watch: Watch, done: threading.Event) -> None:
        url = f"http://127.0.0.1:{self._port}/readyz"
        while not done.wait(0.5):
            with contextlib.suppress(requests.RequestException):
                is_ready = requests.get(url, timeout=_DEADLINE_S).ok
                watch.ready.append((time.monotonic(), is_ready))

    def _wait_for_calm(self, heal_s: float) -> float | None:
        """Return the seconds until ``_CALM`` memes in a row are answered; None after ``heal_s``."""
        begin, num_good = time.monotonic(), 0
        while num_good < _CALM:
            if time.monotonic() - begin > heal_s:
                return None
            try:
                meme = self._memes.memes[num_good % len(self._memes.memes)]
                num_good = num_good + 1 if self._victim.server.predict(meme.image, meme.text).ok else 0
            except requests.RequestException:
                num_good = 0
            time.sleep(0.1)
        return time.monotonic() - begin


def find_broken_promises(watch: Watch, fault: Fault, verdicts: Verdicts) -> list[str]:
    """Return the observations that break a promise."""
    broken = [f"wrong answer {each}" for each in watch.answers if each.status == 200 and not verdicts.is_right(each)]
    for each in watch.answers:
        is_closed = each.status == NO_ANSWER and fault.closes
        is_honest = each.status in _HONEST and isinstance(each.body, dict) and "code" in each.body
        if each.status != 200 and not is_closed and not is_honest:
            broken.append(f"no honest loss: {each}")
    if watch.healed_after_s is None:
        broken.append(f"not healed after {fault.heal_s} s")
    return broken + _find_lies(watch)


def _find_lies(watch: Watch) -> list[str]:
    """Return the times at which /readyz said yes although no prediction around them succeeded."""
    good = [answer.ended_s for answer in watch.answers if answer.status == 200]
    lies = []
    for asked_s, is_ready in watch.ready:
        around = [answer for answer in watch.answers if abs(answer.began_s - asked_s) < _READY_LIE_S]
        if is_ready and around and not any(abs(ended_s - asked_s) < _READY_LIE_S for ended_s in good):
            lies.append(f"/readyz said yes at {asked_s:.1f} though {len(around)} predictions around it failed")
    return lies


def _remove_model(victim: Victim) -> None:
    """Remove unpacked models, as a cleaner of temporary folders does; a restarted worker cannot load them."""
    for folder in victim.tmp.rglob("models"):
        shutil.rmtree(folder, ignore_errors=True)
    victim.signal("workers", signal.SIGKILL)


def _halve_keys(victim: Victim) -> None:
    path = victim.server.run_dir / "key_file.json"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    time.sleep(2)
    path.write_bytes(content)


def _vanish(victim: Victim) -> None:
    request = draw_memes(4, name="vanishing").request(1)
    for _ in range(60):
        with socket.create_connection(("127.0.0.1", victim.server.ports["port"])) as client:
            client.sendall(request)


def _hold_port(victim: Victim) -> None:
    """Kill Java and take its port before it is started again."""
    victim.signal("java", signal.SIGKILL)
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            holder.bind(("127.0.0.1", victim.server.ports["inference-port"]))
            holder.listen()
        time.sleep(3)


def _fill_disk(victim: Victim) -> None:
    """Fill the file system of logs and keys for a while; only if it is a separate one."""
    filler = victim.server.run_dir / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for _ in range(1024):
            file.write(bytes(2**20))
    time.sleep(5)
    filler.unlink()


def _kill(group: str, which: int = 0) -> Callable[[Victim], None]:
    return lambda victim: victim.signal(group, signal.SIGKILL, which=which)


def _pause(group: str, seconds: float, which: int = 0) -> Callable[[Victim], None]:
    return lambda victim: victim.pause(group, seconds, which=which)


def _wait(seconds: float) -> Callable[[Victim], None]:
    return lambda _: time.sleep(seconds)


# Few enough for every run of the tests: they share one server.
SHORT: Final = (
    Fault(name="a worker is killed, as for want of memory", inject=_kill("workers")),
    Fault(name="a worker is stopped for a while", inject=_pause("workers", 2.0)),
    Fault(name="clients vanish", inject=_vanish, heal_s=30.0),
    Fault(name="a process of the proxy is killed", inject=_kill("proxy", -1), closes=True),
)
LONG: Final = (
    Fault(name="a worker stops for good", inject=lambda victim: victim.signal("workers", signal.SIGSTOP), heal_s=120.0),
    Fault(name="Java is stopped for a while", inject=_pause("java", 5.0)),
    Fault(name="a process of the proxy is stopped for a while", inject=_pause("proxy", 5.0, -1), closes=True),
    Fault(name="Java is killed", inject=_kill("java"), heal_s=120.0),
    Fault(name="the proxy's master is killed", inject=_kill("proxy"), heal_s=120.0, closes=True),
    Fault(name="the unpacked model is removed", inject=_remove_model, heal_s=120.0),
    Fault(name="the key file is half written", inject=_halve_keys),
    Fault(name="TorchServe's port is held while it starts again", inject=_hold_port, heal_s=120.0),
)
EXPIRY: Final = Fault(name="tokens expire, again and again", inject=_wait(40.0))
FULL_DISK: Final = Fault(name="the disk of logs and keys is full", inject=_fill_disk)


def step_clock(file: Path, seconds: int) -> Callable[[Victim], None]:
    """Move the wall clock that libfaketime reads from ``file``."""

    def step(_: Victim) -> Any:
        file.write_text(f"{seconds:+d}\n", "ascii")
        os.utime(file)

    return step
