"""The reader of MultiOFF's layout: real untidiness is read, everything else is refused by file, row and value."""

from __future__ import annotations

import hashlib
import io
import random
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from memes.meme import DataError, Label, Meme
from memes.multioff import CSV_NAMES
from memes.reading import data_hash, read_split, read_splits

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

HEADER = "image_name,sentence,label\n"
GOOD = HEADER + "a.png,hello,offensive\n"


def encode(image: Image.Image, image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def noise() -> Image.Image:
    return Image.frombytes("RGB", (32, 32), random.Random(0).randbytes(32 * 32 * 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good picture, a.png, and no split yet."""
    (tmp_path / "Labelled Images").mkdir()
    (tmp_path / "Split Dataset").mkdir()
    add_picture(tmp_path, "a.png", encode(noise()))
    return tmp_path


def add_picture(folder: Path, name: str, data: bytes) -> None:
    (folder / "Labelled Images" / name).write_bytes(data)


def add_csv(folder: Path, content: str | bytes, split: str = "train") -> Path:
    path = folder / "Split Dataset" / CSV_NAMES[split]
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def row_errors_of(folder: Path, *, required: Collection[str] = ("train",)) -> list[str]:
    """What is wrong with the folder, paths relative to it."""
    with pytest.raises(DataError) as caught:
        read_splits(folder, required=required)
    count, *lines = str(caught.value).replace(f"{folder}/", "").replace(str(folder), ".").splitlines()
    assert int(count.split()[0]) == len(lines) == len(caught.value.row_errors)
    return lines


def train_row_errors_of(folder: Path, content: str | bytes) -> list[str]:
    """What is wrong with a training CSV of that content, without the file's own name."""
    add_csv(folder, content)
    prefix = "Split Dataset/Training_meme_dataset.csv"
    lines = row_errors_of(folder)
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix).lstrip(",: ") for line in lines]


def test_a_row_becomes_a_meme(folder: Path) -> None:
    add_csv(folder, HEADER + 'a.png," Hello, ""you"" ",Non-offensiv\n')
    expected = Meme(
        image_path=folder / "Labelled Images" / "a.png",
        text=' Hello, "you" ',
        label=Label.NON_OFFENSIVE,
        file="Training_meme_dataset.csv",
        row=2,
    )
    assert list(read_split(folder, "train")) == [expected]


def test_offensive_is_the_positive_class() -> None:
    assert (Label.NON_OFFENSIVE, Label.OFFENSIVE) == (0, 1)


@pytest.mark.parametrize(
    ("spelled", "label"),
    [
        ("offensive", Label.OFFENSIVE),
        ("Offensive", Label.OFFENSIVE),
        (" OFFENSIVE ", Label.OFFENSIVE),
        ("Non-offensiv", Label.NON_OFFENSIVE),
        ("Non-offensive", Label.NON_OFFENSIVE),
        ("non-Offensiv\t", Label.NON_OFFENSIVE),
    ],
)
def test_every_known_spelling_of_a_label_is_read(folder: Path, spelled: str, label: Label) -> None:
    add_csv(folder, HEADER + f"a.png,x,{spelled}\n")
    assert read_split(folder, "train")[0].label is label


def test_an_untidy_file_is_read(folder: Path) -> None:
    """BOM, CRLF, blanks around column names, columns in another order, one too many, blank lines, no caption."""
    rows = (" label ,Image_Name, sentence,note", "offensive, a.png ,,x", "", "offensive,a.png,b,", "")
    add_csv(folder, "\ufeff" + "\r\n".join(rows))
    assert [(meme.text, meme.row) for meme in read_split(folder, "train")] == [("", 2), ("b", 4)]


def test_a_caption_of_several_lines_counts_as_one_row(folder: Path) -> None:
    add_csv(folder, HEADER + 'a.png,"one\ntwo\r\nthree",offensive\na.png,after,offensive\n')
    memes = read_split(folder, "train")
    assert [(meme.text, meme.row) for meme in memes] == [("one\ntwo\r\nthree", 2), ("after", 3)]


def test_line_ends_of_old_macs_are_read(folder: Path) -> None:
    add_csv(folder, GOOD.replace("\n", "\r"))
    assert len(read_split(folder, "train")) == 1


def test_a_caption_beyond_ascii_arrives_unchanged(folder: Path) -> None:
    add_csv(folder, HEADER + "a.png,நீ 😀 é,offensive\n")
    assert read_split(folder, "train")[0].text == "நீ 😀 é"


@pytest.mark.parametrize("name", ["Split Dataset", "Split Datasets"])
def test_both_names_of_the_split_folder_are_known(folder: Path, name: str) -> None:
    add_csv(folder, GOOD)
    (folder / "Split Dataset").rename(folder / name)
    assert len(read_split(folder, "train")) == 1


def test_pictures_are_recognised_by_their_bytes(folder: Path) -> None:
    """A .png that holds JPEG, a palette picture with transparency, RGBA, grey, and one in a sub-folder."""
    pictures = {
        "jpeg.png": encode(noise(), "JPEG"),
        "palette.png": encode(noise().convert("P")),
        "transparent.gif": encode(noise().convert("RGBA"), "GIF"),
        "rgba.png": encode(noise().convert("RGBA")),
        "grey.jpg": encode(noise().convert("L"), "JPEG"),
        "sub/b.png": encode(noise()),
    }
    (folder / "Labelled Images" / "sub").mkdir()
    for name, data in pictures.items():
        add_picture(folder, name, data)
    add_csv(folder, HEADER + "".join(f"{name},x,offensive\n" for name in pictures))
    assert len(read_split(folder, "train")) == len(pictures)


def test_splits_that_exist_are_read_in_their_order(folder: Path) -> None:
    for split in ("test", "train", "validation"):
        add_csv(folder, GOOD.replace("hello", split), split)
    splits = read_splits(folder)
    assert {split: [meme.text for meme in memes] for split, memes in splits.items()} == {
        "train": ["train"],
        "validation": ["validation"],
        "test": ["test"],
    }
    assert list(splits) == ["train", "validation", "test"]


def test_an_absent_split_is_left_out_unless_it_is_required(folder: Path) -> None:
    add_csv(folder, GOOD)
    assert list(read_splits(folder, required=())) == ["train"]
    assert row_errors_of(folder, required=("train", "validation", "test")) == [
        "Split Dataset/Validation_meme_dataset.csv: missing file",
        "Split Dataset/Testing_meme_dataset.csv: missing file",
    ]


def test_train_and_validation_are_required_unless_told_otherwise(folder: Path) -> None:
    add_csv(folder, GOOD)
    with pytest.raises(DataError, match=r"Validation_meme_dataset\.csv: missing file"):
        read_splits(folder)


def test_an_unknown_split_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="split is 'val'; it must be one of train, validation, test"):
        read_split(folder, "val")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split is 'dev'"):
        read_splits(folder, required=("train", "dev"))


def test_all_row_errors_of_all_splits_are_listed_at_once(folder: Path) -> None:
    add_csv(folder, HEADER + "../a.png,x,hateful\n,x,offensive\na.png,x\n")
    add_csv(folder, HEADER + "a.png,x,\ngone.png,x,wrong\n", "validation")
    labels = "it must be one of offensive, non-offensiv, non-offensive"
    assert row_errors_of(folder, required=("train", "validation")) == [
        "Split Dataset/Training_meme_dataset.csv, row 2: image_name leaves the folder Labelled Images, '../a.png'",
        f"Split Dataset/Training_meme_dataset.csv, row 2: unknown label, 'hateful'; {labels}",
        "Split Dataset/Training_meme_dataset.csv, row 3: empty image_name, ''",
        "Split Dataset/Training_meme_dataset.csv, row 4: ragged row, 2 fields; the header has 3",
        f"Split Dataset/Validation_meme_dataset.csv, row 2: unknown label, ''; {labels}",
        f"Split Dataset/Validation_meme_dataset.csv, row 3: unknown label, 'wrong'; {labels}",
        "Split Dataset/Validation_meme_dataset.csv, row 3: missing picture, 'gone.png'",
    ]


def test_a_long_list_of_row_errors_is_not_cut(folder: Path) -> None:
    assert len(train_row_errors_of(folder, HEADER + "gone.png,x,offensive\n" * 300)) == 300


@pytest.mark.parametrize("name", ["../a.png", "/etc/hostname", "sub/../../a.png", "..\\a.png", ".."])
def test_a_picture_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    assert train_row_errors_of(folder, HEADER + f"{name},x,offensive\n") == [
        f"row 2: image_name leaves the folder Labelled Images, {name!r}"
    ]


@pytest.mark.parametrize(
    ("content", "row_error"),
    [
        (b"", "empty file, expected the columns image_name, sentence, label"),
        (HEADER.encode(), "no rows below the header"),
        (
            b"image_name,label\na.png,offensive\n",
            "row 1: missing column, 'sentence'; the header has 'image_name', 'label'",
        ),
        (
            b"image_name,sentence,label,label\na.png,x,offensive,offensive\n",
            "row 1: repeated column, 'label'; the header has 'image_name', 'sentence', 'label', 'label'",
        ),
        (HEADER.encode() + b"a.png,caf\xe9,offensive\n", "not UTF-8, byte 0xe9 at offset 35"),
        (GOOD.encode("utf-16-le"), "NUL byte, at offset 1; the file must be UTF-8 text"),
        (GOOD.encode() + b"a.png,x\0,offensive\n", "NUL byte, at offset 55; the file must be UTF-8 text"),
        (HEADER.encode() + b"a.png,one, two,offensive\n", "row 2: ragged row, 4 fields; the header has 3"),
        (GOOD.encode() + b'a.png,"never closed,offensive\n', "row 3: malformed CSV, unexpected end of data"),
    ],
)
def test_a_bad_csv_is_refused(folder: Path, content: bytes, row_error: str) -> None:
    assert train_row_errors_of(folder, content) == [row_error]


def test_reading_goes_on_after_a_malformed_row(folder: Path) -> None:
    content = HEADER + 'a.png,"x"y,offensive\na.png,x,offensive\na.png,x,wrong\n'
    first, second = train_row_errors_of(folder, content)
    assert first.startswith("row 2: malformed CSV")
    assert second.startswith("row 4: unknown label, 'wrong'")


def test_a_csv_that_is_a_folder_is_refused(folder: Path) -> None:
    (folder / "Split Dataset" / CSV_NAMES["train"]).mkdir()
    assert row_errors_of(folder) == ["Split Dataset/Training_meme_dataset.csv: unreadable file, Is a directory"]


def test_damaged_pictures_are_refused(folder: Path) -> None:
    """Neither an intact header nor a picture's name is trusted."""
    whole = encode(noise(), "JPEG")
    for name, data in {"cut.jpg": whole[: len(whole) // 2], "text.png": b"hello", "empty.png": b""}.items():
        add_picture(folder, name, data)
    (folder / "Labelled Images" / "folder.png").mkdir()
    names = ("cut.jpg", "text.png", "empty.png", "folder.png", "x" * 300)
    lines = train_row_errors_of(folder, HEADER + "".join(f"{name},x,offensive\n" for name in names))
    assert [line.partition("': ")[0] for line in lines] == [
        f"row {row}: unreadable picture, '{name}" for row, name in enumerate(names, 2)
    ]
    assert lines[3].endswith(": Is a directory")


def test_a_picture_named_twice_is_reported_for_each_row(folder: Path) -> None:
    lines = train_row_errors_of(folder, HEADER + "b.png,x,offensive\na.png,x,offensive\nb.png,y,offensive\n")
    assert lines == ["row 2: missing picture, 'b.png'", "row 4: missing picture, 'b.png'"]


def test_missing_folders_are_named(folder: Path) -> None:
    assert row_errors_of(folder / "nowhere") == [".: no such folder"]
    assert row_errors_of(folder, required=()) == [
        f"Split Dataset: no split, expected one of {', '.join(CSV_NAMES.values())}"
    ]
    (folder / "Split Datasets").mkdir()
    assert row_errors_of(folder) == [".: two folders of splits, Split Dataset and Split Datasets; keep one"]
    (folder / "Split Datasets").rmdir()
    (folder / "Split Dataset").rmdir()
    assert row_errors_of(folder) == [".: missing folder, Split Dataset or Split Datasets"]


def test_a_missing_folder_of_pictures_is_told_once(folder: Path) -> None:
    add_csv(folder, HEADER + "a.png,x,offensive\na.png,x,wrong\n")
    (folder / "Labelled Images").rename(folder / "images")
    labels = "it must be one of offensive, non-offensiv, non-offensive"
    assert row_errors_of(folder) == [
        f"Split Dataset/Training_meme_dataset.csv, row 3: unknown label, 'wrong'; {labels}",
        ".: missing folder, Labelled Images",
    ]


def test_without_verification_pictures_need_not_be_there(folder: Path) -> None:
    add_csv(folder, HEADER + "gone.png,x,offensive\n")
    assert read_split(folder, "train", verify_images=False)[0].image_path.name == "gone.png"
    with pytest.raises(DataError, match=r"missing picture, 'gone\.png'"):
        read_split(folder, "train")


def test_without_verification_the_csv_is_still_checked(folder: Path) -> None:
    add_csv(folder, HEADER + "../gone.png,x,offensive\n")
    with pytest.raises(DataError, match="1 problem in the data:"):
        read_split(folder, "train", verify_images=False)


def test_reading_one_split_does_not_look_at_the_others(folder: Path) -> None:
    add_csv(folder, GOOD)
    add_csv(folder, "nonsense", "test")
    assert len(read_split(folder, "train")) == 1


def test_thousands_of_rows_take_seconds(folder: Path) -> None:
    num = 1000  # distinct pictures
    data = encode(noise().resize((448, 448)), "JPEG")
    for number in range(num):
        add_picture(folder, f"{number}.jpg", data)
    add_csv(folder, HEADER + "".join(f"{number}.jpg,x,offensive\n" for number in range(num)) * 3)
    started = time.perf_counter()
    assert len(read_split(folder, "train")) == 3 * num
    assert time.perf_counter() - started < 10


def test_data_hash_covers_names_and_bytes(folder: Path) -> None:
    add_csv(folder, GOOD)
    name = CSV_NAMES["train"]
    assert data_hash(folder) == hashlib.sha256(f"{name}\0{len(GOOD)}\0{GOOD}".encode()).hexdigest()
    hashes = {data_hash(folder)}
    add_csv(folder, GOOD.replace("hello", "hallo"))
    hashes.add(data_hash(folder))
    add_csv(folder, GOOD, "validation")
    hashes.add(data_hash(folder))
    (folder / "Split Dataset" / name).rename(folder / "Split Dataset" / CSV_NAMES["test"])
    hashes.add(data_hash(folder))
    assert len(hashes) == 4


def test_data_hash_ignores_pictures_and_the_folder_name(folder: Path) -> None:
    add_csv(folder, GOOD)
    before = data_hash(folder)
    add_picture(folder, "a.png", b"other")
    (folder / "Split Dataset").rename(folder / "Split Datasets")
    assert data_hash(folder) == before


def test_data_hash_of_nothing_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="no split"):
        data_hash(folder)
    with pytest.raises(DataError, match="no such folder"):
        data_hash(folder / "nowhere")
