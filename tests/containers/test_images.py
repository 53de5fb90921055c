"""Build both images and run them: they answer a meme and score a folder, and nothing in them runs as root.

``IMAGE_BUILDER`` names a program for machines without a Docker engine. It is called as ``PROGRAM CONTEXT TAG --target
STAGE`` to build and as ``PROGRAM --run TAG -v HOST:DIR [-- COMMAND]`` to run an image's own command, or another one, on
this machine's network.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
BUILDER = os.environ.get("IMAGE_BUILDER")
PORTS = (5000, 8080, 8081, 8082)
START_TIMEOUT_S = 90.0


def has_docker_engine() -> bool:
    return (
        bool(shutil.which("docker"))
        and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    )


pytestmark = [
    pytest.mark.skipif(BUILDER is None and not has_docker_engine(), reason="neither IMAGE_BUILDER nor a Docker engine"),
    pytest.mark.timeout(1200),
]


def build_command(target: str) -> list[str]:
    tag = f"memeguard-{target}"
    if BUILDER:
        return [BUILDER, str(REPOSITORY), tag, "--target", target]
    return ["docker", "build", "--target", target, "--tag", tag, str(REPOSITORY)]


def run_command(target: str, volumes: dict[Path, str], *command: str) -> list[str]:
    """How an image is run: its own command, unless there is another one."""
    tag = f"memeguard-{target}"
    mounts = [argument for host, folder in volumes.items() for argument in ("-v", f"{host}:{folder}")]
    if BUILDER:
        return [BUILDER, "--run", tag, *mounts, *(["--", *command] if command else [])]
    return ["docker", "run", "--rm", "--network", "host", *mounts, tag, *command]


def make_open_folder(path: Path) -> Path:
    """A folder that the images' user, who is none of this machine's, can write to."""
    path.mkdir()
    path.chmod(0o777)
    return path


@contextmanager
def running(target: str, volumes: dict[Path, str], log: Path) -> Iterator[psutil.Popen]:
    """Run an image's own command; end it, and everything it started, with SIGTERM."""
    with log.open("w") as output:
        process = psutil.Popen(run_command(target, volumes), stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        family = [process, *process.children(recursive=True)]
        for member in reversed(family):
            if member.is_running() and member.name() in {"java", "gunicorn", "python3", "python", "docker"}:
                member.terminate()
        for left_over in psutil.wait_procs(family, timeout=60)[1]:
            left_over.kill()


@pytest.fixture(scope="module")
def images() -> None:
    for target in ("proxy", "torchserve"):
        done = subprocess.run(build_command(target), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def containers(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[psutil.Popen]]:
    """TorchServe and the proxy from their images, sharing only the network and the folder of the token."""
    for port in PORTS:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)), f"port {port} is taken; the images listen on {PORTS}"
    folder = tmp_path_factory.mktemp("containers")
    volumes = {make_open_folder(folder / "run"): "/run/memeguard"}
    with ExitStack() as stack:
        started = [
            stack.enter_context(running(target, volumes, folder / f"{target}.log"))
            for target in ("torchserve", "proxy")
        ]
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            logs = "".join(path.read_text() for path in folder.glob("*.log"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.5)
        yield started


def is_ready() -> bool:
    try:
        return requests.get("http://127.0.0.1:5000/readyz", timeout=10).ok
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize(
    ("text", "prediction"),
    [("when mondays", "Non-offensive"), ("the president is an idiot who told people to drink bleach", "Offensive")],
)
def test_a_meme_is_judged_through_both_containers(containers: list[psutil.Popen], text: str, prediction: str) -> None:
    files = {"image": ("meme.png", (REPOSITORY / "docs/meme.png").read_bytes())}
    response = requests.post("http://127.0.0.1:5000/predict", files=files, data={"text": text}, timeout=30)
    assert response.status_code == 200
    assert response.json()["prediction"] == prediction


@pytest.mark.skipif(BUILDER is None, reason="an engine's processes are not this test's children")
def test_nothing_that_serves_runs_as_root(containers: list[psutil.Popen]) -> None:
    serving = [
        member
        for container in containers
        for member in container.children(recursive=True)
        if any(word in " ".join(member.cmdline()) for word in ("ModelServer", "model_service_worker", "/gunicorn"))
        and "buildah" not in member.name()
    ]
    assert {member.uids().effective for member in serving} == {10001}
    assert len(serving) >= 4


def test_a_token_is_needed_and_readable_to_its_owner_alone(
    containers: list[psutil.Popen], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert requests.get("http://127.0.0.1:8080/ping", timeout=10).status_code == 400
    key_file = next(tmp_path_factory.getbasetemp().glob("containers*/run/key_file.json"))
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert key_file.stat().st_uid == 10001
    read = run_command("proxy", {key_file.parent: "/run/memeguard"}, "cat", "/run/memeguard/key_file.json")
    done = subprocess.run(read, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["inference"]["key"]


def test_a_folder_is_scored_inside_the_image(images: None, tmp_path: Path) -> None:
    memes, out = make_open_folder(tmp_path / "memes"), make_open_folder(tmp_path / "out")
    shutil.copy(REPOSITORY / "docs/meme.png", memes)
    (memes / "meme.txt").write_text("when mondays", "utf-8")
    score = "memeguard score /memes --model /srv/starter_store/meme-*.mar --out /out/scores.csv"
    command = run_command("torchserve", {memes: "/memes", out: "/out"}, "sh", "-c", score)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = csv.DictReader((out / "scores.csv").read_text("utf-8").splitlines())
    assert row["prediction"] == "Non-offensive"
