"""Notice when an unpacked archive loses files, as when a program cleans temporary folders.

A running worker keeps its model in memory, but a restarted one could never load it again.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MANIFEST = "MAR-INF/MANIFEST.json"


class UnpackedArchives:
    """The archives that TorchServe has unpacked in its temporary folder.

    Args:
        temp_dir: TorchServe's temporary folder.
        registered_versions: Returns the versions that TorchServe serves, or None if it does not answer. The files of
            other versions may vanish.
    """

    def __init__(self, temp_dir: Path, registered_versions: Callable[[], set[str] | None]) -> None:
        self._models = temp_dir / "models"
        self._registered_versions = registered_versions
        self._known: dict[str, tuple[str, set[str]]] = {}

    def find_loss(self) -> str | None:
        """Return a file of a registered version that has vanished since an earlier call; None if there is none."""
        found = self._list()
        lost = {
            folder: (version, files - found.get(folder, set()))
            for folder, (version, files) in self._known.items()
            if files - found.get(folder, set())
        }
        if lost:
            registered = self._registered_versions()
            if registered is None:
                return None  # ask again at the next call
            for folder, (version, files) in lost.items():
                if version in registered:
                    return f"{self._models / folder / min(files)} of version {version}"
        self._known = {folder: (version, found[folder]) for folder, version in self._versions(found).items()}
        return None

    def _list(self) -> dict[str, set[str]]:
        with contextlib.suppress(OSError):
            return {entry.name: set(_list_files(entry.path)) for entry in os.scandir(self._models) if entry.is_dir()}
        return {}

    def _versions(self, found: dict[str, set[str]]) -> dict[str, str]:
        """Return the version in each folder; a folder that is being unpacked has none yet."""
        versions = {folder: version for folder, (version, _) in self._known.items() if folder in found}
        for folder in found.keys() - versions.keys():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                manifest = json.loads((self._models / folder / _MANIFEST).read_bytes())
                versions[folder] = manifest["model"]["modelVersion"]
        return versions


def _list_files(folder: str) -> list[str]:
    """Return the files below ``folder``, relative to it, without Python's cache, which may change."""
    files = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if name != "__pycache__"]
        files += [os.path.relpath(os.path.join(parent, name), folder) for name in names]  # noqa: PTH118 - as os.walk
    return files
