"""Copies of an archive differ in the settings asked for, and in nothing else."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import yaml

from benchmarks.serving.archives import copy_archive, read_settings

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = {"batchSize": 8, "minWorkers": 1, "memeguard": {"repost_cache": 100, "max_pixels": 5}}


def make_archive(folder: Path) -> Path:
    path = folder / "meme-1.0.0.mar"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", "{}")
        file.writestr("model-config.yaml", yaml.safe_dump(_SETTINGS))
        file.writestr("bundle/model.safetensors", bytes(1000))
    return path


def test_only_the_settings_asked_for_change(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    copy = copy_archive(archive, tmp_path / "store", {"batchSize": 16, "memeguard.repost_cache": 0})
    changed = {**_SETTINGS, "batchSize": 16, "memeguard": {"repost_cache": 0, "max_pixels": 5}}
    assert read_settings(copy) == changed
    assert read_settings(archive) == _SETTINGS
    with zipfile.ZipFile(copy) as file, zipfile.ZipFile(archive) as original:
        assert file.namelist() == original.namelist()
        assert all(info.compress_type == zipfile.ZIP_STORED for info in file.infolist())
        assert file.read("bundle/model.safetensors") == original.read("bundle/model.safetensors")


def test_a_setting_the_archive_does_not_know_is_left_out(tmp_path: Path) -> None:
    copy = copy_archive(make_archive(tmp_path), tmp_path / "store", {"memeguard.unheard_of": 1})
    assert read_settings(copy) == _SETTINGS
