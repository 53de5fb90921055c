"""Data folders that hang a reader, fill the memory, or lead it elsewhere; and leaving out what is faulty."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from memeguard.regular_file import MAX_PICTURE_BYTES
from memes.meme import DataError
from memes.pictures import stream_pictures
from memes.reading import Skipping, data_hash, read_splits
from memes.text_file import MAX_LINE_BYTES, MAX_LISTING_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

NUM = 6


def sparse(path: Path, num_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(num_bytes)


# What takes a file's place, and what is said of it.
PLACED: list[tuple[Callable[[Path], object], str]] = [
    (os.mkfifo, "not a regular file but a named pipe"),
    (lambda path: path.symlink_to("/dev/zero"), "not a regular file but a device"),
    (lambda path: path.symlink_to("/etc/hostname"), "a link that leaves the folder "),
    (lambda path: path.symlink_to("../secret.png"), "a link that leaves the folder "),
    (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    (Path.mkdir, "Is a directory"),
    (lambda path: sparse(path, MAX_LISTING_BYTES + 1), f"has {MAX_LISTING_BYTES + 1} bytes; the limit is "),
]
IDS = ["pipe", "device", "file elsewhere", "picture elsewhere", "loop", "folder", "sparse"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder beside a picture that is none of its business."""
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "secret.png")
    for split in ("train", "validation"):
        rows = [f"{split}-{number}.png,caption {number},{number % 2}\n" for number in range(NUM)]
        (folder / f"{split}.csv").write_text("path,text,label\n" + "".join(rows), "utf-8")
        for number in range(NUM):
            Image.effect_noise((32, 32), 40).convert("RGB").save(folder / f"{split}-{number}.png")
    return folder


def row_errors_of(folder: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_splits(folder)
    return list(caught.value.row_errors)


@pytest.mark.parametrize(("place", "reason"), PLACED, ids=IDS)
def test_a_picture_that_is_no_file_of_the_folder_is_a_row_error(
    folder: Path, place: Callable[[Path], object], reason: str
) -> None:
    path = folder / "train-2.png"
    path.unlink()
    place(path)
    (row_error,) = row_errors_of(folder)
    assert row_error.startswith(f"{folder}/train.csv, row 4: unreadable picture, 'train-2.png': {reason}")


@pytest.mark.parametrize(("place", "reason"), PLACED, ids=IDS)
def test_a_listing_that_is_no_file_of_the_folder_is_refused(
    folder: Path, place: Callable[[Path], object], reason: str
) -> None:
    path = folder / "train.csv"
    path.unlink()
    place(path)
    (row_error,) = row_errors_of(folder)
    assert row_error.startswith(f"{path}: unreadable file, {reason}")
    with pytest.raises(DataError, match="unreadable file"):
        data_hash(folder)


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    (folder / "train-2.png").unlink()
    (folder / "train-2.png").symlink_to("train-1.png")
    (folder / "train.csv").rename(folder / "listing")
    (folder / "train.csv").symlink_to("listing")
    assert len(read_splits(folder)["train"]) == NUM
    (folder.parent / "link").symlink_to("data")
    assert len(read_splits(folder.parent / "link")["train"]) == NUM


def test_the_limit_of_a_picture_is_named(folder: Path) -> None:
    sparse(folder / "train-2.png", MAX_PICTURE_BYTES + 1)
    (row_error,) = row_errors_of(folder)
    assert row_error.endswith(f"has {MAX_PICTURE_BYTES + 1} bytes; the limit is {MAX_PICTURE_BYTES}")


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl"])
def test_a_line_without_end_is_refused(folder: Path, name: str) -> None:
    (folder / "train.csv").unlink()
    (folder / "validation.csv").unlink()
    (folder / "img").mkdir()
    (folder / name).write_bytes(b"path,text,label\n" + b"x" * (MAX_LINE_BYTES + (2 << 20)))
    assert any(f"has over {MAX_LINE_BYTES} bytes, the limit" in line for line in row_errors_of(folder))


def test_faulty_memes_are_left_out_and_listed(folder: Path) -> None:
    (folder / "train-1.png").write_bytes(b"no picture")
    (folder / "validation-4.png").unlink()
    skipping = Skipping(max_memes=2)
    splits = read_splits(folder, skipping=skipping)
    assert [meme.row for meme in splits["train"]] == [2, 4, 5, 6, 7]
    assert [meme.row for meme in splits["validation"]] == [2, 3, 4, 5, 7]
    first, second = skipping.skipped
    assert first.startswith("train.csv, row 3: unreadable picture, 'train-1.png': image (10 bytes) is not a picture")
    assert second == "validation.csv, row 6: missing picture, 'validation-4.png'"


def test_one_faulty_meme_too_many_is_refused_and_all_are_listed(folder: Path) -> None:
    for number in range(3):
        (folder / f"train-{number}.png").unlink()
    with pytest.raises(DataError) as caught:
        read_splits(folder, skipping=Skipping(max_memes=2))
    assert len(caught.value.row_errors) == 3
    assert str(caught.value).startswith("3 problems in the data; at most 2 memes may be left out:")


def test_a_faulty_file_is_never_left_out(folder: Path) -> None:
    """Nobody knows how many memes an open quote has swallowed."""
    with (folder / "train.csv").open("a", encoding="utf-8") as file:
        file.write('train-0.png,"open,1\n')
    with pytest.raises(DataError, match="malformed CSV"):
        read_splits(folder, skipping=Skipping(max_memes=100))


def test_an_error_lets_go_of_what_was_decoded() -> None:
    seen: list[weakref.ref[np.ndarray]] = []

    def fail(_: Path) -> None:
        pixels = np.zeros(1000)
        seen.append(weakref.ref(pixels))
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged") as caught:
        list(stream_pictures(fail, [Path("a")], title="", total=1))
    gc.collect()
    assert seen[0]() is None, caught
