"""Functional tests of others are read as they are; whatever is wrong with one is told with its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evaluation.functional import files
from evaluation.functional.files import read_suite
from memes.meme import DataError, Label

if TYPE_CHECKING:
    from pathlib import Path

HATECHECK = "functionality,case_id,test_case,label_gold,target_ident\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cases.csv"


def problems(path: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_suite(path)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.row_errors]


def test_hatechecks_layout(path: Path) -> None:
    path.write_text(f"{HATECHECK}praise,1,I like women,non-hateful,women\nfruit,2,I hate figs,non-hateful,\n", "utf-8")
    first, second = read_suite(path).cases
    assert (first.functionality, first.text, first.label) == ("praise", "I like women", Label.NON_OFFENSIVE)
    assert (first.group, second.group) == ("women", "")
    assert second.where == "cases.csv, row 3"
    assert first.picture is None


@pytest.mark.parametrize(
    "text",
    [
        "text,functionality,target,label_gold\nfigs,swap,None,1\n",
        "type,label,prompt\nswap,unsafe,figs\n",
        "template,toxicity,phrase\nswap,toxic,figs\n",
        "Functionality , TEST_CASE,Label_Gold\nswap,figs,Hateful \n",
    ],
    ids=["HatemojiCheck", "XSTest", "Jigsaw", "other case"],
)
def test_other_names_of_columns_and_labels(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    (case,) = read_suite(path).cases
    assert (case.functionality, case.text, case.label, case.group) == ("swap", "figs", Label.OFFENSIVE, "")


def test_pictures_are_those_of_the_folder(path: Path, tmp_path: Path) -> None:
    path.write_text("functionality,text,label,image\nlook,,hateful, a.png \nread,word,hateful,\n", "utf-8")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.png").write_bytes(b"picture")
    suite = read_suite(path, images=tmp_path / "own")
    assert [case.picture for case in suite.cases] == ["a.png", None]
    assert suite.read_picture("a.png") == b"picture"


def test_a_link_may_not_leave_the_folder(path: Path, tmp_path: Path) -> None:
    path.write_text("functionality,text,label,image\nlook,,hateful,a.png\n", "utf-8")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.png").symlink_to(path)
    with pytest.raises(OSError, match="link that leaves"):
        read_suite(path, images=tmp_path / "own").read_picture("a.png")


def test_every_problem_is_listed_with_its_row(path: Path) -> None:
    rows = ["x,1,figs,bad,women", ",2,figs,hateful,women", "x,3, ,hateful,women", "x,4"]
    path.write_text(HATECHECK + "\n".join(rows), "utf-8")
    first, *others = problems(path)
    assert first.startswith("cases.csv, row 2: unknown label, 'bad'; it must be one of offensive, ")
    assert others == [
        "cases.csv, row 3: empty functionality",
        "cases.csv, row 4: empty test_case; a case needs a caption or a picture",
        "cases.csv, row 5: ragged row, 2 fields; the header has 5",
        "cases.csv: no case below the header can be read",
    ]


def test_a_picture_outside_the_folder_is_a_row_error(path: Path) -> None:
    path.write_text("functionality,text,label,image\nlook,figs,hateful,../a.png\n", "utf-8")
    assert problems(path)[0] == "cases.csv, row 2: image leaves the folder of the pictures, '../a.png'"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("spans,text\n[],figs\n", "missing column, 'label_gold' or 'label' or 'toxicity'"),
        ("functionality,label,text,Text\nx,1,figs,figs\n", "repeated column, 'text'"),
        (f'{HATECHECK}x,1,"figs,hateful,women\n', "malformed CSV"),
        (HATECHECK, "no case below the header can be read"),
        ("", "empty file, expected the columns"),
    ],
)
def test_a_file_that_is_no_functional_test(path: Path, text: str, problem: str) -> None:
    path.write_text(text, "utf-8")
    assert problem in "\n".join(problems(path))


def test_a_missing_file(path: Path) -> None:
    assert problems(path) == ["cases.csv: missing file"]


def test_faulty_rows_may_be_left_out_and_are_listed(path: Path) -> None:
    path.write_text(f"{HATECHECK}x,1,figs,bad,women\nx,2,figs,hateful,women\n", "utf-8")
    suite = read_suite(path, max_skipped=1)
    assert len(suite.cases) == 1
    (line,) = suite.skipped
    assert line.startswith("cases.csv, row 2: unknown label, 'bad'")


def test_too_many_cases(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_CASES", 2)
    path.write_text(HATECHECK + "x,1,figs,hateful,women\n" * 3, "utf-8")
    assert problems(path) == ["cases.csv: more than 2 cases, the limit"]
