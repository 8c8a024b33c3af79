"""The documentation's page of sparse features: ``python -m docs.generate.sparse_features docs``.

Its tables and its picture are computed from the runs that `benchmarks.sparse_features` wrote, as committed in the
newest ``benchmarks/results/*-sparse-features``; what is said of them stands in ``sparse_features.md.in`` beside this.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t

from benchmarks.sparse_features import COPY, PROBLEMS, SEEDS, START, THIRDS
from rmsprop.files import write_atomically
from rmsprop.lab.drawing import COLOURS, DARK, draw_figure
from rmsprop.lab.format import short
from rmsprop.lab.optimizers import row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE, PICTURE = "sparse-features.md", "sparse-features.png"
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
TEMPLATE = Path(__file__).with_suffix(".md.in")
OWN = "rmsprop"
OTHERS = tuple(name for name in START if name != OWN)
PARTS = ("test", *THIRDS)
# The copy is on the line of what it copies.
_COLOURS = dict(zip(START, COLOURS, strict=False))
_MARKERS = dict(zip(START, "osXDv^P", strict=True))

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences.

    Args:
        mean: The mean.
        half: Half of its interval.
    """

    mean: float
    half: float

    @property
    def sign(self) -> str:
        """Plus where the loss is told to be lower, minus where it is told to be higher, else nothing."""
        return "" if abs(self.mean) <= self.half else "+" if self.mean < 0 else "−"


@cache
def folder() -> Path:
    """Return the folder of the newest study."""
    return max(RESULTS.glob("*-sparse-features"))


@cache
def runs(problem: str, name: str) -> tuple[dict[str, Any], ...]:
    """Return the reported runs of an optimizer, in the order of their seeds."""
    lines = (json.loads(line) for line in (folder() / "runs.jsonl").read_text(encoding="utf-8").splitlines())
    mine = (run for run in lines if (run["problem"], run["optimizer"]) == (problem, name) and run["seed"] in SEEDS)
    return tuple(sorted(mine, key=lambda run: int(run["seed"])))


@cache
def losses(problem: str, name: str, part: str) -> Floats:
    """Return the loss of each reported run on a part of the test rows, at the epoch of its best validation loss."""
    found = runs(problem, name)
    return np.array([run[part][1 + int(np.argmin(run["validation"][1:]))] for run in found])


@cache
def difference(problem: str, name: str, part: str) -> Difference:
    """Return the paired difference from RMSProp, in percent of RMSProp's mean loss.

    Its interval is Student's, at a level at which those of the six other optimizers hold together at 95 %.
    """
    own = losses(problem, OWN, part)
    paired = 100.0 * (losses(problem, name, part) - own) / own.mean()
    level = 1.0 - 0.05 / len(OTHERS) / 2
    half = t.ppf(level, len(paired) - 1) * paired.std(ddof=1) / len(paired) ** 0.5
    return Difference(float(paired.mean()), float(half))


def table(problem: str) -> str:
    """Return what was found on a problem: a row per optimizer."""
    lines = [
        "| optimizer | learning rate | test loss | against RMSProp | rare | between | frequent | ms per epoch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in (OWN, COPY, *OTHERS):
        mine = runs(problem, name)
        cells = [row(name).label, f"{mine[0]['lr']:g}", f"{losses(problem, name, 'test').mean():.4f}"]
        if name in (OWN, COPY):
            cells += [""] + [f"{losses(problem, name, third).mean():.4f}" for third in THIRDS]
        else:
            cells += [told(difference(problem, name, part)) for part in PARTS]
        lines.append("| " + " | ".join([*cells, f"{1e3 * np.median([run['seconds'] for run in mine]):.0f}"]) + " |")
    return "\n".join(lines)


def told(found: Difference) -> str:
    """Return a difference in words."""
    return f"{found.mean:+.2f} ± {found.half:.2f} % {found.sign}".replace("-", "−").strip()


def rates(problem: str) -> str:
    """Return which learning rates were tried, and what they scored."""
    lines = (json.loads(line) for line in (folder() / "runs.jsonl").read_text(encoding="utf-8").splitlines())
    tried = [run for run in lines if run["problem"] == problem and run["seed"] not in SEEDS]
    parts = []
    for name in START:
        scores: dict[float, list[float]] = {}
        for run in tried:
            if run["optimizer"] == name:
                scores.setdefault(run["lr"], []).append(min(run["validation"][1:]))
        shown = ", ".join(f"{lr:g}: {short(float(np.mean(scores[lr])))}" for lr in sorted(scores))
        parts.append(f"- {row(name).label}: {shown}")
    return "\n".join(parts)


def copied(problem: str) -> float:
    """Return the largest relative difference of a loss between the runs on rows and the dense ones."""
    keys = ("validation", *PARTS)
    pairs = zip(runs(problem, COPY), runs(problem, OWN), strict=True)
    return max(float(np.max(np.abs(np.divide(a[key], b[key]) - 1.0))) for a, b in pairs for key in keys)


def page() -> str:
    """Return the page in Markdown."""
    text = TEMPLATE.read_text(encoding="utf-8").replace("{FOLDER}", folder().name)
    for problem in PROBLEMS:
        text = text.replace(f"{{TABLE {problem}}}", table(problem)).replace(f"{{RATES {problem}}}", rates(problem))
    most = max(map(copied, PROBLEMS))
    return text.replace("{COPIED}", "not at all" if not most else f"by at most {most:.0e} of a loss")


def picture() -> bytes:
    """Return the picture: losses by epoch above, and differences by third below."""
    return draw_figure(_paint, "png", size=(9.6, 7.2))


def _paint(figure: Figure) -> None:
    above, below = figure.subplots(2, len(PROBLEMS))
    for problem, curves, thirds in zip(PROBLEMS, above, below, strict=True):
        _paint_curves(curves, problem)
        _paint_thirds(thirds, problem)
    figure.legend(*above[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=10)


def _paint_curves(axes: Axes, problem: str) -> None:
    seen: list[float] = []
    for name, colour in _COLOURS.items():
        mean = np.mean([run["validation"] for run in runs(problem, name)], axis=0)[1:]
        epochs = np.arange(1, len(mean) + 1)
        axes.plot(epochs, mean, color=colour, marker=_MARKERS[name], markersize=5, label=row(name).label)
        seen += mean.tolist()
    copy = np.mean([run["validation"] for run in runs(problem, COPY)], axis=0)[1:]
    axes.plot(epochs, copy, "x", color=DARK, markersize=9, label=row(COPY).label)
    axes.set(xlabel="epoch", ylabel="validation loss, mean of 10 seeds", title=problem)
    axes.set_xticks(epochs)


def _paint_thirds(axes: Axes, problem: str) -> None:
    for place, name in enumerate(OTHERS):
        found = [difference(problem, name, third) for third in THIRDS]
        x = np.arange(len(THIRDS)) + 0.12 * (place - (len(OTHERS) - 1) / 2)
        means, halves = [one.mean for one in found], [one.half for one in found]
        axes.errorbar(x, means, halves, fmt=_MARKERS[name], color=_COLOURS[name], capsize=3, markersize=6)
    axes.axhline(0.0, color=_COLOURS[OWN], linewidth=1.5)
    axes.set_xticks(range(len(THIRDS)), THIRDS)
    axes.set(xlabel="third of the test rows, by training rows of the id", ylabel="test loss against RMSProp, %")
    axes.grid(visible=False, axis="x")


def main(where: Path) -> None:
    """Write the page and its picture.

    Args:
        where: The folder.
    """
    write_atomically(where / PAGE, page().encode())
    write_atomically(where / PICTURE, picture())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
