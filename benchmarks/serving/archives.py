"""Make the model and the archive that are served, and copies of it with other settings in a model store of their own.

Does not know what the settings mean. ``memeguard archive`` makes the first; a copy differs in model-config.yaml alone.
"""

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
    """``benchmarks.serving.model``, in a process of its own, whose memory and threads end with it."""
    command = [sys.executable, "-m", "benchmarks.serving.model", kind, str(folder)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def make_archive(bundle: Path, store: Path, *options: str) -> Path:
    """``memeguard archive`` with ``options``; raises ``CalledProcessError`` where it refuses."""
    command = [sys.executable, "-m", "cli.main", "archive", str(bundle), "--version", _VERSION]
    subprocess.run([*command, "--model-store", str(store), *options], check=True)
    return store / ARCHIVE


def read_settings(archive: Path) -> dict[str, Any]:
    """What model-config.yaml says."""
    with zipfile.ZipFile(archive) as file:
        settings: dict[str, Any] = yaml.safe_load(file.read(_CONFIG))
    return settings


def copy_archive(archive: Path, store: Path, changes: Mapping[str, Any]) -> Path:
    """Copy ``archive`` into the new folder ``store`` with ``changes`` to its settings.

    Args:
        archive: The original.
        store: Made; holds nothing else but its card.
        changes: Members of model-config.yaml. One whose name begins with ``memeguard.`` belongs to that member, and is
            left out where the archive does not know it: it was made by code that has no such setting.
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
    """Lay out code and bundle as a worker finds them."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
