"""How figures are drawn, whatever a person has told matplotlib."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.text import Text

from rmsprop.lab import drawing


def test_long_curves_are_thinned_to_their_ends():
    kept = drawing.thin(12_345)
    assert len(kept) <= drawing.MOST_POINTS
    assert (kept[0], kept[-1]) == (0, 12_344)
    assert drawing.thin(3) == [0, 1, 2]
    assert drawing.thin(1) == [0]


# What draws: a command's arguments, or a line of Python.
DRAWS = """
import sys
sys.modules["matplotlib_inline"] = None  # as where Jupyter is in another environment
import hashlib
import numpy as np
from rmsprop.lab.drawing import draw
picture = draw(lambda axes: axes.plot([0, 1], [1, 3], label="$x$"), "png", "title")
from rmsprop.lab import LrRange
lrs = np.geomspace(1e-4, 1, 41)
LrRange(lrs, 1 / (1 + 100 * lrs[None])).plot().savefig(sys.argv[1])
print(hashlib.sha256(picture).hexdigest())
"""


def drawn(tmp_path, **environment):
    command = [sys.executable, "-c", DRAWS, str(tmp_path / "lr.png")]
    given = {**drawing.os.environ, **environment}
    done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lr.png").stat().st_size > 5000
    return done.stdout


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "module://not.there", "nonsense", "TkAgg"]
)
def test_no_backend_of_the_environment_matters(tmp_path, backend):
    assert drawn(tmp_path, MPLBACKEND=backend) == drawn(tmp_path, MPLBACKEND="agg")


def test_no_style_of_a_persons_matters(tmp_path):
    plain = drawn(tmp_path)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: black\nfigure.dpi: 33\n")
    assert drawn(tmp_path) == plain


BACKEND = """
import os
from rmsprop.lab.drawing import draw
draw(lambda axes: None, "png")
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.rcParams["backend"])
"""


def test_a_persons_own_figures_keep_their_backend(tmp_path):
    given = {**drawing.os.environ, "MPLBACKEND": "svg"}
    done = subprocess.run([sys.executable, "-c", BACKEND], env=given, capture_output=True, text=True, timeout=120)
    assert done.stdout == "svg svg\n", done.stderr


def painted(lines, **options):
    """Axes with lines, {name: heights}, and their names."""
    with drawing.empty_figure() as figure:
        axes = figure.add_subplot()
        for name, heights in lines.items():
            axes.plot(heights, label=name, **options)
        drawing.name_lines(axes)
        figure.draw_without_rendering()
        boxes = {text.get_text(): Text.get_window_extent(text) for text in axes.texts}  # without what leads to it
        inside = axes.get_window_extent()
        legend = axes.get_legend()
        return boxes, inside, legend and [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("ends", [(1.0, 2.0, 3.0), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (1.0, float("nan"), 1.0)])
def test_names_stand_beside_the_ends_of_lines_and_not_on_each_other(ends):
    boxes, inside, legend = painted({f"line {i}": [0.0, end] for i, end in enumerate(ends)})
    assert list(boxes) == ["line 0", "line 1", "line 2"]
    assert all(box.x0 > inside.x1 for box in boxes.values())
    assert not any(a.overlaps(b) for a in boxes.values() for b in boxes.values() if a is not b)
    assert legend is None


def test_marks_and_too_many_lines_are_named_in_a_legend():
    few, many = {"a": [0.0], "b": [1.0]}, {str(i): [0.0, i] for i in range(9)}
    assert painted(few, linestyle="none", marker="o")[::2] == ({}, ["a", "b"])
    assert painted(many)[::2] == ({}, list(many))


def test_a_line_alone_needs_no_name():
    assert painted({"a": [0.0, 1.0]})[::2] == ({}, None)


def test_a_machine_that_draws_slowly_is_told_nothing(monkeypatch):
    # Of a legend without a place matplotlib warns once that took over a second, however few the points are.
    hours = iter(range(0, 360_000, 3_600))
    monkeypatch.setattr("matplotlib.legend.time.perf_counter", lambda: float(next(hours)))
    assert painted({"a": [0.0], "b": [1.0]}, linestyle="none", marker="o")[2] == ["a", "b"]
    assert next(hours) > 3_600  # it did look at the clock


def test_every_legend_has_a_place():
    modules = Path(drawing.__file__).parent.rglob("*.py")
    calls = [node for module in modules for node in ast.walk(ast.parse(module.read_text())) if is_legend(node)]
    assert calls
    assert [ast.unparse(call) for call in calls if not {"loc", None} & {each.arg for each in call.keywords}] == []


def is_legend(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "legend"
