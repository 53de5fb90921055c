"""Make the model and the archive that are served, and copies of it that differ in model-config.yaml alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VERSION: Final = "1.0.0"
_CONFIG: Final = "model-config.yaml"
ARCHIVE: Final = f"meme-{_VERSION}.mar"


def make_model(kind: str, folder: Path) -> None:
    """Run ``benchmarks.serving.model`` in a process of its own, so that its memory and threads end with it."""
    command = [sys.executable, "-m", "benchmarks.serving.model", kind, str(folder)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def make_archive(bundle: Path, store: Path, *options: str) -> Path:
    """Run ``memeguard archive`` with ``options``; raises ``CalledProcessError`` if it fails."""
    command = [sys.executable, "-m", "cli.main", "archive", str(bundle), "--version", _VERSION]
    subprocess.run([*command, "--model-store", str(store), *options], check=True)
    return store / ARCHIVE


def read_settings(archive: Path) -> dict[str, Any]:
    """Read model-config.yaml."""
    with zipfile.ZipFile(archive) as file:
        settings: dict[str, Any] = yaml.safe_load(file.read(_CONFIG))
    return settings


def copy_archive(archive: Path, store: Path, changes: Mapping[str, Any]) -> Path:
    """Copy ``archive`` into the new folder ``store`` with ``changes`` to its settings.

    Args:
        archive: The one to copy.
        store: A new folder, for the copy and its card.
        changes: Members of model-config.yaml. ``memeguard.x`` changes ``x`` in the member ``memeguard``, unless the
            archive lacks it because older code made it.
    """
    settings = read_settings(archive)
    for name, value in changes.items():
        outer, _, inner = name.rpartition(".")
        section = settings[outer] if outer else settings
        if not outer or inner in section:
            section[inner] = value
    store.mkdir(parents=True)
    target = store / archive.name
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for info in source.infolist():
            changed = info.filename == _CONFIG
            file.writestr(info, yaml.safe_dump(settings) if changed else source.read(info), zipfile.ZIP_STORED)
    card = {"sha256": hashlib.sha256(target.read_bytes()).hexdigest()}  # without one it would not be served
    target.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return target


def unpack_archive(archive: Path, folder: Path) -> None:
    """Unpack code and bundle as a worker does."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
