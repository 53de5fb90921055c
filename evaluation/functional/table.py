"""Format a functional test as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evaluation.functional.result import SETTING_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evaluation.functional.result import FunctionalityFigures, FunctionalResult, Gap, GroupFigures, SettingFigures
    from evaluation.statistics import Estimate, McNemar


_RATE: Final = len("0.000 (0.000 to 0.000)") + 1


def format_result(result: FunctionalResult) -> str:
    """Format a table by functionality and one by group, for each kind of picture."""
    return "\n\n".join("\n".join(_format_setting(result, name, figures)) for name, figures in result.settings.items())


def _format_setting(result: FunctionalResult, name: str, figures: SettingFigures) -> Iterator[str]:
    yield f"{result.suite}, {SETTING_WORDS[name]}: {result.num} cases, {result.num_offensive} of them offensive"
    yield f"  AUROC {_show(figures.model.auroc)}, mean accuracy of the functionalities {figures.mean_accuracy:.3f}"
    if figures.mcnemar:
        yield f"  against {result.against}: {_compare(figures.mcnemar)}"
    yield from _format_functionalities(figures.functionalities)
    if figures.groups:
        yield from _format_groups(figures.groups)
        yield _describe(
            "false-positive rate on harmless mentions", figures.false_positive_rate, figures.false_positive_gap
        )
        yield _describe("recall of offensive mentions", figures.recall, figures.recall_gap)


def _format_functionalities(rows: Sequence[FunctionalityFigures]) -> Iterator[str]:
    width = max(len("functionality"), *(len(one.name) for one in rows))
    yield f"{'functionality':<{width}}  {'label':<13}  cases  accuracy (95 % interval)"
    for one in rows:
        against = f"  {_compare(one.mcnemar)}" if one.mcnemar else ""
        yield f"{one.name:<{width}}  {one.label:<13}  {one.num:>5}  {_show(one.accuracy)}{against}"


def _format_groups(rows: Sequence[GroupFigures]) -> Iterator[str]:
    width = max(len("group"), *(len(one.name) for one in rows))
    rates = f"{'harmless':>8}  {'flagged (95 % interval)':<{_RATE}}  {'gap':>6}"
    found = f"{'offensive':>9}  {'flagged (95 % interval)':<{_RATE}}  {'gap':>6}"
    yield f"{'group':<{width}}  {rates}  {found}  AUROC"
    for one in rows:
        rates = f"{one.num_harmless:>8}  {_show(one.false_positive_rate):<{_RATE}}  {_sign(one.false_positive_gap)}"
        found = f"{one.num_offensive:>9}  {_show(one.recall):<{_RATE}}  {_sign(one.recall_gap)}"
        yield f"{one.name:<{width}}  {rates}  {found}  {_number(one.auroc)}"


def _describe(what: str, rate: Estimate, gap: Gap | None) -> str:
    if gap is None:
        return f"{what}: {_show(rate)}"
    if not gap.value:
        return f"{what}: {_show(rate)}, the same for every group"
    apart = f"{gap.highest} {gap.value:.3f} above {gap.lowest}"
    return f"{what}: {_show(rate)}; {apart} (chi-squared test of equal rates: {format_p(gap.p_value)})"


def _compare(mcnemar: McNemar) -> str:
    return (
        f"{mcnemar.only_first_right} alone right, {mcnemar.only_second_right} alone wrong, {format_p(mcnemar.p_value)}"
    )


def format_p(p_value: float) -> str:
    """Format a p-value; no small one reads as zero."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"  # noqa: PLR2004 - the digits that are shown


def _show(estimate: Estimate) -> str:
    if estimate.value is None:
        return "n/a"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _sign(value: float | None) -> str:
    return "   n/a" if value is None else f"{value:+.3f}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
