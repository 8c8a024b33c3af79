"""How every figure of the lab looks, and how it becomes a file. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

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
    content = io.BytesIO()
    with empty_figure(size) as figure, warnings.catch_warnings():
        paint(figure)
        if title:
            figure.suptitle(title, fontsize=9, parse_math=False)
        # A sign that the font lacks becomes a box; a warning about it would only tear up the screen.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(content, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()


@contextmanager
def empty_figure(size: tuple[float, float] = SIZE, **options: Any) -> Iterator[Figure]:
    """Make a figure in the lab's style, which no ``MPLBACKEND`` and no ``matplotlibrc`` of a person's changes.

    Args:
        size: Width and height in inches. Default 6.4 by 3.8.
        **options: Arguments of `matplotlib.figure.Figure`. Default: a constrained layout.

    Yields:
        The figure. What is painted and written in the context has the style.
    """
    matplotlib = _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without this, text.usetex of a person who writes papers calls LaTeX, and dark styles hide black lines.
    default = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    with matplotlib.rc_context(default | STYLE):
        figure = Figure(figsize=size, **{"layout": "constrained"} | options)
        FigureCanvasAgg(figure)
        yield figure


def _matplotlib() -> Any:
    """Import matplotlib whatever ``MPLBACKEND`` says.

    Jupyter sets it for the programs that a notebook starts, too, where its backend may not be installed; matplotlib
    then can't be imported. No figure of the lab needs a backend; for a person's own figures it is set as far as it can.
    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib


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
