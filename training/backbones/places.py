"""A place that holds the files of a backbone, such as a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from memeguard.errors import MemeguardError

COMPACT: Final = "compact"
COMPACT_FOLDER: Final = Path(__file__).parents[2] / "starter" / "compact"


class BackboneError(MemeguardError):
    """A backbone that cannot be loaded, or is of a kind that is not supported."""


class Source(NamedTuple):
    """The weights of a backbone.

    Attributes:
        name: The name to load exactly these weights again. For a hub id this is ``NAME@COMMIT``.
        commit: Commit of the repository on the hub; None for a folder.
        weights_sha256: SHA-256 of the safetensors; None for a backbone made from scratch.
    """

    name: str
    commit: str | None
    weights_sha256: str | None

    def to_json(self) -> dict[str, str | None]:
        """What a report and a checkpoint say about the weights."""
        return {"backbone_commit": self.commit, "backbone_sha256": self.weights_sha256}


class Place(Protocol):
    """Where the files of one backbone are; they may have to be downloaded."""

    @property
    def name(self) -> str:
        """Name by which the user calls the backbone."""

    def find(self, file: str, *, may_lack: bool = False) -> Path | None:
        """Return the path of ``file`` on this machine, or None if the backbone does not have it.

        With ``may_lack``, also return None if the backbone may not have it and the hub cannot be asked.
        """

    def explain_missing_weights(self) -> str:
        """Say why there are no safetensors, and what to do."""


@dataclass(frozen=True)
class LocalFolder:
    """A local folder in the hub's layout."""

    name: str
    path: Path

    def find(self, file: str, *, may_lack: bool = False) -> Path | None:  # noqa: ARG002 - a folder is always known
        """Return the path of ``file``, or None if there is no such regular file."""
        path = self.path / file
        return path if path.is_file() else None

    def explain_missing_weights(self) -> str:
        """Say that the folder has no safetensors."""
        return f"{self.path} has no file named model.safetensors, and pickles such as pytorch_model.bin are never read"
