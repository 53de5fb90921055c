"""How much memory reading takes: little more than the bytes of captions and names."""

from __future__ import annotations

import csv
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from memes import pictures
from memes.meme import MAX_ROW_ERROR_CHARS, MAX_ROW_ERRORS, DataError
from memes.reading import read_splits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STATUS = Path("/proc/self/status")
FEW, MANY = 2_000, 60_000
CAPTION = "a caption of a meme, as long as they are on average; this one is number"
# A list of memes takes 35 MB for what MANY has more than FEW; captions and names are 5 MB, their table 7 MB.
MAX_GROWTH_KB = 16_000

# getrusage would not do: its peak is never less than that of the process which started this one, pytest itself.
_READ = f"""
import sys
from contextlib import closing
from pathlib import Path
from memes.reading import data_hash, read_splits
folder = Path(sys.argv[1])
splits = read_splits(folder, required=())
data_hash(folder)
num_offensive = sum(meme.label for memes in splits.values() for meme in memes)
kept = [split.labels for split in splits.values()]
status = dict(line.split(":", 1) for line in Path("{STATUS}").read_text().splitlines())
print(sum(map(len, splits.values())), num_offensive, status["VmHWM"].split()[0])
"""


def write_folder(folder: Path, rows: Iterable[tuple[str, str, str]], *, num_pictures: int = 4) -> Path:
    (folder / "img").mkdir(parents=True)
    for number in range(num_pictures):
        Image.new("RGB", (64, 64), (number % 256, number // 256, 0)).save(folder / "img" / f"{number}.png")
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", "text", "label"), *rows])
    return folder


def measure_peak_kb(folder: Path) -> int:
    """Read everything in a fresh process, and return how much memory it held at most."""
    command = [sys.executable, "-W", "error", "-c", _READ, str(folder)]
    num_rows, num_offensive, peak_kb = subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.split()
    assert int(num_rows) == 2 * int(num_offensive)
    return int(peak_kb)


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's account of a process's memory")
def test_thirty_times_the_memes_take_hardly_more_memory(tmp_path: Path) -> None:
    peaks = [
        measure_peak_kb(
            write_folder(
                tmp_path / str(num), ((f"img/{row % 4}.png", f"{CAPTION} {row}", str(row % 2)) for row in range(num))
            )
        )
        for num in (FEW, MANY)
    ]
    assert peaks[1] - peaks[0] < MAX_GROWTH_KB


def test_the_first_thousand_faults_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    num = MAX_ROW_ERRORS + 500
    rows = [("img/0.png", "x", "w" * 2 * MAX_ROW_ERROR_CHARS), *(("img/gone.png", "x", "1") for _ in range(num - 1))]
    with pytest.raises(DataError) as caught:
        read_splits(write_folder(tmp_path / "data", rows), required=())
    count, first, *others, last = str(caught.value).splitlines()
    assert (count, last) == (f"{num} problems in the data:", "and 500 more")
    assert len(first) == MAX_ROW_ERROR_CHARS + 1
    assert first.endswith("w…")
    assert len(others) == len(caught.value.row_errors) - 1 == MAX_ROW_ERRORS - 1
    assert others[-1].endswith(f"row {MAX_ROW_ERRORS + 1}: missing picture, 'img/gone.png'")


@pytest.mark.parametrize(("num_distinct", "num_calls"), [(3, 3), (pictures._NUM_REMEMBERED + 1, None)])
def test_a_picture_that_comes_again_is_read_once_while_it_is_remembered(
    num_distinct: int, num_calls: int | None
) -> None:
    """Of one more than are remembered, in turns, each is forgotten before it comes again."""
    calls: list[Path] = []
    paths = [Path(str(number)) for number in range(num_distinct)] * 3

    def remember(path: Path) -> str:
        calls.append(path)
        return path.name

    results = pictures.stream_pictures(remember, paths, title="Counting", total=len(paths))
    assert list(results) == [path.name for path in paths]
    assert len(calls) == (num_calls or len(paths))


def test_pictures_are_not_read_far_ahead_of_what_is_asked_for() -> None:
    taken: list[int] = []

    def number_paths() -> Iterator[Path]:
        for number in range(10_000):
            taken.append(number)
            yield Path(str(number))

    with closing(pictures.stream_pictures(str, number_paths(), title="Counting", total=10_000)) as results:
        assert next(results) == "0"
        assert len(taken) <= pictures._NUM_AHEAD + 1
