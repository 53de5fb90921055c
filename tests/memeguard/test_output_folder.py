"""A folder of results: refused before the work where it cannot be written, and filled wherever it can."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memeguard.output_folder import OutputError, check_new_folder, check_writable, fill_new_folder
from tests.ordinary_user import run_as_ordinary_user

if TYPE_CHECKING:
    from collections.abc import Callable

FILL = """
import sys
from pathlib import Path
from memeguard.output_folder import check_new_folder, fill_new_folder
check_new_folder(Path(sys.argv[1]))
with fill_new_folder(Path(sys.argv[1])) as staging:
    (staging / "result.txt").write_text("done")
"""


def fill(folder: Path) -> None:
    check_new_folder(folder)
    with fill_new_folder(folder) as staging:
        (staging / "pictures").mkdir()
        (staging / "pictures" / "1.txt").write_text("one")
        (staging / "result.txt").write_text("done")


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["new", "several/new/folders", "empty", "link"])
def test_a_new_or_an_empty_folder_is_filled(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    fill(tmp_path / name)
    assert names_in(tmp_path / name) == ["pictures", "pictures/1.txt", "result.txt"]
    assert (tmp_path / name).stat().st_mode & 0o777 == (tmp_path / "empty").stat().st_mode & 0o777
    assert not list(tmp_path.glob(".*"))


def test_the_current_folder_is_filled_and_stays_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(Path())
    assert sorted(os.listdir()) == ["pictures", "result.txt"]  # noqa: PTH208 - what a shell there would see


def test_a_folder_is_filled_whose_parent_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    tmp_path.chmod(0o555)
    try:
        filled, refused = (
            run_as_ordinary_user([sys.executable, "-c", FILL, tmp_path / name]) for name in ("mine", "other")
        )
    finally:
        tmp_path.chmod(0o755)
    assert filled.returncode == 0, filled.stderr
    assert names_in(tmp_path / "mine") == ["result.txt"]
    assert refused.stderr.endswith("other cannot be written: Permission denied\n")


def test_what_a_fresh_disk_and_a_killed_run_leave_does_not_count(tmp_path: Path) -> None:
    for name in ("lost+found", ".memeguard-abc"):
        (tmp_path / name).mkdir()
    fill(tmp_path)
    assert (tmp_path / "result.txt").exists()


def test_what_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"is not empty: it contains 'notes\.txt'; choose a new or an empty folder"):
        fill(tmp_path)
    assert names_in(tmp_path) == ["notes.txt"]
    check_writable(tmp_path)


@pytest.mark.parametrize(
    ("place", "reason"),
    [("notes.txt", "Not a directory"), ("notes.txt/new", "Not a directory"), ("x" * 300, "File name too long"),
     ("/proc/new", "No such file or directory")],
)  # fmt: skip
@pytest.mark.parametrize("check", [check_new_folder, check_writable])
def test_what_cannot_be_written_is_refused_with_the_reason(
    tmp_path: Path, place: str, reason: str, check: Callable[[Path], None]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=f" cannot be written: {reason}"):
        check(tmp_path / place)
    assert names_in(tmp_path) == ["notes.txt"]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), fill_new_folder(tmp_path / "new") as staging:
        (staging / "half.txt").write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
