import math

import numpy as np
import pytest
from lab.compare.made_up import EPOCHS, STEPS, comparison
from matplotlib.figure import Figure

from rmsprop.lab.compare import figures
from rmsprop.lab.compare.analysis import analyse

ENDS = {"sgd": 0.2, "rmsprop-momentum": 0.3, "rmsprop": 0.1}


def drawn(paint, *given):
    figure = Figure(figsize=(6.4, 5.0))
    paint(*given, figure)
    return figure


def shown(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def test_how_many_diverged_is_told_in_the_title_and_not_on_the_curve():
    found = analyse(comparison(ENDS, lost=[("sgd", 1), ("rmsprop-momentum", 1), ("rmsprop-momentum", 2)]))
    panels = shown(drawn(figures.loss_bands, found, "tuned"))
    assert [axes.get_title(loc="left") for axes in panels] == [
        "SGD: ✗ 1 of 20 diverged",
        "RMSProp + momentum\n✗ 2 of 20 diverged",
        "RMSProp",
    ]
    assert not any(axes.texts for axes in panels)


@pytest.mark.parametrize(("paint", "optimum"), [(figures.loss_bands, None), (figures.suboptimality, 0.5)])
def test_bands_stay_inside_the_picture(paint, optimum):
    found = analyse(comparison(ENDS, noise=1.5, optimum=optimum))
    for axes in shown(drawn(paint, found, "tuned")):
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        low, high = axes.get_ylim()
        assert low < band.min() < band.max() < high


def test_axes_of_losses_say_what_they_are_measured_in():
    found, convex = analyse(comparison(ENDS)), analyse(comparison(ENDS, optimum=0.5))
    assert drawn(figures.loss_bands, found, "tuned").get_supylabel() == "validation loss: squared error"
    assert drawn(figures.suboptimality, convex, "tuned").get_supylabel() == "f − f*, training rows: squared error"
    assert drawn(figures.sensitivity, found).get_supylabel() == "best validation loss: squared error"
    axes = Figure().add_subplot()
    figures.best_of_k(found, axes)
    assert axes.get_ylabel() == "best validation loss (median):\nsquared error"


def test_a_rise_at_the_last_step_and_equal_lines_can_be_seen():
    found = analyse(comparison({"rmsprop": 5.0, "sgd": 0.1, "adam": 5.0}, noise=0.0))
    axes = drawn(figures.time_to_target, found).axes[0]
    end = EPOCHS * STEPS
    assert axes.get_xlim()[1] > end
    assert {float(dots.get_offsets()[0, 0]) for dots in axes.collections} == {end}
    levels = [float(np.mean(line.get_ydata()[:1])) for line in axes.get_lines()]
    assert len(set(levels)) == 3
    assert all(abs(level) < 3 and math.isfinite(level) for level in levels)
