"""Run TorchServe and the proxy together: one ready line when both answer, nothing left running afterwards.

A server that dies meanwhile is started again (``supervisor.py``). Readiness is the proxy's /readyz, which asks for a
real prediction.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from cli.errors import ServeError
from cli.run_folder import MARK, make_private, occupy
from cli.serve_settings import torchserve_launch
from cli.servers import Servers
from cli.supervisor import Supervised
from cli.watch import Watch
from rollout.archives import Archive, choose_default, find_archives
from rollout.temp_folder import TempFolder, remove_abandoned
from rollout.torchserve import KEY_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cli.serve_settings import ServeSettings

_POLL_S = 0.1
_FIRST_ANSWER_S = 180.0  # for the first prediction, once TorchServe has loaded the model
_UNPACKED_S = 1.0  # how often unpacked archives are checked
_EXAMPLE = 'curl -X POST -F "image=@docs/meme.png" -F "text=this is where my homework belongs"'


def serve(settings: ServeSettings, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: The archives, addresses and folders.
        announce: Prints a line for the user: the ready line, then each restart.

    Raises:
        ServeError: A port is taken, a worker cannot load its model, or a server cannot be started again.
        ModelStoreError: An archive is missing, damaged or not verified.
        TorchServeError: TorchServe cannot be launched with the configuration.
    """
    say = _steadfast(announce)
    archives, default = _choose_archives(settings, say)
    with _stop_signals() as stop, occupy(settings.run_dir, say) as mark, contextlib.ExitStack() as stack:
        remove_abandoned()
        settings.ports.require_free(settings.host)
        stack.callback((settings.run_dir / KEY_FILE).unlink, missing_ok=True)
        say(f"starting TorchServe with {_list_versions(archives, default)} …")
        servers = stack.enter_context(contextlib.closing(Servers(settings, archives, default, {MARK: mark}, say)))
        torchserve = Supervised("TorchServe", servers.start_torchserve, servers.is_torchserve_ready, say)
        stack.callback(torchserve.stop)
        if not _run(stop, [torchserve], until=lambda: torchserve.is_ready):
            return
        proxy = Supervised("the proxy", servers.start_proxy, servers.is_proxy_ready, say)
        stack.callback(proxy.stop)
        deadline = time.monotonic() + _FIRST_ANSWER_S
        if not _run(stop, [torchserve, proxy], until=lambda: proxy.is_ready and servers.is_answering(deadline)):
            return
        say(f"ready: {_EXAMPLE} {servers.url}/predict")
        _Keeper(settings, servers, torchserve, proxy).run(stop, stack)


class _Keeper:
    """Restarts a server that no longer answers, until told to stop."""

    def __init__(self, settings: ServeSettings, servers: Servers, torchserve: Supervised, proxy: Supervised) -> None:
        self._patience_s = {
            "the proxy": settings.patience_s,
            "TorchServe": settings.patience_s,
            # TorchServe itself replaces a silent worker; while that takes place, it must not be restarted.
            "the model": max(settings.patience_s, servers.longest_silence_s),
        }
        self._servers, self._torchserve, self._proxy = servers, torchserve, proxy

    def run(self, stop: threading.Event, stack: contextlib.ExitStack) -> None:
        """Run until ``stop``."""
        watch = stack.enter_context(contextlib.closing(Watch(self._servers.find_fault)))
        while _run(stop, [self._torchserve, self._proxy], until=_after(_UNPACKED_S)):
            if not (self._torchserve.is_ready and self._proxy.is_ready):
                watch.reset()
                continue
            if loss := self._servers.find_loss():
                self._torchserve.restart(f"{loss} is gone from the temporary folder of TorchServe")
                continue
            for name, patience_s in self._patience_s.items():
                if watch.failing_s(name) > patience_s:
                    server = self._proxy if name == "the proxy" else self._torchserve
                    server.restart(f"{name} has not answered for {patience_s:.0f} s")
                    watch.reset()


def exec_torchserve(settings: ServeSettings, announce: Callable[[str], None]) -> NoReturn:
    """Replace this process by TorchServe's Java, so that Java gets a container's signals and gives its exit status."""
    archives, default = _choose_archives(settings, announce)
    with contextlib.suppress(ServeError):  # the volume may belong to another user; the token file is 0600 in any case
        make_private(settings.run_dir)
    remove_abandoned()
    temp = TempFolder()
    os.set_inheritable(temp.lock, True)  # Java holds the lock now, until it ends
    launch = torchserve_launch(settings, archives, default, temp.path)
    command = launch.command()
    os.chdir(settings.run_dir)
    os.execve(command[0], command, launch.environment())  # noqa: S606 - an argument list, no shell


def _choose_archives(settings: ServeSettings, announce: Callable[[str], None]) -> tuple[list[Archive], Archive]:
    archives = find_archives(settings.model_store, allow_unverified=settings.allow_unverified)
    for archive in archives:
        if not archive.is_verified:
            announce(f"warning: {archive.file_name} has no card and is served unverified")
    return archives, choose_default(archives, settings.default_version)


def _run(stop: threading.Event, servers: Sequence[Supervised], *, until: Callable[[], bool]) -> bool:
    """Keep ``servers`` running until a condition holds; return False if told to stop before."""
    while not stop.is_set():
        for server in servers:
            server.step()
        if until():
            return True
        stop.wait(_POLL_S)
    return False


def _after(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline


def _list_versions(archives: Sequence[Archive], default: Archive) -> str:
    return ", ".join(f"{archive.version} (default)" if archive == default else archive.version for archive in archives)


def _steadfast(announce: Callable[[str], None]) -> Callable[[str], None]:
    """Return ``announce`` without its errors, so that a closed terminal or a full disk does not end the servers."""

    def say(line: str) -> None:
        with contextlib.suppress(OSError):
            announce(line)

    return say


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Let Ctrl-C, SIGTERM and SIGHUP set an event.

    An exception raised by a signal could occur after a program has started and before it is registered to be ended.
    """
    stop = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup, the servers outlive the terminal
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
