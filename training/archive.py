"""Turn a bundle into a TorchServe archive that is proven to answer as the bundle does, with a card beside it.

The only file that touches ``model_archiver``. Does not know which server will load the archive, nor when.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_archiver import ModelArchiverConfig
from model_archiver.model_packaging import generate_model_archive

import memeguard
from memeguard.bundle import BUNDLE_FILES, hash_file, read_report
from memeguard.predictor import Predictor
from training.data.reading import read_split
from training.demo.drawing import draw_demo_memes
from training.evaluation.bundle_source import hash_bundle
from training.evaluation.openings import count_openings

MODEL_NAME = "meme"  # what clients write in /predictions/meme
TOLERANCE = 1e-4  # largest difference of a logit between the bundle here and the unpacked archive
NUM_PROBES = 24
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)
_HANDLER_ROOT = Path(memeguard.__file__).parent.parent
_LONG_CAPTION = "a caption of many words " * 40  # several chunks of 77 tokens


class ArchiveError(Exception):
    """An archive that cannot be made, and why; nothing was left behind."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of an archive: the JSON file beside it.

    Attributes:
        version: ``major.minor.patch``.
        archive: Its file's name.
        sha256: Of the archive.
        created: When, in UTC.
        memeguard_version: By which code.
        backbone: What the bundle was made from.
        threshold: Probability of being non-offensive from which the answer is "non-offensive".
        num_test_openings: How often ``evaluate`` had opened the test split with the bundle before it was archived.
        max_logit_difference: Between bundle and archive.
        report: What training measured.
    """

    version: str
    archive: str
    sha256: str
    created: str
    memeguard_version: str
    backbone: str
    threshold: float
    num_test_openings: int
    max_logit_difference: float
    report: dict[str, Any]


def build_archive(bundle: Path, version: str, model_store: Path, *, data: Path | None = None) -> Card:
    """Write ``model_store/meme-<version>.mar`` and its card.

    Args:
        bundle: Folder of a bundle.
        version: ``major.minor.patch``; one that exists is never overwritten.
        model_store: Folder of archives; made if it is missing.
        data: Labelled memes whose validation split proves the archive; drawn memes do if it is not given.

    Raises:
        ArchiveError: The version is malformed or taken, or the archive's logits differ from the bundle's.
        BundleError: ``bundle`` cannot be read.
    """
    archive = require_new_version(version, model_store)
    predictor = Predictor.from_folder(bundle)
    num_openings = count_openings(bundle, hash_bundle(bundle))
    model_store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{MODEL_NAME}-{version}.", dir=model_store) as scratch:
        staged = _package(bundle, version, Path(scratch))
        difference = _verify(predictor, staged, _draw_probes() if data is None else _read_probes(data))
        card = Card(
            version=version,
            archive=archive.name,
            sha256=hash_file(staged),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            memeguard_version=memeguard.__version__,
            backbone=predictor.config.backbone,
            threshold=predictor.config.labels.threshold,
            num_test_openings=num_openings,
            max_logit_difference=difference,
            report=read_report(bundle),
        )
        _publish(card, staged, archive)
    return card


def require_new_version(version: str, model_store: Path) -> Path:
    """The archive's path; raises ``ArchiveError`` if ``version`` is malformed or ``model_store`` holds it already."""
    if not _VERSION.fullmatch(version):
        raise ArchiveError(f"version {version!r} is not of the form major.minor.patch, such as 1.0.0")
    archive = model_store / f"{MODEL_NAME}-{version}.mar"
    if archive.exists():
        raise ArchiveError(f"{archive} exists already; a version is never overwritten, choose the next one")
    return archive


def _package(bundle: Path, version: str, scratch: Path) -> Path:
    """Lay out code and bundle in one staging folder and let the archiver zip it."""
    staging, work, output = (scratch / name for name in ("staging", "work", "output"))
    for folder in (staging, work, output):
        folder.mkdir()
    # The archiver copies the *children* of an extra folder, so the package keeps its name one level down.
    shutil.copytree(_HANDLER_ROOT / "memeguard", staging / "memeguard", ignore=shutil.ignore_patterns("__pycache__"))
    (staging / "bundle").mkdir()
    for name in BUNDLE_FILES:  # and nothing else that may lie in that folder
        if (bundle / name).is_file():
            shutil.copyfile(bundle / name, staging / "bundle" / name)
    config = ModelArchiverConfig(
        model_name=MODEL_NAME,
        handler=str(_HANDLER_ROOT / "meme_handler.py"),
        version=version,
        extra_files=str(staging),
        config_file=str(_HANDLER_ROOT / "model-config.yaml"),
        export_path=str(output),
        archive_format="zip-store",  # weights hardly compress, and a stored archive unpacks fast
    )
    # The archiver deletes and fills <temporary directory>/<model name>, whoever it belongs to: give it one of its own.
    before, tempfile.tempdir = tempfile.tempdir, str(work)
    try:
        generate_model_archive(config)
    finally:
        tempfile.tempdir = before
    return output / f"{MODEL_NAME}.mar"


def _verify(predictor: Predictor, archive: Path, probes: list[tuple[bytes, str]]) -> float:
    """Return the largest difference of a logit between ``predictor`` and the unpacked archive in a bare process."""
    folder = archive.parent.parent / "unpacked"
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    for index, (image, text) in enumerate(probes):
        (folder / f"probe-{index}").write_bytes(image)
        (folder / f"probe-{index}.txt").write_bytes(text.encode())
    actual = _logits_in_bare_process(folder, len(probes))
    expected = predictor.logits([predictor.prepare(image, text) for image, text in probes])
    difference = max(abs(left - right) for left, right in zip(expected, actual, strict=True))
    if not difference <= TOLERANCE:  # also refuses nan
        raise ArchiveError(
            f"the archive's logits differ from the bundle's by {difference:g} on {len(probes)} memes; "
            f"the limit is {TOLERANCE:g}"
        )
    return difference


_PROBE_SCRIPT = """\
import json, pathlib, sys
folder = pathlib.Path.cwd()
sys.path[:] = [str(folder), *sys.path, *json.loads(sys.argv[1])]
import meme_handler, memeguard.predictor
for module in (meme_handler, memeguard):
    assert pathlib.Path(module.__file__).is_relative_to(folder), module.__file__
predictor = memeguard.predictor.Predictor.from_folder(folder / "bundle")
probes = [(folder / f"probe-{index}") for index in range(int(sys.argv[2]))]
memes = [predictor.prepare(probe.read_bytes(), probe.with_name(probe.name + ".txt").read_bytes()) for probe in probes]
print(json.dumps([logit for meme in memes for logit in predictor.logits([meme])]))
"""


def _logits_in_bare_process(folder: Path, num_probes: int) -> list[float]:
    """Judge the probes one by one with the archive's own code; nothing of ours but ``folder`` is on its path."""
    # -I ignores the environment, -S the .pth files by which an editable install would smuggle this source tree in.
    libraries = json.dumps([*site.getsitepackages(), site.getusersitepackages()])
    command = [sys.executable, "-I", "-S", "-c", _PROBE_SCRIPT, libraries, str(num_probes)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ArchiveError(f"the unpacked archive does not run on its own: {reason}")
    logits: list[float] = json.loads(done.stdout.splitlines()[-1])
    return logits


def _draw_probes() -> list[tuple[bytes, str]]:
    drawn = [(image, text) for image, text, _ in draw_demo_memes(NUM_PROBES, seed=7)]
    special = [(drawn[0][0], ""), (drawn[1][0], _LONG_CAPTION), (drawn[2][0], "\N{GRINNING FACE} MEME\n\x00 caption")]
    return special + drawn[len(special) :]


def _read_probes(data: Path) -> list[tuple[bytes, str]]:
    memes = read_split(data, "validation", verify_images=False)[:NUM_PROBES]
    if len(memes) < (minimum := 16):
        raise ArchiveError(f"{data} has {len(memes)} validation memes; at least {minimum} are needed")
    return [(meme.image_path.read_bytes(), meme.text) for meme in memes]


def _publish(card: Card, staged: Path, archive: Path) -> None:
    """Put the archive, then its card, under their final names."""
    try:
        os.link(staged, archive)  # unlike a rename, a link never overwrites
    except FileExistsError as error:
        raise ArchiveError(f"{archive} was made by someone else meanwhile; it is not overwritten") from error
    card_path = staged.with_suffix(".json")
    card_path.write_text(json.dumps(dataclasses.asdict(card), indent=2) + "\n", encoding="utf-8")
    card_path.replace(archive.with_suffix(".json"))
