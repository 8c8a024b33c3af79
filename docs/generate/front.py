"""The picture that the README begins with: a race on a surface, and five ways to take a step.

``python -m docs.generate.front docs`` draws it. The race is computed, the steps are those of `make bench`'s newest log.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.redraw import read
from benchmarks.report import duration, three_digits
from benchmarks.summary import Row
from rmsprop.files import write_atomically
from rmsprop.lab.drawing import BLUE, COLOURS, DARK, GREY, empty_figure
from rmsprop.lab.surfaces import SURFACES, choose, walk

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE, CHART = "front.png", "benchmark-chart.png"
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
# Dive into Deep Learning's bowl at its learning rate, as in docs/trajectory.md.
RACE = {"sgd": "SGD", "adagrad": "AdaGrad", "adam": "Adam", "rmsprop-d2l": "RMSProp"}
_STEPS, _LR = 20, 0.4
_CASE = "resnet"
STEPS = {
    "rmsprop": "rmsprop",
    "compiled": "torch.compile of torch's",
    "adam": "torch's fused Adam",
    "for-loop": "torch's RMSprop, default",
    "foreach": "torch's RMSprop, foreach",
}
# Where a name stands, from the end of its path, in points; ends are close together.
_NAMES = {"sgd": (-4, 12), "adagrad": (-14, -18), "adam": (6, -16), "rmsprop-d2l": (8, 10)}
_COLOURS = {"sgd": COLOURS[1], "adagrad": COLOURS[2], "adam": COLOURS[3], "rmsprop-d2l": BLUE}


@cache
def _paths() -> dict[str, np.ndarray]:
    return {name: walk(SURFACES["bowl"], choose(name, lr=_LR), steps=_STEPS).points for name in RACE}


def newest() -> Path:
    """Return the folder of the newest whole run of the benchmarks."""
    return max(path.parent for path in RESULTS.glob("*/chart.png"))


@cache
def _rows() -> dict[str, Row]:
    return {row.contender: row for row in read(newest()).summaries[_CASE]["rows"]}


def fingerprint() -> str:
    """Return a digest of all that the picture shows; the committed picture carries the one it was drawn from.

    Returns:
        Hexadecimal digits, the same on every machine.
    """
    ends = [[f"{number:.6g}" for number in path[-1]] for path in _paths().values()]
    shown = [RACE, ends, STEPS, [f"{_rows()[name].times_ours:.6g}" for name in STEPS]]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def picture() -> bytes:
    """Return the picture as a PNG file, whose metadata ``Data`` is the `fingerprint`."""
    content = io.BytesIO()
    with empty_figure((11, 3.9)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
        _race(left)
        _bars(right)
        figure.savefig(content, format="png", dpi=130, metadata={"Data": fingerprint()})
    return content.getvalue()


def _race(axes: Axes) -> None:
    x, y = np.meshgrid(np.linspace(-5.6, 2.2, 200), np.linspace(-2.6, 2.6, 200))
    axes.contour(x, y, 0.1 * x**2 + 2 * y**2, levels=[0.05, 0.3, 1, 2.5, 5, 9, 14], colors="#b9bec4", linewidths=0.8)
    for name, path in _paths().items():
        thick = 2.6 if name == "rmsprop-d2l" else 1.5
        axes.plot(*path.T, "o-", color=_COLOURS[name], markersize=3, linewidth=thick)
        look = {"color": _COLOURS[name], "fontweight": "bold", "textcoords": "offset points"}
        axes.annotate(RACE[name], path[-1], _NAMES[name], **look)
    axes.plot(0, 0, "+", color=DARK, markersize=12)
    axes.grid(visible=False)
    axes.set_title(
        f"One bowl, one learning rate ({_LR}), {_STEPS} steps; + is the lowest point", fontsize=11, loc="left"
    )


def _bars(axes: Axes) -> None:
    rows = [_rows()[name] for name in STEPS]
    values = [row.times_ours for row in rows]
    axes.barh(list(STEPS.values()), values, color=[BLUE, *[GREY] * (len(rows) - 1)])
    for place, value in enumerate(values):
        note = f"1 ({duration(rows[0].median)})" if not place else f"{three_digits(value)}×"
        axes.annotate(note, (value, place), (5, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(values))
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Time of a step, ResNet-50's 161 tensors, two CPU threads", fontsize=11, loc="right")


def main(folder: str) -> None:
    """Write the picture, and beside it the run's whole chart, which the site shows too.

    Args:
        folder: Where to.
    """
    write_atomically(Path(folder, CHART), (newest() / "chart.png").read_bytes())
    write_atomically(Path(folder, PICTURE), picture())


if __name__ == "__main__":
    main(*sys.argv[1:])
