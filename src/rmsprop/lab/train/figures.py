"""The figures of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rmsprop.horizon import half_life, mass_window
from rmsprop.lab.drawing import BLUE, COLOURS, ORANGE, name_lines, thin
from rmsprop.lab.problems.problem import Metric
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.verdict.curves import LossCurves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Losses that fall through more than this factor are drawn on a logarithmic axis.
_LOG_RANGE = 20.0
# Letters of a class's name beside its row, and of all names below their columns before these stand upright.
_LONGEST_NAME, _LETTERS_ABREAST = 14, 36


def loss_curve(
    curves: LossCurves,
    per_epoch: int,
    name: str,
    optimum: float | None,
    axes: Axes,
    *,
    kept: tuple[int, float] | None = None,
    averages: Sequence[Epoch] = (),
) -> None:
    """Paint the training and validation loss, which epoch's weights were kept, and where the run was lost if it was.

    Args:
        curves: The run's losses.
        per_epoch: Steps per epoch.
        name: What the loss is.
        optimum: The least training loss, where it is known.
        axes: Where to paint.
        kept: The epoch whose weights were kept and their loss, to be marked. Default None: they aren't.
        averages: The epochs with an average of the weights, whose losses are painted besides. Default none.
    """
    _curves(axes, _parts(curves.train, curves.validation), first=0)
    averaged = _averaged(axes, averages, "loss", holds_out=bool(curves.validation))
    if optimum:  # a logarithmic axis has no place for 0
        axes.axhline(optimum, color="black", linestyle="--", linewidth=1.2, label=f"optimum {optimum:.4g}")
    if kept is not None:
        (mark,) = axes.plot([kept[0]], [kept[1]], "o", color="black", label=f"weights kept: epoch {kept[0]}")
        mark.set(markersize=9, markerfacecolor="white", markeredgewidth=2, zorder=3)
    losses, lost = [*curves.train, *curves.validation, *averaged], curves.lost
    if lost is not None:
        losses += [lost.loss] if math.isfinite(lost.loss) else []
        high = lost.loss if math.isfinite(lost.loss) else max(losses)
        label = f"diverged at step {lost.step}: loss {lost.loss:.3g}"
        axes.plot([lost.step / per_epoch], [high], "X", color="black", markersize=9, label=label)
    if min(losses) > 0 and max(losses) > _LOG_RANGE * min(losses):
        axes.set_yscale("log")
    _labels(axes, f"loss: {name}")


def excess_curve(curves: LossCurves, optimum: float, axes: Axes, *, averages: Sequence[Epoch] = ()) -> None:
    """Paint how far the training loss lies above the least one, on a logarithmic axis.

    Args:
        curves: The run's losses.
        optimum: The least training loss.
        axes: Where to paint.
        averages: As for `loss_curve`. Default none.
    """
    _curves(axes, {"all rows": [loss - optimum for loss in curves.train]}, first=0)
    _averaged(axes, averages, "loss", holds_out=False, less=optimum)
    axes.set_yscale("log")
    _labels(axes, "loss above the optimum")


def metric_curve(epochs: Sequence[Epoch], metric: Metric, holds_out: bool, axes: Axes) -> None:
    """Paint the metric on the training and validation rows.

    Args:
        epochs: The epochs.
        metric: The metric.
        holds_out: Whether the validation rows are others than the training rows.
        axes: Where to paint.
    """
    train = [epoch.train_metric for epoch in epochs]
    validation = [epoch.validation_metric for epoch in epochs] if holds_out else ()
    _curves(axes, _parts(train, validation), first=1)
    _averaged(axes, [epoch for epoch in epochs if epoch.averaged], "metric", holds_out=holds_out)
    _labels(axes, f"{metric.name} ({metric.unit})" if metric.unit else metric.name)


def learning_rate_curve(epochs: Sequence[Epoch], axes: Axes) -> None:
    """Paint the learning rate of each epoch's last step.

    Args:
        epochs: The epochs.
        axes: Where to paint.
    """
    _curves(axes, {"learning rate": [epoch.lr for epoch in epochs]}, first=1)
    axes.set_ylim(bottom=0)
    _labels(axes, "learning rate")


def effective_step_curves(epochs: Sequence[Epoch], axes: Axes) -> None:
    """Paint the median of lr/√v per layer, with the band from the 10 % to the 90 % quantile.

    Args:
        epochs: The epochs.
        axes: Where to paint.
    """
    kept = thin(len(epochs))
    x = [epochs[i].epoch for i in kept]
    for layer, colour in zip(epochs[0].effective_step, _cycle(COLOURS), strict=False):
        low, middle, high = zip(*(epochs[i].effective_step[layer] for i in kept), strict=True)
        axes.plot(x, middle, color=colour, label=layer, marker="o" if len(x) == 1 else None)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    if any(quantiles[-1] > 0 for epoch in epochs for quantiles in epoch.effective_step.values()):
        axes.set_yscale("log")
    _labels(axes, "effective step lr/√v")


def decay_window(decay: float, axes: Axes) -> None:
    """Paint how much a gradient still weighs in v after so many steps.

    Args:
        decay: ρ, between 0 and 1.
        axes: Where to paint.
    """
    half, most = half_life(decay), mass_window(decay)
    age = np.linspace(0.0, 1.6 * most, 300)
    axes.plot(age, 100 * decay**age, color=BLUE)
    inside = age <= most
    axes.fill_between(age[inside], 100 * decay ** age[inside], color=BLUE, alpha=0.2, linewidth=0)
    axes.plot([half], [50], "o", color=ORANGE)
    axes.annotate(f"half-life {half:.3g} steps", (half, 50), xytext=(8, 4), textcoords="offset points")
    axes.axvline(most, color=ORANGE, linestyle="--", linewidth=1.2)
    axes.annotate(f"95 % within {most:.3g} steps", (most, 92), xytext=(-6, 0), textcoords="offset points", ha="right")
    axes.set_xlabel("age of a squared gradient (steps)")
    axes.set_ylabel("weight left (%)")
    axes.set_xlim(0, age[-1])
    axes.set_ylim(0, 100)


def confusion_matrix(matrix: npt.NDArray[np.int64], names: Sequence[str], axes: Axes) -> None:
    """Paint how many rows of each class were answered with each: darker is a larger share of the class's rows.

    Args:
        matrix: Rows by class (row) and answer (column).
        names: The names of the classes.
        axes: Where to paint.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    places = np.arange(len(names)) + 0.5
    size = 11 if len(names) <= 6 else 9 if len(names) <= 12 else 6
    for row, column in np.argwhere(matrix):
        ink = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column + 0.5, row + 0.5, f"{matrix[row, column]}", color=ink, ha="center", va="center", fontsize=size)
    short = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    upright = sum(map(len, short)) > _LETTERS_ABREAST
    axes.set_xticks(places, short, fontsize=size, rotation=90 if upright else 0, parse_math=False)
    axes.set_yticks(places, short, fontsize=size, parse_math=False)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_xlabel("answer")
    axes.set_ylabel("class")


def _parts(train: Sequence[float], validation: Sequence[float]) -> dict[str, Sequence[float]]:
    return {"training": train, "validation": validation} if validation else {"all rows": train}


def _curves(axes: Axes, lines: dict[str, Sequence[float]], first: int) -> None:
    for (label, values), colour in zip(lines.items(), COLOURS, strict=False):
        kept = thin(len(values))
        marker = "o" if len(kept) <= 12 else None
        axes.plot([first + i for i in kept], [values[i] for i in kept], color=colour, label=label, marker=marker)


def _averaged(axes: Axes, epochs: Sequence[Epoch], what: str, *, holds_out: bool, less: float = 0.0) -> list[float]:
    """Paint what the averages of the weights have, dashed in the colours of the raw ones; return it."""
    painted: list[float] = []
    parts = {"training": "train", "validation": "validation"} if holds_out else {"all rows": "train"}
    for (label, part), colour in zip(parts.items(), COLOURS, strict=False):
        values = [getattr(epoch.averaged, f"{part}_{what}") - less for epoch in epochs]
        if values:
            shown = thin(len(values))
            marker = "s" if len(shown) <= 12 else None
            x, y = [epochs[i].epoch for i in shown], [values[i] for i in shown]
            axes.plot(x, y, color=colour, linestyle="--", label=f"{label}, averaged", marker=marker)
        painted += values
    return painted


def _labels(axes: Axes, y: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_ylabel(y, parse_math=False)  # a column of the table may be called $x$
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(0, max(1.0, axes.get_xlim()[1]))
    lines = len(axes.get_lines())
    name_lines(axes, ncols=math.ceil(lines / 7), fontsize=10 if lines <= 7 else 8)


def _cycle(colours: Sequence[str]) -> list[str]:
    return list(colours) * 20
