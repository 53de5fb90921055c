"""`memeguard score` writes the model's prediction for every meme, or the error that the meme got instead."""

from __future__ import annotations

import csv
import json
import os
import random
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from memeguard.regular_file import MAX_PICTURE_BYTES
from memeguard.runtimes import load_predictor
from memes.picture_folder import read_folder
from scoring.inference import predict_memes
from tests.scoring.conftest import draw, read_rows, score, write_list
from tests.training.full_disk import largest_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def names(out: Path) -> list[str]:
    return [row["image"] for row in read_rows(out)]


def test_a_folder_is_scored_as_the_predictor_predicts(memes: Path, bundle_folder: Path, out: Path) -> None:
    """One meme a batch, so that both make the same batches; a caption is the .txt beside the picture."""
    captions = {"b.png": "a caption", "sub/a.jpg": "", "ä 猫.PNG": "this is\nthe exact opposite", "nameless": ""}
    (memes / "sub").mkdir()
    for number, (name, caption) in enumerate(captions.items()):
        (memes / name).write_bytes(draw(number))
        if caption:
            (memes / name).with_suffix(".txt").write_text(f"\ufeff{caption}\n", "utf-8")
    for other in ("notes.pdf", ".hidden.png"):
        (memes / other).write_bytes(b"x")
    result = score(memes, bundle_folder, out, "--batch-size", 1, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["memes"], summary["skipped"], summary["errors"]) == (4, 1, {})
    rows = read_rows(out)
    assert [row["image"] for row in rows] == ["b.png", "nameless", "sub/a.jpg", "ä 猫.PNG"]
    predictor = load_predictor(bundle_folder)
    for row in rows:
        meme = predictor.prepare((memes / row["image"]).read_bytes(), captions[row["image"]])
        (verdict,) = predictor.predict([meme])
        assert (row["prediction"], float(row["probability"]), float(row["logit"])) == verdict
        assert row["model"] == summary["model"][:12]


def test_order_and_duplicates_stay(bundle_folder: Path, out: Path, tmp_path: Path) -> None:
    """More than one chunk, captions of every length, in batches sorted by it; equal memes get nearly equal answers."""
    source = write_list(tmp_path / "memes", 2100)
    result = score(source, bundle_folder, out)
    assert result.exit_code == 3
    with source.open(encoding="utf-8", newline="") as file:
        asked = list(csv.DictReader(file))
    rows = read_rows(out)
    assert [row["image"] for row in rows] == [row["image_name"] for row in asked]
    logits: dict[tuple[str, str], list[float]] = {}
    for row, meme in zip(rows, asked, strict=True):
        if not row["error"]:
            logits.setdefault((meme["image_name"], meme["sentence"]), []).append(float(row["logit"]))
    assert any(len(values) > 2 for values in logits.values())
    for values in logits.values():
        assert max(values) - min(values) < 1e-4
    distinct = {round(values[0], 3) for values in logits.values()}
    assert len(distinct) > 20


def test_a_bad_meme_costs_its_row_alone(memes: Path, bundle_folder: Path, out: Path) -> None:
    (memes / "ok.png").write_bytes(draw(0))
    (memes / "cut.png").write_bytes(draw(0)[:-30])
    (memes / "text.png").write_bytes(b"no picture")
    (memes / "empty.png").write_bytes(b"")
    (memes / "dir.png").mkdir()
    os.mkfifo(memes / "pipe.png")
    rows = [
        {"img": "ok.png", "text": "first"},
        {"img": "cut.png", "text": ""},
        {"img": "text.png", "text": ""},
        {"img": "empty.png", "text": ""},
        {"img": "dir.png", "text": ""},
        {"img": "pipe.png", "text": ""},
        {"img": "gone.png", "text": ""},
        {"img": "ok.png/x.png", "text": ""},
        {"img": "../memes/ok.png", "text": ""},
        {"img": "/etc/hostname", "text": ""},
        {"img": str(memes / "ok.png"), "text": "absolute, but inside"},
        {"img": "a\0b.png", "text": ""},
        {"img": "\ud800.png", "text": ""},
        {"img": "ok.png", "text": "\ud800"},
        {"img": "ok.png", "text": "long " * 200_000},
        {"img": "ok.png", "text": None},
        {"img": 7, "text": ""},
        {"img": "ok.png"},
        {"img": "n" * 10_000, "text": ""},
    ]
    lines = [*map(json.dumps, rows), "{", "[]", '{"img": "ok.png", "text": "last"}']
    (memes / "list.jsonl").write_text("\n".join(lines), "utf-8")
    result = score(memes / "list.jsonl", bundle_folder, out)
    assert result.exit_code == 3, result.output
    codes = [row["error"] for row in read_rows(out)]
    assert codes == [
        "", "damaged_image", "unsupported_image", "missing_part", "unreadable_file", "unreadable_file", "missing_file",
        "missing_file", "invalid_row", "invalid_row", "", "unreadable_file", "unreadable_file", "invalid_text",
        "text_too_long", "missing_part", "invalid_row", "missing_part", "unreadable_file", "invalid_row",
        "invalid_row", "",
    ]  # fmt: skip
    assert "19 could not be scored" in result.stdout
    assert all(bool(row["prediction"]) == bool(row["logit"]) == (not row["error"]) for row in read_rows(out))
    assert all(bool(row["detail"]) == bool(row["error"]) for row in read_rows(out))


def test_parquet_says_what_csv_says(bundle_folder: Path, out: Path, tmp_path: Path) -> None:
    source = write_list(tmp_path / "memes", 40)
    score(source, bundle_folder, out)
    score(source, bundle_folder, out.with_suffix(".parquet"))
    table = parquet.read_table(out.with_suffix(".parquet"))
    rows = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table.to_pylist()]
    assert rows == read_rows(out)
    assert table.schema.field("logit").type == "double"
    assert len(json.loads(table.schema.metadata[b"memeguard"])["model_sha256"]) == 64
    assert table.column("logit").null_count == sum(bool(row["error"]) for row in rows) > 0


def test_no_name_is_a_formula(memes: Path, bundle_folder: Path, out: Path) -> None:
    for name in ("=1+1.png", "-2.png", "@x.png", "a=b.png", "line\nend.png", "cr\rend.png", '"quoted",.png'):
        (memes / name).write_bytes(draw(0))
    (memes / os.fsdecode(b"latin-\xe4.png")).write_bytes(draw(0))
    assert score(memes, bundle_folder, out).exit_code == 0
    assert sorted(names(out)) == sorted([
        '"quoted",.png', "./-2.png", "./=1+1.png", "./@x.png", "a=b.png", "cr\rend.png", "latin-\\xe4.png",
        "line\nend.png",
    ])  # fmt: skip
    assert score(memes, bundle_folder, out.with_suffix(".parquet")).exit_code == 0
    assert "=1+1.png" in parquet.read_table(out.with_suffix(".parquet")).column("image").to_pylist()


def test_columns_are_found_or_named(memes: Path, bundle_folder: Path, out: Path) -> None:
    (memes / "ok.png").write_bytes(draw(0))
    source = memes / "list.csv"
    source.write_text(" Image ,id,TEXT\nok.png,1,hello\n", "utf-8")
    assert score(source, bundle_folder, out).exit_code == 0
    assert names(out) == ["ok.png"]
    for header, message in {
        "image,path,text": "'image' and 'path' may each be the image's column; choose one with --image-column",
        "file,id,text": "name the image's with --image-column (the columns are 'file', 'id', 'text')",
        "image,id,words": "name the text's with --text-column",
        "image,image,text": "repeated column 'image'",
    }.items():
        source.write_text(f"{header}\nok.png,ok.png,hello\n", "utf-8")
        result = score(source, bundle_folder, out.with_name("other.csv"))
        assert result.exit_code == 1
        assert message in result.output
    source.write_text("file,x,words\nok.png,1,hello\nok.png,1\n", "utf-8")
    named = ("--image-column", "file", "--text-column", "words", "--images", memes)
    assert score(source, bundle_folder, out.with_name("other.csv"), *named).exit_code == 3
    assert [row["error"] for row in read_rows(out.with_name("other.csv"))] == ["", "invalid_row"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"image,text\n", "no rows that can be read"),
        (b"image,text\na.png,\xff\n", "not UTF-8, byte 0xff"),
        (b'image,text\na.png,"open\nb.png,x\n', "malformed CSV"),
        (b"image,text\na.png,\0\n", "NUL byte"),
    ],
)
def test_a_list_whose_rows_cannot_be_told_apart_is_refused(
    memes: Path, bundle_folder: Path, out: Path, content: bytes, message: str
) -> None:
    (memes / "list.csv").write_bytes(content)
    result = score(memes / "list.csv", bundle_folder, out)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not out.parent.exists()


def test_a_job_that_cannot_be_done_is_refused(memes: Path, bundle_folder: Path, out: Path, tmp_path: Path) -> None:
    assert f"{memes} has no memes" in score(memes, bundle_folder, out).output
    (memes / "a.png").write_bytes(draw(0))
    (tmp_path / "file").write_text("mine")
    for source, model, where, message in (
        (tmp_path / "gone", bundle_folder, out, "does not exist"),
        (tmp_path / "file", bundle_folder, out, "neither a folder of pictures nor a list"),
        (memes, tmp_path / "gone", out, "does not exist"),
        (memes, tmp_path / "file", out, "neither a bundle's folder nor a readable archive"),
        (memes, memes, out, "is not a bundle"),
        (memes, bundle_folder, out.with_suffix(".txt"), "must end in .csv or .parquet"),
        (memes, bundle_folder, tmp_path / "file" / "v.csv", "file"),
    ):
        result = score(source, model, where)
        assert result.exit_code == 1, (source, result.output)
        assert message in result.output
        assert result.output.startswith("Error: ")
    result = score(memes, bundle_folder, out, "--device", "cuda:77")
    assert result.exit_code == 1
    assert "cuda:77" in result.output
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_full_disk_loses_nothing(bundle_folder: Path, out: Path, tmp_path: Path) -> None:
    source = write_list(tmp_path / "memes", 2500)
    score(source, bundle_folder, out)
    whole = out.read_bytes()
    again = out.with_name("again.csv")
    with largest_file(len(whole) - 1000):
        result = score(source, bundle_folder, again)
    assert result.exit_code == 1
    assert "File too large" in result.output
    assert not again.exists()
    assert score(source, bundle_folder, again).exit_code == 3
    assert again.read_bytes() == whole


def test_a_folder_is_read_in_the_order_of_its_names(memes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are sorted across the parts in which they are read; a name may hold any byte but a slash."""
    monkeypatch.setattr("memes.picture_folder._LINES_AT_ONCE", 3)
    written = sorted([*(b"%03d.png" % number for number in range(20)), b"a\n.png", b"b\\n.png", b"\xff\x80.png"])
    for name in random.Random(0).sample(written, len(written)):
        (memes / os.fsdecode(name)).write_bytes(draw(0))
    assert [meme.path for meme in read_folder(memes).memes()] == [os.fsencode(memes) + b"/" + name for name in written]


def test_what_leads_elsewhere_or_never_ends_costs_its_row_alone(memes: Path, bundle_folder: Path, out: Path) -> None:
    """A link inside the folder is followed."""
    for name in ("ok.png", "piped.png", "told.png"):
        (memes / name).write_bytes(draw(0))
    (memes.parent / "secret.png").write_bytes(draw(1))
    for name, target in {
        "device.png": "/dev/zero",
        "inside.png": "ok.png",
        "link.png": "../secret.png",
        "loop.png": "loop.png",
        "told.txt": "/etc/hostname",
    }.items():
        (memes / name).symlink_to(target)
    os.mkfifo(memes / "piped.txt")
    with (memes / "sparse.png").open("wb") as file:
        file.truncate(MAX_PICTURE_BYTES + 1)
    assert score(memes, bundle_folder, out).exit_code == 3
    rows = {row["image"]: (row["error"], row["detail"]) for row in read_rows(out)}
    assert rows == {
        "device.png": ("unreadable_file", "image is not a regular file but a device"),
        "inside.png": ("", ""),
        "link.png": ("unreadable_file", f"image is a link that leaves the folder {memes}"),
        "loop.png": ("unreadable_file", "image cannot be read: Too many levels of symbolic links"),
        "ok.png": ("", ""),
        "piped.png": ("unreadable_file", "text is not a regular file but a named pipe"),
        "sparse.png": (
            "image_too_large",
            f"image has {MAX_PICTURE_BYTES + 1} bytes; the limit is {MAX_PICTURE_BYTES}",
        ),
        "told.png": ("unreadable_file", f"text is a link that leaves the folder {memes}"),
    }


def test_no_cell_is_a_formula_where_the_semicolon_parts_cells(memes: Path, bundle_folder: Path, out: Path) -> None:
    for name in ("a;=1+1.png", 'b;"=2.png', "c\t=3.png", "d|@x.png"):
        (memes / name).write_bytes(draw(0)[:-30])
    (memes / "list.jsonl").write_text(json.dumps({"img": ["x; =1"], "text": ""}), "utf-8")
    assert score(memes, bundle_folder, out).exit_code == 3
    assert names(out) == ["a;=1+1.png", 'b;"=2.png', "c\t=3.png", "d|@x.png"]
    listed = out.with_name("list.csv")
    assert score(memes / "list.jsonl", bundle_folder, listed).exit_code == 3
    for path in (out, listed):
        for separator in ";\t|,":
            with path.open(encoding="utf-8", newline="") as file:
                cells = [cell.lstrip() for row in csv.reader(file, delimiter=separator) for cell in row]
            assert not [cell for cell in cells if cell.startswith(("=", "@"))]


@pytest.mark.parametrize("place", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_an_archive_that_is_no_file_is_not_opened(
    memes: Path, out: Path, tmp_path: Path, place: Callable[[Path], object]
) -> None:
    (memes / "ok.png").write_bytes(draw(0))
    place(tmp_path / "model.mar")
    result = score(memes, tmp_path / "model.mar", out)
    assert result.exit_code == 1
    assert "not a regular file but a" in result.output


def test_row_errors_hold_on_to_nothing(memes: Path, bundle_folder: Path) -> None:
    (memes / "a.png").write_bytes(draw(0))
    (memes / "a.txt").write_bytes(b"x" * (2 << 20))
    (meme,) = read_folder(memes).memes()
    assert meme.error
    list(predict_memes(iter([meme]), load_predictor(bundle_folder, runtime="torch"), batch_size=1, advance=int))
    assert (meme.error.__traceback__, meme.error.__cause__, meme.error.__context__) == (None, None, None)
