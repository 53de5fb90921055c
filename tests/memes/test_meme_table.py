"""The table of a file's memes is a sequence like a list, and does not need the file any more."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memes import meme_table
from memes.meme import Meme
from memes.meme_table import MemeTable
from memes.reading import data_hash, read_split

NUM = 50
FDS = Path("/proc/self/fd")


def write(folder: Path, *, prefix: str = "caption") -> Path:
    """A CSV with multi-line captions, a blank line after every fifth and a byte order mark; without pictures."""
    rows = [f'{number}.png,"{prefix}\r\n{number} é",{number % 3 == 0:d}\n' for number in range(NUM)]
    rows = [row + "\n" * (number % 5 == 0) for number, row in enumerate(rows)]
    path = folder / "train.csv"
    path.write_bytes(("\ufeffpath,text,label\n" + "".join(rows)).encode())
    return path


@pytest.fixture
def memes(tmp_path: Path) -> MemeTable:
    write(tmp_path)
    return read_split(tmp_path, "train", verify_images=False)


def test_it_is_a_sequence(memes: MemeTable) -> None:
    listed = list(memes)
    assert len(memes) == len(listed) == NUM
    assert [meme.text for meme in listed] == [f"caption\r\n{number} é" for number in range(NUM)]
    assert [meme.row for meme in listed[:7]] == [2, 4, 5, 6, 7, 8, 10]
    assert memes[-1] == memes[np.int64(NUM - 1)] == listed[-1]
    assert list(reversed(memes)) == listed[::-1]
    assert listed[3] in memes
    assert memes.index(listed[3]) == 3
    assert isinstance(memes[0], Meme)
    for index in (NUM, -NUM - 1):
        with pytest.raises(IndexError):
            memes[index]


@pytest.mark.parametrize("part", [slice(3, 9), slice(None, None, -2), slice(-4, None), slice(40, 400), slice(5, 5)])
def test_a_slice_is_such_a_sequence(memes: MemeTable, part: slice) -> None:
    assert isinstance(memes[part], MemeTable)
    assert list(memes[part]) == list(memes)[part]
    assert memes[part].labels.tolist() == memes.labels[part].tolist()


def test_labels_and_rows_are_columns(memes: MemeTable) -> None:
    assert memes.labels.tolist() == [int(meme.label) for meme in memes]
    assert memes.labels.dtype == np.int8
    assert set(memes.labels.tolist()) == {0, 1}
    assert memes.rows.tolist() == [meme.row for meme in memes]
    assert list(memes.image_paths()) == [meme.image_path for meme in memes]


def test_more_memes_than_are_held_as_objects_keep_their_order(tmp_path: Path) -> None:
    num = 2 * meme_table._ROWS_AT_ONCE + 5
    rows = [f"{number}.png,caption {number},{number % 2}\n" for number in range(num)]
    (tmp_path / "train.csv").write_text("path,text,label\n" + "".join(rows), "utf-8")
    memes = read_split(tmp_path, "train", verify_images=False)
    assert [meme.text for meme in memes] == [f"caption {number}" for number in range(num)]
    assert [memes[number].row for number in range(0, num, 1000)] == list(range(2, num + 2, 1000))
    assert memes[num - 9 :: -4096].rows.tolist() == memes.rows[num - 9 :: -4096].tolist()


def test_rows_can_be_left_out(memes: MemeTable) -> None:
    assert list(memes.without({2, 7, 99})) == [meme for meme in memes if meme.row not in {2, 7}]
    assert memes.without(set()) is memes


def test_a_file_that_changes_or_goes_changes_nothing(memes: MemeTable, tmp_path: Path) -> None:
    before = list(memes)
    path = tmp_path / "train.csv"
    path.write_bytes(path.read_bytes().replace(b"\n7 ", b"\n8 "))
    assert list(memes) == before
    other = tmp_path / "other"
    other.mkdir()
    write(other, prefix="another").replace(path)
    assert list(memes) == before
    path.unlink()
    assert list(memes) == before


def test_threads_may_share_it(memes: MemeTable) -> None:
    expected = list(memes)
    indices = np.random.default_rng(0).integers(0, NUM, 4000).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(memes.__getitem__, indices)) == [expected[index] for index in indices]


def test_copies_have_memes_of_their_own(memes: MemeTable) -> None:
    expected = list(memes)
    copies = [copy.deepcopy(memes), pickle.loads(pickle.dumps(memes[10:20]))]  # noqa: S301 (our own)
    del memes
    gc.collect()
    assert [list(one) for one in copies] == [expected, expected[10:20]]


@pytest.mark.skipif(not FDS.exists(), reason="needs Linux's list of open files")
def test_no_file_stays_open(tmp_path: Path) -> None:
    path = write(tmp_path).resolve()
    memes = read_split(tmp_path, "train", verify_images=False)
    data_hash(tmp_path)
    gc.collect()
    assert len(memes) == NUM
    assert str(path) not in map(os.path.realpath, FDS.iterdir())
