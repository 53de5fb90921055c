"""Every opening of the test split is counted for its bundle, in a folder and in an archive; what cannot be, is told."""

from __future__ import annotations

import json
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

from evaluation.evaluate import evaluate
from evaluation.openings import OPENINGS, count_openings, openings_path, record_opening
from evaluation.page import write_evaluation
from memeguard.bundle_files import hash_file
from memeguard.errors import BundleError
from rollout.archives import holds_archive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(bundle_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle_folder, tmp_path / "bundle")


@pytest.fixture
def archive(bundle_folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    path = tmp_path / "store" / "meme-1.0.0.mar"
    with zipfile.ZipFile(path, "w") as file:
        for member in bundle_folder.iterdir():
            file.write(member, f"bundle/{member.name}")
    return path


def open_test(source: Path, data: Path) -> int | None:
    return evaluate(source, data, "test", device="cpu", num_resamples=5).num_openings


def test_openings_are_counted_for_each_bundle(tmp_path: Path) -> None:
    assert count_openings(tmp_path, "abc") == 0
    assert [record_opening(tmp_path, bundle, "data") for bundle in ("abc", "abc", "xyz")] == [1, 2, 1]
    assert count_openings(tmp_path, "abc") == 2


def test_evaluate_counts_openings_of_the_test_split_alone(bundle: Path, demo_folder: Path, tmp_path: Path) -> None:
    assert evaluate(bundle, demo_folder, "validation", device="cpu", num_resamples=5).num_openings is None
    assert not (bundle / OPENINGS).exists()
    assert open_test(bundle, demo_folder) == 1
    report = evaluate(bundle, demo_folder, "test", device="cpu", num_resamples=5)
    assert report.num_openings == 2
    page = " ".join(write_evaluation(report, demo_folder, tmp_path / "page").read_text("utf-8").split())
    assert "The test split has been opened 2 times with this bundle." in page
    assert "Choices made after the first opening are fitted to it." in page


def test_an_archives_openings_are_counted_beside_it(archive: Path, demo_folder: Path) -> None:
    assert [open_test(archive, demo_folder) for _ in range(2)] == [1, 2]
    assert sorted(path.name for path in archive.parent.iterdir()) == [
        "meme-1.0.0.mar",
        "meme-1.0.0.test_openings.jsonl",
    ]


def test_an_archive_remembers_what_its_bundle_went_through(archive: Path) -> None:
    archive.with_suffix(".json").write_text(json.dumps({"num_test_openings": 3}), "utf-8")
    assert record_opening(archive, "abc", "data") == 4


@pytest.mark.parametrize("card", ["", "[]", "{}", '{"num_test_openings": null}', "\udcff"])
def test_a_card_that_says_nothing_adds_nothing(archive: Path, card: str) -> None:
    archive.with_suffix(".json").write_bytes(card.encode("utf-8", "surrogateescape"))
    assert record_opening(archive, "abc", "data") == 1


def test_what_is_kept_beside_an_archive_is_no_archive(archive: Path) -> None:
    record_opening(archive, "abc", "data")
    archive.unlink()
    assert not holds_archive(archive.parent)


def test_a_link_to_an_archive_is_the_archive(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "latest.mar").symlink_to(archive)
    assert openings_path(tmp_path / "latest.mar") == openings_path(archive)


def test_an_opening_that_cannot_be_counted_is_told_on_the_page(bundle: Path, demo_folder: Path, tmp_path: Path) -> None:
    (bundle / OPENINGS).mkdir()  # not even root can write to it
    report = evaluate(bundle, demo_folder, "test", device="cpu", num_resamples=5)
    assert report.num_openings is None
    told = [warning for warning in report.warnings if "could not be counted" in warning]
    assert len(told) == 1
    assert f"{OPENINGS} cannot be written: Is a directory" in told[0]
    assert "could not be counted" in write_evaluation(report, demo_folder, tmp_path / "page").read_text("utf-8")


def test_notes_that_cannot_be_read_are_not_taken_for_none(bundle: Path) -> None:
    (bundle / OPENINGS).mkdir()
    with pytest.raises(BundleError, match="cannot be read"):
        count_openings(bundle, hash_file(bundle / "config.json"))
