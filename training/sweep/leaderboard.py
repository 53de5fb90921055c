"""Rank a sweep's configurations by the mean of their seeds' validation AUROCs, and lay the ranking out.

Does not know how the figures came about, nor what is made of the winner.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHORT_NAMES: Final = {"learning_rate": "lr", "batch_size": "batch", "num_epochs": "epochs"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One configuration and the best validation AUROC of each of its seeds."""

    configuration: Mapping[str, Any]
    aurocs: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.aurocs.values())

    @property
    def std(self) -> float | None:
        """The sample's (n - 1) over the seeds; None for a single one."""
        return statistics.stdev(self.aurocs.values()) if len(self.aurocs) > 1 else None

    @property
    def median_seed(self) -> int:
        """The seed in the middle, of an even number the lower one: what to expect, where the best is luck."""
        ranked = sorted(self.aurocs, key=lambda seed: (self.aurocs[seed], seed))
        return ranked[(len(ranked) - 1) // 2]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One configuration that cannot be trained, and why."""

    configuration: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Configurations, the best first, and those that failed.

    Attributes:
        entries: Of equal means, the one that varies less comes first, then the one tried first.
        failures: In the order they were tried.
        settings: What was the same for all.
        backbone: What they were trained on top of.
        data_sha256: On which data.
        num_memes: By split.
        tfidf_auroc: On the same validation memes, of TF-IDF, which sees no picture.
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
        """What the winner's figure does not say."""
        num = len(self.entries)
        return (
            f"The first is the best of {num}, by the {self.num_memes['validation']} validation memes that also chose "
            "each training's best epoch: its figure is optimistic. ± is the spread over seeds alone; other memes would "
            "move it further. The test split was not opened."
        )

    def to_json(self) -> dict[str, Any]:
        """What ``json`` can write."""
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
    """The best first, as ``Leaderboard`` has them."""
    return sorted(entries, key=lambda entry: (-entry.mean, entry.std or 0.0))


def format_leaderboard(board: Leaderboard, limit: int = 10) -> str:
    """The best ``limit`` configurations as a table for a terminal, what failed, and what to make of it."""
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
    """Each setting's short name with its values; what is the same for all configurations is left out.

    Where all is the same, or there is one configuration only, everything is kept.
    """
    names = list(configurations[0]) if configurations else []
    varied = [name for name in names if len({one[name] for one in configurations}) > 1] or names
    return {_SHORT_NAMES.get(name, name): [_word(one[name]) for one in configurations] for name in varied}


def align(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, then one line per configuration, all of one width: to be read in a font of fixed width."""
    lines = [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines]


def format_auroc(entry: Entry) -> str:
    """Mean and standard deviation, three decimals each."""
    return f"{entry.mean:.3f}" if entry.std is None else f"{entry.mean:.3f} ± {entry.std:.3f}"


def _word(value: object) -> str:
    """Three digits of a float, small ones as people write learning rates: 1e-3."""
    if not isinstance(value, float):
        return str(value)
    if not 0 < abs(value) < 0.01:  # noqa: PLR2004 - where zeros get hard to count
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
