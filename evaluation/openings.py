"""Count how often the test split was opened with a bundle: every choice made after the first time is fitted to it.

Does not know what was done with the split.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from memeguard.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

OPENINGS: Final = "test_openings.jsonl"


def openings_path(source: Path) -> Path:
    """Where openings are kept: inside a bundle's folder; beside an archive, as ``<its stem>.test_openings.jsonl``."""
    path = source.resolve()
    return path / OPENINGS if path.is_dir() else path.with_suffix(f".{OPENINGS}")


def record_opening(source: Path, bundle_hash: str, data_hash: str) -> int:
    """Note that the test split was opened with a bundle; return how often it has been by now.

    Args:
        source: The bundle's folder, or an archive.
        bundle_hash: See ``bundle_source.hash_bundle``.
        data_hash: Which data it was opened in.

    Raises:
        BundleError: The note cannot be written, or earlier ones cannot be read.
    """
    path = openings_path(source)
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "bundle": bundle_hash, "data": data_hash}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror}") from error
    return count_openings(source, bundle_hash)


def count_openings(source: Path, bundle_hash: str) -> int:
    """How often the test split was opened with the bundle in ``source``; of an archive also before it was one.

    Raises:
        BundleError: There are notes, but they cannot be read.
    """
    path = openings_path(source)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    # A line that a crash cut short may still name the bundle: it was opened all the same.
    return sum(bundle_hash in line for line in lines) + _count_on_card(source)


def _count_on_card(source: Path) -> int:
    """What an archive's card knows of the time before; an archive may have lost its card, or have an older one."""
    if source.is_dir():
        return 0
    try:
        return int(json.loads(source.resolve().with_suffix(".json").read_bytes())["num_test_openings"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
