"""The synthetic memes: balanced so that neither modality decides, the same for the same seed, whole or not there."""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from demo import drawing
from demo.drawing import DIRECT, INVERTED, draw_demo_memes, write_demo_data
from evaluation.functional.motifs import CANVAS, MOTIFS, PLEASANT, UNPLEASANT, draw_motif
from memeguard.output_folder import OutputError
from memes.meme import Label
from memes.reading import read_splits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def compose(num: int, seed: int) -> list[tuple[str, str, Label]]:
    rows = drawing._compose(random.Random(seed))
    return [next(rows) for _ in range(num)]


def tree_of(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def corner_colour(data: bytes) -> NDArray[np.float64]:
    pixels_HWC = np.asarray(Image.open(io.BytesIO(data)), dtype=np.float64)
    return np.asarray(pixels_HWC[::159, ::159].mean((0, 1)))


def test_a_meme_offends_when_exactly_one_of_picture_and_caption_does() -> None:
    rows = compose(400, seed=0)
    assert {motif for motif, _, _ in rows} == set(PLEASANT + UNPLEASANT)
    assert {caption for _, caption, _ in rows} == set(DIRECT + INVERTED)
    for motif, caption, label in rows:
        offends = (motif in UNPLEASANT and caption in DIRECT) or (motif in PLEASANT and caption in INVERTED)
        assert label is (Label.OFFENSIVE if offends else Label.NON_OFFENSIVE)


@pytest.mark.parametrize("num", [4, 12, 300])
def test_neither_motif_nor_caption_tells_the_label(num: int) -> None:
    rows = compose(num, seed=1)
    for column in (0, 1):
        counts = Counter((row[column], row[2]) for row in rows)
        assert all(counts[value, Label.OFFENSIVE] == counts[value, Label.NON_OFFENSIVE] for value, _ in counts)


def test_motifs_and_captions_are_about_equally_frequent() -> None:
    rows = compose(300, seed=2)
    for column, limit in ((0, 2), (1, 2)):
        frequency = Counter(row[column] for row in rows).values()
        assert max(frequency) - min(frequency) <= limit


def test_every_motif_and_every_caption_has_one_meaning() -> None:
    assert sorted(MOTIFS) == sorted([*PLEASANT, *UNPLEASANT])
    assert len({*DIRECT, *INVERTED}) == len(DIRECT) + len(INVERTED)


@pytest.mark.parametrize("name", MOTIFS)
def test_a_motif_fills_its_canvas_and_leaves_the_rest_transparent(name: str) -> None:
    picture = draw_motif(name, random.Random(0))
    left, top, right, bottom = picture.getchannel("A").getbbox() or (0, 0, 0, 0)
    assert picture.mode == "RGBA"
    assert min(right - left, bottom - top) > CANVAS * 0.55
    assert picture.getpixel((0, CANVAS - 1)) == (255, 255, 255, 0)


def test_drawn_memes_carry_the_balanced_captions() -> None:
    memes = draw_demo_memes(40, seed=5)
    counts = Counter((caption, label) for _, caption, label in memes)
    assert {label for _, label in counts} == set(Label)
    assert all(counts[caption, Label.OFFENSIVE] == counts[caption, Label.NON_OFFENSIVE] for caption, _ in counts)


def test_drawn_memes_are_shuffled() -> None:
    """In the order of the blocks, labels would repeat every four rows."""
    labels = [label for _, _, label in draw_demo_memes(40, seed=5)]
    assert any(labels[start : start + 4] != labels[:4] for start in range(4, 40, 4))


def test_no_picture_is_drawn_twice() -> None:
    pictures = [Image.open(io.BytesIO(data)) for data, _, _ in draw_demo_memes(48, seed=0)]
    assert {picture.size for picture in pictures} == {(160, 160)}
    assert {picture.mode for picture in pictures} == {"RGB"}
    assert {picture.format for picture in pictures} == {"PNG", "JPEG"}
    assert len({picture.tobytes() for picture in pictures}) == 48


def test_background_colour_does_not_tell_the_label() -> None:
    """The mean colour of the corners differs no more between labels than chance allows."""
    memes = draw_demo_memes(200, seed=0)
    corners = {
        label: np.stack([corner_colour(data) for data, _, its_label in memes if its_label is label]) for label in Label
    }
    difference = abs(corners[Label.OFFENSIVE].mean(0) - corners[Label.NON_OFFENSIVE].mean(0))
    standard_error = np.sqrt(sum(values.var(0) / len(values) for values in corners.values()))
    assert (difference < 4 * standard_error).all()


def test_a_rendered_caption_stands_in_the_picture() -> None:
    """White letters with a black edge, at the top and at the bottom."""
    for data, _, _ in draw_demo_memes(8, seed=0, render=True):
        pixels_HWC = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert pixels_HWC.shape == (320, 320, 3)
        for band in (pixels_HWC[:48], pixels_HWC[-48:]):
            assert (band.min(-1) > 235).sum() > 100
            assert (band.max(-1) < 40).sum() > 100


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert draw_demo_memes(8, seed=3) == draw_demo_memes(8, seed=3)
    assert draw_demo_memes(8, seed=3) != draw_demo_memes(8, seed=4)


@pytest.mark.parametrize("num", [0, -4, 2, 301])
def test_counts_that_cannot_balance_are_refused(num: int, tmp_path: Path) -> None:
    message = f"is {num}; it must be a positive multiple of 4"
    with pytest.raises(ValueError, match=f"num {message}"):
        draw_demo_memes(num, seed=0)
    with pytest.raises(ValueError, match=f"num_test {message}"):
        write_demo_data(tmp_path / "demo", num_train=4, num_validation=4, num_test=num)
    assert not list(tmp_path.iterdir())


def test_a_written_folder_is_read_back(tmp_path: Path) -> None:
    write_demo_data(tmp_path / "a" / "demo", num_train=24, num_validation=8, num_test=4)
    splits = read_splits(tmp_path / "a" / "demo", required=("train", "validation", "test"))
    assert {split: len(memes) for split, memes in splits.items()} == {"train": 24, "validation": 8, "test": 4}
    for memes in splits.values():
        assert sum(meme.label for meme in memes) == len(memes) / 2
    drawn = draw_demo_memes(24, seed=0)
    assert [(m.image_path.read_bytes(), m.text, m.label) for m in splits["train"]] == drawn


def test_labels_are_spelled_as_multioff_spells_them(tmp_path: Path) -> None:
    write_demo_data(tmp_path / "demo", num_train=4, num_validation=4, num_test=4)
    lines = (tmp_path / "demo" / "Split Dataset" / "Training_meme_dataset.csv").read_text("utf-8").splitlines()
    assert lines[0] == "image_name,sentence,label"
    assert sorted(line.rpartition(",")[2] for line in lines[1:]) == ["Non-offensiv"] * 2 + ["offensive"] * 2


def test_the_same_seed_writes_the_same_folder(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        write_demo_data(tmp_path / name, seed=seed, num_train=8, num_validation=4, num_test=4)
    assert tree_of(tmp_path / "one") == tree_of(tmp_path / "two") != tree_of(tmp_path / "three")


def test_no_picture_occurs_in_two_splits(tmp_path: Path) -> None:
    write_demo_data(tmp_path / "demo", num_train=8, num_validation=8, num_test=8)
    assert len(set(tree_of(tmp_path / "demo").values())) == 24 + 3


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    write_demo_data(tmp_path / "demo", num_train=4, num_validation=4, num_test=4)
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["Labelled Images", "Split Dataset"]


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(
        OutputError, match=r"full is not empty: it contains 'mine\.txt'; choose a new or an empty folder"
    ):
        write_demo_data(tmp_path / "full")
    with pytest.raises(OutputError, match=r"mine\.txt cannot be written: Not a directory"):
        write_demo_data(tmp_path / "full" / "mine.txt")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_split = drawing._write_split

    def stop_at_test(directory: Path, split: str, memes: list[tuple[bytes, str, Label]]) -> None:
        if split == "test":
            raise KeyboardInterrupt
        write_split(directory, split, memes)

    monkeypatch.setattr(drawing, "_write_split", stop_at_test)
    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path / "demo", num_train=4, num_validation=4, num_test=4)
    assert not list(tmp_path.iterdir())
