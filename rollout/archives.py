"""Find the archives of a model store and say which are served, and which by default.

Does not start anything and never opens a bundle: it reads manifest and model-config.yaml of each archive.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL_NAME = "meme"
_FILE_NAME = re.compile(rf"{MODEL_NAME}-(\d+\.\d+\.\d+)\.mar", re.ASCII)
_SNAPSHOT_SETTINGS = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout")


class ModelStoreError(Exception):
    """A model store from which nothing can be served, and why."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One version in the model store and how TorchServe is to run it (members of model-config.yaml)."""

    version: str
    file_name: str
    settings: dict[str, int]

    @property
    def precedence(self) -> tuple[int, ...]:
        """Sorts versions as semantic versioning does: 1.10.0 after 1.9.0."""
        return tuple(int(part) for part in self.version.split("."))


def holds_archive(model_store: Path) -> bool:
    """Whether ``find_archives`` would find anything in ``model_store``, which need not exist."""
    return model_store.is_dir() and any(_FILE_NAME.fullmatch(path.name) for path in model_store.iterdir())


def find_archives(model_store: Path) -> list[Archive]:
    """The archives ``meme-<version>.mar`` in ``model_store``, oldest version first.

    Raises:
        ModelStoreError: There is none, or one is damaged or holds another version than its name says. Served as it
            is, TorchServe would skip it with a warning and answer with another default.
    """
    if not model_store.is_dir():
        raise ModelStoreError(f"model store {model_store} is not a folder")
    matches = [match for path in model_store.iterdir() if (match := _FILE_NAME.fullmatch(path.name))]
    if not matches:
        raise ModelStoreError(f"model store {model_store} holds no {MODEL_NAME}-<version>.mar")
    archives = [_read_archive(model_store / match[0], match[1]) for match in matches]
    return sorted(archives, key=lambda archive: archive.precedence)


def choose_default(archives: Sequence[Archive], version: str | None = None) -> Archive:
    """The archive that answers /predictions/meme: ``version``, or else the newest one."""
    if version is None:
        return max(archives, key=lambda archive: archive.precedence)
    for archive in archives:
        if archive.version == version:
            return archive
    known = ", ".join(archive.version for archive in archives)
    raise ModelStoreError(f"default version {version} is not in the model store; it holds {known}")


def make_snapshot(archives: Sequence[Archive], default: Archive) -> str:
    """TorchServe's ``model_snapshot``: which archives it loads, with what settings, and which is the default.

    ``load_models=all`` would read the folder in no order and make the first one the default.
    """
    # The default goes first: TorchServe gives up the rest of a snapshot at the first archive that does not register.
    ordered = [default, *(archive for archive in archives if archive != default)]
    versions = {
        archive.version: {
            "defaultVersion": archive == default,
            "marName": archive.file_name,
            **archive.settings,
        }
        for archive in ordered
    }
    return json.dumps({"name": "startup.cfg", "modelCount": len(versions), "models": {MODEL_NAME: versions}})


def _read_archive(path: Path, version: str) -> Archive:
    try:
        with zipfile.ZipFile(path) as file:
            manifest = json.loads(file.read("MAR-INF/MANIFEST.json"))
            config = yaml.safe_load(file.read("model-config.yaml"))
        found = manifest["model"]["modelVersion"]
        settings = {name: config.get(name) for name in _SNAPSHOT_SETTINGS}
    except Exception as error:  # zipfile, zlib, json and yaml: each has exceptions of its own
        raise ModelStoreError(f"archive {path} is damaged: {error!r}") from error
    if found != version:
        raise ModelStoreError(f"archive {path} holds version {found}, not {version} as its name says")
    for name, value in settings.items():
        if type(value) is not int:  # TorchServe would only warn of a wrong type
            raise ModelStoreError(f"archive {path}: {name} is {value!r} in model-config.yaml, not a number")
    return Archive(version=version, file_name=path.name, settings=settings)
