"""The card of an archive, the JSON file beside it, and the names of both files in the model store."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from archiving.errors import ArchiveError

if TYPE_CHECKING:
    from pathlib import Path

    from archiving.proof import Proof
    from evaluation.functional.summary import FunctionalSummary

MODEL_NAME: Final = "meme"  # as in /predictions/meme
_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known about an archive: the JSON file beside it.

    Attributes:
        version: ``major.minor.patch``.
        archive: Name of the archive's file.
        sha256: SHA-256 of the archive.
        created: Time in UTC, ISO 8601.
        memeguard_version: Version of this code.
        backbone: Name of the backbone.
        backbone_commit: Commit of the backbone on the hub; None for a folder, and for a bundle of an older version.
        backbone_sha256: SHA-256 of the backbone's weights; None for ``tiny``, and for a bundle of an older version.
        threshold: From this probability of being non-offensive on, the answer is "non-offensive".
        operating_point: Name of the operating point that set the threshold; None for the bundle's own threshold.
        operating_points: Thresholds of all operating points, by name.
        num_test_openings: How often the test split had been opened with the bundle before it was archived.
        runtimes: Runtimes of the archive, and how far the answers of each are from the bundle's.
        functional: What the built-in functional test found; None if its captions are too long for the model.
        int8_refused: Why the networks are not quantized although labelled memes were given; None otherwise.
        report: Training report of the bundle.
    """

    version: str
    archive: str
    sha256: str
    created: str
    memeguard_version: str
    backbone: str
    backbone_commit: str | None
    backbone_sha256: str | None
    threshold: float
    operating_point: str | None
    operating_points: dict[str, float]
    num_test_openings: int
    runtimes: dict[str, Proof]
    functional: FunctionalSummary | None
    int8_refused: str | None
    report: dict[str, Any]


def require_new_version(version: str, model_store: Path) -> Path:
    """Return the archive's path; raise ``ArchiveError`` if ``version`` is malformed or exists in ``model_store``."""
    if not _VERSION.fullmatch(version):
        raise ArchiveError(f"version {version!r} is not of the form major.minor.patch, such as 1.0.0")
    archive = model_store / f"{MODEL_NAME}-{version}.mar"
    if archive.exists():
        raise ArchiveError(f"{archive} exists already; a version is never overwritten, choose another one")
    return archive


def publish(card: Card, staged: Path, archive: Path) -> None:
    """Move the archive ``staged`` to its final name ``archive``, then write its card.

    Raises:
        ArchiveError: Another process made the same version meanwhile.
    """
    try:
        os.link(staged, archive)  # a link, unlike a rename, never overwrites
    except FileExistsError as error:
        raise ArchiveError(f"{archive} was made by another process meanwhile; it is not overwritten") from error
    card_path = staged.with_suffix(".json")
    card_path.write_text(json.dumps(dataclasses.asdict(card), indent=2) + "\n", encoding="utf-8")
    card_path.replace(archive.with_suffix(".json"))
