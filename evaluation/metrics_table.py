"""Format figures as a table for a terminal."""

from __future__ import annotations

from typing import Any


def format_metrics(split: str, rows: dict[str, dict[str, Any]]) -> str:
    """Format a row per name with accuracy, macro-F1 and AUROC; ``rows`` has ``Metrics`` as dictionaries."""
    num = next(iter(rows.values()))["num"]
    lines = [f"{split} ({num} memes)".ljust(26) + "accuracy  macro-F1  AUROC"]
    lines += [
        f"  {name:<24}{row['accuracy']:>8.3f}  {row['macro_f1']:>8.3f}  {row['auroc']:>5.3f}"
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def format_calibration(comparison: dict[str, Any]) -> str:
    """Format calibration error and Brier score before and after; ``comparison`` is a ``CalibrationComparison``."""
    before, after = comparison["before"], comparison["after"]
    titles = (("ece", "ECE"), ("brier", "Brier"))
    figures = ", ".join(f"{title} {_show(before[name])} → {_show(after[name])}" for name, title in titles)
    chance = f"perfect probabilities would have ECE {after['ece_by_chance']['value']:.3f} by chance"
    return f"calibration ({comparison['num']} memes): {figures}; {chance}"


def format_point(name: str, point: dict[str, Any]) -> str:
    """Format what an ``OperatingPoint``, as a dictionary, does to some memes."""
    titles = (("precision", "precision"), ("recall", "recall"), ("flag_rate", "flag rate"))
    figures = ", ".join(f"{title} {_show(point[name])}" for name, title in titles)
    return f"{name} ({point['num']} memes): threshold {point['threshold']:.3f}, {figures}"


def _show(estimate: dict[str, float | None]) -> str:
    if estimate["value"] is None:
        return "n/a"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
