"""A plot as SVG, for who has no JavaScript: the same picture as ``plot.js`` draws, at a fixed width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import cast

import numpy as np
from contourpy import contour_generator

from rmsprop.lab.explain.content import Axis, Line, Plot, Points, points
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.picture import LEVELS

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, BOTTOM, ROW = 64, 20, 44, 20
# No digit of a path that is drawn is worth more than a tenth of a pixel.
_DIGITS = 1
# As many as in the picture that moves would make this one heavy.
_CELLS = 40


def readable(value: float | str | None) -> str:
    """Return a number with four digits, as the page's script writes it.

    Args:
        value: The number, or a word, which stays as it is. None is a dash.

    Returns:
        Its text, with a true minus sign.

    Examples:
        >>> readable(-0.68123), readable(31.6227766), readable(0.00001234), readable(None), readable(math.inf)
        ('−0.6812', '31.62', '1.23e−5', '–', '∞')
    """
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")
    number = float(f"{value:.4g}")
    return f"{number:.0f}".replace("-", "−") if number == int(number) else repr(number).replace("-", "−")


def svg(plot: Plot, names: Mapping[str, str], axes: Mapping[str, str], label: str) -> str:
    """Return a plot as an SVG element.

    Args:
        plot: The plot.
        names: What the lines are called.
        axes: What the axes are called.
        label: What it shows, in a sentence.

    Returns:
        The element, coloured by the page's style.
    """
    legend, top = _legend(plot.lines, names)
    inner = WIDTH - LEFT - RIGHT
    tall = float(HEIGHT - BOTTOM - 8)
    if plot.equal:
        tall = min(420.0, inner * (plot.y.high - plot.y.low) / (plot.x.high - plot.x.low))
    box = _Box(plot, top, inner, tall)
    height = top + tall + BOTTOM
    parts = [*legend, *_axes(box, axes, height), *(_path("contour", box, line) for line in _contours(plot))]
    for line in plot.lines:
        parts += _line(box, line)
    body = "".join(parts)
    return f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {height:.0f}">{body}</svg>'


def _contours(plot: Plot) -> Iterable[Points]:
    """Return the lines of equal height: those that the plot has, and those of its surface."""
    yield from plot.contours
    if plot.surface is None:
        return
    surface = SURFACES[plot.surface]
    low_x, high_x, low_y, high_y = surface.window
    x, y = np.linspace(low_x, high_x, _CELLS + 1), np.linspace(low_y, high_y, _CELLS + 1)
    z = surface.f(*np.meshgrid(x, y))
    of_height = contour_generator(x, y, z)
    for level in np.quantile(z, LEVELS):
        lines = cast("list[np.ndarray]", of_height.lines(float(level)))
        yield from (points(line[:, 0], line[:, 1]) for line in lines)


class _Box:
    """Where in the picture a point of the plot is."""

    def __init__(self, plot: Plot, top: float, inner: float, tall: float) -> None:
        self.plot, self.top, self.inner, self.tall = plot, top, inner, tall

    def u(self, x: float) -> float:
        return LEFT + self.inner * _share(self.plot.x, x)

    def v(self, y: float) -> float:
        return self.top + self.tall * (1.0 - _share(self.plot.y, y))


def _share(axis: Axis, value: float) -> float:
    low, high = axis.low, axis.high
    if axis.log:
        value = max(value, low * 1e-3)
        low, high, value = math.log10(low), math.log10(high), math.log10(value)
    # A little beyond its edge, where it is cut off.
    return min(1.5, max(-0.5, (value - low) / (high - low)))


def _legend(lines: Iterable[Line], names: Mapping[str, str]) -> tuple[list[str], float]:
    """Return the samples of the lines with their names, and where the plot begins below them."""
    parts, u, v, seen = [], float(LEFT), 14.0, set()
    for line in lines:
        if line.name in seen:
            continue
        seen.add(line.name)
        name = names.get(line.name, line.name)
        room = 52 + 7.8 * sum(1.8 if letter > "\u2fff" else 1.0 for letter in name)
        if u > LEFT and u + room > WIDTH:
            u, v = float(LEFT), v + ROW
        sample = (
            f'class="line s{line.style}" d="M{u:.0f}' if line.joined else f'class="dot s{line.style}" d="M{u + 18:.0f}'
        )
        parts.append(f'<path {sample} {v - 4:.0f}h{26 if line.joined else 0}"/>')
        parts.append(f'<text x="{u + 32:.0f}" y="{v:.0f}">{escape(name)}</text>')
        u += room
    return parts, v + 12


def _axes(box: _Box, names: Mapping[str, str], height: float) -> list[str]:
    low, right = box.top + box.tall, LEFT + box.inner
    parts = [f'<path class="axis" d="M{LEFT} {box.top:.0f}V{low:.1f}H{right:.0f}"/>']
    for x in ticks(box.plot.x, box.inner / 90):
        u = box.u(x)
        parts.append(f'<path class="axis" d="M{u:.1f} {low:.1f}v5"/>')
        parts.append(f'<text x="{u:.1f}" y="{low + 19:.1f}" text-anchor="middle">{readable(x)}</text>')
    for y in ticks(box.plot.y, box.tall / 45):
        v = box.v(y)
        parts.append(f'<path class="axis" d="M{LEFT} {v:.1f}h-5"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{v + 4:.1f}" text-anchor="end">{readable(y)}</text>')
    middle, along = box.top + box.tall / 2, names[box.plot.x.name]
    parts.append(
        f'<text x="{LEFT + box.inner / 2:.0f}" y="{height - 6:.0f}" text-anchor="middle">{escape(along)}</text>'
    )
    parts.append(
        f'<text transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(names[box.plot.y.name])}</text>"
    )
    return parts


def ticks(axis: Axis, about: float) -> list[float]:
    """Return round numbers along an axis.

    Args:
        axis: The axis.
        about: About how many.

    Returns:
        The numbers, in rising order.

    Examples:
        >>> ticks(Axis(name="x", low=0.0, high=10.0), 4), ticks(Axis(name="x", low=0.01, high=10.0, log=True), 9)
        ([0.0, 5.0, 10.0], [0.01, 0.1, 1.0, 10.0])
    """
    if axis.log:
        low, high = math.ceil(math.log10(axis.low) - 1e-9), math.floor(math.log10(axis.high) + 1e-9)
        every = max(1, math.ceil((high - low) / max(1.0, about)))
        return [float(f"1e{power}") for power in range(low, high + 1, every)]
    rough = (axis.high - axis.low) / max(1.0, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _line(box: _Box, line: Line) -> list[str]:
    parts = [_path(f"line s{line.style}", box, line.points)] if line.joined else []
    if line.dots:
        dots = "".join(f"M{_at(box, point)}h0" for point in line.points if math.isfinite(point[1]))
        parts.append(f'<path class="dot s{line.style}" d="{dots}"/>')
    return parts


def _path(kind: str, box: _Box, line: Points) -> str:
    """Return a line, which has a gap where it isn't finite and ends where it leaves the picture for good."""
    text, pen = [], "M"
    for point in line:
        if not (math.isfinite(point[0]) and math.isfinite(point[1])):
            pen = "M"
            continue
        text.append(f"{pen}{_at(box, point)}")
        pen = "L"
    return f'<path class="{kind}" d="{"".join(text)}"/>'


def _at(box: _Box, point: tuple[float, float]) -> str:
    return f"{box.u(point[0]):.{_DIGITS}f} {box.v(point[1]):.{_DIGITS}f}"
