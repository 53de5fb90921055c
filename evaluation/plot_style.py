"""Common style of all plots: colours that colour-blind people can tell apart, and reproducible PNGs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

# Okabe & Ito 2008, "Color Universal Design"
BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#6b6b6b"
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


def paint(painter: Callable[[Axes], None], size: tuple[float, float] = (5.2, 4.4)) -> bytes:
    """Draw with ``painter`` on a figure of ``size`` inches and return it as PNG."""
    with rc_context(rc=_SETTINGS):
        # A Figure without pyplot draws with Agg and has no global state: no display, nothing to close.
        figure = Figure(figsize=size, layout="constrained")
        painter(figure.add_subplot())
        buffer = io.BytesIO()
        # Without the version of matplotlib, the same content gives the same bytes.
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
