"""Training as a whole: reproducible, the right way round, and clear about what it cannot work with."""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import json
import math
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from evaluation.metrics import measure_scores
from evaluation.result import MODEL
from evaluation.scorers import score_with_bundle
from memeguard.bundle import load_bundle, save_bundle
from memeguard.bundle_files import read_report
from memeguard.torch_runtime import TorchPredictor
from memes.meme import DataError, Label, Meme
from memes.reading import read_splits
from training.backbones import Source, load_backbone
from training.calibration import calibrate
from training.checkpoint import Checkpoints
from training.config import TrainingConfig, TrainingError
from training.cross_validation import part_into_folds, predict_out_of_fold
from training.experiment import Experiment
from training.loop import predict_logits
from training.trainer import TrainingResult, require_same_training, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Splits = dict[str, list[Meme]]
QUICK = TrainingConfig(num_epochs=2, batch_size=16, device="cpu")


@pytest.fixture(scope="module")
def tiny(demo_splits: Splits) -> TrainingResult:
    return train(demo_splits, "tiny", QUICK, data_hash="abc")


@pytest.fixture(scope="module")
def frozen(demo_splits: Splits, clip_folder: Path) -> TrainingResult:
    return train(demo_splits, str(clip_folder), QUICK)


@pytest.fixture(scope="module")
def adapted(demo_splits: Splits, clip_folder: Path) -> TrainingResult:
    config = TrainingConfig.preset("lora", num_epochs=2, batch_size=16, backbone_learning_rate=1e-2, device="cpu")
    return train(demo_splits, str(clip_folder), config)


def weights_of(result: TrainingResult, folder: Path) -> bytes:
    save_bundle(result.bundle, folder)
    return (folder / "model.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_bytes(demo_splits: Splits, tiny: TrainingResult, tmp_path: Path) -> None:
    expected = weights_of(tiny, tmp_path / "first")
    again = train(demo_splits, "tiny", QUICK)
    assert weights_of(again, tmp_path / "again") == expected
    assert again.report["threshold"] == tiny.report["threshold"]


def test_another_seed_gives_other_weights(
    demo_splits: Splits, clip_folder: Path, frozen: TrainingResult, tmp_path: Path
) -> None:
    other = train(demo_splits, str(clip_folder), TrainingConfig(num_epochs=2, batch_size=16, device="cpu", seed=1))
    assert weights_of(other, tmp_path / "other") != weights_of(frozen, tmp_path / "frozen")


def test_a_pretrained_backbone_is_kept_as_it_is(frozen: TrainingResult, clip_folder: Path) -> None:
    trained = frozen.bundle.classifier.clip.state_dict()
    for name, tensor in load_file(clip_folder / "model.safetensors").items():
        assert torch.equal(trained[name], tensor), name
    assert not frozen.bundle.classifier.clip.visual_projection.weight.requires_grad


def test_a_backbone_from_scratch_learns_in_both_towers(tiny: TrainingResult, demo_splits: Splits) -> None:
    torch.manual_seed(QUICK.seed)
    initial = load_backbone("tiny", [meme.text for meme in demo_splits["train"]]).clip.state_dict()
    trained = tiny.bundle.classifier.clip.state_dict()
    for tower in ("text_model", "vision_model", "visual_projection", "text_projection"):
        assert any(not torch.equal(trained[name], initial[name]) for name in initial if name.startswith(tower)), tower


def test_a_pretrained_backbones_inputs_travel_in_the_bundle(frozen: TrainingResult, clip_folder: Path) -> None:
    config = frozen.bundle.classifier.config
    backbone = load_backbone(str(clip_folder), [])
    assert (config.backbone, config.image, config.text) == (str(clip_folder), backbone.image, backbone.text)
    assert frozen.bundle.tokenizer.to_str() == backbone.tokenizer.to_str()


def test_the_report_says_what_was_done(tiny: TrainingResult, tmp_path: Path) -> None:
    save_bundle(tiny.bundle, tmp_path / "bundle", report=tiny.report)
    report = read_report(tmp_path / "bundle")
    assert report == json.loads(json.dumps(tiny.report, allow_nan=False))
    assert report["backbone"] == "tiny"
    assert report["backbone_commit"] is report["backbone_sha256"] is None
    assert report["training"]["learning_rate"] == 1e-3
    assert (report["training"]["tune"], report["training"]["num_folds"]) == ("full", 0)
    assert report["cross_validation"] is None
    assert report["data"] == {"sha256": "abc", "num_memes": {"train": 40, "validation": 16}, "skipped": []}
    assert len(report["epochs"]) == 2
    assert set(report["validation"]) == {"model", "tfidf", "majority"}
    assert report["validation"]["majority"]["auroc"] == 0.5
    labels = load_bundle(tmp_path / "bundle").classifier.config.labels
    assert [labels.threshold, labels.temperature, labels.shift] == [
        report[name] for name in ("threshold", "temperature", "shift")
    ]
    assert report["calibration"]["fitted_on"] == "validation"
    assert report["calibration"]["validation"]["num"] == report["threshold_curve"]["num"] == 16


def test_a_head_is_calibrated_on_memes_it_did_not_learn_from(
    frozen: TrainingResult, demo_splits: Splits, clip_folder: Path
) -> None:
    """The memes of the training split; a head that did not see them predicts each of them."""
    experiment = Experiment(demo_splits, str(clip_folder), device="cpu")
    folds = part_into_folds(experiment, QUICK)
    assert folds is not None
    held_out = predict_out_of_fold(experiment, QUICK, folds)
    labels = frozen.bundle.classifier.config.labels
    aligned = held_out.align(experiment.predict_logits(frozen.bundle.classifier, "validation"))
    assert labels == calibrate(experiment.labels["train"], aligned)
    report = frozen.report
    assert (report["threshold"], report["shift"]) == (labels.threshold, labels.shift)
    calibration = report["calibration"]
    assert (calibration["fitted_on"], set(calibration)) == ("out-of-fold", {"fitted_on", "out-of-fold", "validation"})
    assert (calibration["out-of-fold"]["num"], calibration["validation"]["num"]) == (40, 16)
    assert report["threshold_curve"]["memes"] == "out-of-fold"
    assert (report["training"]["tune"], report["training"]["num_folds"]) == ("head", 5)
    assert report["cross_validation"] == held_out.summarize(experiment.labels["train"])
    json.dumps(report, allow_nan=False)


def test_without_folds_the_validation_split_calibrates(tiny: TrainingResult, demo_splits: Splits) -> None:
    experiment = Experiment(demo_splits, "tiny", device="cpu")
    inputs = experiment.inputs["validation"]
    logits = predict_logits(tiny.bundle.classifier.eval(), inputs)
    expected = calibrate(experiment.labels["validation"], logits)
    labels = tiny.bundle.classifier.config.labels
    assert labels.temperature == pytest.approx(expected.temperature, rel=1e-4)
    assert labels.shift == pytest.approx(expected.shift, abs=1e-4)
    assert labels.threshold == pytest.approx(expected.threshold, abs=1e-4)


def test_folds_change_nothing_of_the_weights(
    demo_splits: Splits, clip_folder: Path, frozen: TrainingResult, tmp_path: Path
) -> None:
    without = train(demo_splits, str(clip_folder), dataclasses.replace(QUICK, num_folds=0))
    assert weights_of(without, tmp_path / "without") == weights_of(frozen, tmp_path / "with")


def test_adapters_end_in_an_ordinary_bundle(adapted: TrainingResult, clip_folder: Path, tmp_path: Path) -> None:
    save_bundle(adapted.bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle").classifier.clip.state_dict()
    before = load_file(clip_folder / "model.safetensors")
    changed = {name for name, tensor in loaded.items() if not torch.equal(tensor, before[name])}
    assert loaded.keys() == before.keys()
    assert changed == {name for name in before if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))}


@pytest.mark.parametrize("name", ["tiny", "frozen"])
def test_the_test_split_has_no_part_in_training(
    name: str, request: pytest.FixtureRequest, demo_splits: Splits, clip_folder: Path, tmp_path: Path
) -> None:
    """Neither its pictures nor its labels: the pictures are not there, the labels are all the same."""
    expected = weights_of(request.getfixturevalue(name), tmp_path / "expected")
    backbone = {"tiny": "tiny", "frozen": str(clip_folder)}[name]
    absent = [
        dataclasses.replace(meme, image_path=tmp_path / "nothing.png", label=Label.OFFENSIVE)
        for meme in demo_splits["test"]
    ]
    alone = {name: demo_splits[name] for name in ("train", "validation")}
    for number, splits in enumerate(({**demo_splits, "test": absent}, alone)):
        result = train(splits, backbone, QUICK, cache_dir=tmp_path / "cache")
        assert weights_of(result, tmp_path / str(number)) == expected


def test_features_are_kept_from_run_to_run(
    demo_splits: Splits, clip_folder: Path, frozen: TrainingResult, tmp_path: Path
) -> None:
    expected = weights_of(frozen, tmp_path / "expected")
    for number in range(2):
        result = train(demo_splits, str(clip_folder), QUICK, cache_dir=tmp_path / "cache")
        assert weights_of(result, tmp_path / str(number)) == expected
        assert result.report == {**frozen.report, "data": result.report["data"]}


def test_a_damaged_cache_gives_the_same_bytes(
    demo_splits: Splits, clip_folder: Path, frozen: TrainingResult, tmp_path: Path
) -> None:
    train(demo_splits, str(clip_folder), QUICK, cache_dir=tmp_path / "cache")
    (path,) = (path for path in (tmp_path / "cache").glob("*.sqlite") if "hashes" not in path.name)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE features SET value = zeroblob(length(value)) WHERE rowid = 7")
    result = train(demo_splits, str(clip_folder), QUICK, cache_dir=tmp_path / "cache")
    assert weights_of(result, tmp_path / "again") == weights_of(frozen, tmp_path / "expected")


def test_folds_that_cannot_be_made_are_refused_before_training(demo_splits: Splits, tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path / "kept")
    with pytest.raises(TrainingError, match="num_folds is 30, but split train has only"):
        train(demo_splits, "tiny", dataclasses.replace(QUICK, num_folds=30), checkpoints=checkpoints)
    assert not checkpoints.exist()


@pytest.mark.parametrize("name", ["tiny", "frozen", "adapted"])
def test_the_bundle_scores_what_the_report_says(name: str, request: pytest.FixtureRequest, demo_splits: Splits) -> None:
    """The report's figures come from training's own inputs, these from decoding every picture again."""
    result = request.getfixturevalue(name)
    metrics = measure_scores(
        score_with_bundle(TorchPredictor(result.bundle), demo_splits["validation"], "predict")[MODEL]
    )
    assert vars(metrics) == pytest.approx(result.report["validation"]["model"])


def encode(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def plain_data(tmp_path: Path) -> Path:
    """MultiOFF's layout by hand: red is offensive, green is not, and so say its captions."""
    (tmp_path / "data" / "Labelled Images").mkdir(parents=True)
    (tmp_path / "data" / "Split Dataset").mkdir()
    for colour in ("red", "lime"):
        (tmp_path / "data" / "Labelled Images" / f"{colour}.png").write_bytes(encode(colour))
    rows = [("red.png", "you are rubbish", "offensive"), ("lime.png", "have a nice day", "Non-offensiv")]
    for name in ("Training", "Validation"):
        with (tmp_path / "data" / "Split Dataset" / f"{name}_meme_dataset.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image_name", "sentence", "label"), *rows * 8])
    return tmp_path / "data"


def test_a_label_keeps_its_meaning_from_the_csv_to_the_verdict(
    plain_data: Path, clip_folder: Path, tmp_path: Path
) -> None:
    config = TrainingConfig(num_epochs=20, learning_rate=1e-2, batch_size=8, num_folds=0, device="cpu")
    result = train(read_splits(plain_data), str(clip_folder), config)
    save_bundle(result.bundle, tmp_path / "bundle")
    predictor = TorchPredictor.from_folder(tmp_path / "bundle")
    memes = [predictor.prepare(encode("red"), "you are rubbish"), predictor.prepare(encode("lime"), "have a nice day")]
    offensive, harmless = predictor.predict(memes)
    assert (offensive.prediction, harmless.prediction) == ("Offensive", "Non-offensive")
    assert offensive.probability < 0.2
    assert harmless.probability > 0.8
    assert offensive.logit > 0 > harmless.logit


def without(label: Label | None) -> Callable[[list[Meme]], list[Meme]]:
    return lambda memes: [meme for meme in memes if label is not None and meme.label is not label]


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(None), "has no rows"),
        (without(Label.OFFENSIVE), "has non-offensive memes only; both labels are needed"),
        (without(Label.NON_OFFENSIVE), "has offensive memes only; both labels are needed"),
    ],
)
def test_a_split_without_both_labels_is_refused(
    demo_splits: Splits, split: str, change: Callable[[list[Meme]], list[Meme]], message: str
) -> None:
    splits = {**demo_splits, split: change(demo_splits[split])}
    with pytest.raises(TrainingError, match=f"split {split} {message}"):
        train(splits, "tiny", QUICK)


def test_a_missing_split_is_refused(demo_splits: Splits) -> None:
    with pytest.raises(TrainingError, match="split validation has no rows"):
        train({"train": demo_splits["train"]}, "tiny", QUICK)


def test_a_caption_that_is_too_long_is_named_before_training(demo_splits: Splits) -> None:
    splits = copy.copy(demo_splits)
    first = splits["validation"][0]
    long = Meme(image_path=first.image_path, text="zq " * 3000, label=first.label, file=first.file, row=first.row)
    splits["validation"] = [long, *splits["validation"][1:]]
    with pytest.raises(DataError, match=r"Validation_meme_dataset\.csv, row 2: text has .* the limit is"):
        train(splits, "tiny", QUICK)


def test_memes_without_words_can_be_learnt(demo_splits: Splits, clip_folder: Path) -> None:
    wordless = {split: [dataclasses.replace(meme, text="") for meme in memes] for split, memes in demo_splits.items()}
    report = train(wordless, str(clip_folder), QUICK).report
    assert report["validation"]["tfidf"]["auroc"] == 0.5


@pytest.mark.parametrize("learning_rate", [10.0, 1e-30])
def test_the_highest_and_the_lowest_learning_rate_give_finite_answers(
    demo_splits: Splits, clip_folder: Path, learning_rate: float
) -> None:
    config = TrainingConfig(num_epochs=2, batch_size=8, device="cpu", learning_rate=learning_rate)
    report = train(demo_splits, str(clip_folder), config).report
    assert all(math.isfinite(epoch["loss"]) for epoch in report["epochs"])
    assert 0.0 <= report["threshold"] <= 1.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"optimizer": "adagrad"}, "optimizer 'adagrad' is none of adamw, adam, sgd"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0; it must be a positive number of at most 10"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"learning_rate": 1e38}, r"learning_rate is 1e\+38"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"num_epochs": 0}, "num_epochs is 0; it must be at least 1"),
        ({"patience": 0}, "patience is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"tune": "all"}, "tune 'all' is none of head, lora, last-blocks, full"),
        ({"precision": "fp16"}, "precision 'fp16' is none of auto, fp32, bf16"),
        ({"backbone_learning_rate": 0.0}, r"backbone_learning_rate is 0\.0; it must be a positive number"),
        ({"num_folds": 1}, "num_folds is 1; it must be 0, or at least 2"),
        ({"num_folds": -1}, "num_folds is -1; it must be at least 0"),
        ({"num_blocks": 0}, "num_blocks is 0; it must be at least 1"),
        ({"lora_rank": 0}, "lora_rank is 0; it must be at least 1"),
        ({"layer_decay": 1.5}, r"layer_decay is 1\.5; it must be in \[0, 1\]"),
        ({"lora_dropout": math.nan}, "lora_dropout is nan"),
        ({"weight_decay": -0.1}, r"weight_decay is -0\.1"),
        ({"accumulation_steps": 33}, "accumulation_steps is 33; it must be at most batch_size, 32"),
    ],
    ids=str,
)
def test_a_setting_out_of_its_range_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainingConfig(**setting)


HUB_REPORT = {
    "training": dataclasses.asdict(TrainingConfig()),
    "backbone": "test/clip@" + "a" * 40,
    "backbone_commit": "a" * 40,
    "backbone_sha256": "d" * 64,
    "data": {"sha256": "abc"},
}


def test_a_bundle_of_a_branch_that_has_moved_is_of_another_training() -> None:
    moved = Source("test/clip@" + "b" * 40, "b" * 40, None)
    with pytest.raises(
        TrainingError, match=r"another training: backbone was 'test/clip@a+', now it is 'test/clip@b+'$"
    ):
        require_same_training(HUB_REPORT, "test/clip", TrainingConfig(), "abc", moved)


@pytest.mark.parametrize("name", ["test/clip", "test/clip@" + "a" * 40])
def test_a_bundle_of_the_commit_that_is_meant_is_the_same(name: str) -> None:
    require_same_training(HUB_REPORT, name, TrainingConfig(), "abc", Source("test/clip@" + "a" * 40, "a" * 40, None))


def test_a_bundle_that_is_older_is_known_by_the_name_alone() -> None:
    older = {**HUB_REPORT, "backbone": "test/clip", "backbone_commit": None, "backbone_sha256": None}
    require_same_training(older, "test/clip", TrainingConfig(), "abc", Source("test/clip@" + "b" * 40, "b" * 40, None))
