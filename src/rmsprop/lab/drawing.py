"""How every figure of the lab looks, and how it becomes a file. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, which stay apart for colour-blind eyes; the first five go from dark to light.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
# What is neither good nor bad, and lines and words that are not data.
GREY, DARK = "#8a8f94", "#333333"
COLOURS = (BLUE, ORANGE, GREEN, PINK, "#E69F00", "#56B4E9", "#000000")
# More points than pixels only make the file larger.
MOST_POINTS = 500
# More names than this beside the ends of lines, in letters of so many points, would not be told apart.
_MOST_NAMED, _NAME_LETTERS = 8, 10.0
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
    # Where letters of an SVG are text, Verdana stands in for the first, from which its widths hardly differ.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
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


def draw_figure(
    paint: Callable[[Figure], None],
    kind: str,
    title: str = "",
    size: tuple[float, float] = SIZE,
    letters: Literal["outlines", "text"] = "outlines",
) -> bytes:
    """Draw a figure of any number of axes.

    Args:
        paint: Paints it; the figure arranges its axes by itself.
        kind: ``"png"`` or ``"svg"``.
        title: A line above it, for a picture that stands alone. Default none.
        size: Width and height in inches. Default 6.4 by 3.8.
        letters: What those of an SVG are: outlines, which look alike everywhere, or text, which can be searched, copied
            and read out. Default ``"outlines"``.

    Returns:
        The file's content: the same for the same figure.
    """
    content = io.BytesIO()
    with empty_figure(size) as figure, warnings.catch_warnings():
        _matplotlib().rcParams["svg.fonttype"] = "path" if letters == "outlines" else "none"
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


def name_lines(axes: Axes, **legend: Any) -> None:
    """Write the names of curves beside their ends, so that nobody has to tell them by their colours.

    What isn't a curve (a mark, a line across) has its name in a legend; so have curves that are too many.

    Args:
        axes: The axes, with all that is drawn on them and with their scales.
        **legend: Arguments of `matplotlib.axes.Axes.legend`.
    """
    named = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    curves = [line for line in named if line.get_transform() == axes.transData and line.get_linestyle() != "None"]
    if len(named) < 2:
        return
    if len(curves) > _MOST_NAMED:
        curves = []
    _name_ends(axes, curves)
    if others := [line for line in named if line not in curves]:
        axes.legend(handles=others, **{"loc": "best", **legend})


def _name_ends(axes: Axes, curves: Sequence[Line2D]) -> None:
    axes.autoscale_view()
    ends = [(line, end) for line in curves if (end := _end(line)) is not None]
    heights = [float(axes.transAxes.inverted().transform(axes.transData.transform(end))[1]) for _, end in ends]
    room = axes.bbox.height * 72 / axes.figure.dpi  # in points
    for (line, end), height in zip(ends, apart(heights, 1.25 * _NAME_LETTERS / room), strict=True):
        leader = {
            "arrowstyle": "-",
            "color": line.get_color(),
            "linewidth": 0.8,
            "shrinkA": 1,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        }
        axes.annotate(
            str(line.get_label()),
            end,
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            color=DARK,
            fontsize=_NAME_LETTERS,
            arrowprops=leader,
            annotation_clip=False,
            parse_math=False,
        )


def _end(line: Line2D) -> tuple[float, float] | None:
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return (x[finite[-1]], y[finite[-1]]) if len(finite) else None


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights as far as it takes to be apart, in their order, and none above 1 if there is room for all.

    Args:
        heights: The heights.
        gap: The least distance of two.

    Returns:
        The heights that they are moved to.

    Examples:
        >>> apart([0.5, 0.25, 0.25], 0.25)
        [0.75, 0.25, 0.5]
        >>> apart([1.0, 1.0], 0.25)
        [0.75, 1.0]
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    most = 1.0
    for i in reversed(order):
        moved[i] = min(moved[i], most)
        most = moved[i] - gap
    return moved


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
