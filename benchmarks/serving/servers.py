"""The servers that are compared: how each is started, where it takes a meme, and when it answered the first one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.ports import PORT_OPTIONS, free_ports
from benchmarks.serving.load import Load, run_load
from benchmarks.serving.memes import make_requests
from benchmarks.serving.processes import Family
from benchmarks.serving.targets import FLASK, FLOAT, OURS, peer_target
from benchmarks.serving.venvs import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.serving.memes import SentMeme

_PEERS: Final = Path(__file__).parent / "peers"
_START_TIMEOUT_S: Final = 180.0
_POLL_S: Final = 0.2
_KEPT: Final = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH")


class StartError(Exception):
    """A server did not start; says why."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """An address that takes memes: this project's server has two, the proxy and TorchServe itself."""

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
        env: Environment variables, beside a few that it inherits.
        cwd: Its working directory.
        num_ports: The number of ports it listens on.
        sleeps: Whether its processes may be stopped while others are measured.
    """

    name: str
    command: Callable[[Sequence[int], Path], Sequence[str]]
    paths: Sequence[tuple[str, int, str]]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = _PEERS
    num_ports: int = 1
    sleeps: bool = True


def plan_memeguard(store: Path, name: str = OURS, checkout: Path = REPOSITORY) -> Plan:
    """Serve the archive in ``store``; the targets are the proxy and TorchServe's inference port.

    Args:
        store: The model store.
        name: Of the server and of its first target.
        checkout: Whose ``memeguard serve`` it is; another one than this brings its own .venv.
    """
    python = sys.executable if checkout == REPOSITORY else str(checkout / ".venv" / "bin" / "python")

    def command(ports: Sequence[int], folder: Path) -> list[str]:
        listen = [f"--{option}={port}" for option, port in zip(PORT_OPTIONS, ports, strict=True)]
        serve = [python, "-m", "cli.main", "serve", f"--model-store={store}", f"--run-dir={folder / 'run'}"]
        return [*serve, *listen]

    paths = [(name, 0, "/predict"), (f"{name}-direct", 1, "/predictions/meme")]
    return Plan(name=name, command=command, paths=paths, cwd=checkout, num_ports=len(PORT_OPTIONS))


def plan_memeguard_float(store: Path) -> Plan:
    """Serve an archive that is not quantized; the only target is the proxy."""
    plan = plan_memeguard(store, FLOAT)
    return dataclasses.replace(plan, paths=plan.paths[:1])


def plan_peers(name: str, backbone: Path, python: Path, batch_sizes: Sequence[int]) -> list[Plan]:
    """Plan the peer ``name`` with each batch size; Flask takes one meme at a time and is planned once."""
    targets = {peer_target(name, size): size for size in batch_sizes}
    return [_plan_peer(name, target, backbone, python, size) for target, size in targets.items()]


def _plan_peer(name: str, target: str, backbone: Path, python: Path, batch_size: int) -> Plan:
    scripts = {
        FLASK: "original.py",
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
        name=target,
        command=command,
        paths=[(target, 0, "/predictions/clip" if name == "torchserve" else "/predict")],
        env={
            "BACKBONE": str(backbone),
            "BATCH_SIZE": str(batch_size),
            "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        },
        num_ports=5 if name == "torchserve" else 1,
        # When a connection between BentoML's two services ends after 5 idle seconds, its default, it answers 500; so
        # they stay awake. Idle, they use less than a hundredth of a core.
        sleeps=name != "bentoml",
    )


@contextlib.contextmanager
def serving(plan: Plan, logs: Path, meme: SentMeme) -> Iterator[list[Target]]:
    """Start a server, wait until each target has answered ``meme``, and end all its processes afterwards.

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
    """Return ``target`` with its headers and with the seconds until its first answer."""
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
    """Return the inference key that TorchServe asks for; the proxy adds it by itself."""
    if not target.name.endswith("-direct") or not key_file.is_file():
        return {}
    with contextlib.suppress(ValueError, KeyError):  # half written
        return {"Authorization": f"Bearer {json.loads(key_file.read_bytes())['inference']['key']}"}
    return {}
