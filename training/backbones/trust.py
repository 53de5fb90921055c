"""Record the weights of each commit of a backbone at their first use, and refuse other weights of the same commit."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock
from tqdm import tqdm

from memes.atomic_file import write_whole_json
from training.backbones.places import BackboneError

if TYPE_CHECKING:
    from pathlib import Path

    from training.backbones.weights import Weights

RECORD: Final = "backbones.json"


def check_first_seen(folder: Path, repo_id: str, commit: str, weights: Weights) -> None:
    """Compare ``weights`` with the recorded ones of the same commit; record them if there are none.

    Args:
        folder: Folder of the record, a JSON file.
        repo_id: Repository on the hub.
        commit: Commit of the repository.
        weights: Weights that were read now.

    Raises:
        BackboneError: The weights differ, or the record is damaged.
    """
    record, key = folder / RECORD, f"{repo_id}@{commit}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{RECORD}.lock"):
            seen = _read(record)
            if key not in seen:
                entry = {"sha256": weights.sha256, "num_bytes": weights.num_bytes, "first_seen": _now()}
                write_whole_json(record, {**seen, key: entry})
                return
    except OSError as error:  # such as a folder that may not be written to
        tqdm.write(f"warning: the weights of {key} are not recorded in {record}: {error}", file=sys.stderr)
        return
    if (known := seen[key]["sha256"]) != weights.sha256:
        raise BackboneError(
            f"backbone {key} has other weights than before: their sha256 is {weights.sha256}, on "
            f"{seen[key].get('first_seen')} it was {known}. A commit never changes: somebody changed the hub's answer "
            f"or this machine's cache. Remove the entry from {record} only if you know why"
        )


def _read(record: Path) -> dict[str, dict[str, Any]]:
    if not record.exists():
        return {}
    try:
        seen = json.loads(record.read_text("utf-8"))
        if all(isinstance(entry["sha256"], str) for entry in seen.values()):
            return dict(seen)
        raise TypeError("a hash is not a string")  # noqa: TRY301 - reported like other damage
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackboneError(
            f"{record}, which remembers the weights of backbones, is damaged: {error!r}; remove it to start again"
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
