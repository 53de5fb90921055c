"""Where no GPU is found, torch comes from an index of CPU builds; a silent or missing index delays nobody.

The index is a real one on loopback, its torch a wheel of a few hundred bytes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
VERSION = next(
    line.removeprefix("torch==")
    for line in (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    if line.startswith("torch==")
)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An index that holds torch's CPU build and nothing else."""
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder / "torch")
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def write_wheel(folder: Path) -> None:
    folder.mkdir()
    info = f"torch-{VERSION}+cpu.dist-info"
    with zipfile.ZipFile(folder / f"torch-{VERSION}+cpu-py3-none-any.whl", "w") as wheel:
        wheel.writestr("torch/__init__.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}+cpu\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of an empty environment, which lacks even pip."""
    return make_environment(tmp_path / "venv", "--without-pip")


def make_environment(folder: Path, *options: str) -> Path:
    subprocess.run([sys.executable, "-m", "venv", *options, str(folder)], check=True)
    return folder / "bin" / "python"


def install(python: Path, *index: str, **environment: str) -> str:
    """Run the script with nothing of this machine's pip settings; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [REPOSITORY / ".ci/install-cpu-torch", python, *index],
        env=kept | {"PIP_CONFIG_FILE": os.devnull, "no_proxy": "127.0.0.1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed_torch(python: Path) -> str:
    question = "import importlib.metadata as m; print(next((d.version for d in m.distributions(name='torch')), ''))"
    return subprocess.run([python, "-c", question], capture_output=True, text=True, check=True).stdout.strip()


def test_the_cpu_build_is_installed_once(index: str, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv")
    assert index in install(python, index, CPU_ONLY="1")
    assert installed_torch(python) == f"{VERSION}+cpu"
    assert install(python, index, CPU_ONLY="1") == ""


def test_an_installation_that_fails_stops_nobody(python: Path, index: str) -> None:
    assert "not installed from" in install(python, index, CPU_ONLY="1")


def test_with_a_gpu_pip_decides(python: Path, index: str, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: H100'\n", "ascii")
    (programs / "nvidia-smi").chmod(0o755)
    assert install(python, index, PATH=f"{programs}:{os.environ['PATH']}") == ""
    assert installed_torch(python) == ""


def test_without_an_index_pip_decides(python: Path) -> None:
    assert install(python, "", CPU_ONLY="1") == install(python, CPU_ONLY="1") == ""


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "closed"])
def test_an_index_that_does_not_answer_is_left_out(python: Path, is_silent: bool) -> None:  # noqa: FBT001
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        if is_silent:
            listener.listen()
        begin = time.monotonic()
        said = install(python, f"http://127.0.0.1:{listener.getsockname()[1]}", CPU_ONLY="1")
    assert "does not answer" in said
    assert time.monotonic() - begin < 30  # pip by itself would retry for minutes
    assert installed_torch(python) == ""
