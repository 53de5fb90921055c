"""Make a TorchServe archive of a bundle, prove that it answers as the bundle does, and write a card beside it.

Only this file uses ``model_archiver``.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from model_archiver import ModelArchiverConfig
from model_archiver.model_packaging import generate_model_archive

import memeguard
from archiving.card import MODEL_NAME, Card, publish, require_new_version
from archiving.errors import ArchiveError, ToleranceError
from archiving.operating_point import choose_operating_point, write_operating_point
from archiving.probes import Probe, make_probes, read_calibration, read_probes
from archiving.proof import Proof, predict_probes, prove
from evaluation.functional.summary import summarize_builtin
from evaluation.openings import count_openings
from memeguard.bundle_files import BUNDLE_FILES, hash_file, read_report
from memeguard.bundle_source import hash_bundle
from memeguard.output_folder import check_writable
from memeguard.torch_runtime import TorchPredictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memeguard.predictor import PreparedMeme
    from memeguard.runtimes import RuntimeName

__all__ = ["MODEL_NAME", "ArchiveError", "Card", "build_archive", "require_new_version"]

_HANDLER_ROOT = Path(memeguard.__file__).parent.parent

Quantization = Literal["auto", "int8", "none"]
QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)


def build_archive(
    bundle: Path,
    version: str,
    model_store: Path,
    *,
    data: Path | None = None,
    runtime: RuntimeName = "openvino",
    quantization: Quantization = "auto",
    operating_point: str | None = None,
) -> Card:
    """Write ``model_store/meme-<version>.mar`` and its card.

    Args:
        bundle: Folder of a bundle.
        version: ``major.minor.patch``; an existing version is never overwritten.
        model_store: Folder of archives; made if it is missing.
        data: Labelled memes whose validation split proves the archive, and whose train split calibrates int8; without
            them synthetic memes prove the archive.
        runtime: An archive for OpenVINO has the converted networks too; torch can compute any archive.
        quantization: Of the networks converted for OpenVINO. "auto" is int8 if ``data`` is given and int8 passes the
            proof. Networks that are not quantized compute in bf16 on a CPU with AMX, in float32 elsewhere.
        operating_point: Name of the operating point, such as "precision=0.9", whose threshold the archive serves; None
            serves the bundle's threshold.

    Raises:
        ArchiveError: The version is malformed or taken, int8 is asked for without ``data`` or OpenVINO, or the archive
            does not answer as the bundle does.
        OutputError: ``model_store`` cannot be written.
        BundleError: ``bundle`` cannot be read.
        OperatingPointError: The bundle has no such operating point, and its memes cannot support it.
    """
    archive = require_new_version(version, model_store)
    _check_quantization(quantization, runtime, data)
    check_writable(model_store)
    reference = TorchPredictor.from_folder(bundle)
    report = read_report(bundle)
    served = None
    if operating_point is not None:
        served, labels = choose_operating_point(operating_point, reference.config.labels, report)
        reference.config = dataclasses.replace(reference.config, labels=labels)
    num_openings = count_openings(bundle, hash_bundle(bundle))
    probes = make_probes() if data is None else read_probes(data)
    calibration: list[PreparedMeme] = []
    refused: str | None = None
    if data is not None and runtime == "openvino" and quantization != "none":
        try:
            calibration = [reference.prepare(image, text) for image, text in read_calibration(data)]
        except ArchiveError as error:
            if quantization == "int8":
                raise
            refused = str(error)
    expected = predict_probes(reference, probes)
    maker = _Maker(bundle, version, reference, probes, expected, runtime, served is not None)
    model_store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{MODEL_NAME}-{version}.", dir=model_store) as scratch:
        try:
            staged, proofs = maker.make(Path(scratch) / "first", calibration)
        except ToleranceError as error:
            if not calibration or quantization == "int8":
                raise
            refused = str(error)
            shutil.rmtree(Path(scratch) / "first")
            staged, proofs = maker.make(Path(scratch) / "second", ())
        card = Card(
            version=version,
            archive=archive.name,
            sha256=hash_file(staged),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            memeguard_version=memeguard.__version__,
            backbone=reference.config.backbone,
            backbone_commit=report.get("backbone_commit"),
            backbone_sha256=report.get("backbone_sha256"),
            threshold=reference.config.labels.threshold,
            operating_point=served,
            operating_points=reference.config.labels.operating_points,
            num_test_openings=num_openings,
            runtimes=proofs,
            functional=summarize_builtin(reference),
            int8_refused=refused,
            report=report,
        )
        publish(card, staged, archive)
    return card


def _check_quantization(quantization: Quantization, runtime: RuntimeName, data: Path | None) -> None:
    if quantization not in QUANTIZATIONS:
        raise ArchiveError(f"quantization {quantization!r} is none of {', '.join(QUANTIZATIONS)}")
    if quantization == "int8" and runtime != "openvino":
        raise ArchiveError(f"quantization int8 is for runtime openvino, not for {runtime}")
    if quantization == "int8" and data is None:
        raise ArchiveError("quantization int8 needs data: labelled memes whose train split calibrates it")


@dataclass(frozen=True)
class _Maker:
    """Makes an archive and proves it, in a temporary folder."""

    bundle: Path
    version: str
    reference: TorchPredictor
    probes: Sequence[Probe]
    expected: list[float]
    runtime: RuntimeName
    has_own_threshold: bool

    def make(self, scratch: Path, calibration: Sequence[PreparedMeme]) -> tuple[Path, dict[str, Proof]]:
        """Make the archive and its proofs, or raise ``ArchiveError``; ``calibration`` quantizes the networks."""
        scratch.mkdir()
        archive = _package(self._stage(scratch, calibration), self.version, scratch)
        runtimes: list[RuntimeName] = ["torch"] if self.runtime == "torch" else ["torch", self.runtime]
        labels = self.reference.config.labels
        return archive, prove(self.expected, labels, _unpack(archive, scratch), self.probes, runtimes)

    def _stage(self, scratch: Path, calibration: Sequence[PreparedMeme]) -> Path:
        """Lay out code, bundle and converted networks in one folder."""
        staging = scratch / "staging"
        staging.mkdir()
        # The archiver copies the *children* of an extra folder, so the package keeps its name one level down.
        package = staging / "memeguard"
        shutil.copytree(_HANDLER_ROOT / "memeguard", package, ignore=shutil.ignore_patterns("__pycache__", "py.typed"))
        (staging / "bundle").mkdir()
        for name in BUNDLE_FILES:  # and nothing else of that folder
            if (self.bundle / name).is_file():
                shutil.copyfile(self.bundle / name, staging / "bundle" / name)
        if self.has_own_threshold:
            write_operating_point(staging / "bundle", self.reference.config.labels)
        if self.runtime == "openvino":
            from archiving.conversion import convert_to_openvino  # noqa: PLC0415 - OpenVINO may not be installed

            convert_to_openvino(self.reference.classifier, staging / "bundle", calibration=calibration)
        return staging


def _package(staging: Path, version: str, scratch: Path) -> Path:
    """Zip ``staging`` with the archiver."""
    work, output = scratch / "work", scratch / "output"
    work.mkdir()
    output.mkdir()
    config = ModelArchiverConfig(
        model_name=MODEL_NAME,
        handler=str(_HANDLER_ROOT / "meme_handler.py"),
        version=version,
        extra_files=str(staging),
        config_file=str(_HANDLER_ROOT / "model-config.yaml"),
        export_path=str(output),
        archive_format="zip-store",  # weights hardly compress, and an uncompressed archive unpacks fast
    )
    # The archiver deletes and fills <temporary directory>/<model name>, whoever owns it: give it one of its own.
    before, tempfile.tempdir = tempfile.tempdir, str(work)
    try:
        generate_model_archive(config)
    finally:
        tempfile.tempdir = before
    return output / f"{MODEL_NAME}.mar"


def _unpack(archive: Path, scratch: Path) -> Path:
    folder = scratch / "unpacked"
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder
