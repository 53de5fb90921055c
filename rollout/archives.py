"""Find the archives of a model store, verify them, and choose the default version.

Of each archive, the hash is computed, and the manifest and model-config.yaml are read. Nobody may write to the store
between this check and TorchServe's unpacking.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollout.archive_check import MAX_ARCHIVE_BYTES, read_members, verify_hash
from rollout.archive_settings import read_settings
from rollout.store_files import ModelStoreError, open_stored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL_NAME = "meme"
_FILE_NAME = re.compile(rf"{MODEL_NAME}-(\d+\.\d+\.\d+)\.mar", re.ASCII)

__all__ = [
    "Archive",
    "ModelStoreError",
    "choose_default",
    "find_archives",
    "holds_archive",
    "make_snapshot",
    "require_unchanged",
]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One version in the model store.

    Attributes:
        version: ``major.minor.patch``.
        file_name: Name of the archive in the model store.
        sha256: Hash of the archive, computed when it was found.
        settings: Members of model-config.yaml, for TorchServe.
        is_verified: Whether a card confirms the hash; if not, the archive has no card.
    """

    version: str
    file_name: str
    sha256: str
    settings: dict[str, int]
    is_verified: bool = True

    @property
    def precedence(self) -> tuple[int, ...]:
        """A key that sorts versions as semantic versioning does: 1.10.0 after 1.9.0."""
        return tuple(int(part) for part in self.version.split("."))


def holds_archive(model_store: Path) -> bool:
    """Return whether ``find_archives`` would find an archive in ``model_store``, which need not exist."""
    return model_store.is_dir() and any(_FILE_NAME.fullmatch(path.name) for path in model_store.iterdir())


def find_archives(model_store: Path, *, allow_unverified: bool = False) -> list[Archive]:
    """Return the archives ``meme-<version>.mar`` in ``model_store``, oldest version first.

    Args:
        model_store: Folder of archives and their cards.
        allow_unverified: Accept archives without a card. An archive that differs from its card is always refused.

    Raises:
        ModelStoreError: There is no archive; or one differs from its card, is damaged, exceeds a limit, or holds
            another version than its name says. TorchServe would serve some of these, and skip others with a warning.
    """
    if not model_store.is_dir():
        raise ModelStoreError(f"model store {model_store} is not a folder")
    matches = [match for path in model_store.iterdir() if (match := _FILE_NAME.fullmatch(path.name))]
    if not matches:
        raise ModelStoreError(f"model store {model_store} holds no {MODEL_NAME}-<version>.mar")
    archives = [_read_archive(model_store / match[0], match[1], allow_unverified=allow_unverified) for match in matches]
    return sorted(archives, key=lambda archive: archive.precedence)


def require_unchanged(model_store: Path, archive: Archive) -> None:
    """Raise ``ModelStoreError`` if ``archive`` has changed in ``model_store`` since it was found."""
    path = model_store / archive.file_name
    with open_stored(path, model_store, max_bytes=MAX_ARCHIVE_BYTES) as file:
        found, _ = verify_hash(path, file, model_store, allow_missing=not archive.is_verified)
    if found != archive.sha256:
        raise ModelStoreError(f"archive {path} has changed: its sha256 is {found}, it was {archive.sha256}")


def choose_default(archives: Sequence[Archive], version: str | None = None) -> Archive:
    """Return the archive that answers /predictions/meme: ``version``, or the newest if None."""
    if version is None:
        return max(archives, key=lambda archive: archive.precedence)
    for archive in archives:
        if archive.version == version:
            return archive
    known = ", ".join(archive.version for archive in archives)
    raise ModelStoreError(f"default version {version} is not in the model store; it holds {known}")


def make_snapshot(archives: Sequence[Archive], default: Archive) -> str:
    """Return TorchServe's ``model_snapshot``: the archives to load, their settings, and the default version.

    ``load_models=all`` would read the folder in no particular order and make the first archive the default.
    """
    # The default comes first, because TorchServe drops the rest of a snapshot after an archive that does not register.
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


def _read_archive(path: Path, version: str, *, allow_unverified: bool) -> Archive:
    with open_stored(path, path.parent, max_bytes=MAX_ARCHIVE_BYTES) as file:
        sha256, is_verified = verify_hash(path, file, path.parent, allow_missing=allow_unverified)
        manifest, config = read_members(path, file)
    found, settings = read_settings(path, manifest, config)
    if found != version:
        raise ModelStoreError(f"archive {path} holds version {found!r:.80}, not {version} as its name says")
    return Archive(version=version, file_name=path.name, sha256=sha256, settings=settings, is_verified=is_verified)
