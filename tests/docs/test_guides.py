"""The guides' commands run as they stand, from the first block to the last, in a folder with small data.

They run in this process: importing torch for each of them again would take longer than all of them together.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from cli.main import main
from demo.drawing import write_demo_data
from tests.docs.pages import PAGES, Block, find_block, find_blocks, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What the commands of each page leave behind.
RESULTS = {
    "docs/cli.md": (),
    "docs/evaluate.md": (
        "reports/mine-validation",
        "reports/mine-test",
        "figures.json",
        "reports/mine-builtin",
        "reports/mine-cases",
        "functional.json",
        "bundles/mine/test_openings.jsonl",
    ),
    "docs/score.md": ("verdicts.csv", "verdicts.csv.json", "verdicts.parquet", "verdicts.parquet.json"),
    "docs/serve.md": (),
    "docs/train.md": ("bundles/mine", "model_store/meme-1.0.0.mar", "model_store/meme-1.0.0.json", "bundles/lora"),
    "starter/README.md": (),
    "README.md": (),
}
# Who runs the other programs.
RUN_ELSEWHERE = {
    "make serve": "tests/e2e/test_starter.py",
    "make test": "whoever runs this",
}


@pytest.fixture
def workplace(demo_folder: Path, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, but for ``data/mine`` and a CLIP that has the name of OpenAI's."""
    data = tmp_path / "data" / "mine"
    shutil.copytree(demo_folder, data)
    (data / "img").mkdir()
    for number, picture in enumerate(sorted((data / "Labelled Images").iterdir())[:8], start=1):
        shutil.copy(picture, data / "img" / f"{number}.png")
        (data / "img" / f"{number}.txt").write_text("a caption\n", "utf-8")
    (tmp_path / "openai").mkdir()
    (tmp_path / "openai" / "clip-vit-base-patch32").symlink_to(clip_folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    terminates = signal.getsignal(signal.SIGTERM)  # the command line has a handler of its own
    yield tmp_path
    signal.signal(signal.SIGTERM, terminates)


# model_archiver/version.py leaves its file open.
@pytest.mark.filterwarnings("ignore:unclosed file .*model_archiver:ResourceWarning")
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.is_step for block in read_blocks(page))])
def test_a_guide_does_what_it_says(page: str, workplace: Path, bundle_folder: Path) -> None:
    if page in {"docs/evaluate.md", "docs/score.md"}:  # they begin where training has ended
        for name in ("mine", "older"):
            shutil.copytree(bundle_folder, workplace / "bundles" / name)
    for block in read_blocks(page):
        if block.how.startswith("file: "):
            (workplace / block.how.removeprefix("file: ")).write_text(block.code, "utf-8")
        elif block.is_step:
            run(block)
    for name in RESULTS[page]:
        assert (workplace / name).exists()


def test_a_sweep_ranks_what_the_guide_says(workplace: Path) -> None:
    default, own = find_blocks("run: sweep")
    run(default, "--epochs", "1")
    board = json.loads((workplace / "sweeps" / "mine" / "leaderboard.json").read_text("utf-8"))
    assert len(board["configurations"]) == 27
    [space] = find_blocks("file: space.toml")
    (workplace / "space.toml").write_text(space.code, "utf-8")
    run(own, "--epochs", "1")
    board = json.loads((workplace / "sweeps" / "lr" / "leaderboard.json").read_text("utf-8"))
    assert len(board["configurations"]) == 2
    assert (workplace / "sweeps" / "mine" / "winner" / "model.safetensors").exists()
    assert (workplace / "sweeps" / "mine" / "command.txt").exists()


@pytest.mark.filterwarnings("ignore:unclosed file .*model_archiver:ResourceWarning")
def test_operating_points_are_kept_and_served(workplace: Path) -> None:
    """With as many memes as recall=0.8 and flag-rate=0.1 need."""
    shutil.rmtree(workplace / "data" / "mine")
    write_demo_data(workplace / "data" / "mine", num_train=120, num_validation=16, num_test=4)
    for how in ("run: operating points", "run: served point"):
        run(find_block(how))
    served = json.loads((workplace / "model_store" / "meme-1.2.0.json").read_text("utf-8"))
    assert (served["operating_point"], served["threshold"]) == (
        "flag-rate=0.1",
        served["operating_points"]["flag-rate=0.1"],
    )
    card = json.loads((workplace / "model_store" / "meme-1.1.0.json").read_text("utf-8"))
    assert card["operating_point"] == "recall=0.8"
    assert list(card["operating_points"]) == ["recall=0.8", "flag-rate=0.1"]
    assert card["threshold"] == card["operating_points"]["recall=0.8"]


def run(block: Block, *more: str) -> None:
    """Run each line of ``block``, with ``more`` options."""
    for line in block.code.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == ".venv/bin/memeguard":
            assert not main([*arguments, *more], standalone_mode=False)
        else:
            assert shlex.join([program, *arguments]) in RUN_ELSEWHERE, f"{block}: nobody runs {program}"
