"""Make the demo model: draw memes, train on them, archive the result. Steps that are complete are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiving.archive import Card, build_archive, require_new_version
from demo.drawing import write_demo_data
from memeguard.bundle import save_bundle
from memeguard.output_folder import check_writable
from memes.reading import data_hash, read_splits
from training.backbones import TINY
from training.config import TrainingConfig
from training.trainer import train

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "0.1.0"
# The pairs are learnt within a few epochs; more would only cost the time of a new user.
DEMO_TRAINING = TrainingConfig(num_epochs=5)


def build_demo(data: Path, bundle: Path, model_store: Path) -> Card:
    """Put the demo model into ``model_store`` as version 0.1.0; an interrupted run is resumed after its last step.

    Args:
        data: Folder of the drawn memes; used as it is if it exists.
        bundle: Folder of the bundle; used as it is if it exists.
        model_store: Folder of archives.

    Raises:
        ArchiveError: The version exists already.
        OutputError: One of the folders cannot be written.
    """
    require_new_version(VERSION, model_store)
    for folder in (data, bundle, model_store):
        check_writable(folder)
    if not data.exists():
        write_demo_data(data)
    if not bundle.exists():
        result = train(read_splits(data, others=False), TINY, DEMO_TRAINING, data_hash=data_hash(data))
        save_bundle(result.bundle, bundle, report=result.report)
    return build_archive(bundle, VERSION, model_store)
