"""Draw the leaderboard of a sweep: the best configurations, the best on top, each with its seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from evaluation.plot_style import BLUE, GREY, VERMILION, paint
from training.sweep.leaderboard import align, format_auroc, label_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from training.sweep.leaderboard import Entry, Leaderboard

MAX_ROWS: Final = 30  # more are too small to read
_CHANCE: Final = 0.5  # AUROC of random scores
_LIGHT_BLUE: Final = "#7db4d6"
_FONT: Final[dict[str, Any]] = {"family": "monospace", "size": 8.5}
_ROW_INCHES, _AROUND_INCHES, _LEAST_ROWS = 0.235, 1.7, 3


def draw_leaderboard(board: Leaderboard) -> bytes:
    """Draw the best ``MAX_ROWS`` configurations of ``board``, which has at least one, as a PNG."""
    shown = board.entries[:MAX_ROWS]
    # All entries, not only the shown ones, so that the labels are those of the table.
    header, *labels = align(label_columns([entry.configuration for entry in board.entries]))

    def draw(axes: Axes) -> None:
        _draw_rows(axes, shown)
        _draw_labels(axes, shown, header, labels)
        _draw_rivals(axes, board, shown)
        num = len(board.entries)
        title = f"{num} configurations" if len(shown) == num else f"the best {len(shown)} of {num} configurations"
        axes.figure.suptitle(f"Which setting ranks best: {title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
        num_memes = board.num_memes["validation"]
        axes.set_xlabel(f"AUROC on the {num_memes} validation memes that choose the best: optimistic", fontsize=9)

    widest = len(header) + len(format_auroc(shown[0]))
    return paint(draw, (4.0 + 0.073 * widest, _AROUND_INCHES + _ROW_INCHES * max(_LEAST_ROWS, len(shown))))


def _draw_rows(axes: Axes, shown: Sequence[Entry]) -> None:
    for height, entry in enumerate(shown):
        colour = _LIGHT_BLUE if height else BLUE
        if entry.std is not None:
            ends = [entry.mean - entry.std, entry.mean + entry.std]
            axes.plot(ends, [height, height], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=2)
        aurocs = list(entry.aurocs.values())
        axes.plot(aurocs, [height] * len(aurocs), "|", color=GREY, markersize=7, markeredgewidth=1, zorder=3)
        axes.plot([entry.mean], [height], "o", color=colour, markersize=7 if height else 8, zorder=4)


def _draw_labels(axes: Axes, shown: Sequence[Entry], header: str, labels: Sequence[str]) -> None:
    heights = range(len(shown))
    axes.set_yticks(heights, labels[: len(shown)], **_FONT)
    axes.tick_params(axis="y", length=0)
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_ylim(max(len(shown), _LEAST_ROWS) - 0.4, -0.7)
    axes.grid(axis="y", color="#f0f0f0")
    axes.spines["left"].set_visible(False)
    right = axes.get_yaxis_transform()
    for height, entry in zip(heights, shown, strict=True):
        weight = "normal" if height else "bold"
        axes.text(1.02, height, format_auroc(entry), transform=right, va="center", fontweight=weight, **_FONT)
    figures = "AUROC" if shown[0].std is None else "mean ± std"
    for x, text, side, shift in ((0.0, header, "right", -3.5), (1.02, figures, "left", 0.0)):
        axes.annotate(
            text, (x, 1.0), (shift, 3), "axes fraction", textcoords="offset points", ha=side, color=GREY, **_FONT
        )


def _draw_rivals(axes: Axes, board: Leaderboard, shown: Sequence[Entry]) -> None:
    axes.axvline(_CHANCE, color=GREY, linestyle=":", label="chance", zorder=1)
    axes.axvline(board.tfidf_auroc, color=VERMILION, linestyle="--", label="TF-IDF, captions alone", zorder=1)
    values = [_CHANCE, board.tfidf_auroc]
    for entry in shown:
        spread = entry.std or 0.0
        values += [*entry.aurocs.values(), entry.mean - spread, entry.mean + spread]
    margin = 0.04 * (max(values) - min(values))
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(axis="x", labelsize=9)
    axes.set_xlim(min(values) - margin, max(values) + margin)
    if shown[0].std is not None:
        axes.plot([], [], "o-", color=_LIGHT_BLUE, linewidth=2.2, label="mean ± std over seeds")
        axes.plot([], [], "|", color=GREY, markersize=7, label="one seed")
    axes.figure.legend(loc="outside lower center", ncols=2)
