"""Draw the requests per second of every server for each number of clients, and the bare model's ceiling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from benchmarks.serving.asked import best_targets, ceiling, median
from benchmarks.serving.targets import OURS, describe
from evaluation.plot_style import BLUE, GREY, VERMILION, paint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.serving.results import Results

_SHADES: Final = (0.35, 0.65, 1.0)


def draw_speeds(results: Results) -> bytes:
    """Draw a PNG with a bar per server and number of clients; of each peer the better batch size."""
    targets = best_targets(results)

    def painter(axes: Axes) -> None:
        counts = sorted({row["clients"] for row in results.rows("cells")})
        height = 0.8 / max(1, len(counts))
        for index, clients in enumerate(counts):
            speeds = [median(results, "requests_per_s", target=name, clients=clients) for name in targets]
            places = [place + (index - (len(counts) - 1) / 2) * height for place in range(len(targets))]
            colours = [BLUE if name.startswith(OURS) else GREY for name in targets]
            shade = _SHADES[-len(counts) :][index] if len(counts) <= len(_SHADES) else 1.0
            bars = axes.barh(places, speeds, height, color=colours, alpha=shade)
            words = [f" {speed:.1f}" if math.isfinite(speed) else "" for speed in speeds]
            axes.bar_label(bars, words, fontsize=7)
        limit = ceiling(results)
        if math.isfinite(limit):
            axes.axvline(limit, color=VERMILION, linestyle="--", label=f"the bare model: {limit:.1f}")
            axes.legend(loc="lower right")
        axes.set_yticks(range(len(targets)), [describe(name) for name in targets])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("requests per second")
        axes.set_title(f"{', '.join(map(str, counts))} clients, from light to dark")

    return paint(painter, size=(8.0, 1.0 + 0.75 * max(1, len(targets))))
