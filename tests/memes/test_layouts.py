"""The layouts of a data folder: the same memes from each, and every fault refused by file, row and value."""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from memes.inspection import inspect_data
from memes.meme import DataError, Label
from memes.multioff import CSV_NAMES
from memes.reading import data_hash, find_ignored, read_split, read_splits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

Row = tuple[str, str, int]  # picture, caption, label

ROWS: dict[str, list[Row]] = {
    "train": [("a.png", 'one, "two"\nthree', 1), ("b.png", "", 0), ("a.png", "நீ 😀", 0)],
    "validation": [("b.png", "x", 1)],
    "test": [("a.png", "y", 0)],
}
LABELS = "it must be one of offensive, non-offensiv, non-offensive, 1, 0"
NUL_HINT = r"; write img/0.png, for img\0.png may become one"
KNOWN = (
    "expected one of: MultiOFF (Labelled Images and Split Dataset); "
    "Hateful Memes (img, train.jsonl, dev.jsonl and test.jsonl); "
    "HarMeme (images and annotations/train.jsonl, val.jsonl and test.jsonl); "
    "MAMI (TRAINING/training.csv, test/Test.csv and test_labels.txt); "
    "plain CSV (train.csv, validation.csv and test.csv)"
)


def add_pictures(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (16, 16), (80 * number, 0, 0)).save(folder / name)


def add_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def add_lines(path: Path, *rows: Any) -> Path:
    """JSON lines; a string is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def line(picture: str = "a.png", text: Any = "x", label: Any = 1) -> dict[str, Any]:
    return {"id": 42953, "img": f"img/{picture}", "label": label, "text": text}


def write_multioff(folder: Path) -> Path:
    add_pictures(folder / "Labelled Images", "a.png", "b.png")
    for split, rows in ROWS.items():
        listed = [(name, text, ("Non-offensiv", "offensive")[label]) for name, text, label in rows]
        add_csv(folder / "Split Dataset" / CSV_NAMES[split], ("image_name", "sentence", "label"), listed)
    return folder


def write_hateful_memes(folder: Path) -> Path:
    add_pictures(folder / "img", "a.png", "b.png")
    for split, rows in ROWS.items():
        add_lines(folder / f"{split.replace('validation', 'dev')}.jsonl", *(line(*row) for row in rows))
    return folder


def write_plain_csv(folder: Path) -> Path:
    add_pictures(folder / "pictures", "a.png", "b.png")
    for split, rows in ROWS.items():
        listed = [(number, label, f"pictures/{name}", text) for number, (name, text, label) in enumerate(rows)]
        add_csv(folder / f"{split}.csv", ("id", "label", "path", "text"), listed)
    return folder


WRITERS = [write_multioff, write_hateful_memes, write_plain_csv]


def row_errors_of(folder: Path, *, required: Collection[str] = ()) -> list[str]:
    """What is wrong with the folder, paths relative to it."""
    with pytest.raises(DataError) as caught:
        read_splits(folder, required=required)
    return [one.replace(f"{folder}/", "").replace(str(folder), ".") for one in caught.value.row_errors]


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """A folder in the layout of Hateful Memes, with one good row."""
    add_pictures(tmp_path / "img", "a.png")
    add_lines(tmp_path / "train.jsonl", line())
    return tmp_path


@pytest.mark.parametrize("write", WRITERS)
def test_every_layout_gives_the_same_memes(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    splits = read_splits(write(tmp_path), required=("train", "validation", "test"))
    assert list(splits) == ["train", "validation", "test"]
    for split, rows in ROWS.items():
        assert [(meme.image_path.name, meme.text, meme.label) for meme in splits[split]] == rows
        assert splits[split].labels.tolist() == [label for *_, label in rows]
        assert all(meme.image_path.is_file() for meme in splits[split])
        assert list(read_split(tmp_path, split)) == list(splits[split])


@pytest.mark.parametrize("write", WRITERS)
def test_every_layout_is_inspected(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    report = inspect_data(write(tmp_path), lambda text: len(text.split()) + 2)
    assert [(split.num_rows, split.num_offensive, split.num_empty_texts) for split in report.splits] == [
        (3, 1, 1),
        (1, 1, 0),
        (1, 0, 0),
    ]
    assert {group.across_splits for group in report.pictures.groups} == {True}
    assert {one.image_name for group in report.pictures.groups for one in group.occurrences} == {"a.png", "b.png"}
    assert report.data_hash == data_hash(tmp_path)


def test_a_meme_says_its_file_and_row(tmp_path: Path) -> None:
    folders = [write(tmp_path / write.__name__) for write in WRITERS[1:]]
    assert [[meme.where for meme in read_split(folder, "train")] for folder in folders] == [
        ["train.jsonl, row 1", "train.jsonl, row 2", "train.jsonl, row 3"],
        ["train.csv, row 2", "train.csv, row 3", "train.csv, row 4"],
    ]


@pytest.mark.parametrize(("write", "name"), [(write_hateful_memes, "dev.jsonl"), (write_plain_csv, "validation.csv")])
def test_data_hash_covers_every_listing(tmp_path: Path, write: Callable[[Path], Path], name: str) -> None:
    paths = [path for path in (write(tmp_path) / name).parent.iterdir() if path.is_file()]
    order = {"train": 0, "dev": 1, "validation": 1, "test": 2}
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: order[path.stem]):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    assert data_hash(tmp_path) == digest.hexdigest()
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"\n")
    assert data_hash(tmp_path) != digest.hexdigest()


def test_an_unknown_layout_is_refused_in_one_line(tmp_path: Path) -> None:
    add_pictures(tmp_path / "img", "a.png")
    (tmp_path / "labels.csv").touch()
    assert row_errors_of(tmp_path) == [f".: no known layout, {KNOWN}"]
    with pytest.raises(DataError, match="no known layout"):
        data_hash(tmp_path)
    assert row_errors_of(tmp_path / "nowhere") == [".: no such folder"]


def test_a_folder_in_two_layouts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Split Datasets").mkdir()
    (tmp_path / "val.csv").touch()
    assert row_errors_of(tmp_path) == [".: 2 layouts, MultiOFF (Split Datasets) and plain CSV (val.csv); keep one"]
    (tmp_path / "dev_seen.jsonl").touch()
    (tmp_path / "test.jsonl").touch()
    jsonl = "Hateful Memes (dev_seen.jsonl, test.jsonl)"
    assert row_errors_of(tmp_path) == [
        f".: 3 layouts, MultiOFF (Split Datasets) and {jsonl} and plain CSV (val.csv); keep one"
    ]


def test_pictures_of_a_plain_csv_may_lie_in_multioffs_folder(tmp_path: Path) -> None:
    add_pictures(tmp_path / "Labelled Images", "a.png")
    add_csv(tmp_path / "train.csv", ("path", "text", "label"), [("Labelled Images/a.png", "x", 1)])
    assert len(read_split(tmp_path, "train")) == 1


@pytest.mark.parametrize(
    ("write", "split", "names"),
    [
        (write_hateful_memes, "validation", ("dev.jsonl", "dev_seen.jsonl")),
        (write_hateful_memes, "test", ("test.jsonl", "test_seen.jsonl")),
        (write_plain_csv, "validation", ("validation.csv", "val.csv", "dev.csv")),
    ],
)
def test_a_split_has_one_file_of_several_names(
    tmp_path: Path, write: Callable[[Path], Path], split: Any, names: Sequence[str]
) -> None:
    first = write(tmp_path) / names[0]
    for name in names[1:]:
        first = first.rename(tmp_path / name)
        assert read_split(tmp_path, split)[0].file == name
    for name in names:
        (tmp_path / name).write_bytes(first.read_bytes())
    row_error = f".: {len(names)} files of split {split}, {' and '.join(names)}; keep one"
    assert row_errors_of(tmp_path) == [row_error]
    assert row_errors_of(tmp_path, required=("train", "validation", "test")) == [row_error]
    assert len(read_split(tmp_path, "train")) == 3
    with pytest.raises(DataError, match="keep one"):
        data_hash(tmp_path)
    for name in names:
        (tmp_path / name).unlink()
    assert split not in read_splits(tmp_path, required=())
    assert row_errors_of(tmp_path, required=(split,)) == [f".: missing file, {' or '.join(names)}"]


def test_a_listing_that_leads_nowhere_is_missed(challenge: Path) -> None:
    (challenge / "dev.jsonl").symlink_to("gone")
    assert row_errors_of(challenge) == ["dev.jsonl: missing file"]


def test_a_file_without_any_label_is_no_split_unless_it_is_required(challenge: Path) -> None:
    before = data_hash(challenge)
    unlabelled = [{"id": 1, "img": "img/a.png", "text": "x"}, {"id": 2, "img": "img/gone.png", "text": "y"}]
    add_lines(challenge / "test.jsonl", *unlabelled)
    assert list(read_splits(challenge, required=("train",))) == ["train"]
    assert data_hash(challenge) == before
    assert row_errors_of(challenge, required=("train", "test")) == [
        "test.jsonl: no labels, in any row; the split test needs them"
    ]
    add_lines(challenge / "test.jsonl", *unlabelled, line())
    assert row_errors_of(challenge) == [
        "test.jsonl, row 1: missing key, 'label'; the row has 'id', 'img', 'text'",
        "test.jsonl, row 2: missing key, 'label'; the row has 'id', 'img', 'text'",
        "test.jsonl, row 2: missing picture, 'img/gone.png'",
    ]


@pytest.mark.parametrize("content", ["no JSON at all\n", "", "[]\n"])
def test_a_file_that_is_no_json_lines_is_not_taken_for_unlabelled(challenge: Path, content: str) -> None:
    (challenge / "test.jsonl").write_text(content, "utf-8")
    assert row_errors_of(challenge)[0].startswith("test.jsonl")


def test_a_folder_of_unlabelled_files_has_no_split(tmp_path: Path) -> None:
    add_lines(tmp_path / "test.jsonl", {"img": "img/a.png", "text": "x"})
    (tmp_path / "img").mkdir()
    names = "train.jsonl, dev.jsonl, dev_seen.jsonl, test.jsonl, test_seen.jsonl"
    assert row_errors_of(tmp_path) == [f".: no split, expected one of {names}"]


@pytest.mark.parametrize(
    ("row", "row_error"),
    [
        (line(label="1"), "unknown label, '1'; it must be 0 or 1"),
        (line(label=True), "unknown label, true; it must be 0 or 1"),
        (line(label=1.0), "unknown label, 1.0; it must be 0 or 1"),
        (line(label=2), "unknown label, 2; it must be 0 or 1"),
        (line(label=None), "unknown label, null; it must be 0 or 1"),
        (line(label=[1]), "unknown label, [1]; it must be 0 or 1"),
        (line(text=None), "text is not a string, null"),
        (line(text="\ud83d"), r"text holds half a character, '\ud83d'"),
        ({"text": "x", "label": 1}, "missing key, 'img'; the row has 'text', 'label'"),
        ({"img": "img/a.png", "label": 1}, "missing key, 'text'; the row has 'img', 'label'"),
        ({**line(), "img": 7}, "img is not a string, 7"),
        ({**line(), "img": " "}, "empty img, ' '"),
        ({**line(), "img": "img/\0.png"}, f"img holds a NUL, 'img/\\x00.png'{NUL_HINT}"),
        ({**line(), "img": "img/\udc80.png"}, r"img holds half a character, 'img/\udc80.png'"),
        ({**line(), "img": "../a.png"}, "img leaves the data folder, '../a.png'"),
        ({**line(), "img": "/etc/hostname"}, "img leaves the data folder, '/etc/hostname'"),
        ({**line(), "img": "img\\..\\..\\a.png"}, r"img leaves the data folder, 'img\\..\\..\\a.png'"),
        (line("gone.png"), "missing picture, 'img/gone.png'"),
        ("[1, 2]", "not a JSON object, [1, 2]"),
        ('{"img": "img/a.png" "text"}', "malformed JSON, Expecting ',' delimiter (character 21)"),
        ('{"text": "x', "malformed JSON, Unterminated string starting at (character 10)"),
        ('{"label": 0, "img": "img/a.png", "text": "", "label": 1}', "malformed JSON, repeated key 'label'"),
    ],
)
def test_a_bad_line_is_refused(challenge: Path, row: Any, row_error: str) -> None:
    add_lines(challenge / "train.jsonl", line(), row, line())
    assert row_errors_of(challenge) == [f"train.jsonl, row 2: {row_error}"]


@pytest.mark.parametrize(("row", "reason"), [('{"label": ' + "1" * 5000 + "}", "digits"), ("[" * 100_000, "recursion")])
def test_json_that_python_gives_up_on_is_refused(challenge: Path, row: str, reason: str) -> None:
    add_lines(challenge / "train.jsonl", line(), row)
    (row_error,) = row_errors_of(challenge)
    assert row_error.startswith("train.jsonl, row 2: malformed JSON, ")
    assert reason in row_error


def test_all_faults_of_all_lines_are_told_at_once(challenge: Path) -> None:
    add_lines(challenge / "train.jsonl", {"img": "..", "label": 3}, line("gone.png", label=-1))
    add_lines(challenge / "dev.jsonl", line(text=5))
    assert row_errors_of(challenge) == [
        "train.jsonl, row 1: img leaves the data folder, '..'",
        "train.jsonl, row 1: missing key, 'text'; the row has 'img', 'label'",
        "train.jsonl, row 1: unknown label, 3; it must be 0 or 1",
        "train.jsonl, row 2: unknown label, -1; it must be 0 or 1",
        "dev.jsonl, row 1: text is not a string, 5",
        "train.jsonl, row 2: missing picture, 'img/gone.png'",
    ]


def test_untidy_json_lines_are_read(challenge: Path) -> None:
    """A byte order mark, CRLF, blank lines, NUL and line separators within a caption, further keys."""
    row = json.dumps(line(text="a\0b\u2028c"), ensure_ascii=False).replace("\0", "\\u0000")
    (challenge / "train.jsonl").write_bytes(f"\ufeff\r\n{row}\r\n  \n{json.dumps(line(label=0))}".encode())
    memes = read_split(challenge, "train")
    assert [(meme.text, meme.label, meme.row) for meme in memes] == [
        ("a\0b\u2028c", Label.OFFENSIVE, 2),
        ("x", Label.NON_OFFENSIVE, 4),
    ]


@pytest.mark.parametrize(
    ("content", "row_error"),
    [
        (b" \n", "empty file, expected a JSON object a line, with img, text, label"),
        (b'{"img": "caf\xe9"}', "not UTF-8, byte 0xe9 at offset 12"),
        (b'\xef\xbb\xbf{"img": "caf\xe9"}', "not UTF-8, byte 0xe9 at offset 15"),
        (b'{"img": "caf\xe2\x82', "not UTF-8, byte 0xe2 at offset 12"),
        ('{"a": 1}'.encode("utf-16-le"), "NUL byte, at offset 1; the file must be UTF-8 text"),
    ],
)
def test_a_file_that_is_no_text_is_refused(challenge: Path, content: bytes, row_error: str) -> None:
    (challenge / "train.jsonl").write_bytes(content)
    assert row_errors_of(challenge) == [f"train.jsonl: {row_error}"]


def test_the_challenge_needs_its_folder_of_pictures(challenge: Path) -> None:
    (challenge / "img").rename(challenge / "images")
    assert row_errors_of(challenge) == [".: missing folder, img"]
    assert len(read_split(challenge, "train", verify_images=False)) == 1


@pytest.mark.parametrize("image", ["path", "image_path", "image_name", "image"])
@pytest.mark.parametrize("text", ["text", "sentence", "caption"])
def test_a_plain_csv_may_call_its_columns_so(tmp_path: Path, image: str, text: str) -> None:
    add_pictures(tmp_path, "a.png")
    add_csv(tmp_path / "train.csv", (text, f" {image.upper()} ", "split", "Label"), [("x", "a.png", "?", "1")])
    assert [(meme.text, meme.image_path) for meme in read_split(tmp_path, "train")] == [("x", tmp_path / "a.png")]


@pytest.mark.parametrize(
    ("spelled", "label"),
    [
        *((name, Label.OFFENSIVE) for name in ("1", " 1 ", "offensive", "OFFENSIVE")),
        *((name, Label.NON_OFFENSIVE) for name in ("0", "Non-offensiv", "non-offensive")),
    ],
)
def test_a_plain_csv_may_spell_its_labels_so(tmp_path: Path, spelled: str, label: Label) -> None:
    add_csv(tmp_path / "train.csv", ("path", "text", "label"), [("a.png", "x", spelled)])
    assert read_split(tmp_path, "train", verify_images=False)[0].label is label


def test_all_faults_of_a_plain_csv_are_told_at_once(tmp_path: Path) -> None:
    rows = [("../a.png", "x", "2"), ("", "x", "true"), ("gone.png", "x", "hateful"), ("/a.png", "x", "1"), ("a.png",)]
    add_csv(tmp_path / "train.csv", ("image", "text", "label"), rows)
    add_csv(tmp_path / "dev.csv", ("image", "text", "label"), [])
    assert row_errors_of(tmp_path) == [
        "train.csv, row 2: image leaves the data folder, '../a.png'",
        f"train.csv, row 2: unknown label, '2'; {LABELS}",
        "train.csv, row 3: empty image, ''",
        f"train.csv, row 3: unknown label, 'true'; {LABELS}",
        f"train.csv, row 4: unknown label, 'hateful'; {LABELS}",
        "train.csv, row 5: image leaves the data folder, '/a.png'",
        "train.csv, row 6: ragged row, 1 fields; the header has 3",
        "dev.csv: no rows below the header",
        "train.csv, row 4: missing picture, 'gone.png'",
    ]


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (("path", "image", "text", "label"), "repeated column, 'path' and 'image'"),
        (("path", "text", "Text", "label"), "repeated column, 'text'"),
        (("file", "text", "label"), "missing column, 'path' or 'image_path' or 'image_name' or 'image'"),
        (("path", "words", "label"), "missing column, 'text' or 'sentence' or 'caption'"),
        (("path", "text"), "missing column, 'label'"),
    ],
)
def test_a_column_is_there_once(tmp_path: Path, header: Sequence[str], what: str) -> None:
    add_csv(tmp_path / "train.csv", header, [["a.png"] * len(header)])
    there = ", ".join(repr(name.lower()) for name in header)
    assert row_errors_of(tmp_path) == [f"train.csv, row 1: {what}; the header has {there}"]


def test_harmeme_is_read_as_it_is_distributed(tmp_path: Path) -> None:
    """Severities map to labels, the other words of the list say whom a meme harms."""
    add_pictures(tmp_path / "images", "a.png")
    labels = [["not harmful"], ["somewhat harmful", "individual"], ["very harmful", "society"]]
    rows = [{"id": "a", "image": "a.png", "labels": label, "text": "x"} for label in labels]
    for name in ("train", "val", "test"):
        add_lines(tmp_path / f"{name}.jsonl", *rows)
    splits = read_splits(tmp_path, required=("train", "validation", "test"))
    assert [memes.labels.tolist() for memes in splits.values()] == [[0, 1, 1]] * 3
    (tmp_path / "annotations").mkdir()
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.jsonl").rename(tmp_path / "annotations" / f"{name}.jsonl")
    assert [memes.labels.tolist() for memes in read_splits(tmp_path).values()] == [[0, 1, 1]] * 3
    add_lines(tmp_path / "annotations" / "val.jsonl", {**rows[0], "labels": ["harmful"]}, {**rows[0], "labels": 1})
    assert [one.partition("; ")[0] for one in row_errors_of(tmp_path)] == [
        'annotations/val.jsonl, row 1: unknown label, ["harmful"]',
        "annotations/val.jsonl, row 2: unknown label, 1",
    ]


def write_mami(folder: Path, num: int = 20) -> Path:
    header = ["file_name", "misogynous", "shaming", "stereotype", "objectification", "violence", "Text Transcription"]
    for below, name in (("TRAINING", "training.csv"), ("test", "Test.csv")):
        add_pictures(folder / below, *(f"{number}.png" for number in range(num)))
        rows = [[f"{number}.png", str(number % 2), "0", "0", "0", "0", "he said, x"] for number in range(num)]
        columns = range(7) if below == "TRAINING" else (0, 6)
        with (folder / below / name).open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t")
            writer.writerows([[row[column] for column in columns] for row in [header, *rows]])
    gold = "".join(f"{number}.png\t{number % 2}\t0\t0\t0\t0\n" for number in range(num))
    (folder / "test_labels.txt").write_text(gold, "utf-8")
    return folder


def test_mami_is_read_as_it_is_distributed(tmp_path: Path) -> None:
    """Every tenth row of training.csv is for validation; the labels of the test stand in a file of their own."""
    splits = read_splits(write_mami(tmp_path), required=("train", "validation", "test"))
    assert {split: len(memes) for split, memes in splits.items()} == {"train": 18, "validation": 2, "test": 20}
    assert [meme.row for meme in splits["validation"]] == [10, 20]
    for memes in splits.values():
        assert all(meme.label == int(meme.image_path.stem) % 2 for meme in memes)
        assert {meme.text for meme in memes} == {"he said, x"}
    before = data_hash(tmp_path)
    path = tmp_path / "test_labels.txt"
    path.write_text(path.read_text("utf-8").replace("3.png\t1", "3.png\t0"), "utf-8")
    assert data_hash(tmp_path) != before
    path.write_text("0.png\t1\n", "utf-8")
    assert row_errors_of(tmp_path)[0] == "test/Test.csv, row 3: no label for '1.png' in the file of labels"


def test_a_faulty_row_of_mami_is_told_once(tmp_path: Path) -> None:
    (write_mami(tmp_path) / "TRAINING" / "3.png").unlink()
    assert row_errors_of(tmp_path) == ["TRAINING/training.csv, row 5: missing picture, '3.png'"]


def test_hateful_memes_unseen_are_read_where_the_seen_are_not(tmp_path: Path) -> None:
    add_pictures(tmp_path / "img", "a.png")
    for name in ("train", "dev_unseen", "test_seen", "test_unseen"):
        add_lines(tmp_path / f"{name}.jsonl", line(text=name))
    splits = read_splits(tmp_path)
    assert [memes[0].text for memes in splits.values()] == ["train", "dev_unseen", "test_seen"]
    assert find_ignored(tmp_path) == ["test_unseen.jsonl"]


def test_listings_are_found_in_any_case_unless_two_differ_in_it(tmp_path: Path) -> None:
    (write_plain_csv(tmp_path) / "train.csv").rename(tmp_path / "Train.CSV")
    assert read_split(tmp_path, "train")[0].file == "Train.CSV"
    (tmp_path / "TRAIN.csv").write_bytes((tmp_path / "Train.CSV").read_bytes())
    assert row_errors_of(tmp_path) == [".: 2 files of split train, TRAIN.csv and Train.CSV; keep one"]


def test_a_missing_split_names_the_listings_that_are_not_read(tmp_path: Path) -> None:
    (write_plain_csv(tmp_path) / "validation.csv").rename(tmp_path / "valid.csv")
    assert find_ignored(tmp_path) == ["valid.csv"]
    assert row_errors_of(tmp_path, required=("validation",)) == [
        ".: missing file, validation.csv or val.csv or dev.csv; not read: valid.csv"
    ]


@pytest.mark.parametrize("write", [write_multioff, write_plain_csv])
def test_an_absolute_name_inside_the_folder_is_read(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    memes = [meme.image_path for meme in read_split(write(tmp_path), "train")]
    (listing,) = tmp_path.rglob("[Tt]rain*.csv")
    for name in ("a.png", "b.png"):
        relative = f"pictures/{name}" if write is write_plain_csv else name
        path = next(path for path in memes if path.name == name)
        listing.write_text(listing.read_text("utf-8").replace(relative, str(path)), "utf-8")
    assert [meme.image_path for meme in read_split(tmp_path, "train")] == memes


def test_a_backslash_gets_a_hint(challenge: Path) -> None:
    add_lines(
        challenge / "train.jsonl", {**line(), "img": "img\\a.png"}, r'{"img": "img\0.png", "text": "", "label": 1}'
    )
    assert [one.rpartition("; ")[2] for one in row_errors_of(challenge)] == [
        r"a picture's name is written img/0.png, not img\0.png",
        "folders are separated by /, not by a backslash",
    ]
