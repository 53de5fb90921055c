"""Count how often the test split was opened with a bundle: choices made after the first time are fitted to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from memeguard.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

OPENINGS: Final = "test_openings.jsonl"


def openings_path(source: Path) -> Path:
    """File of the openings: inside a bundle's folder; beside an archive, as ``<its stem>.test_openings.jsonl``."""
    path = source.resolve()
    return path / OPENINGS if path.is_dir() else path.with_suffix(f".{OPENINGS}")


def record_opening(source: Path, bundle_hash: str, data_hash: str) -> int:
    """Record that the test split was opened with a bundle; return how often it has been opened.

    Args:
        source: The bundle's folder, or an archive.
        bundle_hash: See ``bundle_source.hash_bundle``.
        data_hash: See ``memes.reading.data_hash``.

    Raises:
        BundleError: The record cannot be written, or earlier ones cannot be read.
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
    """Count the openings of the test split with the bundle in ``source``; for an archive, those of its bundle too.

    Raises:
        BundleError: There are records, but they cannot be read.
    """
    path = openings_path(source)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    # A line that a crash truncated still counts if it names the bundle.
    return sum(bundle_hash in line for line in lines) + _count_on_card(source)


def _count_on_card(source: Path) -> int:
    """Openings before the bundle was archived; the card may be lost, or be of an older version."""
    if source.is_dir():
        return 0
    try:
        return int(json.loads(source.resolve().with_suffix(".json").read_bytes())["num_test_openings"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
