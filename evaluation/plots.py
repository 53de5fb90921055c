"""Draw an evaluation's figures and curves as PNGs. Lines differ in colour and in style."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from evaluation.plot_style import BLUE, GREEN, GREY, PURPLE, VERMILION, paint
from evaluation.result import MODEL, TFIDF

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from evaluation.result import Curve, EvaluationResult
    from evaluation.statistics import Estimate

_STYLES: Final = {MODEL: (BLUE, "-"), TFIDF: (VERMILION, "--")}
_PATCH: Final = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # so that no line crosses a number
_SIZE: Final = (5.2, 4.6)  # inches
_DARK_SHARE: Final = 0.7  # from here on white text is easier to read than black


def draw_plots(result: EvaluationResult) -> dict[str, bytes]:
    """Draw PNGs by name, in reading order; curves that need both labels are left out if only one occurs."""
    painters: dict[str, Callable[[EvaluationResult, Axes], None]] = {
        "models": _draw_models,
        "roc": _draw_roc,
        "precision-recall": _draw_precision_recall,
        "confusion": _draw_confusion,
        "reliability": _draw_reliability,
        "thresholds": _draw_thresholds,
    }
    if not result.roc:
        for name in ("models", "roc", "precision-recall"):
            del painters[name]
    return {name: paint(partial(painter, result), _SIZE) for name, painter in painters.items()}


def _draw_models(result: EvaluationResult, axes: Axes) -> None:
    names = list(reversed(result.models))
    for height, name in enumerate(names):
        auroc = result.models[name].auroc
        if auroc.value is None or auroc.low is None or auroc.high is None:
            continue
        colour = _STYLES.get(name, (GREY, ""))[0]
        axes.plot([auroc.low, auroc.high], [height, height], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([auroc.value], [height], "o", color=colour, markersize=8)
        axes.annotate(
            f"{auroc.value:.3f}", (auroc.value, height), (0, 9), textcoords="offset points", ha="center", bbox=_PATCH
        )
    axes.axvline(0.5, color=GREY, linestyle=":", label="chance")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.5, len(names) - 0.3)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"AUROC (no unit; line: 95 % bootstrap interval, {result.num_resamples} resamples)", fontsize=9)
    axes.set_title(f"Who ranks best: {result.num} {result.split} memes")
    _place_legend(axes, 1)


def _draw_roc(result: EvaluationResult, axes: Axes) -> None:
    for curve in result.roc:
        _draw_curve(axes, curve, "AUROC", result.models[curve.model].auroc)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    _mark_operating_point(axes, *_operating_point(result))
    _label_rates(axes, "False positive rate (share of harmless memes flagged)", "True positive rate (recall)")
    axes.set_title("ROC curve")
    _place_legend(axes, 1)


def _draw_precision_recall(result: EvaluationResult, axes: Axes) -> None:
    for curve in result.precision_recall:
        _draw_curve(axes, curve, "AP", result.models[curve.model].average_precision, drawstyle="steps-post")
    share = result.num_offensive / result.num
    axes.axhline(share, color=GREY, linestyle=":", label=f"flag everything ({share:.2f})")
    answers = result.confusion
    _, recall = _operating_point(result)
    if flagged := answers.offensive_as_offensive + answers.non_offensive_as_offensive:
        _mark_operating_point(axes, recall, answers.offensive_as_offensive / flagged)
    _label_rates(axes, "Recall (share of offensive memes flagged)", "Precision (share of flagged memes that are)")
    axes.set_title("Precision and recall of “offensive”")
    _place_legend(axes, 1)


def _draw_confusion(result: EvaluationResult, axes: Axes) -> None:
    answers = result.confusion
    counts = [
        [answers.offensive_as_offensive, answers.offensive_as_non_offensive],
        [answers.non_offensive_as_offensive, answers.non_offensive_as_non_offensive],
    ]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, (numbers, parts) in enumerate(zip(counts, shares, strict=True)):
        for column, (number, part) in enumerate(zip(numbers, parts, strict=True)):
            colour = "white" if part > _DARK_SHARE else "black"
            axes.text(
                column, row, f"{number}\n{part * 100:.0f} % of row", ha="center", va="center", color=colour, fontsize=13
            )
    axes.set_xticks([0, 1], ["offensive", "non-offensive"])
    axes.set_yticks([0, 1], ["offensive", "non-offensive"], rotation=90, va="center")
    axes.set_xlabel("Answer of the model (number of memes)")
    axes.set_ylabel("Label")
    axes.grid(visible=False)
    axes.set_title(f"Answers at threshold {result.models[MODEL].threshold:.3f}")


def _draw_reliability(result: EvaluationResult, axes: Axes) -> None:
    bins = result.reliability
    risks, shares = [one.risk for one in bins], [one.offensive_share for one in bins]
    below, above = [one.offensive_share - one.low for one in bins], [one.high - one.offensive_share for one in bins]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfectly calibrated")
    axes.errorbar(
        risks,
        shares,
        yerr=[below, above],
        color=BLUE,
        fmt="none",
        elinewidth=1,
        capsize=3,
        label="95 % Wilson interval",
    )
    largest = max(one.num for one in bins)
    sizes = [20 + 180 * one.num / largest for one in bins]
    axes.scatter(risks, shares, s=sizes, color=BLUE, alpha=0.75, zorder=3, label=f"bin (largest: {largest} memes)")
    before = result.calibration.before
    axes.plot(
        [one.risk for one in before.reliability],
        [one.offensive_share for one in before.reliability],
        color=VERMILION,
        linestyle="--",
        marker="x",
        markersize=5,
        linewidth=1,
        label=f"before calibration: ECE {_value(before.ece)}",
    )
    _label_rates(axes, "Predicted probability of “offensive” (mean of bin)", "Share of memes that are offensive")
    error = result.models[MODEL].ece
    axes.set_title(f"Reliability: ECE {_interval(error)}")
    _place_legend(axes, 2)


def _draw_thresholds(result: EvaluationResult, axes: Axes) -> None:
    points = result.thresholds
    thresholds = [point.threshold for point in points]
    lines: list[tuple[str, list[float | None], str, str]] = [
        ("accuracy", [point.accuracy for point in points], BLUE, "-"),
        ("macro F1", [point.macro_f1 for point in points], VERMILION, "--"),
        ("precision of “offensive”", [point.offensive_precision for point in points], GREEN, "-."),
        ("recall of “offensive”", [point.offensive_recall for point in points], PURPLE, ":"),
    ]
    for name, values, colour, style in lines:
        heights = [float("nan") if value is None else value for value in values]
        axes.plot(thresholds, heights, color=colour, linestyle=style, linewidth=1.8, label=name)
    chosen = result.models[MODEL].threshold
    axes.axvline(chosen, color="black", linewidth=1, label=f"the bundle's threshold, {chosen:.3f}")
    _label_rates(axes, "Threshold on the probability of “non-offensive”", "Figure (share of 1)")
    axes.set_title("What another threshold would do")
    _place_legend(axes, 2)


def _draw_curve(axes: Axes, curve: Curve, figure: str, estimate: Estimate, *, drawstyle: str = "default") -> None:
    colour, style = _STYLES[curve.model]
    axes.plot(
        [point.x for point in curve.points],
        [point.y for point in curve.points],
        color=colour,
        linestyle=style,
        linewidth=1.8,
        drawstyle=drawstyle,
        label=f"{curve.model}: {figure} {_interval(estimate)}",
    )


def _operating_point(result: EvaluationResult) -> tuple[float, float]:
    """False and true positive rate at the bundle's threshold; both labels must occur."""
    answers = result.confusion
    num_harmless = result.num - result.num_offensive
    return answers.non_offensive_as_offensive / num_harmless, answers.offensive_as_offensive / result.num_offensive


def _mark_operating_point(axes: Axes, x: float, y: float) -> None:
    axes.plot([x], [y], "D", color="black", markersize=7, label="at the bundle's threshold", clip_on=False, zorder=4)


def _label_rates(axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "n/a"
    return f"{estimate.value:.3f} (95 %: {estimate.low:.3f}-{estimate.high:.3f})"


def _value(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{estimate.value:.3f}"


def _place_legend(axes: Axes, num_columns: int) -> None:
    """Place the legend below the plot, where no curve crosses it."""
    figure = axes.get_figure(root=True)
    assert figure is not None  # noqa: S101 - our own axes have one
    figure.legend(loc="outside lower center", ncols=num_columns, markerscale=0.7)
