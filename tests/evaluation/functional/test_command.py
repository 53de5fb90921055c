"""``memeguard evaluate --functional`` writes a page and a JSON that say the same, and refuses what it cannot do."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

CASES = """functionality,test_case,label_gold,target_ident
attack,I loathe women,hateful,women
attack,I loathe Hindus,hateful,Hindus
praise,<script>alert(1)</script> I like women,non-hateful,women
praise,I like Hindus,non-hateful,Hindus
"""


class Written(NamedTuple):
    """What one run of the command wrote and printed."""

    report: dict[str, Any]
    page: str
    output: str


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def written(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The command on a file, with backgrounds, and against the same bundle."""
    folder = tmp_path_factory.mktemp("functional")
    (folder / "few.csv").write_text(CASES, "utf-8")
    (folder / "own").mkdir()
    Image.new("RGB", (40, 40), "yellow").save(folder / "own" / "a.png")
    done = run(
        bundle_folder, "--functional", folder / "few.csv", "--backgrounds", folder / "own", "--against", bundle_folder,
        "--out", folder / "out", "--json", folder / "figures.json", "--device", "cpu",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads((folder / "figures.json").read_text("utf-8"))
    return Written(report, (folder / "out" / "index.html").read_text("utf-8"), done.output)


def test_the_json_says_what_was_measured(written: Written) -> None:
    report = written.report
    assert (report["bundle"], report["suite"], report["num"], report["num_offensive"]) == ("small", "few", 4, 2)
    assert list(report["settings"]) == ["grey", "backgrounds"]
    for figures in report["settings"].values():
        assert [(one["name"], one["label"], one["num"]) for one in figures["functionalities"]] == [
            ("attack", "offensive", 2),
            ("praise", "non-offensive", 2),
        ]
        assert [group["name"] for group in figures["groups"]] == ["Hindus", "women"]


def test_a_bundle_does_not_differ_from_itself(written: Written) -> None:
    assert written.report["against"] == "small"
    same = {"only_first_right": 0, "only_second_right": 0, "p_value": 1.0}
    for figures in written.report["settings"].values():
        assert [figures["mcnemar"], *(one["mcnemar"] for one in figures["functionalities"])] == [same] * 3


def test_the_page_says_what_the_json_says(written: Written) -> None:
    shown = re.findall(r'<span class="value">(.*?)</span><span class="range">(.*?)</span>', written.page)
    expected = [
        (f"{rate['value']:.3f}", f"{rate['low']:.3f} to {rate['high']:.3f}")
        for figures in written.report["settings"].values()
        for rate in (
            *(one["accuracy"] for one in figures["functionalities"]),
            *(group[rate] for group in figures["groups"] for rate in ("false_positive_rate", "recall")),
        )
    ]
    assert shown == expected


def test_the_page_stands_alone_and_no_caption_runs_as_a_script(written: Written) -> None:
    assert "<script" not in written.page
    assert not re.search(r'(src|href)="', written.page)
    assert "default-src 'none'" in written.page


def test_warnings_stand_on_the_page_and_in_the_output(written: Written) -> None:
    assert written.report["warnings"]
    for warning in written.report["warnings"]:
        assert warning in html.unescape(written.page)
        assert f"warning: {warning}" in written.output


def test_the_output_has_a_row_for_each_functionality_and_group(written: Written) -> None:
    lines = written.output.splitlines()
    for name in ("attack", "praise", "Hindus", "women"):
        assert sum(line.startswith(f"{name} ") for line in lines) == 2  # with each kind of picture


def test_groups_that_are_treated_alike_are_not_compared(bundle_folder: Path, tmp_path: Path) -> None:
    """Two groups with the same caption, and so with the same rate."""
    rows = [f"greet,hello,non-hateful,{group}" for group in ("women", "Hindus")]
    (tmp_path / "same.csv").write_text("\n".join([CASES.splitlines()[0], *rows]), "utf-8")
    done = run(bundle_folder, "--functional", tmp_path / "same.csv", "--out", tmp_path / "out")
    assert ", the same for every group" in done.output
    assert " above " not in done.output


def test_the_builtin_suite_runs_by_its_name(bundle_folder: Path, tmp_path: Path) -> None:
    done = run(bundle_folder, "--functional", "builtin", "--out", tmp_path, "--json", tmp_path / "figures.json")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert (report["suite"], report["num_own_pictures"]) == ("builtin", 512)
    assert len(report["settings"]["grey"]["functionalities"]) >= 25
    assert all(one["about"] for one in report["settings"]["grey"]["functionalities"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--functional", "builtin", "--split", "test"], "leave out --data and --split"),
        (["--split", "test"], "Missing option '--data'"),
        (["--data", "data"], "Missing option '--split'"),
        (["--data", "data", "--split", "test", "--images", "own"], "--images belongs to a functional test"),
        (["--data", "data", "--split", "test", "--against", "other"], "--against belongs to a functional test"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(arguments: list[str], message: str) -> None:
    done = run("bundle", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_missing_file_is_one_clear_line(bundle_folder: Path, tmp_path: Path) -> None:
    done = run(bundle_folder, "--functional", tmp_path / "cases.csv", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"{tmp_path}/cases.csv: missing file"
