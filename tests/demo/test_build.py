"""The demo model is made step by step; an interrupted run is resumed, and what exists is left alone."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import TYPE_CHECKING

import pytest

from demo.drawing import write_demo_data

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # model_archiver/version.py leaves its file open
    from archiving.archive import ArchiveError
    from demo import build

if TYPE_CHECKING:
    from pathlib import Path


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_demo_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer memes and epochs than the real one has, the same steps."""
    monkeypatch.setattr(
        build, "write_demo_data", functools.partial(write_demo_data, num_train=8, num_validation=4, num_test=4)
    )
    monkeypatch.setattr(build, "DEMO_TRAINING", dataclasses.replace(build.DEMO_TRAINING, num_epochs=1))
    folders = [tmp_path / name for name in ("data", "bundle", "store")]

    with monkeypatch.context() as patch:
        patch.setattr(build, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build.build_demo(*folders)
    data = tree_of(tmp_path / "data")
    assert len(data) == 16 + 3
    assert not (tmp_path / "bundle").exists()

    with monkeypatch.context() as patch:
        patch.setattr(build, "build_archive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build.build_demo(*folders)
    bundle = tree_of(tmp_path / "bundle")

    card = build.build_demo(*folders)
    assert (card.version, card.archive, card.backbone) == ("0.1.0", "meme-0.1.0.mar", "tiny")
    assert card.report["data"]["num_memes"] == {"train": 8, "validation": 4}
    assert len(card.report["data"]["sha256"]) == 64
    store = tree_of(tmp_path / "store")
    assert sorted(store) == ["meme-0.1.0.json", "meme-0.1.0.mar"]

    with pytest.raises(ArchiveError, match="exists already"):
        build.build_demo(*folders)
    assert [tree_of(folder) for folder in folders] == [data, bundle, store]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
