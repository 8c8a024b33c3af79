"""The chart: a panel per case on PyTorch, one for memory and one for start-up.

A bar is a quotient, and so is everything in its panel: how many times as long as rmsprop's a step takes. The machine's
speed drifts from round to round and falls out of a quotient within a round, which two medians of times keep.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.contenders import DEFAULT, OURS
from benchmarks.report import SHORT, Results, duration, ordered, three_digits
from benchmarks.startup import LIMIT, QUICK
from benchmarks.summary import FLOOR, Row

# Okabe and Ito's colours, which stay apart for colour-blind eyes.
BLUE, VERMILION, GREY, BLACK = "#0072B2", "#D55E00", "#999999", "#000000"
COLOURS = {OURS: BLUE, DEFAULT: VERMILION}
NOTE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}  # readable across the dashed line
STYLE = {
    "font.size": 15,
    "axes.titlesize": 16,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
CAPTION = (
    "A bar is the median over all rounds of a step's time divided by that of rmsprop's step in the same round; its "
    "whisker holds the middle half of these quotients. Dashed: a loop that moves the same bytes (the floor)."
)


def draw(results: Results) -> bytes:
    """Draw the chart.

    Args:
        results: What to show.

    Returns:
        A PNG file's content.
    """
    content = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 16), layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(4, 2).flat)
        cases = [case for case in results.cases if case.library == "torch" and not case.situation]
        for axes, case in zip(panels, cases, strict=False):
            times(axes, results.summaries[case.name]["rows"], case.title)
        _memory(panels[-2], results)
        _startup(panels[-1], results)
        figure.suptitle("One optimizer step: how many times as long as rmsprop's", fontsize=20)
        figure.supxlabel("\n".join(textwrap.wrap(f"{CAPTION} {results.caption}", 96)), fontsize=13)
        figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def times(axes: Axes, rows: Sequence[Row], title: str) -> None:
    """Paint the steps of one case.

    Args:
        axes: Where.
        rows: All its timings.
        title: The case; how long our step takes is added.
    """
    shown = {row.contender: row for row in ordered(rows)}
    floor = shown.pop(FLOOR, None)
    notes = ["1", *(f"{three_digits(row.times_ours)}×" for name, row in shown.items() if name != OURS)]
    _bars(axes, {name: row.times_ours for name, row in shown.items()}, notes, "", whiskers=shown)
    _title(axes, f"{title}\n1 is {duration(shown[OURS].median)}")
    if floor:
        axes.axvline(floor.times_ours, color=BLACK, linestyle="--", linewidth=1.2)
        axes.set_xlabel(f"dashed: floor, {floor.times_ours:.2f}")


def _memory(axes: Axes, results: Results) -> None:
    found = [row for row in results.memory if row["case"] == results.cases[0].name]
    values = {row["contender"]: row["beyond"] / 1e6 for row in found}
    _bars(axes, values, [f"{value:.0f}" for value in values.values()], "MB beyond the tensors")
    _title(axes, "peak memory, one tensor of 20 M")


def _startup(axes: Axes, results: Results) -> None:
    values = {name: 1e3 * results.startup[name].wall for name in QUICK}
    colours = [BLUE if "rmsprop" in name else GREY for name in values]
    _bars(axes, values, [f"{value:.0f}" for value in values.values()], "ms until a fresh process ends", colours)
    axes.axvline(1e3 * LIMIT, color=BLACK, linestyle="--", linewidth=1.2)
    axes.set_xlim(0, 1.3 * max(1e3 * LIMIT, *values.values()))
    _title(axes, "start-up (dashed: what is allowed)")


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", x=-0.42)  # from above the labels, where long ones fit


def _bars(
    axes: Axes,
    values: Mapping[str, float],
    notes: Sequence[str],
    label: str,
    colours: Sequence[str] | None = None,
    whiskers: Mapping[str, Row] | None = None,
) -> None:
    """Draw horizontal bars, the first on top, each with a note beyond its end and its whisker."""
    labels = [SHORT.get(name, name) for name in values]
    ends = values
    bars = axes.barh(labels, list(values.values()), color=colours or [COLOURS.get(name, GREY) for name in values])
    if whiskers:
        ends = {name: row.times_high for name, row in whiskers.items()}
        low = [row.times_ours - row.times_low for row in whiskers.values()]
        high = [row.times_high - row.times_ours for row in whiskers.values()]
        axes.errorbar(list(values.values()), labels, xerr=[low, high], fmt="none", ecolor=BLACK, capsize=3)
    for bar, note, end in zip(bars, notes, ends.values(), strict=True):
        place = end, bar.get_y() + bar.get_height() / 2
        axes.annotate(note, place, (6, 0), textcoords="offset points", va="center", fontsize=14, bbox=NOTE)
    axes.invert_yaxis()
    axes.set_xlim(0, max(ends.values()) * 1.35)
    axes.set_xlabel(label)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="y", length=0)
