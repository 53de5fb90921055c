"""What check-data reports: counts, truncated captions, and memes that occur more than once."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from memes.duplicates import MAX_DISTANCE, Duplicates, group_near, normalize_text
from memes.inspection import DataReport, format_report, inspect_data
from memes.meme import DataError
from memes.multioff import COLUMNS, CSV_NAMES

if TYPE_CHECKING:
    from pathlib import Path

Row = tuple[str, str, str]  # image_name, sentence, label


def photo(seed: int, *, brighter: int = 0) -> bytes:
    """A picture like no other of another seed; brightness alone is what a perceptual hash does not see."""
    grey = [value // 2 + brighter for value in random.Random(seed).randbytes(96 * 96)]
    return encode(Image.frombytes("L", (96, 96), bytes(grey)))


def encode(image: Image.Image, image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def write(folder: Path, pictures: dict[str, bytes], **splits: list[Row]) -> Path:
    for name in ("Labelled Images", "Split Dataset"):
        (folder / name).mkdir()
    for name, data in pictures.items():
        (folder / "Labelled Images" / name).write_bytes(data)
    for split, rows in splits.items():
        with (folder / "Split Dataset" / CSV_NAMES[split]).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([COLUMNS, *rows])
    return folder


def count_words(text: str) -> int:
    return len(text.split()) + 2


def rows_of(duplicates: Duplicates) -> list[list[tuple[str, int]]]:
    return [[(o.split, o.row) for o in group.occurrences] for group in duplicates.groups]


@pytest.fixture
def report(tmp_path: Path) -> DataReport:
    """Six memes: b.png has the bytes of a.png, f.png shows what c.png shows, two captions are alike."""
    pictures = {name: photo(seed) for seed, name in enumerate(("a.png", "c.png", "d.png", "e.png"))}
    pictures |= {"b.png": pictures["a.png"], "f.png": photo(1, brighter=40)}
    train = [
        ("a.png", "Hello, WORLD!", "offensive"),
        ("b.png", "", "Non-offensiv"),
        ("c.png", "word " * 75, "Non-offensiv"),
        ("d.png", "word " * 76 + "secret", "offensive"),
    ]
    validation = [("e.png", "hello\n world", "Non-offensiv"), ("f.png", " ", "Non-offensiv")]
    return inspect_data(write(tmp_path, pictures, train=train, validation=validation), count_words)


def test_rows_are_counted_per_split_and_label(report: DataReport) -> None:
    counts = [(s.name, s.num_rows, s.num_non_offensive, s.num_offensive, s.num_empty_texts) for s in report.splits]
    assert counts == [("train", 4, 2, 2, 1), ("validation", 2, 2, 0, 1)]


def test_texts_beyond_clips_77_tokens_are_counted(report: DataReport) -> None:
    """75 words and the two special tokens just fit."""
    assert [(split.num_long_texts, split.longest_text_tokens) for split in report.splits] == [(1, 79), (0, 4)]


def test_pictures_are_equal_by_bytes_or_by_looks(report: DataReport) -> None:
    assert rows_of(report.pictures) == [[("train", 2), ("train", 3)], [("train", 4), ("validation", 3)]]
    assert [(g.within_split, g.across_splits, g.conflicting) for g in report.pictures.groups] == [
        (True, False, True),
        (False, True, False),
    ]


def test_texts_are_equal_whatever_the_case_and_punctuation_and_empty_ones_are_not(report: DataReport) -> None:
    assert rows_of(report.texts) == [[("train", 2), ("validation", 2)]]
    assert report.texts.groups[0].conflicting


def test_a_picture_saved_anew_is_nearly_the_same(tmp_path: Path) -> None:
    """JPEG at its default quality changes a few bits of the hash; another picture changes about half of them."""
    image = Image.open(io.BytesIO(photo(0))).resize((24, 24)).resize((96, 96), Image.Resampling.BICUBIC)
    pictures = {"a.png": encode(image), "b.png": encode(image, "JPEG"), "c.png": photo(1)}
    rows = [(name, name, "offensive") for name in pictures]
    report = inspect_data(write(tmp_path, pictures, train=rows), count_words)
    assert report.pictures.num_groups == 0
    assert rows_of(report.near_pictures) == [[("train", 2), ("train", 3)]]


def test_nearness_is_counted_in_bits_and_passed_on() -> None:
    """0 and 8 bits are near, 8 and 16 are, so all three are one group; 25 is 9 bits away from the nearest."""
    zero, eight, sixteen, apart = (
        ((1 << num_bits) - 1).to_bytes(32, "big")
        for num_bits in (0, MAX_DISTANCE, 2 * MAX_DISTANCE, 3 * MAX_DISTANCE + 1)
    )
    leaders = group_near([apart, sixteen, zero, eight, zero])
    assert leaders[zero] == leaders[eight] == leaders[sixteen] != leaders[apart]
    assert group_near([]) == {}


def test_groups_are_counted(report: DataReport) -> None:
    found = report.pictures
    assert (found.num_groups, found.num_within_split, found.num_across_splits, found.num_conflicting) == (2, 1, 1, 1)
    assert report.memes.num_groups == 0


def test_an_occurrence_names_file_row_and_picture(report: DataReport) -> None:
    assert dataclasses.asdict(report.texts.groups[0].occurrences[1]) == {
        "split": "validation",
        "file": "Validation_meme_dataset.csv",
        "row": 2,
        "image_name": "e.png",
        "label": "non-offensive",
    }


def test_the_same_meme_twice_with_other_labels_is_a_mistake(tmp_path: Path) -> None:
    rows = [("a.png", "Look", "offensive"), ("a.png", "look.", "Non-offensiv"), ("a.png", "away", "offensive")]
    report = inspect_data(write(tmp_path, {"a.png": photo(0)}, test=rows), count_words)
    assert rows_of(report.memes) == [[("test", 2), ("test", 3)]]
    assert report.memes.num_conflicting == 1
    assert rows_of(report.pictures) == [[("test", 2), ("test", 3), ("test", 4)]]


def test_a_group_may_lie_within_and_across_splits(tmp_path: Path) -> None:
    rows = [("a.png", "x", "offensive")]
    report = inspect_data(write(tmp_path, {"a.png": photo(0)}, train=rows * 2, test=rows), count_words)
    assert (report.memes.num_groups, report.memes.num_within_split, report.memes.num_across_splits) == (1, 1, 1)


def test_the_report_is_json(report: DataReport) -> None:
    restored = json.loads(json.dumps(dataclasses.asdict(report)))
    assert restored["splits"][1]["num_rows"] == 2
    assert restored["pictures"]["groups"][1]["occurrences"][1]["row"] == 3


def test_the_text_names_rows_and_no_caption(report: DataReport) -> None:
    text = format_report(report)
    assert "Training_meme_dataset.csv row 2 (a.png, offensive) = Validation_meme_dataset.csv row 2 (e.png, " in text
    assert ["train", "4", "2", "2", "1", "1", "79"] in [line.split() for line in text.splitlines()]
    assert ["pictures", "2", "1", "1", "1"] in [line.split() for line in text.splitlines()]
    assert report.data_hash in text
    for part in ("secret", "Hello", "hello", "world", "WORLD"):
        assert part not in text
        assert part not in json.dumps(dataclasses.asdict(report))


def test_a_few_groups_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    pictures = {f"{number}.png": photo(number) for number in range(5)}
    rows = [(name, name, "offensive") for name in pictures]
    report = inspect_data(write(tmp_path, pictures, train=rows * 4, test=rows), count_words)
    lines = format_report(report).splitlines()
    start = lines.index("same picture across splits: 5")
    assert lines[start + 1].startswith(
        "  Training_meme_dataset.csv row 2 (0.png, offensive) = Testing_meme_dataset.csv"
    )
    assert lines[start + 1].endswith(" = 1 more")
    assert lines[start + 4] == "  and 2 more"


def test_a_clean_folder_shows_no_groups(tmp_path: Path) -> None:
    rows = [("a.png", "x", "offensive"), ("b.png", "y", "offensive")]
    report = inspect_data(write(tmp_path, {"a.png": photo(0), "b.png": photo(1)}, train=rows), count_words)
    assert (report.pictures.groups, report.texts.groups, report.memes.groups) == ((), (), ())
    assert "same" not in format_report(report)


def test_a_bad_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing picture"):
        inspect_data(write(tmp_path, {}, train=[("a.png", "x", "offensive")]), count_words)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße!", "STRASSE"), ("a\n\tb", " A  b."), ("it's", "IT`S"), ("\uff21\uff22", "ab"), ("“no”…", '"No"...')],
)
def test_texts_that_are_the_same(one: str, other: str) -> None:
    assert normalize_text(one) == normalize_text(other)


@pytest.mark.parametrize(("one", "other"), [("😀", "😡"), ("நீ", "நா"), ("1", "2"), ("ab", "a b")])
def test_texts_that_differ(one: str, other: str) -> None:
    assert normalize_text(one) != normalize_text(other)
