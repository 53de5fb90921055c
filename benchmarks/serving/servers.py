"""The servers that are compared: how each is started, where it takes a meme, and how long it took to answer one.

Does not know how they are loaded or what is made of the figures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.serving.load import Load, run_load
from benchmarks.serving.memes import make_requests
from benchmarks.serving.processes import Family
from benchmarks.serving.venvs import REPOSITORY, ensure_venv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.serving.memes import SentMeme

_PEERS: Final = Path(__file__).parent / "peers"
_START_TIMEOUT_S: Final = 180.0
_POLL_S: Final = 0.2
_KEPT: Final = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH")
PEERS: Final = {
    "original": "the original's design",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "ray": "Ray Serve",
    "torchserve": "TorchServe, documentation's handler",
}


class StartError(Exception):
    """A server that did not come up, and why."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Somewhere to send memes: this project's server has two, the proxy and TorchServe itself."""

    name: str
    port: int
    path: str
    family: Family
    start_s: float
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one server is started.

    Attributes:
        name: Of the server.
        command: Given its ports and a temporary folder of its own.
        paths: Its targets: name, which of the ports, path.
        env: What it finds in its environment beside a few of ours.
        cwd: Where it runs.
        num_ports: How many it listens on.
        sleeps: Whether its processes may be stopped while others are measured.
    """

    name: str
    command: Callable[[Sequence[int], Path], Sequence[str]]
    paths: Sequence[tuple[str, int, str]]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = _PEERS
    num_ports: int = 1
    sleeps: bool = True


def plan_memeguard(store: Path, name: str = "memeguard") -> Plan:
    """``memeguard serve`` on the archive in ``store``; its targets are the proxy and TorchServe's inference port."""
    options = (
        "port",
        "inference-port",
        "management-port",
        "metrics-port",
        "grpc-inference-port",
        "grpc-management-port",
    )

    def command(ports: Sequence[int], folder: Path) -> list[str]:
        listen = [f"--{option}={port}" for option, port in zip(options, ports, strict=True)]
        serve = [sys.executable, "-m", "cli.main", "serve", f"--model-store={store}", f"--run-dir={folder / 'run'}"]
        return [*serve, *listen]

    paths = [(name, 0, "/predict"), (f"{name}-direct", 1, "/predictions/meme")]
    return Plan(name=name, command=command, paths=paths, cwd=REPOSITORY, num_ports=len(options))


def plan_memeguard_float(store: Path) -> Plan:
    """The same on an archive that is not quantized; its target is the proxy."""
    plan = plan_memeguard(store, "memeguard-float")
    return dataclasses.replace(plan, paths=plan.paths[:1])


def plan_peer(name: str, backbone: Path, python: Path) -> Plan:
    """The peer ``name``, one of ``PEERS``, run by ``python``."""
    scripts = {
        "original": "original.py",
        "litserve": "litserve_server.py",
        "ray": "ray_serve.py",
        "torchserve": "torchserve_server.py",
    }

    def command(ports: Sequence[int], folder: Path) -> list[str]:
        if name == "bentoml":
            serve = [str(python.with_name("bentoml")), "serve", "bentoml_service:MemeService", "--host", "127.0.0.1"]
            return [*serve, "--port", str(ports[0]), "--timeout-keep-alive", "60"]
        extra = [str(folder)] if name in {"ray", "torchserve"} else []
        return [str(python), str(_PEERS / scripts[name]), str(backbone), str(ports[0]), *extra, *map(str, ports[1:])]

    return Plan(
        name=name,
        command=command,
        paths=[(name, 0, "/predictions/clip" if name == "torchserve" else "/predict")],
        env={
            "BACKBONE": str(backbone),
            "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        },
        num_ports=5 if name == "torchserve" else 1,
        # When a connection between BentoML's two services ends after 5 idle seconds, its default, it answers 500; so
        # they stay awake. Idle, they use less than a hundredth of a core.
        sleeps=name != "bentoml",
    )


def peer_python(name: str, venvs: Path | None) -> Path:
    """The Python of the peer's own environment; without ``venvs`` this one, which has all that the original needs."""
    return Path(sys.executable) if venvs is None else ensure_venv(name, venvs).absolute()


@contextlib.contextmanager
def serving(plan: Plan, logs: Path, meme: SentMeme) -> Iterator[list[Target]]:
    """Start a server, wait until each target has judged ``meme``, and end every process of it afterwards.

    Raises:
        StartError: It ended, or did not answer in time.
    """
    with contextlib.ExitStack() as stack:
        # Short: Unix sockets lie in it, whose paths may have 107 bytes.
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mgb-", ignore_cleanup_errors=True)))
        ports = free_ports(plan.num_ports)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1", "BENTOML_HOME": str(temporary), **plan.env}
        log = logs / f"{plan.name}.log"
        begin = time.perf_counter()
        command = list(map(str, plan.command(ports, temporary)))
        family = stack.enter_context(Family(command, log=log, cwd=plan.cwd, env=environment, sleeps=plan.sleeps))
        targets = []
        for name, index, path in plan.paths:
            target = Target(name=name, port=ports[index], path=path, family=family, start_s=0.0)
            targets.append(_wait(target, meme, temporary / "run" / "key_file.json", begin))
        yield targets


def _wait(target: Target, meme: SentMeme, key_file: Path, begin: float) -> Target:
    """``target`` with its headers and the seconds after which it had answered."""
    problem = "no answer"
    while (waited := time.perf_counter() - begin) < _START_TIMEOUT_S:
        if (status := target.family.exit_status) is not None:
            raise StartError(f"{target.name} ended with status {status}; see {target.family.log}")
        headers = _headers(target, key_file)
        make = make_requests([meme], target.path, headers, cell=f"start {target.name}")
        result = run_load(target.port, make, Load(clients=1, seconds=60.0, warm_s=0.0, max_requests=1))
        if not result.num_errors:
            start_s = time.perf_counter() - begin
            return Target(**{**vars(target), "headers": headers, "start_s": start_s})
        problem = result.first_error
        time.sleep(_POLL_S)
    raise StartError(f"{target.name} was not ready after {waited:.0f} s: {problem}; see {target.family.log}")


def _headers(target: Target, key_file: Path) -> dict[str, str]:
    """TorchServe wants its inference key; the proxy adds that itself."""
    if not target.name.endswith("-direct") or not key_file.is_file():
        return {}
    with contextlib.suppress(ValueError, KeyError):  # half written
        return {"Authorization": f"Bearer {json.loads(key_file.read_bytes())['inference']['key']}"}
    return {}


def free_ports(num: int) -> list[int]:
    """Ports nobody listens on; each is held until all are known, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
