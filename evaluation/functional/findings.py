"""What a functional test says against a model, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evaluation.functional.figures import find_worst
from evaluation.functional.result import SETTING_WORDS
from evaluation.functional.table import format_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.functional.result import SettingFigures

_CHANCE: Final = 0.5  # accuracy of a coin, and AUROC of random scores
_SIGNIFICANT: Final = 0.05


def find_warnings(settings: Mapping[str, SettingFigures], skipped: Sequence[str]) -> list[str]:
    """List every reason to distrust the model, the most serious first."""
    warnings = [line for name, figures in settings.items() for line in _warn(figures, f", {SETTING_WORDS[name]}")]
    if skipped:
        warnings.append(f"{len(skipped)} faulty cases were left out; the first: {skipped[0]}.")
    return warnings


def _warn(figures: SettingFigures, setting: str) -> list[str]:
    warnings = []
    auroc, rate = figures.model.auroc, figures.false_positive_rate
    if auroc.low is not None and auroc.low <= _CHANCE:
        warnings.append(
            f"The model is not shown to tell offensive cases from harmless ones: AUROC {auroc.value:.3f} "
            f"(95 % interval {auroc.low:.3f} to {auroc.high:.3f}){setting}."
        )
    worse = [one for one in figures.functionalities if one.accuracy.high is not None and one.accuracy.high < _CHANCE]
    if worse:
        worst = find_worst(worse)
        warnings.append(
            f"The model is worse than a coin on {len(worse)} of {len(figures.functionalities)} functionalities; the "
            f"worst is {worst.name!r}, {worst.label}, accuracy {worst.accuracy.value:.3f}{setting}."
        )
    for group in figures.groups:
        low, value = group.false_positive_rate.low, group.false_positive_rate.value
        if low is not None and rate.value is not None and low > rate.value:
            warnings.append(
                f"Harmless mentions of {group.name} are flagged more often than those of all groups: {value:.3f} "
                f"against {rate.value:.3f}{setting}."
            )
    if (gap := figures.recall_gap) and gap.p_value < _SIGNIFICANT:
        warnings.append(
            f"Offensive cases are found more often for some groups than for others: recall for {gap.highest} is "
            f"{gap.value:.3f} above that for {gap.lowest} ({format_p(gap.p_value)}){setting}."
        )
    return warnings
