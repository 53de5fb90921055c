"""Run TorchServe and the proxy together: one ready line when both answer, nothing left running afterwards.

Does not know what a prediction is; readiness is the proxy's /readyz, which asks for a real one.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import requests

import proxy
from cli.processes import Process, is_port_free
from proxy.torchserve_client import TorchServeClient
from proxy.upstream import UpstreamError
from rollout.archives import Archive, choose_default, find_archives, make_snapshot
from rollout.torchserve import KEY_FILE, Launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 180.0  # above startupTimeout of model-config.yaml, so that TorchServe's own verdict comes first
_POLL_S = 0.1
_EXAMPLE = 'curl -X POST -F "image=@docs/meme.png" -F "text=this has everything in common with your best friend"'
# What is printed when a version cannot be loaded: the first comes from meme_handler.py, the others from TorchServe.
_LOAD_FAILURES = ("memeguard cannot load", "Load model failed", "SnapshotManager - Error")


class ServeError(Exception):
    """The servers cannot run, and why."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where the servers listen on the loopback interface; only ``proxy`` is meant for clients."""

    proxy: int = 5000
    inference: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc_inference: int = 7070
    grpc_management: int = 7071


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What ``memeguard serve`` was asked for; ``host`` is the proxy's alone."""

    model_store: Path
    run_dir: Path
    config: Path
    host: str = _HOST
    ports: Ports = Ports()
    default_version: str | None = None


def serve(settings: ServeSettings, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: What to serve, and where.
        announce: Takes lines for the person who watches, the ready line last.

    Raises:
        ServeError: A port is taken, a worker cannot load, or a server ended by itself.
        ModelStoreError, TorchServeError: The model store or the configuration does not allow it.
    """
    archives = find_archives(settings.model_store)
    default = choose_default(archives, settings.default_version)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    with _stop_signals() as stop, _locked(settings.run_dir), contextlib.ExitStack() as stack:
        _require_free_ports(settings)
        temp_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memeguard-"))).resolve()
        stack.callback((settings.run_dir / KEY_FILE).unlink, missing_ok=True)
        announce(f"starting TorchServe with {_list_versions(archives, default)} …")
        torchserve = stack.enter_context(_start_torchserve(settings, archives, default, temp_dir))
        if not _wait_for_workers(torchserve, settings, {archive.version for archive in archives}, stop):
            return
        gunicorn = stack.enter_context(_start_proxy(settings))
        url = f"http://{settings.host}:{settings.ports.proxy}"
        if not _wait_until(lambda: _answers(f"{url}/readyz"), [torchserve, gunicorn], stop):
            return
        announce(f"ready: {_EXAMPLE} {url}/predict")
        _wait_until(lambda: False, [torchserve, gunicorn], stop, timeout_s=math.inf)


def exec_torchserve(settings: ServeSettings) -> NoReturn:
    """Replace this process by TorchServe's Java, so that a container's signals and exit status are Java's own."""
    archives = find_archives(settings.model_store)
    default = choose_default(archives, settings.default_version)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    launch = torchserve_launch(settings, archives, default, Path(tempfile.mkdtemp(prefix="memeguard-")))
    command = launch.command()
    os.chdir(settings.run_dir)
    os.execve(command[0], command, launch.environment())  # noqa: S606 - an argument list, no shell


def _start_torchserve(
    settings: ServeSettings, archives: Sequence[Archive], default: Archive, temp_dir: Path
) -> Process:
    launch = torchserve_launch(settings, archives, default, temp_dir)
    (settings.run_dir / KEY_FILE).unlink(missing_ok=True)  # of an earlier run; its tokens are void
    return Process(
        "TorchServe",
        launch.command(),
        log=settings.run_dir / "torchserve.log",
        cwd=settings.run_dir,
        env=launch.environment(),
    )


def torchserve_launch(settings: ServeSettings, archives: Sequence[Archive], default: Archive, temp_dir: Path) -> Launch:
    """How TorchServe is started to serve ``archives``."""
    ports = settings.ports
    return Launch(
        model_store=settings.model_store,
        run_dir=settings.run_dir,
        temp_dir=temp_dir,
        config=settings.config,
        num_workers=sum(archive.settings["minWorkers"] for archive in archives),
        overrides={
            "inference_address": f"http://{_HOST}:{ports.inference}",
            "management_address": f"http://{_HOST}:{ports.management}",
            "metrics_address": f"http://{_HOST}:{ports.metrics}",
            "grpc_inference_port": str(ports.grpc_inference),
            "grpc_management_port": str(ports.grpc_management),
            "model_snapshot": make_snapshot(archives, default),
        },
    )


def _start_proxy(settings: ServeSettings) -> Process:
    ports = settings.ports
    arguments = {
        "inference_url": f"http://{_HOST}:{ports.inference}",
        "management_url": f"http://{_HOST}:{ports.management}",
        "key_file": str((settings.run_dir / KEY_FILE).resolve()),
    }
    factory = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return Process(
        "the proxy",
        [
            *(sys.executable, "-m", "gunicorn"),
            *("-c", str(Path(proxy.__file__).parent / "gunicorn.conf.py")),
            *("--bind", f"{settings.host}:{ports.proxy}"),
            f"proxy.app:create_app({factory})",
        ],
        log=settings.run_dir / "proxy.log",
        cwd=Path.cwd(),
    )


def _wait_for_workers(torchserve: Process, settings: ServeSettings, expected: set[str], stop: threading.Event) -> bool:
    """Wait until each of the ``expected`` versions has a worker with its model loaded; false if told to stop before."""
    client = TorchServeClient(
        inference_url=f"http://{_HOST}:{settings.ports.inference}",
        management_url=f"http://{_HOST}:{settings.ports.management}",
        key_file=settings.run_dir / KEY_FILE,
        read_timeout_s=5.0,
    )

    def all_loaded() -> bool:
        for line in torchserve.output().splitlines():
            if any(words in line for words in _LOAD_FAILURES):
                raise ServeError(f"a worker cannot load its model: {line.split(' - ', 1)[-1]} (see {torchserve.log})")
        try:
            versions = client.describe()
        except UpstreamError:
            return False
        ready = {
            version["modelVersion"]
            for version in versions
            if any(worker["status"] == "READY" for worker in version["workers"])
        }
        return expected <= ready

    with contextlib.closing(client):
        return _wait_until(all_loaded, [torchserve], stop)


def _wait_until(
    condition: Callable[[], bool],
    processes: Sequence[Process],
    stop: threading.Event,
    *,
    timeout_s: float = _START_TIMEOUT_S,
) -> bool:
    """Wait until ``condition`` holds; false if told to stop before. A process that ends meanwhile is an error."""
    deadline = time.monotonic() + timeout_s
    while not stop.is_set():
        for process in processes:
            if process.exit_status is not None:
                raise ServeError(f"{process.name} ended with status {process.exit_status}: {_last_line(process)}")
        if condition():
            return True
        if time.monotonic() > deadline:
            raise ServeError(f"{processes[-1].name} was not ready after {timeout_s:.0f} s; see {processes[-1].log}")
        stop.wait(_POLL_S)
    return False


def _last_line(process: Process) -> str:
    lines = [line for line in process.output().splitlines() if line.strip() and not line.startswith("\tat ")]
    return f"{lines[-1] if lines else 'it printed nothing'} (see {process.log})"


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.RequestException:
        return False


def _list_versions(archives: Sequence[Archive], default: Archive) -> str:
    return ", ".join(f"{archive.version} (default)" if archive == default else archive.version for archive in archives)


def _require_free_ports(settings: ServeSettings) -> None:
    options = {
        "--port": (settings.host, settings.ports.proxy),
        "--inference-port": (_HOST, settings.ports.inference),
        "--management-port": (_HOST, settings.ports.management),
        "--metrics-port": (_HOST, settings.ports.metrics),
        "--grpc-inference-port": (_HOST, settings.ports.grpc_inference),
        "--grpc-management-port": (_HOST, settings.ports.grpc_management),
    }
    for option, (host, port) in options.items():
        others = [other for other, address in options.items() if address[1] == port and other != option]
        if others:
            raise ServeError(f"port {port} is given twice, by {option} and {others[0]}")
        try:
            is_free = is_port_free(host, port)
        except OSError as error:
            raise ServeError(f"nothing can listen on {host}, port {port}: {error.strerror}") from error
        if not is_free:
            raise ServeError(f"port {port} on {host} is taken; free it or choose another with {option}")


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    with (run_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServeError(f"another server runs in {run_dir}; choose another folder with --run-dir") from error
        yield


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Let Ctrl-C, SIGTERM and SIGHUP set an event, which waits look at.

    An exception raised by a signal could strike between a program's start and the note that it must be ended.
    """
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
