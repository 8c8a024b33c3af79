"""The curves of a history, with each finding marked on the one that shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from rmsprop.lab.diagnose.finding import Diagnosis, Finding, Panel
from rmsprop.lab.diagnose.history import History, Series, Statistics
from rmsprop.lab.drawing import BLUE, COLOURS, ORANGE, name_lines, single, thin
from rmsprop.lab.page import Picture
from rmsprop.lab.recorder.measure import STATISTICS
from rmsprop.lab.verdict.curves import Lost

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Curves that cross more than this factor are drawn on a logarithmic axis.
_LOG_RANGE = 20.0
# More lines than these can't be told apart: the layers that findings name come first, then the largest.
_MOST_LAYERS = 7
# So few points are shown as such.
_FEW = 12
# Fewer measurements than these show no course.
_FEWEST_MEASUREMENTS = 3
_STYLES = ("-", "--", "-.", ":")
_TITLES: Mapping[Panel, str] = {
    "gradient": "Gradient",
    "effective": "Effective step",
    "ratio": "Update to weight",
    "stride": "Update in learning rates",
    "eps": "Where ε outweighs √v",
    "still": "Where the gradient is 0",
    "collapsed": "Where the centered variance collapsed",
    "jitter": "Change of √v per step",
    "underflow": "Where squares underflow",
    "held": "Where rounding holds the weight still",
}
# From 0 to 1.
_SHARES: tuple[Panel, ...] = ("eps", "still", "collapsed", "underflow", "held")
# Shown whenever they were measured; the others only where a finding is marked on them.
_ALWAYS: tuple[Panel, ...] = ("gradient", "effective", "ratio", "stride")


def pictures(diagnosis: Diagnosis) -> list[Picture]:
    """Return the pictures of a diagnosis: the loss, and what was measured of the layers.

    Args:
        diagnosis: The diagnosis.

    Returns:
        The pictures, that of the loss first.
    """
    history, found = diagnosis.history, diagnosis.findings
    source = f"{history.source[0].upper()}{history.source[1:]}"
    shown = [
        Picture(
            "loss",
            "Loss",
            f"{source}. The numbers are those of the findings.{_left_out(history)}",
            single(partial(_loss, diagnosis)),
        )
    ]
    statistics = history.statistics
    if _left_out(history):
        return shown
    for panel, title in _TITLES.items():
        matrix = None if statistics is None else _matrix(statistics, panel)
        if statistics is not None and matrix is not None and (panel in _ALWAYS or any(f.panel == panel for f in found)):
            shown.append(Picture(panel, title, _caption(panel), single(partial(_layers, diagnosis, panel, matrix))))
    return shown


def _left_out(history: History) -> str:
    """Return why the layers aren't shown, with a space before it; empty if they are, or if nothing is known of them."""
    statistics = history.statistics
    if statistics is None or len(statistics.steps) >= _FEWEST_MEASUREMENTS:
        return ""
    times = "once" if len(statistics.steps) == 1 else f"{len(statistics.steps)} times"
    return f" There are no charts of the layers: they were measured only {times}."


def _caption(panel: Panel) -> str:
    if panel == "effective":
        return "Learning rate over √v with its ε, for each layer. Line: median; band: 10 % to 90 % quantile."
    return f"{STATISTICS[panel][0].upper()}{STATISTICS[panel][1:]}, for each layer."


def _matrix(statistics: Statistics, panel: Panel) -> np.ndarray | None:
    return statistics.of("effective_q50" if panel == "effective" else panel)


def _loss(diagnosis: Diagnosis, axes: Axes) -> None:
    history = diagnosis.history
    for label, curve, colour in (("training", history.train, BLUE), ("validation", history.validation, ORANGE)):
        if len(curve):
            times, values = _finite(curve)
            style = (
                {"marker": "o", "markersize": 4}
                if len(times) <= _FEW
                else {"linewidth": 1.8 if colour != BLUE else 1.1}
            )
            axes.plot(times, values, color=colour, label=label, **style)
    if history.given_up is not None:
        _given_up(axes, history, history.given_up)
    elif not any(map(math.isfinite, history.train.values)):
        _say(axes, "no loss is finite")
    axes.set_xlabel(history.unit)
    axes.set_ylabel(history.loss_name, parse_math=False)
    known = [*history.train.values, *history.validation.values, *(history.initial or ())]
    _scale(axes, [*known, history.given_up.loss] if history.given_up else known)
    name_lines(axes, fontsize=10)
    _mark(axes, diagnosis, "loss")


def _given_up(axes: Axes, history: History, lost: Lost) -> None:
    """Paint the loss at which the run was given up, which no epoch has, and where the curve came from."""
    start = history.initial[0] if history.initial else math.nan
    before = history.train.values[-1] if history.train else start
    highest = lost.loss if math.isfinite(lost.loss) else before
    axes.plot([0], [start], "o", color=BLUE, markersize=5, label="before the first step")
    axes.plot([history.end, history.end + 1], [before, highest], ":", color=BLUE, linewidth=1.1)
    label = f"given up at step {lost.step}: loss {lost.loss:.3g}"
    axes.plot([history.end + 1], [highest], "X", color="black", markersize=9, label=label)


def _say(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)


def _finite(curve: Series) -> tuple[list[int], list[float]]:
    finite = [i for i, value in enumerate(curve.values) if math.isfinite(value)]
    kept = [finite[i] for i in thin(len(finite))] if finite else []
    return [curve.times[i] for i in kept], [curve.values[i] for i in kept]


def _scale(axes: Axes, values: Sequence[float]) -> None:
    positive = [value for value in values if math.isfinite(value) and value > 0.0]
    if positive and len(positive) > 0.9 * len(values) and max(positive) > _LOG_RANGE * min(positive):
        axes.set_yscale("log")


def _layers(diagnosis: Diagnosis, panel: Panel, matrix: np.ndarray, axes: Axes) -> None:
    statistics = diagnosis.history.statistics
    assert statistics is not None
    shown = _chosen(statistics, diagnosis.findings, panel)
    for i, colour, style in zip(shown, cycle(COLOURS), cycle(_STYLES), strict=False):
        values = np.where(np.isfinite(matrix[:, i]), matrix[:, i], np.nan)
        axes.plot(statistics.steps, values, style, color=colour, label=statistics.layers[i]["name"], marker=".")
        if panel == "effective":
            low, high = (statistics.values[f"effective_{q}"][:, i] for q in ("q10", "q90"))
            axes.fill_between(statistics.steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel(diagnosis.history.unit)
    axes.set_ylabel(_labels(panel))
    _scale(axes, matrix[:, shown].ravel().tolist())
    if panel in _SHARES:
        axes.set_ylim(-0.03, 1.03)
    name_lines(axes, fontsize=9)
    _mark(axes, diagnosis, panel)


def _labels(panel: Panel) -> str:
    if panel in _SHARES:
        return "share of the coordinates"
    return {
        "gradient": "norm of the gradient",
        "effective": "effective step lr/√v",
        "ratio": "‖update‖ / ‖weights‖",
        "stride": "update / learning rate",
        "jitter": "relative change of √v",
    }[panel]


def _chosen(statistics: Statistics, findings: Sequence[Finding], panel: Panel) -> list[int]:
    named = {name for finding in findings if finding.panel == panel for name in finding.layers}
    order = sorted(
        range(len(statistics.layers)),
        key=lambda i: (statistics.layers[i]["name"] not in named, -statistics.layers[i]["size"]),
    )
    return sorted(order[:_MOST_LAYERS])


def _mark(axes: Axes, diagnosis: Diagnosis, panel: Panel) -> None:
    """Mark the findings of a panel by their numbers: a line where one began, in the corner if it always held."""
    everywhere = []
    for number, finding in enumerate(diagnosis.findings, start=1):
        if finding.panel != panel:
            continue
        if finding.since is None:
            everywhere.append(str(number))
            continue
        colour = "#555e66" if finding.severity in ("note", "fine") else "black"
        axes.axvline(finding.since, color=colour, linestyle=":", linewidth=1.4)
        axes.annotate(
            str(number),
            (finding.since, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=10,
            fontweight="bold",
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": colour},
        )
    if everywhere:
        axes.annotate(
            f"whole run: {', '.join(everywhere)}",
            (1.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=10,
            fontweight="bold",
        )
