"""Find the archives of a model store, verify them, and say which are served, and which by default.

Does not start anything and never opens a bundle: it hashes each archive and reads its manifest and model-config.yaml.
What is in the store when TorchServe unpacks it is what was hashed only as long as nobody writes there in between.
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
        file_name: Of the archive, in the model store.
        sha256: Of the archive, computed when it was found.
        settings: How TorchServe is to run it: members of model-config.yaml.
        is_verified: Whether its card says that it is the archive that was made; else it has no card.
    """

    version: str
    file_name: str
    sha256: str
    settings: dict[str, int]
    is_verified: bool = True

    @property
    def precedence(self) -> tuple[int, ...]:
        """Sorts versions as semantic versioning does: 1.10.0 after 1.9.0."""
        return tuple(int(part) for part in self.version.split("."))


def holds_archive(model_store: Path) -> bool:
    """Whether ``find_archives`` would find anything in ``model_store``, which need not exist."""
    return model_store.is_dir() and any(_FILE_NAME.fullmatch(path.name) for path in model_store.iterdir())


def find_archives(model_store: Path, *, allow_unverified: bool = False) -> list[Archive]:
    """The archives ``meme-<version>.mar`` in ``model_store``, oldest version first.

    Args:
        model_store: Folder of archives and their cards.
        allow_unverified: Accept archives without a card; one that differs from its card is never accepted.

    Raises:
        ModelStoreError: There is none, or one is not what its card says, is damaged, goes beyond a limit, or holds
            another version than its name says. TorchServe would serve the first of these, and skip others with a
            warning and answer with another default.
    """
    if not model_store.is_dir():
        raise ModelStoreError(f"model store {model_store} is not a folder")
    matches = [match for path in model_store.iterdir() if (match := _FILE_NAME.fullmatch(path.name))]
    if not matches:
        raise ModelStoreError(f"model store {model_store} holds no {MODEL_NAME}-<version>.mar")
    archives = [_read_archive(model_store / match[0], match[1], allow_unverified=allow_unverified) for match in matches]
    return sorted(archives, key=lambda archive: archive.precedence)


def require_unchanged(model_store: Path, archive: Archive) -> None:
    """Raise ``ModelStoreError`` unless ``model_store`` still holds ``archive`` as it was found."""
    path = model_store / archive.file_name
    with open_stored(path, model_store, max_bytes=MAX_ARCHIVE_BYTES) as file:
        found, _ = verify_hash(path, file, model_store, allow_missing=not archive.is_verified)
    if found != archive.sha256:
        raise ModelStoreError(f"archive {path} has changed: its sha256 is {found}, and was {archive.sha256}")


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


def _read_archive(path: Path, version: str, *, allow_unverified: bool) -> Archive:
    with open_stored(path, path.parent, max_bytes=MAX_ARCHIVE_BYTES) as file:
        sha256, is_verified = verify_hash(path, file, path.parent, allow_missing=allow_unverified)
        manifest, config = read_members(path, file)
    found, settings = read_settings(path, manifest, config)
    if found != version:
        raise ModelStoreError(f"archive {path} holds version {found!r:.80}, not {version} as its name says")
    return Archive(version=version, file_name=path.name, sha256=sha256, settings=settings, is_verified=is_verified)
