import math

import numpy as np
import pytest
from lab.compare.made_up import EPOCHS, STEPS, comparison
from matplotlib.figure import Figure

from rmsprop.lab.compare import figures
from rmsprop.lab.compare.analysis import TRACK_TITLES, analyse

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


def test_learning_rates_are_drawn_of_those_that_change_them():
    found = analyse(comparison({"rmsprop": 0.1, "rmsprop-hd": 0.2, "rmsprop-marthe": 0.3}))
    panels = shown(drawn(figures.learning_rates, found, "tuned"))
    assert [axes.get_title(loc="left") for axes in panels] == ["RMSProp + HD", "RMSProp + MARTHE"]
    for axes in panels:
        (line,) = axes.get_lines()
        np.testing.assert_allclose(line.get_ydata(), 0.001 * 1.5 ** np.arange(EPOCHS + 1))
        assert axes.get_yscale() == "log"
    assert figures.changing(analyse(comparison(ENDS))) == []


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
    widths = [line.get_linewidth() for line in axes.get_lines()]
    assert sorted(set(widths), reverse=True) == widths  # the upper ones are thinner


def test_shares_of_runs_are_drawn_where_they_are():
    ends = {"rmsprop": 0.2, "sgd": 0.1, "adam": 0.1003, "momentum": 5.0, "nesterov": 5.0, "adagrad": 0.1001}
    found = analyse(comparison(ends, seeds=7, noise=0.05))
    for axes in drawn(figures.time_to_target, found).axes:
        track = next(track for track, title in TRACK_TITLES.items() if title in axes.get_title(loc="left"))
        for line, reached in zip(axes.get_lines(), found.reached(track, found.target), strict=True):
            shares = line.get_ydata()
            assert np.allclose(shares * 7 / 100, np.round(shares * 7 / 100))
            assert (shares[0], shares[-1]) == (0, 100 * reached.share)
        low, high = axes.get_ylim()
        assert low < 0 < 100 < high
        assert [tick for tick in axes.get_yticks() if not 0 <= tick <= 100] == []


@pytest.mark.parametrize("seeds", [2, 3, 7])
def test_no_interval_of_a_share_or_of_steps_ends_where_nothing_can_be(seeds):
    found = analyse(comparison({"rmsprop": 1.5, "sgd": 0.1, "adam": 1.0}, seeds=seeds, noise=0.9))
    for ranking in found.rankings:
        span = {"metric": 1.0, "steps": EPOCHS * STEPS}.get(ranking.measure.key, math.inf)
        for standing in ranking.standings:
            if difference := standing.difference:
                assert all(abs(end) <= span for end in (difference.low, difference.high) if math.isfinite(end))
                assert not difference.decided or difference.low * difference.value >= 0
