"""How figures are drawn, whatever a person has told matplotlib."""

import subprocess
import sys

import pytest

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
