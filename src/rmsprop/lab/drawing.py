"""How every figure of the lab looks, and how it becomes a file. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind eyes; the first five go from dark to light.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
# What is neither good nor bad, and lines and words that are not data.
GREY, DARK = "#8a8f94", "#333333"
COLOURS = (BLUE, ORANGE, GREEN, PINK, "#E69F00", "#56B4E9", "#000000")
# More points than pixels only make the file larger.
MOST_POINTS = 500
# Inches: at half the width of a page its letters are still readable.
SIZE = (6.4, 3.8)
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.hashsalt": "rmsprop",
}


def draw(paint: Callable[[Axes], None], kind: str, title: str = "") -> bytes:
    """Draw a figure with a single pair of axes.

    Args:
        paint: Paints it on axes.
        kind: ``"png"`` or ``"svg"``.
        title: A line above it, for a picture that stands alone. Default none.

    Returns:
        The file's content: the same for the same figure.
    """
    return draw_figure(single(paint), kind, title)


def draw_figure(paint: Callable[[Figure], None], kind: str, title: str = "", size: tuple[float, float] = SIZE) -> bytes:
    """Draw a figure of any number of axes.

    Args:
        paint: Paints it; the figure arranges its axes by itself.
        kind: ``"png"`` or ``"svg"``.
        title: A line above it, for a picture that stands alone. Default none.
        size: Width and height in inches. Default 6.4 by 3.8.

    Returns:
        The file's content: the same for the same figure.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure)
        if title:
            figure.suptitle(title, fontsize=9, parse_math=False)
        # A sign that the font lacks becomes a box; a warning about it would only tear up the screen.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(content, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()


def single(paint: Callable[[Axes], None]) -> Callable[[Figure], None]:
    """Return the painter of a figure that has one pair of axes.

    Args:
        paint: Paints on these axes.

    Returns:
        The painter.
    """
    return lambda figure: paint(figure.add_subplot())


def thin(count: int) -> list[int]:
    """Return at most `MOST_POINTS` of the first whole numbers, evenly spaced, the first and the last among them.

    Args:
        count: How many points a curve has.

    Returns:
        The indices of those to draw.

    Examples:
        >>> thin(3)
        [0, 1, 2]
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, MOST_POINTS))})
