"""Rank the configurations of a sweep by their mean validation AUROC over seeds, as a table and as JSON."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHORT_NAMES: Final = {"learning_rate": "lr", "batch_size": "batch", "num_epochs": "epochs"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A trained configuration and the best validation AUROC of each of its seeds."""

    configuration: Mapping[str, Any]
    aurocs: Mapping[int, float]

    @property
    def mean(self) -> float:
        """The mean AUROC over the seeds."""
        return statistics.fmean(self.aurocs.values())

    @property
    def std(self) -> float | None:
        """The sample standard deviation (n - 1) over the seeds; None for a single seed."""
        return statistics.stdev(self.aurocs.values()) if len(self.aurocs) > 1 else None

    @property
    def median_seed(self) -> int:
        """The seed with the median AUROC; of an even number of seeds the lower of the two in the middle."""
        ranked = sorted(self.aurocs, key=lambda seed: (self.aurocs[seed], seed))
        return ranked[(len(ranked) - 1) // 2]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A configuration that cannot be trained, and why."""

    configuration: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The ranked configurations, and the failed ones.

    Attributes:
        entries: The best first, as ``rank`` sorts them.
        failures: In the order they were tried.
        settings: The settings that were the same for every configuration.
        backbone: Name of the backbone.
        data_sha256: SHA-256 of the labelled memes.
        num_memes: Number of memes by split.
        tfidf_auroc: AUROC of TF-IDF, which reads only captions, on the same validation memes.
    """

    entries: Sequence[Entry]
    failures: Sequence[Failure]
    settings: Mapping[str, Any]
    backbone: str
    data_sha256: str
    num_memes: Mapping[str, int]
    tfidf_auroc: float

    @property
    def caveat(self) -> str:
        """Why the winner's AUROC is optimistic."""
        num = len(self.entries)
        return (
            f"The first is the best of {num} on the {self.num_memes['validation']} validation memes that also chose "
            "each training's best epoch: its AUROC is optimistic. ± is the spread over seeds alone; other memes would "
            "change it more. The test split was not read."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the leaderboard as JSON values."""
        return {
            "metric": "validation AUROC: mean over seeds, sample standard deviation (n - 1)",
            "caveat": self.caveat,
            "backbone": self.backbone,
            "settings": dict(self.settings),
            "data": {"sha256": self.data_sha256, "num_memes": dict(self.num_memes)},
            "tfidf_auroc": self.tfidf_auroc,
            "configurations": [
                {
                    "rank": rank,
                    "configuration": dict(entry.configuration),
                    "mean": entry.mean,
                    "std": entry.std,
                    "aurocs": {str(seed): auroc for seed, auroc in entry.aurocs.items()},
                }
                for rank, entry in enumerate(self.entries, start=1)
            ],
            "failures": [
                {"configuration": dict(failure.configuration), "reason": failure.reason} for failure in self.failures
            ],
        }


def rank(entries: Sequence[Entry]) -> list[Entry]:
    """Sort by mean AUROC, the best first; of equal means, the smaller deviation first, then the one tried first."""
    return sorted(entries, key=lambda entry: (-entry.mean, entry.std or 0.0))


def format_leaderboard(board: Leaderboard, limit: int = 10) -> str:
    """Format the best ``limit`` configurations as a table, then the failed ones and the caveat."""
    columns = label_columns(
        [*(one.configuration for one in board.entries), *(one.configuration for one in board.failures)]
    )
    header, *labels = align(columns)
    shown = list(zip(board.entries, labels, strict=False))[:limit]
    width = len(str(len(shown)))
    lines = [f"{'':>{width}}  {header}  AUROC"]
    lines += [
        f"{place:>{width}}  {label}  {format_auroc(entry)}" for place, (entry, label) in enumerate(shown, start=1)
    ]
    if hidden := len(board.entries) - len(shown):
        lines.append(f"{'':>{width}}  and {hidden} more")
    lines.append(f"TF-IDF, which sees no picture: {board.tfidf_auroc:.3f}")
    for failure, label in zip(board.failures, labels[len(board.entries) :], strict=True):
        lines.append(f"failed: {' '.join(label.split())}: {failure.reason}")
    return "\n".join([*lines, board.caveat])


def label_columns(configurations: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the values of each setting by its short name, without the settings that all configurations share.

    If they share all of them, as a single configuration does, every setting is returned.
    """
    names = list(configurations[0]) if configurations else []
    varied = [name for name in names if len({one[name] for one in configurations}) > 1] or names
    return {_SHORT_NAMES.get(name, name): [_word(one[name]) for one in configurations] for name in varied}


def align(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line with the names and one per configuration, padded to columns for a monospaced font."""
    lines = [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines]


def format_auroc(entry: Entry) -> str:
    """Format mean ± standard deviation with three decimals."""
    return f"{entry.mean:.3f}" if entry.std is None else f"{entry.mean:.3f} ± {entry.std:.3f}"


def _word(value: object) -> str:
    """Format a float with three digits; small ones like learning rates are usually written: 1e-3."""
    if not isinstance(value, float):
        return str(value)
    if not 0 < abs(value) < 0.01:  # noqa: PLR2004 - below, zeros are hard to count
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
