"""An evaluation predicts as the predictor does; its page stands alone and says what its JSON says."""

from __future__ import annotations

import copy
import csv
import dataclasses
import html
import json
import shutil
import zipfile
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from evaluation.evaluate import evaluate
from evaluation.metrics import FIGURES
from evaluation.page import write_evaluation
from evaluation.result import IMAGE_ONLY, MAJORITY, MODEL, TEXT_ONLY, TFIDF
from evaluation.scorers import score_with_bundle
from memeguard.bundle import Bundle, save_bundle
from memeguard.torch_runtime import TorchPredictor
from memes.reading import read_splits

if TYPE_CHECKING:
    from pathlib import Path

    from memes.meme import Meme


def test_scores_are_the_predictors_probabilities(bundle_folder: Path, demo_splits: dict[str, list[Meme]]) -> None:
    predictor, memes = TorchPredictor.from_folder(bundle_folder), demo_splits["test"]
    scores = score_with_bundle(predictor, memes, "predict")[MODEL]
    verdicts = predictor.predict([predictor.prepare(meme.image_path.read_bytes(), meme.text) for meme in memes])
    assert scores.probabilities == pytest.approx([verdict.probability for verdict in verdicts], abs=1e-5)


class Page(HTMLParser):
    """What a page loads, and its figures as they are read: [figure and interval, ...] by model."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.models: dict[str, list[str]] = {}
        self._cell = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if model := dict(attrs).get("data-model"):
            self.models[model] = []
        self._cell = dict(attrs).get("class") or ""

    def handle_data(self, data: str) -> None:
        if self._cell in {"value", "range"}:
            self.models[list(self.models)[-1]].append(data)
            self._cell = ""


class Written(NamedTuple):
    """What one run of the command wrote and printed."""

    report: dict[str, Any]
    text: str
    output: str


@pytest.fixture(scope="module")
def written(small_bundle: Bundle, demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """``memeguard evaluate`` on the test split of an archive whose bundle is calibrated and has operating points."""
    folder = tmp_path_factory.mktemp("written")
    classifier = copy.deepcopy(small_bundle.classifier)
    points = {"recall=0.8": 0.4, "flag-rate=0.2": 0.375}
    labels = dataclasses.replace(classifier.config.labels, temperature=1.625, shift=-0.5, operating_points=points)
    classifier.config = dataclasses.replace(classifier.config, labels=labels)
    save_bundle(Bundle(classifier, small_bundle.tokenizer), folder / "bundle")
    with zipfile.ZipFile(folder / "small.mar", "w") as file:
        for path in (folder / "bundle").iterdir():
            file.write(path, f"bundle/{path.name}")
    places = ["--out", str(folder / "out"), "--json", str(folder / "figures.json")]
    arguments = ["evaluate", str(folder / "small.mar"), "--data", str(demo_folder), "--split", "test", *places]
    done = CliRunner().invoke(main, [*arguments, "--device", "cpu"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads((folder / "figures.json").read_text("utf-8"))
    return Written(report, (folder / "out" / "index.html").read_text("utf-8"), done.output)


def test_the_page_stands_alone(written: Written) -> None:
    page = Page(written.text)
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_the_page_says_what_the_json_says_for_every_figure_of_every_model(written: Written) -> None:
    def shown(figure: dict[str, float]) -> list[str]:
        return [f"{figure['value']:.3f}", f"{figure['low']:.3f} to {figure['high']:.3f}"]

    models = written.report["models"]
    assert list(models) == [MODEL, IMAGE_ONLY, TEXT_ONLY, TFIDF, MAJORITY]
    expected = {
        name: [text for figure in FIGURES for text in shown(figures[figure])] for name, figures in models.items()
    }
    assert Page(written.text).models == expected


def test_the_page_and_the_json_say_by_what_answers_are_made(written: Written) -> None:
    assert (written.report["models"][MODEL]["threshold"], written.report["temperature"]) == (0.375, 1.625)
    assert written.report["shift"] == -0.5
    assert "<dt>Threshold</dt><dd>0.375:" in written.text
    assert "<dt>Temperature</dt><dd>1.625:" in written.text
    assert "<dt>Shift</dt><dd>-0.500:" in written.text
    assert "at least\n0.375, at temperature 1.625 and shift -0.500." in written.text


def test_the_json_says_how_good_the_probabilities_were_and_are(
    written: Written, small_bundle: Bundle, demo_splits: dict[str, list[Meme]]
) -> None:
    """Before: those of the bundle's network without its calibration."""
    calibration, models = written.report["calibration"], written.report["models"]
    assert (calibration["num"], calibration["offensive_share"]) == (12, 0.5)
    assert calibration["after"]["ece"] == models[MODEL]["ece"]
    assert calibration["after"]["brier"] == models[MODEL]["brier"]
    assert calibration["after"]["reliability"] == written.report["reliability"]
    memes = demo_splits["test"]
    verdicts = TorchPredictor(small_bundle).predict(
        [TorchPredictor(small_bundle).prepare(meme.image_path.read_bytes(), meme.text) for meme in memes]
    )
    risk = 1 - np.array([verdict.probability for verdict in verdicts])
    labels = np.array([meme.label.value for meme in memes])
    assert calibration["before"]["brier"]["value"] == pytest.approx(np.mean((risk - labels) ** 2), abs=1e-5)
    assert calibration["before"]["mean_risk"] == pytest.approx(risk.mean(), abs=1e-5)
    change = calibration["after"]["brier"]["value"] - calibration["before"]["brier"]["value"]
    assert calibration["brier_change"]["value"] == pytest.approx(change)
    assert f"calibration (12 memes): ECE {calibration['before']['ece']['value']:.3f}" in written.output


def test_operating_points_are_measured_on_the_split(written: Written) -> None:
    points = written.report["operating_points"]
    assert {name: point["threshold"] for name, point in points.items()} == {"recall=0.8": 0.4, "flag-rate=0.2": 0.375}
    answers = written.report["confusion"]
    hits, alarms = answers["offensive_as_offensive"], answers["non_offensive_as_offensive"]
    served = points["flag-rate=0.2"]
    assert served["num_flagged"] == hits + alarms
    assert served["recall"]["value"] == hits / 6
    assert served["flag_rate"]["value"] == (hits + alarms) / 12
    for name, point in points.items():
        assert f'<th scope="row">{name}</th>' in written.text
        assert f"{name} (12 memes): threshold {point['threshold']:.3f}, precision " in written.output


def test_the_page_and_the_json_count_the_opening(written: Written) -> None:
    assert (written.report["split"], written.report["num"], written.report["num_openings"]) == ("test", 12, 1)
    assert "The test split has been opened 1 time\nwith this bundle." in written.text


def test_warnings_stand_on_top_of_everything(written: Written) -> None:
    assert written.report["warnings"]
    top = html.unescape(written.text[: written.text.index("<h1>")])
    for warning in written.report["warnings"]:
        assert warning in top
        assert f"warning: {warning}" in written.output


def test_a_caption_cannot_run_as_a_script(bundle_folder: Path, demo_folder: Path, tmp_path: Path) -> None:
    report = evaluate(bundle_folder, demo_folder, "validation", device="cpu", num_resamples=20)
    assert report.mistakes
    bad = tuple(dataclasses.replace(one, text="<script>alert(1)</script>") for one in report.mistakes)
    text = write_evaluation(dataclasses.replace(report, mistakes=bad), demo_folder, tmp_path).read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_one_label_alone_still_gives_a_report(bundle_folder: Path, demo_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "Split Dataset").mkdir(parents=True)
    shutil.copytree(demo_folder / "Labelled Images", data / "Labelled Images")
    for path in (demo_folder / "Split Dataset").iterdir():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        kept = [row for row in rows if not path.name.startswith("Testing") or row[-1].lower() != "offensive"]
        with (data / "Split Dataset" / path.name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(kept)
    assert len(read_splits(data)["test"]) < 12
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        for path in bundle_folder.iterdir():
            file.write(path, f"bundle/{path.name}")
    report = evaluate(tmp_path / "a.mar", data, "test", device="cpu", num_resamples=20)
    assert report.models[MODEL].auroc.value is None
    assert any("All memes of this split are non-offensive" in warning for warning in report.warnings)
    assert write_evaluation(report, data, tmp_path / "out").is_file()


def test_faulty_memes_may_be_left_out_and_are_listed(bundle_folder: Path, demo_folder: Path, tmp_path: Path) -> None:
    data = shutil.copytree(demo_folder, tmp_path / "data")
    next((data / "Labelled Images").glob("validation_*")).unlink()
    report = evaluate(bundle_folder, data, "validation", device="cpu", num_resamples=20, max_skipped=1)
    assert report.num == len(read_splits(demo_folder)["validation"]) - 1
    (line,) = report.skipped
    assert line.startswith("Validation_meme_dataset.csv, row ")
    assert any("1 faulty memes were left out" in warning for warning in report.warnings)
