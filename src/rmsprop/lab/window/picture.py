"""The pictures of a decay: its weights, its deficit and its first steps, and the same on real gradients."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmsprop.lab.drawing import COLOURS, DARK, SIZE, draw_figure, thin
from rmsprop.lab.format import percent, short
from rmsprop.lab.window.decay import GRADIENT, STARTS, Window, deficit, step_sizes, weights
from rmsprop.lab.window.gradients import Recorded, averages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_DIM = "#666666"
_TITLE, _CAPTION = 10.5, 9.5  # points
_LINE = 83  # letters of a caption
_POINTS = 200
# Axes over time are at least so long, for decays that forget within a step.
_SHORTEST = 10.0


def draw(windows: Sequence[Window], kind: str, gradient: float = GRADIENT, recorded: Recorded | None = None) -> bytes:
    """Draw what decays keep.

    Args:
        windows: The decays.
        kind: ``"png"`` or ``"svg"``.
        gradient: The size of the gradient whose first steps are drawn. Default 0.01.
        recorded: Real gradients, for a second column. Default none.

    Returns:
        The file's content: the same for the same decays.
    """
    size = (SIZE[0], 6.0 if recorded is None else 9.6)
    return draw_figure(lambda figure: paint(figure, windows, gradient, recorded), kind, size=size)


def paint(figure: Figure, windows: Sequence[Window], gradient: float, recorded: Recorded | None) -> None:
    """Paint the weights, the deficit and the first steps, and real gradients beside them if there are any.

    Args:
        figure: Where to paint.
        windows: The decays.
        gradient: The size of the gradient whose first steps are drawn.
        recorded: Real gradients, or None.
    """
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    grid = figure.add_gridspec(2 if recorded is None else 3, 2)
    left = [grid[0, :], grid[1, 0], grid[1, 1]] if recorded is None else [grid[row, 0] for row in range(3)]
    first, second, third = (figure.add_subplot(place) for place in left)
    _paint_weights(first, windows)
    _paint_deficit(second, windows)
    _paint_first_steps(third, windows, gradient)
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    if recorded is not None:
        _paint_recorded([figure.add_subplot(grid[row, 1]) for row in range(3)], windows, recorded)
        figure.supxlabel(_caption(recorded), x=0.02, ha="left", fontsize=_CAPTION, color=DARK)


def _looks(windows: Sequence[Window]) -> list[dict[str, Any]]:
    return [{"color": COLOURS[i], "linestyle": _STYLES[i]} for i in range(len(windows))]


def _last(windows: Sequence[Window]) -> float:
    return max(_SHORTEST, 2 * max(window.mass_window for window in windows))


def _paint_weights(axes: Axes, windows: Sequence[Window]) -> None:
    last = _last(windows)
    first = min(0.5, 0.5 * min(window.half_life for window in windows))
    ages = np.geomspace(first, last, _POINTS)
    for window, look in zip(windows, _looks(windows), strict=True):
        axes.plot(ages, weights(window.decay, ages), **look, label=f"ρ = {window.decay}")
        for age, marker in ((window.half_life, "o"), (window.mass_window, "D")):
            axes.plot([age], weights(window.decay, np.array([age])), marker, color=look["color"], markersize=7)
    axes.set(xscale="log", yscale="log", xlim=(first, last), xlabel="age k of g² (steps)")
    axes.set_ylabel("weight (1 − ρ)ρᵏ in v")
    gains = [1 - window.decay for window in windows]
    axes.set_ylim(0.02 * min(gains), 2 * max(gains))
    marks = f"● half-life   ◆ {percent(0.95)} is younger"
    axes.set_title(f"What v remembers\n{marks}", fontsize=_TITLE, loc="left")


def _paint_deficit(axes: Axes, windows: Sequence[Window]) -> None:
    last = _last(windows)
    steps = np.geomspace(1, last, _POINTS)
    for window, look in zip(windows, _looks(windows), strict=True):
        axes.plot(steps, 100 * deficit(window.decay, steps), **look, label=f"ρ = {window.decay}")
    axes.axhline(95, color=_DIM, linewidth=1)
    axes.set(xscale="log", xlim=(1, last), ylim=(0, 102), xlabel="step t", ylabel="1 − ρᵗ (%)")
    axes.set_yticks([0, 25, 50, 75, 95])
    axes.set_title("How far v has filled from v₀ = 0\n(the rest is the warm-up deficit)", fontsize=_TITLE, loc="left")


def _paint_first_steps(axes: Axes, windows: Sequence[Window], gradient: float) -> None:
    last = _last(windows)
    steps = np.geomspace(1, last, _POINTS)
    for window, look in zip(windows, _looks(windows), strict=True):
        for start in STARTS[:2]:
            axes.plot(steps, step_sizes(window.decay, start, gradient, steps), **look)
    axes.axhline(1, color=_DIM, linewidth=1)
    axes.set(xscale="log", yscale="log", xlim=(1, last), xlabel="step t", ylabel="step (units of lr)")
    low, high = axes.get_ylim()
    axes.set_ylim(low / (high / low) ** 0.2, high * 1.5)  # the note at the bottom has room below the lines
    _note(axes, f"from {STARTS[0]}", (0.98, 0.97), "top")
    _note(axes, f"from {STARTS[1]}", (0.98, 0.03), "bottom")
    title = f"First steps at g = {short(gradient, 6)}\n(grey line: bias correction)"
    axes.set_title(title, fontsize=_TITLE, loc="left")


def _note(axes: Axes, text: str, place: tuple[float, float], side: str) -> None:
    axes.text(*place, text, transform=axes.transAxes, ha="right", va=side, color=_DIM)


def _paint_recorded(row: Sequence[Axes], windows: Sequence[Window], recorded: Recorded) -> None:
    steps = np.arange(1, recorded.steps + 1)
    kept = thin(recorded.steps)
    shown = recorded.shown()
    for axes in row[len(shown) :]:
        axes.set_visible(False)
    for axes, (name, gradients) in zip(row, shown.items(), strict=False):
        squares = gradients**2
        axes.plot(steps[kept], squares[kept], ".", color="#999999", markersize=3, label="g²")
        for window, look in zip(windows, _looks(windows), strict=True):
            v, corrected = averages(gradients, window.decay)
            axes.plot(steps[kept], v[kept], **look)
            axes.fill_between(steps[kept], v[kept], corrected[kept], color=look["color"], alpha=0.18, linewidth=0)
        low = max(np.quantile(squares[squares > 0], 0.05), 1e-4 * squares.max())
        axes.set(yscale="log", xlim=(0, recorded.steps), xlabel="step t", ylabel="g² and v")
        axes.set_ylim(bottom=low / 3)
        axes.set_title(f"A coordinate with\n{name} gradients", fontsize=_TITLE, loc="left")


def _caption(recorded: Recorded) -> str:
    text = (
        f"Right: {recorded.problem} under RMSProp, lr {short(recorded.lr, 6)}, batches of {recorded.batch_size}, "
        "seed 0. Dots: g²; the smallest lie below the axis. Lines: v from v₀ = 0. "
        "Bands: its warm-up deficit, up to v/(1 − ρᵗ)."
    )
    return textwrap.fill(text, _LINE)
