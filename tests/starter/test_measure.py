"""What the model card says of robustness and speed is what the program prints, of a bundle and of what is served."""

from __future__ import annotations

import re
import statistics
import warnings
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from memeguard.runtimes import load_predictor
from starter.measure import caption_variants, main, measure_robustness

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # model_archiver/version.py leaves its file open
    from archiving.archive import build_archive

if TYPE_CHECKING:
    from pathlib import Path

    from memes.meme import Meme


@pytest.mark.parametrize("served", [False, True], ids=["bundle", "archive"])
def test_every_way_of_writing_is_measured_and_so_is_the_time(
    bundle_folder: Path, demo_folder: Path, tmp_path: Path, *, served: bool
) -> None:
    model = bundle_folder
    if served:
        build_archive(bundle_folder, "1.0.0", tmp_path)
        model = tmp_path / "meme-1.0.0.mar"
    result = CliRunner().invoke(main, ["--data", str(demo_folder), "--model", str(model)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = re.findall(
        r"^\| ([\w %]+) \| (0\.\d{3}|1\.000) \| \d\.\d{3} \| (\d+) of 16 \|$", result.output, re.MULTILINE
    )
    assert [name for name, _, _ in rows] == [*caption_variants(), "picture missing"]
    assert rows[0][2] == "0"
    assert re.search(r"p50 \d+\.\d ms, p95 \d+\.\d ms", result.output)


def test_a_change_is_one_from_the_caption_as_it_is(bundle_folder: Path, demo_splits: dict[str, list[Meme]]) -> None:
    predictor = load_predictor(bundle_folder)
    memes = demo_splits["validation"]
    found = measure_robustness(predictor, memes)
    assert (found["as it is"].median_change, found["as it is"].num_flipped) == (0, 0)
    changes, num_flipped = [], 0
    for meme in memes:
        picture = meme.image_path.read_bytes()
        usual, without = (predictor.predict([predictor.prepare(picture, text)])[0] for text in (meme.text, ""))
        changes.append(abs(usual.probability - without.probability))
        num_flipped += usual.prediction != without.prediction
    assert found["missing"].median_change == pytest.approx(statistics.median(changes), abs=1e-5)
    assert found["missing"].median_change > 0
    assert found["missing"].num_flipped == num_flipped
