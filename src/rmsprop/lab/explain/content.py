"""What a figure shows: lines over axes and some numbers, as plain data that Python and JavaScript both make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Points = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One side of a plot.

    Args:
        name: What it is, a key of the texts' ``axes``.
        low: Its least value.
        high: Its greatest value.
        log: Whether it is logarithmic. Default False.
    """

    name: str
    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a plot.

    Args:
        name: What it is, a key of the texts' ``lines``.
        points: x and y of each of its points. A gap is a y that isn't finite.
        style: Its colour and its dashes, 0 to 4; 5 is a fine grey line.
        given: Whether it is part of the question, and so seen before the answer. Default False.
        dots: Whether each point has a dot. Default False.
        joined: Whether a line joins the points. Default True.
    """

    name: str
    points: Points
    style: int
    given: bool = False
    dots: bool = False
    joined: bool = True


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines over two axes.

    Args:
        x: The axis along.
        y: The axis upwards.
        lines: What is drawn.
        contours: Closed or open lines of equal height behind it. Default: none.
        surface: A key of `rmsprop.lab.problems.builtin.surfaces.SURFACES` whose contours are behind it. Default: none.
        equal: Whether both axes have one scale. Default False.
    """

    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    contours: tuple[Points, ...] = ()
    surface: str | None = None
    equal: bool = False


@dataclass(frozen=True, kw_only=True)
class FigureContent:
    """All that a figure shows at some settings.

    Args:
        plots: One or two plots.
        readouts: The numbers below them, by their keys in the figure's text. None is "never".
    """

    plots: tuple[Plot, ...]
    readouts: Mapping[str, float | str | None] = field(default_factory=dict)


def points(x: Any, y: Any) -> Points:
    """Return pairs of numbers.

    Args:
        x: A sequence of numbers.
        y: Likewise, of the same length.

    Returns:
        The pairs.

    Examples:
        >>> points([0, 1], [2.0, 4.0])
        [(0.0, 2.0), (1.0, 4.0)]
    """
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def ellipses(curvature: tuple[float, float, float], heights: tuple[float, ...]) -> tuple[Points, ...]:
    """Return the lines on which ½(a·x² + 2b·xy + c·y²) has given heights.

    Args:
        curvature: a, b and c; ac > b².
        heights: The heights, above 0.

    Returns:
        A closed line of 73 points for each.

    Examples:
        >>> len(ellipses((1.0, 0.0, 4.0), (2.0,))[0])
        73
    """
    a, b, c = curvature
    turn = np.arange(73) * (2.0 * np.pi / 72)
    # With the Cholesky factor of the curvature, x and y run over the ellipse as they would over a circle.
    low = np.sqrt(c - b * b / a)
    y = np.sin(turn) / low
    x = (np.cos(turn) - b / np.sqrt(a) * y) / np.sqrt(a)
    return tuple(points(x * np.sqrt(2.0 * height), y * np.sqrt(2.0 * height)) for height in heights)
