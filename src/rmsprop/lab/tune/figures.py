"""The figures of tuning: the range test, the runs that verify it, and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rmsprop.horizon import window
from rmsprop.lab.dialects.formulas import number
from rmsprop.lab.drawing import BLUE, GREEN, ORANGE
from rmsprop.lab.format import percent
from rmsprop.lab.tune.range_curve import legend_above, steady_ticks
from rmsprop.lab.tune.trials import best
from rmsprop.lab.tune.verification import AS_GOOD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rmsprop.lab.tune.maps import Map
    from rmsprop.lab.tune.results import Tuning
    from rmsprop.lab.tune.trials import Setting, Tried

# Losses that span more than this factor are drawn on a logarithmic axis.
_LOG_RANGE = 5.0
# A map's colours tell losses up to so many times the lowest apart.
_COLOURS_SPAN = 30.0


def outcome(found: Tuning) -> str:
    """Return what is shown of the runs of a tuning, for an axis.

    Args:
        found: The tuning.

    Returns:
        What is compared, and the loss with its unit on a line of its own.
    """
    return f"{found.measure} at the end:\n{found.problem.loss_name}"


def learning_rates(found: Tuning, axes: Axes) -> None:
    """Paint the losses that learning rates end with, in short runs and in runs of full length.

    Args:
        found: The tuning.
        axes: Where to paint.
    """
    same = [one.tried for one in found.contenders if one.tried.setting.rule == found.rule]
    full = sorted(same, key=lambda one: one.setting.lr)
    _rates(axes, found.verification.tried, ORANGE, "s--", f"short runs, {found.short_epochs} epochs")
    _rates(axes, full, BLUE, "o-", f"full length, {found.epochs} epochs")
    low, high = found.good_lrs
    if not found.diverged and low < high:
        axes.axvspan(low, high, color=GREEN, alpha=0.12, linewidth=0, label=f"within {percent(AS_GOOD)} of the best")
    lost = [one for one in (*found.verification.tried, *full) if one.diverged]
    if lost:
        at = [one.setting.lr for one in lost]
        axes.plot(at, [0.96] * len(at), "X", color="black", transform=axes.get_xaxis_transform(), label="diverged")
    axes.set_xscale("log")
    axes.set_xticks([one.setting.lr for one in full], [number(one.setting.lr) for one in full], rotation=45)
    axes.minorticks_off()
    _log_if_wide(axes, [one.typical for one in (*found.verification.tried, *full)])
    axes.set_xlabel("learning rate")
    axes.set_ylabel(outcome(found), parse_math=False)
    steady_ticks(axes)
    axes.legend(loc="best", fontsize=9)


def _rates(axes: Axes, tried: Sequence[Tried], colour: str, style: str, label: str) -> None:
    for one in tried:
        seeds = one.losses[np.isfinite(one.losses)]
        axes.plot([one.setting.lr] * len(seeds), seeds, ".", color=colour, alpha=0.35, markersize=4)
    kept = [one for one in tried if np.isfinite(one.typical)]
    axes.plot([one.setting.lr for one in kept], [one.typical for one in kept], style, color=colour, label=label)


def _log_if_wide(axes: Axes, losses: Sequence[float]) -> None:
    finite = [loss for loss in losses if np.isfinite(loss)]
    if finite and min(finite) > 0 and max(finite) > _LOG_RANGE * min(finite):
        axes.set_yscale("log")


def heat_map(one: Map, label: str, centre: Setting, figure: Figure) -> None:
    """Paint a map: a cell per learning rate and value, dark where the loss is high, crossed out where runs diverged.

    Args:
        one: The map.
        label: What the loss is, for the scale of the colours.
        centre: The setting in its middle, which is marked.
        figure: Where to paint.
    """
    from matplotlib.colors import LogNorm, Normalize

    axes, losses = figure.add_subplot(), one.losses
    finite = losses[np.isfinite(losses)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    positive = low > 0
    top = min(high, _COLOURS_SPAN * low) if positive else high
    norm = LogNorm(low, max(top, 1.001 * low)) if positive else Normalize(low, max(top, low + 1e-12))
    image = axes.imshow(
        np.where(np.isfinite(losses), losses, np.nan), norm=norm, cmap="cividis_r", origin="lower", aspect="auto"
    )
    _crosses(axes, one)
    if one.best.setting == centre:
        _outline(axes, one, centre, "-", "best, and verified")
    else:
        _outline(axes, one, one.best.setting, "-", "best")
        _outline(axes, one, centre, ":", "verified")
    axes.set_xticks(range(len(one.lrs)), [number(lr) for lr in one.lrs], rotation=45)
    axes.set_yticks(range(len(one.values)), [number(value) for value in one.values])
    axes.set_xlabel("learning rate")
    axes.set_ylabel("decay ρ" if one.field == "decay" else one.title)
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, extend="max" if high > top else "neither")
    bar.set_label(label, parse_math=False)
    legend_above(axes)


def _crosses(axes: Axes, one: Map) -> None:
    lost = [(x, y) for y, row in enumerate(one.cells) for x, cell in enumerate(row) if cell.diverged]
    if lost:
        axes.plot(*zip(*lost, strict=True), "X", color=ORANGE, markersize=8, linestyle="none", label="diverged")


def _outline(axes: Axes, one: Map, setting: Setting, style: str, label: str) -> None:
    from matplotlib.patches import Rectangle

    places = [(x, y) for y, row in enumerate(one.cells) for x, cell in enumerate(row) if cell.setting == setting]
    for x, y in places:
        box = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="black", linestyle=style, linewidth=2)
        box.set_label(label)
        axes.add_patch(box)


def samples(tried: Sequence[Tried], label: str, figure: Figure) -> None:
    """Paint the joint search: a point per sample over its learning rate, coloured by how long it remembers, or by ε.

    Args:
        tried: What came of the samples.
        label: What the loss is, for the axis.
        figure: Where to paint.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullFormatter

    axes = figure.add_subplot()
    kept = [one for one in tried if np.isfinite(one.typical)]
    lost = [one.setting.lr for one in tried if one.diverged]
    lrs, losses = [one.setting.lr for one in kept], [one.typical for one in kept]
    if len({one.setting.rule.decay for one in tried}) > 1:
        colours, norm = [window(one.setting.rule.decay) for one in kept], LogNorm(2, 1000)
        meaning = "memory 1/(1 − ρ), steps"
    else:  # a decay that is fixed may be 0 or 1, which have no memory
        colours, meaning = [one.setting.rule.eps for one in kept], "ε"
        norm = LogNorm(min(one.setting.rule.eps for one in tried), max(one.setting.rule.eps for one in tried))
    points = axes.scatter(lrs, losses, c=colours, cmap="cividis", norm=norm)
    figure.colorbar(points, ax=axes).set_label(meaning)
    if kept:
        found = best(kept)
        at = found.setting.lr, found.typical
        axes.plot(*at, "o", color=ORANGE, fillstyle="none", markersize=13)
        axes.annotate(found.setting.label, at, xytext=(0, -20), textcoords="offset points", ha="center", fontsize=9)
    if lost:
        axes.plot(lost, [0.96] * len(lost), "X", color="black", transform=axes.get_xaxis_transform(), label="diverged")
        axes.legend(loc="best", fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())  # over two decades they would lie on each other
    _log_if_wide(axes, losses)
    axes.margins(y=0.15)
    axes.set_xlabel("learning rate")
    axes.set_ylabel(label, parse_math=False)
    steady_ticks(axes)
