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
