"""The curve of a range test, as every figure of it has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from rmsprop.lab.drawing import BLUE, GREEN, ORANGE
from rmsprop.lab.format import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

# The losses of a range test: those of single batches scatter.
_LOG_RANGE_OF_BATCHES = 20.0
# So many ticks at most: left to itself matplotlib takes as many as the height has room for, which changes while it
# arranges the figure, so that labels grow over its edge.
_MOST_TICKS = 8
# A loss that explodes would press the curve to the floor: drawn is what lies below so many times the first loss.
_HEADROOM = 2.0


class RangeTest(Protocol):
    """What is drawn of a `rmsprop.lab.LrRange`, which can draw itself by this."""

    @property
    def lrs(self) -> Floats:
        """The learning rates, rising."""

    @property
    def losses(self) -> Floats:
        """A row per repeat."""

    @property
    def smoothed(self) -> Floats:
        """The typical loss, smoothed."""

    @property
    def problem(self) -> str:
        """Why there is no suggestion; empty if there is one."""

    @property
    def suggestion(self) -> float:
        """The learning rate to train with."""

    @property
    def lowest_loss_lr(self) -> float:
        """The learning rate at which the smoothed loss was lowest."""

    @property
    def diverges_at(self) -> float | None:
        """The learning rate at which most repeats diverged."""


def range_curve(found: RangeTest, label: str, axes: Axes) -> None:
    """Paint the losses of a range test over the learning rate.

    Args:
        found: The range test.
        label: What the loss is, for the axis.
        axes: Where to paint.
    """
    for row in found.losses:
        axes.plot(found.lrs, np.where(np.isfinite(row), row, np.nan), color="#999999", linewidth=0.7, alpha=0.7)
    axes.plot([], [], color="#999999", linewidth=0.7, label="each repeat")
    axes.plot(found.lrs[: len(found.smoothed)], found.smoothed, color=BLUE, linewidth=2.2, label="smoothed median")
    if not found.problem:
        _mark(axes, found.suggestion, GREEN, "-", f"suggestion {short(found.suggestion, 2)}")
        _mark(axes, found.lowest_loss_lr, ORANGE, "--", f"lowest loss {short(found.lowest_loss_lr, 2)}")
    if found.diverges_at:
        _mark(axes, found.diverges_at, "black", ":", f"diverged at {short(found.diverges_at, 2)}")
    axes.set_xscale("log")
    axes.set_xlim(found.lrs[0], found.lrs[-1])
    _limit(axes, found)
    axes.set_xlabel("learning rate")
    axes.set_ylabel(label, parse_math=False)
    steady_ticks(axes)
    legend_above(axes)


def steady_ticks(axes: Axes) -> None:
    """Limit the ticks of a linear axis of losses.

    Args:
        axes: The axes.
    """
    from matplotlib.ticker import MaxNLocator

    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(_MOST_TICKS, steps=[1, 2, 2.5, 5, 10]))


def legend_above(axes: Axes) -> None:
    """Put the legend where no curve is.

    Args:
        axes: The axes.
    """
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9, handlelength=1.5)


def _mark(axes: Axes, lr: float, colour: str, style: str, label: str) -> None:
    axes.axvline(lr, color=colour, linestyle=style, linewidth=1.5, label=label)


def _limit(axes: Axes, found: RangeTest) -> None:
    """Show the fall; how far a lost loss rises says nothing."""
    if not len(found.smoothed):
        return
    seen = found.losses[np.isfinite(found.losses)]
    first, low = float(found.smoothed[0]), float(seen.min())
    if low > 0 and first > _LOG_RANGE_OF_BATCHES * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, _HEADROOM * max(first, low))
    else:
        axes.set_ylim(low - 0.05 * (first - low), first + (_HEADROOM - 1.0) * max(first - low, 0.1 * abs(first)))
