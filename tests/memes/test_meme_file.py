"""The lazy sequence of memes: what it shares with a list, and what happens to it when the file changes."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memes.meme import DataError, Meme
from memes.meme_file import MemeFile
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
def memes(tmp_path: Path) -> MemeFile:
    write(tmp_path)
    return read_split(tmp_path, "train", verify_images=False)


def test_it_is_a_sequence(memes: MemeFile) -> None:
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
def test_a_slice_is_such_a_sequence(memes: MemeFile, part: slice) -> None:
    assert isinstance(memes[part], MemeFile)
    assert list(memes[part]) == list(memes)[part]
    assert memes[part].labels.tolist() == memes.labels[part].tolist()


def test_labels_need_no_parsing(memes: MemeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [int(meme.label) for meme in memes]
    monkeypatch.setattr(memes, "_read", None)
    assert memes.labels.tolist() == expected
    assert (memes.labels.dtype, set(expected)) == (np.int8, {0, 1})


def test_a_file_put_in_its_place_changes_nothing(memes: MemeFile, tmp_path: Path) -> None:
    before = list(memes)
    other = tmp_path / "other"
    other.mkdir()
    write(other, prefix="another").replace(tmp_path / "train.csv")
    assert list(memes) == before
    (tmp_path / "train.csv").unlink()
    assert list(memes) == before


def test_a_record_changed_in_place_is_refused(memes: MemeFile, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(path.read_bytes().replace(b"\n7 ", b"\n8 "))
    assert memes[6].text == "caption\r\n6 é"
    with pytest.raises(DataError, match=r"train\.csv, row 11: changed since the file was checked"):
        memes[7]
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"row 2: changed since"):
        memes[0]


def test_threads_may_share_it(memes: MemeFile) -> None:
    expected = list(memes)
    indices = np.random.default_rng(0).integers(0, NUM, 4000).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(memes.__getitem__, indices)) == [expected[index] for index in indices]


def test_copies_read_the_file_themselves(memes: MemeFile) -> None:
    expected = list(memes)
    copies = [copy.deepcopy(memes), pickle.loads(pickle.dumps(memes[10:20]))]  # noqa: S301 (our own)
    del memes
    gc.collect()
    assert [list(one) for one in copies] == [expected, expected[10:20]]


@pytest.mark.skipif(not FDS.exists(), reason="needs Linux's list of open files")
def test_the_file_is_closed_with_its_last_slice(tmp_path: Path) -> None:
    def num_open() -> int:
        return sum(os.path.realpath(link) == str(path) for link in FDS.iterdir())

    path = write(tmp_path).resolve()
    memes = read_split(tmp_path, "train", verify_images=False)
    data_hash(tmp_path)
    part = memes[:3]
    del memes
    assert num_open() == 1
    assert len(list(part)) == 3
    del part
    assert num_open() == 0
