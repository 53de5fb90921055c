"""An evaluation's figures are right and the right way round, its warnings come when due, its page stands alone."""

from __future__ import annotations

import csv
import dataclasses
import json
import zipfile
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from cli.main import main
from memeguard.errors import BundleError
from memeguard.predictor import Predictor
from training.baselines import score_with_tfidf, tfidf_baseline
from training.bundle_source import open_bundle, record_opening
from training.data import read_splits
from training.evaluation import evaluate, find_warnings, measure
from training.evaluation_page import write_evaluation
from training.scorers import MAJORITY, MODEL, TFIDF, score_with_bundle
from training.statistics import Scores, bootstrap_figures, compare_answers, compute_figures, make_estimate

if TYPE_CHECKING:
    from pathlib import Path

    from training.memes import Meme


def random_scores(num: int, gap: float, seed: int = 0) -> Scores:
    """Offensive memes score lower by ``gap`` on average; many ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, num)
    probabilities = np.round(np.clip(random.normal(0.5 - gap * labels, 0.2), 0, 1), 2)
    return Scores(labels=labels, probabilities=probabilities, threshold=0.45)


def test_figures_are_those_of_scikit_learn() -> None:
    scores = random_scores(200, 0.2)
    figures, risk = compute_figures(scores), 1 - scores.probabilities
    assert figures["auroc"] == pytest.approx(roc_auc_score(scores.labels, risk))
    assert figures["average_precision"] == pytest.approx(average_precision_score(scores.labels, risk))
    assert figures["weighted_f1"] == pytest.approx(f1_score(scores.labels, scores.predicted, average="weighted"))
    assert figures["macro_f1"] == pytest.approx(f1_score(scores.labels, scores.predicted, average="macro"))
    assert figures["offensive_f1"] == pytest.approx(f1_score(scores.labels, scores.predicted))
    assert figures["brier"] == pytest.approx(np.mean((risk - scores.labels) ** 2))


def test_calibration_error_by_hand() -> None:
    scores = Scores(labels=np.array([1, 0, 1]), probabilities=np.array([0.1, 0.1, 0.9]), threshold=0.5)
    # Risks .9, .9 in one bin, half of them offensive: gap .4 for two; risk .1 alone and offensive: gap .9 for one.
    assert compute_figures(scores)["ece"] == pytest.approx((2 * 0.4 + 0.9) / 3)


def test_intervals_are_seeded_and_cover_the_truth() -> None:
    covered = 0
    for seed in range(40):
        right = np.random.default_rng(seed).random(200) < 0.8
        labels = np.ones(200, dtype=np.int64)
        scores = Scores(labels=labels, probabilities=np.where(right, 0.0, 1.0), threshold=0.5)
        resampled = bootstrap_figures({"model": scores}, num_resamples=400)["model"]["accuracy"]
        again = bootstrap_figures({"model": scores}, num_resamples=400)["model"]["accuracy"]
        assert (resampled == again).all()
        estimate = make_estimate(float(right.mean()), resampled)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0.8 <= estimate.high
    assert covered >= 34


def test_mcnemar_by_hand() -> None:
    labels = np.ones(10, dtype=np.int64)
    first = Scores(labels=labels, probabilities=np.array([0.0] * 8 + [1.0, 0.0]), threshold=0.5)
    second = Scores(labels=labels, probabilities=np.array([1.0] * 8 + [0.0, 0.0]), threshold=0.5)
    result = compare_answers(first, second)
    assert (result.only_first_right, result.only_second_right) == (8, 1)
    assert result.p_value == pytest.approx(2 * (1 + 9) / 2**9)


def test_a_model_of_random_scores_is_warned_of() -> None:
    model, words = random_scores(150, 0.0), random_scores(150, 0.3)
    majority = Scores(labels=model.labels, probabilities=np.full(150, 0.6), threshold=0.5)
    measured = measure({MODEL: model, TFIDF: words, MAJORITY: majority}, 200)
    warnings = find_warnings(measured, model.labels, 3, "test")
    assert "no better than chance" in warnings[0]
    assert "does not beat TF-IDF" in warnings[1]
    assert any("3 of 150 memes have a near-duplicate in train" in warning for warning in warnings)


def test_scorers_judge_as_the_predictor_and_the_baseline_do(
    bundle_folder: Path, demo_splits: dict[str, list[Meme]]
) -> None:
    predictor, memes = Predictor.from_folder(bundle_folder), demo_splits["test"]
    scores = score_with_bundle(predictor, memes, "judge")[MODEL]
    verdicts = predictor.predict([predictor.prepare(meme.image_path.read_bytes(), meme.text) for meme in memes])
    assert scores.probabilities == pytest.approx([verdict.probability for verdict in verdicts], abs=1e-5)
    words = compute_figures(score_with_tfidf(demo_splits["train"], demo_splits["validation"], memes))
    expected = tfidf_baseline(demo_splits["train"], demo_splits["validation"], memes)
    assert (words["accuracy"], words["auroc"]) == pytest.approx((expected.accuracy, expected.auroc))


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_the_command_writes_a_page_that_stands_alone(bundle_folder: Path, demo_folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "small.mar"
    with zipfile.ZipFile(archive, "w") as file:
        for path in bundle_folder.iterdir():
            file.write(path, f"bundle/{path.name}")
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    arguments = ["evaluate", str(archive), "--data", str(demo_folder), "--split", "test", "--device", "cpu"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(out), "--json", str(figures)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report, text = json.loads(figures.read_text("utf-8")), (out / "index.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "script" not in page.tags
    for model in report["models"].values():
        assert f">{model['auroc']['value']:.3f}<" in text
    assert report["warnings"]
    assert report["num_openings"] is None
    assert report["num"] == 12


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
    (data / "Labelled Images").symlink_to(demo_folder / "Labelled Images")
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


def test_openings_are_counted_for_each_bundle(tmp_path: Path) -> None:
    assert [record_opening(tmp_path, bundle, "data") for bundle in ("abc", "abc", "xyz")] == [1, 2, 1]


@pytest.mark.parametrize("name", ["../evil", "/evil", "bundle/../../evil", "bundle\\..\\evil"])
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr(name, "x")
    with pytest.raises(BundleError, match="leaves its folder"), open_bundle(tmp_path / "a.mar"):
        pass
