"""A bundle becomes an archive that is proven to answer as the bundle does; anything less leaves nothing behind."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

import memeguard
from cli.main import main
from demo.drawing import write_demo_data
from evaluation.evaluate import evaluate
from evaluation.functional.summary import summarize_builtin
from evaluation.openings import record_opening
from evaluation.operating_points import OperatingPointError
from evaluation.threshold_curve import trace_thresholds
from memeguard.bundle import load_bundle, save_bundle
from memeguard.bundle_files import OPENVINO_FILES
from memeguard.bundle_source import open_bundle
from memeguard.errors import BundleError
from memeguard.runtimes import load_predictor
from memeguard.torch_runtime import TorchPredictor
from memes.meme import DataError
from rollout.archives import find_archives, holds_archive

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # model_archiver/version.py leaves its file open
    from archiving import archive, conversion, probes, proof
    from archiving.archive import ArchiveError, Card, build_archive
    from archiving.conversion import convert_to_openvino

if TYPE_CHECKING:
    from collections.abc import Callable

    from memeguard.bundle import Bundle
    from memeguard.classifier import MemeClassifier


class Built(NamedTuple):
    """A store with one archive, and what had been in the temporary directory."""

    store: Path
    card: Card
    bystander: Path


@pytest.fixture(scope="module")
def built(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Version 1.2.0, made from and into relative paths, while another's folder lies where the archiver works."""
    root = tmp_path_factory.mktemp("archive")
    shutil.copytree(bundle_folder, root / "bundle")
    bystander = root / "tmp" / "meme" / "mine.txt"
    bystander.parent.mkdir(parents=True)
    bystander.write_text("mine", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(tempfile, "tempdir", str(root / "tmp"))
        card = build_archive(Path("bundle"), "1.2.0", Path("some") / "store")
        assert tempfile.gettempdir() == str(root / "tmp")
    return Built(root / "some" / "store", card, bystander)


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_and_its_card_are_all_there_is(built: Built) -> None:
    assert sorted(path.name for path in built.store.iterdir()) == ["meme-1.2.0.json", "meme-1.2.0.mar"]
    assert {path.stat().st_mode & 0o444 for path in built.store.iterdir()} == {0o444}


def test_an_archive_holds_code_bundle_and_configuration(built: Built, bundle_folder: Path) -> None:
    root = Path(memeguard.__file__).parent.parent
    with zipfile.ZipFile(built.store / "meme-1.2.0.mar") as file:
        held = {name: file.read(name) for name in file.namelist() if not name.endswith("/")}
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
    manifest = json.loads(held.pop("MAR-INF/MANIFEST.json"))
    assert manifest["model"]["modelVersion"] == "1.2.0"
    assert manifest["model"]["modelName"] == "meme"
    assert manifest["model"]["handler"] == "meme_handler.py"
    assert manifest["model"]["configFile"] == "model-config.yaml"
    expected = {name: (root / name).read_bytes() for name in ("meme_handler.py", "model-config.yaml")}
    expected |= {str(path.relative_to(root)): path.read_bytes() for path in (root / "memeguard").rglob("*.py")}
    expected |= {f"bundle/{name}": content for name, content in tree_of(bundle_folder).items()}
    converted = {name: held.pop(f"bundle/{name}") for name in OPENVINO_FILES}
    hashes = json.loads(held.pop("bundle/openvino/sha256.json"))
    assert held == expected
    assert hashes == {name: hashlib.sha256(content).hexdigest() for name, content in converted.items()}


def test_an_archive_for_torch_carries_nothing_else(bundle_folder: Path, tmp_path: Path) -> None:
    card = build_archive(bundle_folder, "1.0.0", tmp_path, runtime="torch")
    assert list(card.runtimes) == ["torch"]
    with zipfile.ZipFile(tmp_path / "meme-1.0.0.mar") as file:
        assert not [name for name in file.namelist() if "openvino/" in name]


def test_the_configuration_asks_for_one_worker_and_is_complete(built: Built) -> None:
    with zipfile.ZipFile(built.store / "meme-1.2.0.mar") as file:
        config = yaml.safe_load(file.read("model-config.yaml"))
    assert config["minWorkers"] == config["maxWorkers"] == 1
    assert config["memeguard"] == {
        "runtime": "auto",
        "repost_cache": 10_000,
        "decode_timeout_s": 1.5,
        "large_pictures_s": 4,
        "max_pixels": 50_000_000,
    }


def test_the_card_says_which_weights_the_backbone_had(small_bundle: Bundle, tmp_path: Path) -> None:
    said = {"backbone_commit": "c" * 40, "backbone_sha256": "d" * 64}
    save_bundle(small_bundle, tmp_path / "bundle", report=said)
    card = build_archive(tmp_path / "bundle", "1.0.0", tmp_path / "store", runtime="torch")
    assert {"backbone_commit": card.backbone_commit, "backbone_sha256": card.backbone_sha256} == said


def test_the_card_shows_the_worst_functionality(built: Built) -> None:
    summary = summarize_builtin(TorchPredictor(load_bundle(built.store.parents[1] / "bundle")))
    assert summary
    assert built.card.functional == summary


def test_the_command_prints_the_worst_functionality(bundle_folder: Path, tmp_path: Path) -> None:
    arguments = ["archive", str(bundle_folder), "--version", "1.0.0", "--model-store", str(tmp_path)]
    done = CliRunner().invoke(main, [*arguments, "--runtime", "torch"], catch_exceptions=False)
    summary = json.loads((tmp_path / "meme-1.0.0.json").read_text("utf-8"))["functional"]
    assert f"functional test: worst at {summary['worst']!r} ({summary['worst_label']}, " in done.output
    assert f"of {summary['most_flagged_group']}, {summary['most_flagged_rate']['value']:.0%} are flagged" in done.output


def test_the_card_says_what_is_known(built: Built) -> None:
    card = json.loads((built.store / "meme-1.2.0.json").read_text("utf-8"))
    assert card == dataclasses.asdict(built.card)
    assert card["sha256"] == hashlib.sha256((built.store / "meme-1.2.0.mar").read_bytes()).hexdigest()
    assert (card["version"], card["archive"]) == ("1.2.0", "meme-1.2.0.mar")
    assert card["num_test_openings"] == 0
    assert (card["backbone"], card["threshold"]) == ("small", 0.375)
    assert (card["operating_point"], card["operating_points"]) == (None, {})
    assert card["backbone_commit"] is card["backbone_sha256"] is None  # a bundle that does not say
    assert card["memeguard_version"] == memeguard.__version__
    assert card["report"] == {"validation": {"model": {"auroc": 0.75}}}
    torch_proof, openvino_proof = card["runtimes"]["torch"], card["runtimes"]["openvino"]
    assert (torch_proof["precision"], torch_proof["num_memes"], torch_proof["flipped_share"]) == ("f32", 24, 0.0)
    assert 0.0 <= torch_proof["max_logit_difference"] <= torch_proof["tolerance"]["logit"] == 1e-4
    assert openvino_proof["precision"] in {"f32", "bf16"}
    assert 0.0 < openvino_proof["max_logit_difference"] <= openvino_proof["tolerance"]["logit"] == 0.25


def test_the_archiver_leaves_other_peoples_folders_alone(built: Built) -> None:
    assert built.bystander.read_text("utf-8") == "mine"
    assert tree_of(built.bystander.parents[1]) == {"meme/mine.txt": b"mine"}


def test_a_version_is_never_overwritten(built: Built, bundle_folder: Path) -> None:
    before = tree_of(built.store)
    with pytest.raises(ArchiveError, match=r"meme-1\.2\.0\.mar exists already; a version is never overwritten"):
        build_archive(bundle_folder, "1.2.0", built.store)
    assert tree_of(built.store) == before


def test_given_memes_prove_an_archive_whatever_the_environment_says(
    bundle_folder: Path, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH names modules that cannot be imported."""
    for name in ("memeguard.py", "json.py"):
        (tmp_path / name).write_text("raise RuntimeError", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    num_probes: list[int] = []
    prove = archive.prove
    monkeypatch.setattr(archive, "prove", lambda *given: (num_probes.append(len(given[3])), prove(*given))[1])
    card = build_archive(bundle_folder, "10.0.1", tmp_path / "store", data=demo_folder)
    assert num_probes == [16]
    assert card.runtimes["torch"].max_logit_difference <= 1e-4


def test_an_archive_that_answers_otherwise_is_refused(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole bundle, but with one bias that is not the original's, is packed in its stead."""
    other = load_bundle(bundle_folder)
    with torch.no_grad():
        other.classifier.head.classifier[-1].bias += 0.01
    save_bundle(other, tmp_path / "other")
    copyfile = shutil.copyfile

    def swap(source: Path, *arguments: Any, **options: Any) -> Any:
        other = tmp_path / "other" / Path(source).name
        return copyfile(
            other if Path(source).parent == bundle_folder and other.exists() else source, *arguments, **options
        )

    monkeypatch.setattr(shutil, "copyfile", swap)
    with pytest.raises(
        ArchiveError, match=r"\(torch, f32\) differ from the bundle's by 0\.01\d* on 24 memes; the limit is 0\.0001"
    ):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def test_an_archive_that_does_not_run_on_its_own_is_refused(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code is made to import a package that an editable install has, but no server."""
    copytree = shutil.copytree

    def spoil(source: Path, target: str | Path, *arguments: Any, **options: Any) -> Any:
        copytree(source, target, *arguments, **options)
        if Path(target).name == "memeguard":
            (Path(target) / "errors.py").write_text("import rollout\n", "utf-8")
            monkeypatch.undo()

    monkeypatch.setattr(shutil, "copytree", spoil)
    with pytest.raises(ArchiveError, match="does not run on its own: ModuleNotFoundError: No module named 'rollout'"):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def test_logits_that_are_no_numbers_are_refused(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "predict_in_bare_process", lambda _, num, __: ("f32", [float("nan")] * num))
    with pytest.raises(ArchiveError, match="differ from the bundle's by nan"):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def test_a_converted_network_that_moves_logits_is_refused(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is converted with a bias that is not the original's."""

    def convert(classifier: MemeClassifier, folder: Path, **_: Any) -> None:
        other = copy.deepcopy(classifier)
        with torch.no_grad():
            other.head.classifier[-1].bias += 0.5
        convert_to_openvino(other, folder)

    monkeypatch.setattr(conversion, "convert_to_openvino", convert)
    message = r"\(openvino, \w+\) differ from the bundle's by 0\.[45]\d* on 24 memes; the limit is 0\.25"
    with pytest.raises(ArchiveError, match=message):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def test_a_converted_network_that_decides_otherwise_is_refused(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No logit moves far, but the threshold lies in the middle of them and every small step over it counts."""
    predictor = TorchPredictor.from_folder(bundle_folder)
    memes = [predictor.prepare(*probe) for probe in probes.make_probes()]
    middle = float(np.median([verdict.probability for verdict in predictor.predict(memes)]))
    bundle = shutil.copytree(bundle_folder, tmp_path / "bundle")
    content = json.loads((bundle / "config.json").read_text("utf-8"))
    content["model"]["labels"]["threshold"] = middle
    (bundle / "config.json").write_text(json.dumps(content), "utf-8")
    predict = proof.predict_in_bare_process

    def move(unpacked: Path, num: int, runtime: str) -> tuple[str, list[float]]:
        precision, logits = predict(unpacked, num, runtime)
        return precision, [logit + 0.2 * (runtime == "openvino") for logit in logits]

    monkeypatch.setattr(proof, "predict_in_bare_process", move)
    with pytest.raises(ArchiveError, match=r"flips \d+\.\d% of the decisions on 24 memes; the limit is 1\.0%"):
        build_archive(bundle, "1.0.0", tmp_path / "store")


def test_labelled_memes_make_int8_which_is_proven(bundle_folder: Path, demo_folder: Path, tmp_path: Path) -> None:
    card = build_archive(bundle_folder, "1.0.0", tmp_path / "store", data=demo_folder)
    proof = card.runtimes["openvino"]
    assert (proof.precision, proof.num_memes, card.int8_refused) == ("int8", 16, None)
    assert 0.0 < proof.max_logit_difference <= 0.25
    card = build_archive(bundle_folder, "1.0.1", tmp_path / "store", data=demo_folder, quantization="none")
    assert card.runtimes["openvino"].precision in {"f32", "bf16"}
    sizes = []
    for version in ("1.0.0", "1.0.1"):
        with zipfile.ZipFile(tmp_path / "store" / f"meme-{version}.mar") as file:
            sizes.append(file.getinfo("bundle/openvino/image.bin").file_size)
    assert sizes[0] < 0.8 * sizes[1]


@pytest.mark.parametrize("quantization", ["auto", "int8"])
def test_int8_that_moves_logits_is_not_kept(
    bundle_folder: Path, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: Any
) -> None:
    """Only with memes to calibrate with is the network converted with a bias that is not the original's."""

    def convert(classifier: MemeClassifier, folder: Path, *, calibration: Any) -> None:
        other = copy.deepcopy(classifier)
        with torch.no_grad():
            other.head.classifier[-1].bias += 0.5 * bool(calibration)
        convert_to_openvino(other, folder)

    monkeypatch.setattr(conversion, "convert_to_openvino", convert)
    message = r"\(openvino, \w+\) differ from the bundle's by 0\.[45]\d* on 16 memes; the limit is 0\.25"
    if quantization == "int8":
        with pytest.raises(ArchiveError, match=message):
            build_archive(bundle_folder, "1.0.0", tmp_path / "store", data=demo_folder, quantization=quantization)
        assert not list((tmp_path / "store").iterdir())
    else:
        card = build_archive(bundle_folder, "1.0.0", tmp_path / "store", data=demo_folder)
        assert card.int8_refused
        assert re.search(message, card.int8_refused)
        assert card.runtimes["openvino"].max_logit_difference < 0.25
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["meme-1.0.0.json", "meme-1.0.0.mar"]


@pytest.fixture
def pointed(small_bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle with an operating point, and a training report with a curve of 1,000 memes from which more may come."""
    classifier = copy.deepcopy(small_bundle.classifier)
    labels = dataclasses.replace(classifier.config.labels, operating_points={"recall=0.8": 0.625})
    classifier.config = dataclasses.replace(classifier.config, labels=labels)
    curve = trace_thresholds(np.arange(1000) % 2, np.linspace(0.2, 0.8, 1000), "out-of-fold")
    report = {"threshold_curve": dataclasses.asdict(curve)}
    save_bundle(small_bundle._replace(classifier=classifier), tmp_path / "pointed", report=report)
    return tmp_path / "pointed"


def test_an_archive_serves_the_operating_point_that_is_named(pointed: Path, tmp_path: Path) -> None:
    card = build_archive(pointed, "1.0.0", tmp_path / "store", operating_point="recall=0.80")
    assert (card.threshold, card.operating_point, card.operating_points) == (0.625, "recall=0.8", {"recall=0.8": 0.625})
    with open_bundle(tmp_path / "store" / "meme-1.0.0.mar") as folder:
        served, own = (json.loads((one / "config.json").read_text("utf-8")) for one in (folder, pointed))
        assert load_predictor(folder, runtime="openvino").config.labels.threshold == 0.625
    assert own["model"]["labels"].pop("threshold") == 0.375
    assert served["model"]["labels"].pop("threshold") == 0.625
    assert served == own


def test_an_operating_point_may_be_found_on_the_curve_of_the_training(pointed: Path, tmp_path: Path) -> None:
    card = build_archive(pointed, "1.0.0", tmp_path, operating_point="flag-rate=0.25", runtime="torch")
    assert card.threshold == pytest.approx(0.35, abs=0.01)
    assert card.operating_points == {"recall=0.8": 0.625, "flag-rate=0.25": card.threshold}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("strict", "operating point 'strict' does not begin with one of precision, recall, flag-rate and ="),
        ("precision=0.9", "operating point precision=0.9 needs at least 100 flagged memes to be measured"),
        ("flag-rate=0.001", "needs at least 10,000 memes to be measured; there are 1,000 out-of-fold memes"),
    ],
)
def test_an_operating_point_that_is_not_to_be_had_is_refused(
    pointed: Path, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(OperatingPointError, match=message):
        build_archive(pointed, "1.0.0", tmp_path / "store", operating_point=name)
    assert not (tmp_path / "store").exists()


def test_a_bundle_without_a_curve_has_only_its_own_operating_points(bundle_folder: Path, tmp_path: Path) -> None:
    message = (
        r"the bundle has no operating point recall=0.8 \(it has none\), and its report.json has no threshold curve"
    )
    with pytest.raises(OperatingPointError, match=message):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store", operating_point="recall=0.8")


def test_a_damaged_curve_is_refused(pointed: Path, tmp_path: Path) -> None:
    report = json.loads((pointed / "report.json").read_text("utf-8"))
    for change, message in (({"num_hits": [3, 1]}, "the threshold curve"), ({"extra": 1}, "the threshold curve")):
        damaged = {"threshold_curve": {**report["threshold_curve"], **change}}
        (pointed / "report.json").write_text(json.dumps(damaged), "utf-8")
        with pytest.raises(BundleError, match=f"{message} in report.json is damaged"):
            build_archive(pointed, "1.0.0", tmp_path / "store", operating_point="flag-rate=0.25")


def test_int8_needs_memes_and_openvino(bundle_folder: Path, demo_folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with pytest.raises(ArchiveError, match="quantization int8 needs data"):
        build_archive(bundle_folder, "1.0.0", store, quantization="int8")
    with pytest.raises(ArchiveError, match="quantization int8 is for runtime openvino, not for torch"):
        build_archive(bundle_folder, "1.0.0", store, data=demo_folder, runtime="torch", quantization="int8")
    with pytest.raises(ArchiveError, match="quantization 'int4' is none of auto, int8, none"):
        build_archive(bundle_folder, "1.0.0", store, quantization="int4")  # type: ignore[arg-type]
    write_demo_data(tmp_path / "few", num_train=12, num_validation=16, num_test=4)
    message = "few has 12 training memes to calibrate int8 with; at least 16 are needed"
    with pytest.raises(ArchiveError, match=message):
        build_archive(bundle_folder, "1.0.0", store, data=tmp_path / "few", quantization="int8")
    assert not store.exists()
    card = build_archive(bundle_folder, "1.0.0", store, data=tmp_path / "few")
    assert card.int8_refused
    assert message in card.int8_refused


def test_quantizing_reports_to_nobody() -> None:
    code = "import archiving.quantization; from nncf.telemetry.wrapper import telemetry as t; print(type(t).__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "unittest.mock\n"


@pytest.mark.parametrize("crash", [RuntimeError, KeyboardInterrupt])
def test_a_crash_half_way_leaves_nothing(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: type[BaseException]
) -> None:
    def fail(_: object) -> None:
        raise crash

    before = tempfile.gettempdir()
    monkeypatch.setattr(archive, "generate_model_archive", fail)
    with pytest.raises(crash):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())
    assert tempfile.gettempdir() == before


def test_whoever_takes_the_version_meanwhile_keeps_it(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*_: object) -> dict[str, Any]:
        (tmp_path / "store" / "meme-1.0.0.mar").write_text("theirs", "utf-8")
        return {}

    monkeypatch.setattr(archive, "prove", take)
    with pytest.raises(ArchiveError, match="was made by another process meanwhile"):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store")
    assert tree_of(tmp_path / "store") == {"meme-1.0.0.mar": b"theirs"}


@pytest.mark.parametrize(
    "version",
    [
        "",
        "1",
        "1.0",
        "1.0.0.0",
        "v1.0.0",
        "01.0.0",
        "1.0.0-rc1",
        "1.0.0\n",
        " 1.0.0",
        "../1.0.0",
        "-1.0.0",
        "1.1\u0663.0",
    ],
)
def test_a_malformed_version_is_refused(bundle_folder: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(ArchiveError, match=r"is not of the form major\.minor\.patch, such as 1\.0\.0"):
        build_archive(bundle_folder, version, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_card_says_how_often_the_test_split_was_opened(
    bundle_folder: Path, demo_folder: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(bundle_folder, tmp_path / "bundle")
    record_opening(bundle, "another bundle's hash", "data")
    for _ in range(2):
        evaluate(bundle, demo_folder, "test", device="cpu", num_resamples=5)
    build_archive(bundle, "1.0.0", tmp_path / "store")
    card = json.loads((tmp_path / "store" / "meme-1.0.0.json").read_text("utf-8"))
    assert card["num_test_openings"] == 2
    report = evaluate(tmp_path / "store" / "meme-1.0.0.mar", demo_folder, "test", device="cpu", num_resamples=5)
    assert report.num_openings == 3
    assert holds_archive(tmp_path / "store")
    assert [archive.version for archive in find_archives(tmp_path / "store")] == ["1.0.0"]


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        build_archive(tmp_path, "1.0.0", tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Data whose validation split is too small to prove anything."""
    write_demo_data(tmp_path / "few", num_train=4, num_validation=12, num_test=4)
    return tmp_path / "few"


def missing(folder: Path) -> Path:
    return folder / "missing"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (Path.resolve, ArchiveError, "few has 12 validation memes; at least 16 are needed"),
        (missing, DataError, "no such"),
    ],
)
def test_data_that_prove_nothing_are_refused(
    few: Path,
    bundle_folder: Path,
    tmp_path: Path,
    change: Callable[[Path], Path],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        build_archive(bundle_folder, "1.0.0", tmp_path / "store", data=change(few))
    assert not (tmp_path / "store").exists()


def test_only_the_bundle_itself_is_packed(bundle_folder: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(bundle_folder, tmp_path / "bundle")
    (bundle / ".env").write_text("SECRET=1")
    (bundle / "notes.txt").symlink_to("/etc/hostname")
    build_archive(bundle, "1.0.0", tmp_path / "store")
    with zipfile.ZipFile(tmp_path / "store" / "meme-1.0.0.mar") as file:
        packed = {name.removeprefix("bundle/") for name in file.namelist() if name.startswith("bundle/")}
    assert packed - {*OPENVINO_FILES, "openvino/sha256.json"} <= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "report.json",
    }
