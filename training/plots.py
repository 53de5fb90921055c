"""Draw an evaluation's curves as PNGs, in colours that colour-blind people tell apart and in shapes besides.

Does not compute any figure, nor know where the pictures go.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

from training.scorers import MODEL, TFIDF

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from training.evaluation_report import Curve, EvaluationReport
    from training.statistics import Estimate

# Okabe & Ito 2008, "Color Universal Design"
_BLUE, _VERMILION, _GREEN, _PURPLE, _GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#6b6b6b"
_STYLES: Final = {MODEL: (_BLUE, "-"), TFIDF: (_VERMILION, "--")}
_SETTINGS: Final[dict[Any, Any]] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_DOTS_PER_INCH: Final = 144


def draw_plots(report: EvaluationReport) -> dict[str, bytes]:
    """PNGs by name, in the order they are best read in; curves that need both labels are left out without them."""
    painters: dict[str, Callable[[Axes, EvaluationReport], None]] = {
        "models": _draw_models,
        "roc": _draw_roc,
        "precision-recall": _draw_precision_recall,
        "confusion": _draw_confusion,
        "reliability": _draw_reliability,
        "thresholds": _draw_thresholds,
    }
    if not report.roc:
        for name in ("models", "roc", "precision-recall"):
            del painters[name]
    return {name: _paint(painter, report) for name, painter in painters.items()}


def _paint(painter: Callable[[Axes, EvaluationReport], None], report: EvaluationReport) -> bytes:
    with rc_context(rc=_SETTINGS):
        # A Figure of one's own draws with Agg and leaves pyplot's global state alone: no display, nothing to close.
        figure = Figure(figsize=(5.2, 4.4), layout="constrained")
        painter(figure.add_subplot(), report)
        buffer = io.BytesIO()
        # Without the library's version in it, the same report gives the same bytes.
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _draw_models(axes: Axes, report: EvaluationReport) -> None:
    names = list(reversed(report.models))
    for height, name in enumerate(names):
        auroc = report.models[name].auroc
        if auroc.value is None or auroc.low is None or auroc.high is None:
            continue
        colour = _STYLES.get(name, (_GREY, ""))[0]
        axes.plot([auroc.low, auroc.high], [height, height], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([auroc.value], [height], "o", color=colour, markersize=8)
        axes.annotate(f"{auroc.value:.3f}", (auroc.value, height), (0, 9), textcoords="offset points", ha="center")
    axes.axvline(0.5, color=_GREY, linestyle=":", label="chance")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.5, len(names) - 0.3)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"AUROC (no unit; line: 95 % bootstrap interval, {report.num_resamples} resamples)", fontsize=9)
    axes.set_title(f"Who ranks best: {report.num} {report.split} memes")
    axes.legend(loc="lower right")


def _draw_roc(axes: Axes, report: EvaluationReport) -> None:
    for curve in report.roc:
        _draw_curve(axes, curve, "AUROC", report.models[curve.model].auroc)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="chance")
    _mark_operating_point(axes, *_operating_point(report))
    _label_rates(axes, "False positive rate (share of harmless memes flagged)", "True positive rate (recall)")
    axes.set_title("ROC curve")
    axes.legend(loc="lower right")


def _draw_precision_recall(axes: Axes, report: EvaluationReport) -> None:
    for curve in report.precision_recall:
        _draw_curve(axes, curve, "AP", report.models[curve.model].average_precision, drawstyle="steps-post")
    share = report.num_offensive / report.num
    axes.axhline(share, color=_GREY, linestyle=":", label=f"flag everything ({share:.2f})")
    answers = report.confusion
    _, recall = _operating_point(report)
    if flagged := answers.offensive_as_offensive + answers.non_offensive_as_offensive:
        _mark_operating_point(axes, recall, answers.offensive_as_offensive / flagged)
    _label_rates(axes, "Recall (share of offensive memes flagged)", "Precision (share of flagged memes that are)")
    axes.set_title("Precision and recall of “offensive”")
    axes.legend(loc="lower left")


def _draw_confusion(axes: Axes, report: EvaluationReport) -> None:
    answers = report.confusion
    counts = [
        [answers.offensive_as_offensive, answers.offensive_as_non_offensive],
        [answers.non_offensive_as_offensive, answers.non_offensive_as_non_offensive],
    ]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, (numbers, parts) in enumerate(zip(counts, shares, strict=True)):
        for column, (number, part) in enumerate(zip(numbers, parts, strict=True)):
            colour = "white" if part > 0.55 else "black"  # noqa: PLR2004 - where black on blue gets hard to read
            axes.text(column, row, f"{number}\n{part:.0%} of row", ha="center", va="center", color=colour, fontsize=13)
    axes.set_xticks([0, 1], ["offensive", "non-offensive"])
    axes.set_yticks([0, 1], ["offensive", "non-offensive"], rotation=90, va="center")
    axes.set_xlabel("Answer of the model (number of memes)")
    axes.set_ylabel("Label")
    axes.grid(visible=False)
    axes.set_title(f"Answers at threshold {report.models[MODEL].threshold:.3f}")


def _draw_reliability(axes: Axes, report: EvaluationReport) -> None:
    bins = report.reliability
    risks, shares = [one.risk for one in bins], [one.offensive_share for one in bins]
    below, above = [one.offensive_share - one.low for one in bins], [one.high - one.offensive_share for one in bins]
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="perfectly calibrated")
    axes.errorbar(risks, shares, yerr=[below, above], color=_BLUE, linewidth=1, capsize=3, label="95 % Wilson interval")
    largest = max(one.num for one in bins)
    sizes = [20 + 180 * one.num / largest for one in bins]
    axes.scatter(risks, shares, s=sizes, color=_BLUE, alpha=0.75, zorder=3, label=f"bin (largest: {largest} memes)")
    _label_rates(axes, "Predicted probability of “offensive” (mean of bin)", "Share of memes that are offensive")
    error = report.models[MODEL].ece
    axes.set_title(f"Reliability: ECE {_interval(error)}")
    axes.legend(loc="upper left", markerscale=0.6)


def _draw_thresholds(axes: Axes, report: EvaluationReport) -> None:
    points = report.thresholds
    thresholds = [point.threshold for point in points]
    lines: list[tuple[str, list[float | None], str, str]] = [
        ("accuracy", [point.accuracy for point in points], _BLUE, "-"),
        ("macro F1", [point.macro_f1 for point in points], _VERMILION, "--"),
        ("precision of “offensive”", [point.offensive_precision for point in points], _GREEN, "-."),
        ("recall of “offensive”", [point.offensive_recall for point in points], _PURPLE, ":"),
    ]
    for name, values, colour, style in lines:
        heights = [float("nan") if value is None else value for value in values]
        axes.plot(thresholds, heights, color=colour, linestyle=style, linewidth=1.8, label=name)
    chosen = report.models[MODEL].threshold
    axes.axvline(chosen, color="black", linewidth=1, label=f"the bundle's threshold, {chosen:.3f}")
    _label_rates(axes, "Threshold on the probability of “non-offensive”", "Figure (share of 1)")
    axes.set_title("What another threshold would do")
    axes.legend(loc="best")


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


def _operating_point(report: EvaluationReport) -> tuple[float, float]:
    """False and true positive rate at the bundle's threshold; both labels occur where this is asked."""
    answers = report.confusion
    num_harmless = report.num - report.num_offensive
    return answers.non_offensive_as_offensive / num_harmless, answers.offensive_as_offensive / report.num_offensive


def _mark_operating_point(axes: Axes, x: float, y: float) -> None:
    axes.plot([x], [y], "D", color="black", markersize=7, label="at the bundle's threshold", clip_on=False, zorder=4)


def _label_rates(axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "n/a"
    return f"{estimate.value:.3f} (95 %: {estimate.low:.3f}-{estimate.high:.3f})"
