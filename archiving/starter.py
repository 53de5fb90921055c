"""Archive the starter: the model of real memes that comes with the repository.

Does not know how it was made (the folder starter/ tells), nor how the archive is served.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from archiving.archive import ArchiveError, Card, build_archive

VERSION: Final = "0.2.1"  # after the demo model, before the first that is somebody's own
STARTER_FOLDER: Final = Path(__file__).parents[1] / "starter" / "bundle"


def build_starter(model_store: Path) -> Card:
    """Put the starter into ``model_store`` as version 0.2.1.

    Raises:
        ArchiveError: The version exists already, or only the package is installed and the repository not here.
    """
    if not STARTER_FOLDER.is_dir():
        raise ArchiveError(f"the starter is a part of the repository, and {STARTER_FOLDER} is not there")
    return build_archive(STARTER_FOLDER, VERSION, model_store)
