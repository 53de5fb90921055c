"""Make the demo model: draw memes, train on them, archive the result. Each step that is done already is skipped.

Does not know how the archive is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiving.archive import Card, build_archive, require_new_version
from demo.drawing import write_demo_data
from memeguard.bundle import save_bundle
from memes.reading import data_hash, read_splits
from training.backbones import TINY
from training.config import TrainingConfig
from training.trainer import train

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "0.1.0"
# The pairs are learnt within a few epochs; more would only cost a newcomer's time.
DEMO_TRAINING = TrainingConfig(num_epochs=5)


def build_demo(data: Path, bundle: Path, model_store: Path) -> Card:
    """Put the demo model into ``model_store`` as version 0.1.0; interrupted, it goes on where it was.

    Raises:
        ArchiveError: The version exists already.
    """
    require_new_version(VERSION, model_store)
    if not data.exists():
        write_demo_data(data)
    if not bundle.exists():
        result = train(read_splits(data, others=False), TINY, DEMO_TRAINING, data_hash=data_hash(data))
        save_bundle(result.bundle, bundle, report=result.report)
    return build_archive(bundle, VERSION, model_store)
