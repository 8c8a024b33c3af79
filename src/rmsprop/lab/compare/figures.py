"""The figures of a comparison."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rmsprop.lab.compare.analysis import TRACK_TITLES, Analysis
from rmsprop.lab.compare.results import Run, Track, Trial
from rmsprop.lab.compare.statistics import Floats, best_of, quantile
from rmsprop.lab.compare.targets import LossTarget
from rmsprop.lab.drawing import COLOURS, DARK, GREY, name_lines, thin
from rmsprop.lab.optimizers import row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Small multiples stand in two columns, which a phone can still show; the height of a row of them, in inches.
_COLUMNS, _ROW_HEIGHT, WIDTH = 2, 1.75, 6.4
# Beyond colour, lines that cross each other differ in their dashes.
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
# Losses that fall through more than this factor are drawn on a logarithmic axis.
_LOG_RANGE = 5.0
# Over a smaller range powers of ten alone are too few ticks.
_FEW_DECADES = 100.0
# What is below this is rounding, and would only stretch a logarithmic axis.
_LEAST_GAP = 1e-9
# How far above the worst trial those that diverged are marked.
_LOST_ABOVE = 2.0
# So many letters of an axis' label fit in an inch, and of a title over a panel.
_LETTERS_PER_INCH, _TITLE_LETTERS = 11, 34
# Of lines that lie on each other the upper ones are thinner by so many points: none hides another, and all are where
# they belong.
_THINNER = 0.6


def multiples_size(count: int) -> tuple[float, float]:
    """Return width and height in inches of so many small multiples."""
    return WIDTH, 0.7 + _ROW_HEIGHT * math.ceil(count / _COLUMNS)


def loss_bands(analysis: Analysis, track: Track, figure: Figure) -> None:
    """Paint the median validation loss of each optimizer with its interquartile band, the reference's beside it.

    Args:
        analysis: The analysis.
        track: Which runs.
        figure: Where to paint.
    """
    _bands(analysis, track, figure, lambda run: run.curve.validation, steps=False)


def suboptimality(analysis: Analysis, track: Track, figure: Figure) -> None:
    """Paint how far each optimizer is from the least training loss, both axes logarithmic.

    Args:
        analysis: The analysis of a comparison whose optimum is known.
        track: Which runs.
        figure: Where to paint.
    """
    optimum = analysis.comparison.facts.optimum or 0.0
    _bands(analysis, track, figure, lambda run: np.maximum(run.curve.train - optimum, _LEAST_GAP), steps=True)


def learning_rates(analysis: Analysis, track: Track, figure: Figure) -> None:
    """Paint the median learning rate of each optimizer that changes its own, with its interquartile band.

    Args:
        analysis: The analysis.
        track: Which runs.
        figure: Where to paint.
    """
    panels, seen = _panels(figure, changing(analysis)), []
    for name, axes in panels.items():
        rates = np.array([run.curve.lr for run in analysis.runs(track, name)]).T
        kept = thin(len(rates))
        low, middle, high = (quantile(rates, share)[kept] for share in (0.25, 0.5, 0.75))
        axes.fill_between(kept, low, high, color=_colour(analysis, name), alpha=0.25, linewidth=0)
        axes.plot(kept, middle, color=_colour(analysis, name))
        _name(axes, analysis, track, name)
        seen += [low, high]
    _scale(panels, np.concatenate(seen), np.array(kept), False)
    figure.supxlabel("epoch", fontsize=11)
    figure.supylabel("learning rate", fontsize=11)


def changing(analysis: Analysis) -> list[str]:
    """Return the optimizers that change their learning rate by themselves."""
    return [name for name in analysis.comparison.optimizers if not row(name).elementwise]


def _bands(analysis: Analysis, track: Track, figure: Figure, of: Callable[[Run], Floats], *, steps: bool) -> None:
    comparison = analysis.comparison
    curves = {name: np.array([of(run) for run in analysis.runs(track, name)]) for name in comparison.optimizers}
    medians = {name: quantile(values.T, 0.5) for name, values in curves.items()}
    first = 1 if steps else 0  # a logarithmic axis has no step 0
    kept = [i for i in thin(len(medians[comparison.reference])) if i >= first]
    x = np.array(kept) * (comparison.facts.steps_per_epoch if steps else 1)
    panels = _panels(figure, comparison.optimizers)
    seen = []
    for name, axes in panels.items():
        if name != comparison.reference:
            own = medians[comparison.reference][kept]
            axes.plot(x, own, color=DARK, linestyle="--", linewidth=1.2, label=analysis.reference)
        colour = _colour(analysis, name)
        low, high = (quantile(curves[name].T, share)[kept] for share in (0.25, 0.75))
        axes.fill_between(x, low, np.minimum(high, _ceiling(curves)), color=colour, alpha=0.25, linewidth=0)
        axes.plot(x, medians[name][kept], color=colour)
        _name(axes, analysis, track, name)
        seen += [low, medians[name][kept], high]
    _scale(panels, np.concatenate(seen), x, steps)
    figure.supxlabel(f"{'step' if steps else 'epoch'} (dashed: {analysis.reference})", fontsize=11)
    _name_losses(figure, analysis, "f − f*, training rows" if steps else "validation loss")


def _name_losses(figure: Figure, analysis: Analysis, name: str) -> None:
    """Say at the left what the losses are and what they are measured in, in as many lines as it takes."""
    figure.supylabel(
        _lines(f"{name}: {analysis.comparison.facts.loss_name}", figure.get_figheight() - 1.0), fontsize=11
    )


def _lines(text: str, inches: float) -> str:
    return textwrap.fill(text, int(_LETTERS_PER_INCH * inches))


def _panels(figure: Figure, names: Sequence[str], *, sharex: bool = True) -> dict[str, Axes]:
    grid = figure.subplots(math.ceil(len(names) / _COLUMNS), _COLUMNS, sharex=sharex, sharey=True, squeeze=False)
    for spare in grid.flat[len(names) :]:
        spare.set_visible(False)
    return dict(zip(names, grid.flat, strict=False))


def _ceiling(curves: dict[str, Floats]) -> float:
    """Where a band that reaches infinity is cut off: far above everything that is finite."""
    finite = [values[np.isfinite(values)].max(initial=0.0) for values in curves.values()]
    return 10 * float(max(finite))


def _name(axes: Axes, analysis: Analysis, track: Track, name: str) -> None:
    runs = analysis.runs(track, name)
    lost = sum(run.curve.diverged_at is not None for run in runs)
    label, count = analysis.labels[name], f"✗ {lost} of {len(runs)} diverged"
    between = ": " if len(label) + len(count) < _TITLE_LETTERS else "\n"
    title = f"{label}{between}{count}" if lost else label
    axes.set_title(title, fontsize=10, loc="left", pad=3)


def _scale(panels: dict[str, Axes], seen: Floats, x: Floats, steps: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    finite = seen[np.isfinite(seen)]
    low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
    first = next(iter(panels.values()))
    if steps or (low > 0 and high > _LOG_RANGE * low):
        first.set_ylim(low / 1.3, high * 1.3)
        _logarithmic(panels, "y", high / low)
    else:
        margin = 0.06 * (high - low)
        first.set_ylim(low - margin, high + margin)
    if steps:
        _logarithmic(panels, "x", x[-1] / x[0])
    else:
        first.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _logarithmic(panels: dict[str, Axes], which: Literal["x", "y"], factor: float) -> None:
    """Make an axis logarithmic, with ticks between the powers of ten where there would be few."""
    from matplotlib.ticker import LogLocator

    for axes in panels.values():
        axes.set(**{f"{which}scale": "log"})
        axis = axes.xaxis if which == "x" else axes.yaxis
        if factor < _FEW_DECADES:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter("{x:g}")
        axes.minorticks_off()


def time_to_target(analysis: Analysis, figure: Figure) -> None:
    """Paint the share of runs that have reached a target after so many steps: a row per target, a column per track.

    Args:
        analysis: The analysis of a comparison with targets.
        figure: Where to paint.
    """
    rows, columns = len(analysis.targets), len(analysis.tracks)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for row_of_axes, target in zip(grid, analysis.targets, strict=True):
        for axes, track in zip(row_of_axes, analysis.tracks, strict=True):
            _reached_curves(analysis, track, target, axes)
            gap = "" if target.gap is None else f", {target.name}"
            axes.set_title(f"{TRACK_TITLES[track]}{gap}", fontsize=10, loc="left", pad=3)
    for axes in grid[-1]:
        axes.set_xlabel("step")
    figure.supylabel("runs that reached the target (%)", fontsize=11)
    _legend_below(grid[0][0])


def _reached_curves(analysis: Analysis, track: Track, target: LossTarget, axes: Axes) -> None:
    end = analysis.comparison.facts.epochs * analysis.comparison.facts.steps_per_epoch
    every = analysis.reached(track, target)
    for place, found in enumerate(every):
        steps = np.sort([s for s in found.steps if math.isfinite(s)])
        shares = 100 * np.arange(1, len(steps) + 1) / len(found.steps)
        x, y = np.concatenate([[0], steps, [end]]), np.concatenate([[0], shares, [100 * found.share]])
        width = 1.4 + _THINNER * (len(every) - 1 - place)
        style = _style(analysis, found.optimizer)
        line: dict[str, Any] = {"linewidth": width, "solid_capstyle": "butt", "zorder": 3 + place / 100}
        axes.step(x, y, where="post", label=analysis.labels[found.optimizer], **style, **line)
        # A rise in the last step has no line after it.
        axes.scatter(x[-1:], y[-1:], s=(width + 2) ** 2, color=style["color"], zorder=3 + place / 100)
    axes.set_ylim(-6, 106)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlim(0, 1.03 * end)


def sensitivity(analysis: Analysis, figure: Figure) -> None:
    """Paint the score of every trial over its learning rate, divergences as ✗ at the top.

    Args:
        analysis: The analysis of a comparison that tuned.
        figure: Where to paint.
    """
    comparison = analysis.comparison
    least = _least(analysis)
    scores = [max(trial.score, least) for trial in comparison.trials if math.isfinite(trial.score)] or [1.0]
    panels = _panels(figure, comparison.optimizers, sharex=False)
    top = _LOST_ABOVE * max(scores)
    for name, axes in panels.items():
        trials = [trial for trial in comparison.trials if trial.optimizer == name]
        _paint_trials(axes, trials, _colour(analysis, name), least, top)
        axes.axvline(row(name).lr, color=GREY, linestyle=":", linewidth=1.4)
        axes.set_xscale("log")
        axes.set_title(analysis.labels[name], fontsize=10, loc="left", pad=3)
    first = next(iter(panels.values()))
    if min(scores) > 0:
        first.set_yscale("log")
        first.set_ylim(min(scores) / 1.6, top * 1.8)
    for axes in panels.values():
        axes.minorticks_off()
    figure.supxlabel("learning rate", fontsize=11)
    _name_losses(figure, analysis, "best validation loss")


def _least(analysis: Analysis) -> float:
    """Where losses end: those below are not told from the least one, where that is known."""
    optimum = analysis.comparison.facts.optimum
    return -math.inf if optimum is None else optimum + _LEAST_GAP


def _paint_trials(axes: Axes, trials: Sequence[Trial], colour: str, least: float, top: float) -> None:
    fine = [trial for trial in trials if math.isfinite(trial.score)]
    lost = [trial.choice.lr for trial in trials if not math.isfinite(trial.score)]
    shown = [max(trial.score, least) for trial in fine]
    axes.plot([t.choice.lr for t in fine], shown, "o", color=colour, markersize=4.5, alpha=0.8)
    axes.plot(lost, [top] * len(lost), "X", color=DARK, markersize=7, markeredgecolor="white")
    for study in {trial.study for trial in fine}:
        best = min((trial for trial in fine if trial.study == study), key=lambda trial: trial.score)
        axes.plot(
            [best.choice.lr], [max(best.score, least)], "o", mfc="none", mec=DARK, markersize=9, markeredgewidth=1.2
        )


def best_of_k(analysis: Analysis, axes: Axes) -> None:
    """Paint the median best validation loss of k trials over k.

    Args:
        analysis: The analysis of a comparison that tuned.
        axes: Where to paint.
    """
    from matplotlib.ticker import MaxNLocator

    seen = []
    for name in analysis.comparison.optimizers:
        scores = [trial.score for trial in analysis.comparison.trials if trial.optimizer == name]
        (middle,) = best_of(np.maximum(scores, _least(analysis)), [0.5])
        seen.append(middle[np.isfinite(middle)])
        axes.plot(np.arange(1, len(scores) + 1), middle, label=analysis.labels[name], **_style(analysis, name))
    finite = np.concatenate(seen)
    if finite.min(initial=np.inf) > 0 and len(finite):
        _logarithmic({"": axes}, "y", finite.max() / finite.min())
    axes.set_xlabel("trials")
    axes.set_ylabel(_lines(f"best validation loss (median): {analysis.comparison.facts.loss_name}", 3.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_lines(axes, fontsize=10)


def _colour(analysis: Analysis, name: str) -> str:
    """The reference is black, and the others take turns."""
    others = [other for other in analysis.comparison.optimizers if other != analysis.comparison.reference]
    colours = (*COLOURS[:-1], GREY)
    return colours[others.index(name) % len(colours)] if name in others else COLOURS[-1]


def _style(analysis: Analysis, name: str) -> dict[str, Any]:
    place = analysis.comparison.optimizers.index(name)
    return {"color": _colour(analysis, name), "linestyle": _DASHES[place % len(_DASHES)]}


def _legend_below(axes: Axes) -> None:
    lines = axes.get_lines()
    columns = 2 if len(lines) > 4 else len(lines)
    axes.figure.legend(handles=lines, loc="outside lower center", ncols=columns, fontsize=10, handlelength=3.2)
