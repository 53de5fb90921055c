"""The product itself, started as a person starts it: `memeguard demo`, `memeguard archive`, `memeguard serve`."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from PIL import Image

from benchmarks.ports import PORT_OPTIONS, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
MEMEGUARD = str(Path(sys.executable).with_name("memeguard"))


def run_memeguard(*arguments: object, cwd: Path = REPOSITORY, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [MEMEGUARD, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=280, **options)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running `memeguard serve`."""

    process: psutil.Popen
    ports: dict[str, int]
    run_dir: Path
    ready_line: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['port']}"

    def predict(self, image: bytes | None, text: str | bytes | None, **options: Any) -> requests.Response:
        """POST a meme as a browser would; a part that is None is left out."""
        parts: dict[str, Any] = {}
        if image is not None:
            parts["image"] = ("meme.png", image)
        if text is not None:
            parts["text"] = (None, text)
        return requests.post(f"{self.url}/predict", files=parts or {"nothing": (None, "")}, timeout=30, **options)

    def manage(self, method: str, path: str) -> requests.Response:
        """Ask TorchServe's management API."""
        keys = requests.models.complexjson.loads((self.run_dir / "key_file.json").read_text())
        headers = {"Authorization": f"Bearer {keys['management']['key']}"}
        url = f"http://127.0.0.1:{self.ports['management-port']}{path}"
        return requests.request(method, url, headers=headers, timeout=60)

    def worker_pids(self) -> dict[str, list[int]]:
        """Worker processes by version; a restart changes them."""
        versions = self.manage("GET", "/models/meme/all").json()
        return {each["modelVersion"]: sorted(worker["pid"] for worker in each["workers"]) for each in versions}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, list[psutil.Process]]:
        """Send a signal; return the exit status and what is left of the processes that ran."""
        family = [self.process, *self.process.children(recursive=True)]
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=10)
        return status, alive


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A TMPDIR of the test's own; pytest's is too long for the workers' Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="mg-") as folder:
        yield Path(folder)


@contextmanager
def serving(command: list[str], run_dir: Path, tmp: Path, **options: Any) -> Iterator[Server]:
    """Start a server on free ports and wait for its ready line."""
    ports = dict(zip(PORT_OPTIONS, free_ports(len(PORT_OPTIONS)), strict=True))
    arguments = [*(f"--{name}={port}" for name, port in ports.items()), f"--run-dir={run_dir}"]
    if command[0] == "make":
        arguments = ["ARGS=" + " ".join(arguments)]
    process = psutil.Popen(
        [*command, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready: "):
                break
        else:
            pytest.fail(f"no ready line, but {''.join(lines)}")
        yield Server(process=process, ports=ports, run_dir=run_dir, ready_line=line)
    finally:
        family = [process, *process.children(recursive=True)] if process.is_running() else []
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
        process.stdout.close()
        for left_over in psutil.wait_procs(family, timeout=5)[1]:
            left_over.kill()


def archive(bundle: Path, version: str, store: Path) -> None:
    """Archive a bundle as `memeguard archive` does."""
    done = run_memeguard("archive", bundle, "--version", version, "--model-store", store)
    assert done.returncode == 0, done.stderr


def copy_archive(source: Path, store: Path) -> None:
    """Copy version 0.1.0's archive and its card."""
    for suffix in (".mar", ".json"):
        shutil.copy(source / f"meme-0.1.0{suffix}", store)


@pytest.fixture(scope="session")
def store(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with a small model of random weights as 0.1.0; nobody may change it."""
    folder = tmp_path_factory.mktemp("store")
    archive(bundle_folder, "0.1.0", folder)
    return folder


@pytest.fixture(scope="session")
def server(bundle_folder: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The small model as 0.1.0 and 0.2.0, served side by side; 0.2.0 is the default, being newer."""
    both = tmp_path_factory.mktemp("both")
    copy_archive(store, both)
    archive(bundle_folder, "0.2.0", both)
    command = [MEMEGUARD, "serve", f"--model-store={both}"]
    with (
        tempfile.TemporaryDirectory(prefix="mg-") as tmp,
        serving(command, tmp_path_factory.mktemp("run"), Path(tmp)) as running,
    ):
        yield running
        status, alive = running.stop()
        assert status == 0
        assert alive == []


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Encode a picture, given as an image or as keyword arguments of ``Image.new``."""

    def encode(image_format: str, image: Image.Image | None = None, **save_options: Any) -> bytes:
        buffer = io.BytesIO()
        (image or Image.effect_noise((300, 200), 80).convert("RGB")).save(buffer, image_format, **save_options)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def good_image() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
