"""Temporary folders of runs that have ended are removed, others are not; lost files are noticed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rollout.temp_folder import TempFolder, remove_abandoned
from rollout.unpacked import UnpackedArchives

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def test_the_folder_of_a_run_that_was_killed_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    script = (
        "import sys, tempfile, time; from rollout.temp_folder import TempFolder; tempfile.tempdir = sys.argv[1]\n"
        "print(TempFolder().path, flush=True); time.sleep(1000)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "tmp")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        (theirs / "models").mkdir()
        assert remove_abandoned() == 0
        assert theirs.exists()
        other.send_signal(signal.SIGKILL)
    ours = TempFolder()
    assert remove_abandoned() == 1
    assert not theirs.exists()
    assert ours.path.exists()
    ours.remove()
    assert not ours.path.exists()


def test_what_is_not_certainly_ours_is_kept(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / ".memeguard").touch()
    (tmp_path / "tmp" / "memeguard-without-mark").mkdir()
    (tmp_path / "tmp" / "memeguard-file").touch()
    (tmp_path / "tmp" / "memeguard-link").symlink_to(tmp_path / "precious")
    assert remove_abandoned() == 0
    assert (tmp_path / "precious").exists()
    assert len(list((tmp_path / "tmp").iterdir())) == 3


@pytest.mark.skipif(os.getuid() != 0, reason="needs two users")
def test_another_users_folder_is_kept() -> None:
    folder = TempFolder()
    os.chown(folder.path, 65534, 65534)
    os.close(folder.lock)
    assert remove_abandoned() == 0


def unpack(temp: Path, folder: str, version: str) -> Path:
    model = temp / "models" / folder
    (model / "MAR-INF").mkdir(parents=True)
    (model / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": {"modelVersion": version}}))
    (model / "bundle").mkdir()
    (model / "bundle" / "config.json").touch()
    return model


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    one = unpack(tmp_path, "one", "1.0.0")
    archives = UnpackedArchives(tmp_path, lambda: {"1.0.0"})
    assert archives.find_loss() is None
    (one / "bundle" / "config.json").unlink()
    assert archives.find_loss() == f"{one}/bundle/config.json of version 1.0.0"
    assert archives.find_loss() is not None  # as long as nobody does anything about it


@pytest.mark.parametrize("what", ["models", "models/one"])
def test_a_folder_that_vanishes_is_noticed(tmp_path: Path, what: str) -> None:
    unpack(tmp_path, "one", "1.0.0")
    archives = UnpackedArchives(tmp_path, lambda: {"1.0.0"})
    archives.find_loss()
    shutil.rmtree(tmp_path / what)
    assert "of version 1.0.0" in str(archives.find_loss())


def test_a_version_that_torchserve_lets_go_may_vanish(tmp_path: Path) -> None:
    for folder, version in (("one", "1.0.0"), ("two", "2.0.0")):
        unpack(tmp_path, folder, version)
    registered: set[str] | None = None
    archives = UnpackedArchives(tmp_path, lambda: registered)
    archives.find_loss()
    shutil.rmtree(tmp_path / "models" / "one")
    assert archives.find_loss() is None  # TorchServe does not say
    registered = {"2.0.0"}
    assert archives.find_loss() is None
    registered = {"1.0.0", "2.0.0"}
    assert archives.find_loss() is None  # forgotten


def test_pythons_cache_may_come_and_go(tmp_path: Path) -> None:
    cache = unpack(tmp_path, "one", "1.0.0") / "__pycache__"
    cache.mkdir()
    (cache / "handler.pyc").touch()
    archives = UnpackedArchives(tmp_path, lambda: {"1.0.0"})
    archives.find_loss()
    shutil.rmtree(cache)
    assert archives.find_loss() is None


def test_a_version_that_is_registered_later_is_watched_too(tmp_path: Path) -> None:
    archives = UnpackedArchives(tmp_path, lambda: {"1.0.0"})
    assert archives.find_loss() is None
    one = unpack(tmp_path, "one", "1.0.0")
    assert archives.find_loss() is None
    shutil.rmtree(one)
    assert archives.find_loss() is not None
