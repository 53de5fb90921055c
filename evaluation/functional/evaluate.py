"""Run a functional test on a bundle, and compare it with another bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import memeguard
from evaluation.evaluate import bundle_name
from evaluation.functional.figures import compute_setting
from evaluation.functional.findings import find_warnings
from evaluation.functional.result import FunctionalResult
from evaluation.functional.scoring import score_suite
from evaluation.statistics import NUM_RESAMPLES
from memeguard.bundle_source import hash_bundle, open_bundle
from memeguard.devices import resolve_device
from memeguard.torch_runtime import TorchPredictor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evaluation.functional.cases import Suite
    from evaluation.functional.pictures import Picture
    from evaluation.metrics import Scores
    from memeguard.config import ModelConfig


def evaluate_functional(
    source: Path,
    suite: Suite,
    *,
    backgrounds: Sequence[Picture] = (),
    against: Path | None = None,
    device: str = "auto",
    num_resamples: int = NUM_RESAMPLES,
) -> FunctionalResult:
    """Run ``suite`` on the bundle in ``source``.

    Args:
        source: A bundle's folder or a .mar archive.
        suite: The functional test.
        backgrounds: Pictures for the cases that have none of their own, besides the grey one.
        against: Another bundle's folder or archive, whose answers to the same cases are compared.
        device: Where the models compute.
        num_resamples: Resamples of the bootstrap.

    Raises:
        BundleError: A bundle is damaged, or gives answers that are not numbers.
        DataError: A caption is too long for a model, or a picture cannot be read.
        DeviceError: This machine has no such device.
    """
    config, bundle_hash, scores = _score(source, suite, backgrounds, device)
    _, other_hash, others = _score(against, suite, backgrounds, device) if against else (None, None, {})
    settings = {name: compute_setting(suite, one, others.get(name), num_resamples) for name, one in scores.items()}
    return FunctionalResult(
        bundle=bundle_name(source),
        bundle_sha256=bundle_hash,
        backbone=config.backbone,
        suite=suite.name,
        suite_sha256=suite.sha256,
        num=len(suite.cases),
        num_offensive=sum(int(case.label) for case in suite.cases),
        num_own_pictures=sum(case.picture is not None for case in suite.cases),
        against=bundle_name(against) if against else None,
        against_sha256=other_hash,
        num_resamples=num_resamples,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        memeguard_version=memeguard.__version__,
        warnings=tuple(find_warnings(settings, suite.skipped)),
        settings=settings,
        skipped=suite.skipped,
    )


def _score(
    source: Path, suite: Suite, backgrounds: Sequence[Picture], device: str
) -> tuple[ModelConfig, str, dict[str, Scores]]:
    with open_bundle(source) as folder:
        predictor = TorchPredictor.from_folder(folder, device=resolve_device(device))
        bundle_hash = hash_bundle(folder)
    return predictor.config, bundle_hash, score_suite(predictor, suite, backgrounds)
