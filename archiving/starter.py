"""Archive the starter, the model of real memes that comes with the repository (see the folder starter/)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from archiving.archive import ArchiveError, Card, build_archive

VERSION: Final = "0.2.2"  # above the demo model's, below the first of a user
STARTER_FOLDER: Final = Path(__file__).parents[1] / "starter" / "bundle"


def build_starter(model_store: Path) -> Card:
    """Archive the starter in ``model_store`` as version 0.2.2.

    Raises:
        ArchiveError: The version exists already, or the package is installed without the repository.
    """
    if not STARTER_FOLDER.is_dir():
        raise ArchiveError(f"the starter is a part of the repository, and {STARTER_FOLDER} is not there")
    return build_archive(STARTER_FOLDER, VERSION, model_store)
