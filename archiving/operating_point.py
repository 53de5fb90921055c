"""Serve an operating point: find its threshold, and write it into the archive's copy of the bundle."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from evaluation.operating_points import OperatingPointError, parse_target, resolve
from evaluation.threshold_curve import ThresholdCurve
from memeguard.bundle_files import CONFIG, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from memeguard.config import LabelConfig


def choose_operating_point(name: str, labels: LabelConfig, report: dict[str, Any]) -> tuple[str, LabelConfig]:
    """Make the operating point called ``name`` the threshold; return its name as the bundle spells it, and the labels.

    Args:
        name: One of the bundle's operating points, or one that the curve of its training report can be asked for.
        labels: The bundle's.
        report: The bundle's training report.

    Raises:
        OperatingPointError: ``name`` is malformed, or the memes of the training cannot support it.
        BundleError: The report's curve is damaged.
    """
    target = parse_target(name)
    points = dict(labels.operating_points)
    if target.name not in points:
        if "threshold_curve" not in report:
            known = ", ".join(points) or "none"
            raise OperatingPointError(
                f"the bundle has no operating point {target.name} (it has {known}), and its report.json has no "
                "threshold curve to find one on: it was trained by an older memeguard; train it again"
            )
        curve = ThresholdCurve.from_dict(report["threshold_curve"])
        points[target.name] = resolve(target, curve).threshold
    return target.name, dataclasses.replace(labels, threshold=points[target.name], operating_points=points)


def write_operating_point(folder: Path, labels: LabelConfig) -> None:
    """Write threshold and operating points into the config.json in ``folder``; nothing else of it changes."""
    content = json.loads((folder / CONFIG).read_text("utf-8"))
    content["model"]["labels"] |= {"threshold": labels.threshold, "operating_points": labels.operating_points}
    write_json(folder / CONFIG, content)
