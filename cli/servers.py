"""Start TorchServe and the proxy side by side, and check whether each of them serves."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests

import proxy
from cli.errors import ServeError
from cli.processes import Process
from cli.run_folder import make_private
from cli.serve_settings import LOOPBACK, ServeSettings, torchserve_launch
from proxy.torchserve_client import TorchServeClient
from proxy.upstream import UpstreamError
from rollout.archives import Archive, require_unchanged
from rollout.environment import select_environment
from rollout.store_files import ModelStoreError
from rollout.temp_folder import TempFolder
from rollout.torchserve import KEY_FILE
from rollout.unpacked import UnpackedArchives

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Printed when a version cannot be loaded: the first by meme_handler.py, the others by TorchServe.
_LOAD_FAILURES = ("memeguard cannot load", "Load model failed", "SnapshotManager - Error")
_TIMEOUT_S = 10.0


class Servers:
    """Starts either server, any number of times, and checks them.

    Args:
        settings: The addresses and folders.
        archives: The archives that TorchServe serves.
        default: The archive that answers /predict.
        marks: Environment variables that mark the processes of this run.
        announce: Prints a line for each archive that a restart leaves out.
    """

    def __init__(
        self,
        settings: ServeSettings,
        archives: Sequence[Archive],
        default: Archive,
        marks: Mapping[str, str],
        announce: Callable[[str], None],
    ) -> None:
        self.url = f"http://{settings.host}:{settings.ports.proxy}"
        self._settings, self._archives, self._default = settings, archives, default
        self._marks, self._announce = marks, announce
        self._temp: TempFolder | None = None
        self._unpacked: UnpackedArchives | None = None
        self._session = requests.Session()
        self._session.trust_env = False  # HTTP_PROXY would send the requests elsewhere
        self._client = TorchServeClient(
            inference_url=f"http://{LOOPBACK}:{settings.ports.inference}",
            management_url=f"http://{LOOPBACK}:{settings.ports.management}",
            key_file=settings.run_dir / KEY_FILE,
            read_timeout_s=5.0,
        )

    def close(self) -> None:
        """Close connections, and remove the temporary folder."""
        self._session.close()
        self._client.close()
        if self._temp:
            self._temp.remove()

    @property
    def longest_silence_s(self) -> float:
        """Seconds until TorchServe replaces a silent worker and the new one has loaded, at most."""
        return max(each.settings["responseTimeout"] + each.settings["startupTimeout"] for each in self._archives)

    def start_torchserve(self) -> Process:
        """Start TorchServe in a new temporary folder; before a restart, verify the archives again."""
        if self._temp:
            self._temp.remove()
            self._temp = None
            self._archives = self._verify_again()
        self._temp, self._unpacked = TempFolder(), None
        make_private(self._settings.run_dir)  # it may have been removed meanwhile
        launch = torchserve_launch(self._settings, self._archives, self._default, self._temp.path)
        (self._settings.run_dir / KEY_FILE).unlink(missing_ok=True)  # tokens of an earlier launch are invalid
        return Process(
            "TorchServe",
            launch.command(),
            log=self._settings.run_dir / "torchserve.log",
            cwd=self._settings.run_dir,
            env={**launch.environment(), **self._marks},
            removes=self._temp.path,
            alarms=_LOAD_FAILURES,
        )

    def _verify_again(self) -> list[Archive]:
        """Return the archives that have not changed in the store; raise if the default one has."""
        kept = []
        for archive in self._archives:
            try:
                require_unchanged(self._settings.model_store, archive)
            except ModelStoreError as error:
                if archive == self._default:
                    raise
                self._announce(f"version {archive.version} is left out: {error}")
            else:
                kept.append(archive)
        return kept

    def start_proxy(self) -> Process:
        """Start gunicorn."""
        ports = self._settings.ports
        arguments: dict[str, object] = {
            "inference_url": f"http://{LOOPBACK}:{ports.inference}",
            "management_url": f"http://{LOOPBACK}:{ports.management}",
            "key_file": str((self._settings.run_dir / KEY_FILE).resolve()),
            "allowed_origins": self._settings.allowed_origins,
        }
        factory = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return Process(
            "the proxy",
            [
                *(sys.executable, "-m", "gunicorn"),
                *("-c", str(Path(proxy.__file__).parent / "gunicorn.conf.py")),
                *("--bind", f"{self._settings.host}:{ports.proxy}"),
                f"proxy.app:create_app({factory})",
            ],
            log=self._settings.run_dir / "proxy.log",
            cwd=Path.cwd(),
            env={**select_environment(self._settings.pass_env), **self._marks},
        )

    def is_torchserve_ready(self, process: Process) -> bool:
        """Return whether each version has a worker with a loaded model; raise ``ServeError`` if one cannot load it."""
        if process.alarm:
            raise ServeError(f"a worker cannot load its model: {process.alarm.split(' - ', 1)[-1]} (see {process.log})")
        try:
            versions = self._client.describe()
        except UpstreamError:
            return False
        ready = {
            version["modelVersion"]
            for version in versions
            if any(worker["status"] == "READY" for worker in version["workers"])
        }
        is_ready = {archive.version for archive in self._archives} <= ready
        if is_ready and self._temp:
            self._unpacked = UnpackedArchives(self._temp.path, self.registered_versions)
            self._unpacked.find_loss()  # remembers the files
        return is_ready

    def find_loss(self) -> str | None:
        """Return a file that has vanished from the unpacked archives; None if there is none."""
        return self._unpacked.find_loss() if self._unpacked else None

    def is_proxy_ready(self, _: Process) -> bool:
        """Return whether the proxy answers, with or without TorchServe."""
        return self.answers("/healthz")

    def answers(self, path: str) -> bool:
        """Return whether the proxy answers ``path`` with success."""
        try:
            return self._session.get(f"{self.url}{path}", timeout=_TIMEOUT_S).ok
        except requests.RequestException:
            return False

    def is_answering(self, deadline: float) -> bool:
        """Return whether a meme is answered; raise ``ServeError`` after ``deadline``, by ``time.monotonic``."""
        if self.answers("/readyz"):
            return True
        if time.monotonic() > deadline:
            raise ServeError(f"no prediction was answered in time; see {self._settings.run_dir / 'torchserve.log'}")
        return False

    def registered_versions(self) -> set[str] | None:
        """Return the versions that TorchServe serves; None if it does not answer."""
        try:
            return {version["modelVersion"] for version in self._client.describe()}
        except (UpstreamError, KeyError, TypeError):  # the latter two: the answer has another structure
            return None

    def find_fault(self) -> str | None:
        """Return what fails to answer a meme: "the proxy", "TorchServe" or "the model"; None if a meme is answered."""
        if self.answers("/readyz"):
            return None
        if not self.answers("/healthz"):
            return "the proxy"
        return "TorchServe" if self.registered_versions() is None else "the model"
