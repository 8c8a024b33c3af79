import pytest
from lab.compare.made_up import comparison
from matplotlib.figure import Figure

from rmsprop.lab.compare.analysis import analyse
from rmsprop.lab.compare.differences import paired_differences
from rmsprop.lab.compare.report import pictures

EVERY = range(20)


def panel(analysis, key):
    """Return the panel of the tuned runs, and what stands below the figure."""
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    paired_differences([analysis.ranking("tuned", key)], analysis, figure)
    figure.canvas.draw()
    return figure.axes[0], figure.get_supxlabel()


def ticks(axes):
    return {label.get_text(): float(at) for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)}


def marks(axes, *which):
    return [(line.get_marker(), float(line.get_xdata()[0])) for line in axes.lines if line.get_marker() in which]


def test_a_logarithmic_axis_says_so_and_has_ticks_where_it_begins():
    ends = {"rmsprop": 0.1, "adam": 0.13, "sgd": 0.07, "momentum": 0.15, "adagrad": 40.0}
    axes, below = panel(analyse(comparison(ends)), "loss")
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlabel() == "logarithmic beyond ±0.01"
    assert {"−0.01", "0", "0.01"} <= set(ticks(axes))
    assert len(ticks(axes)) == 5
    assert len(axes.get_xticks(minor=True)) > 20
    assert below == "validation loss minus RMSProp's: squared error"


def test_a_plain_axis_has_ticks_far_apart_and_no_infinity():
    axes, below = panel(analyse(comparison({"rmsprop": 0.1, "adam": 0.2}, noise=0.001)), "loss")
    assert ticks(axes) == pytest.approx({"0": 0.0, "−0.1": -0.1, "0.1": 0.1})
    assert axes.get_xlabel() == ""
    assert "∞" not in below


def test_what_is_infinite_stands_at_infinity():
    ends = {"rmsprop": 0.1, "adam": 0.2, "momentum": 0.3, "sgd": 0.3}
    lost = [("sgd", seed) for seed in EVERY] + [("momentum", seed) for seed in range(4)]
    axes, below = panel(analyse(comparison(ends, lost=lost)), "loss")
    assert below.endswith("\n∞ and arrows: from runs that diverged")
    infinity = ticks(axes)["∞"]
    finite, endless, never = (at for _, at in marks(axes, "X"))
    assert never == infinity > 1.2 * max(finite, endless)
    assert marks(axes, ">") == [(">", infinity)]


def test_a_metric_that_should_rise_is_infinite_to_the_left():
    lost = [("sgd", seed) for seed in EVERY]
    axes, _ = panel(analyse(comparison({"rmsprop": 0.1, "adam": 0.2, "sgd": 0.3}, lost=lost)), "metric")
    assert {"−∞"} == {text for text in ticks(axes) if "∞" in text}


def test_where_nothing_is_finite_there_are_words_instead_of_an_axis():
    axes, below = panel(analyse(comparison({"rmsprop": 0.5, "adam": 0.1, "sgd": 0.6}, noise=0.0)), "steps")
    assert [text.get_text() for text in axes.texts] == ["reached by 20 of 20 runs", "never reached"]
    assert axes.get_xlabel() == "no finite differences;\nRMSProp: never reached"
    assert not ticks(axes)
    assert below == "steps to the target minus RMSProp's"


def test_equal_runs_differ_by_a_plain_0():
    axes, _ = panel(analyse(comparison({"rmsprop": 0.1, "adam": 0.1}, noise=0.0)), "loss")
    assert ticks(axes) == {"0": 0.0}


def test_the_caption_says_what_arrows_and_infinity_are():
    found = analyse(comparison({"rmsprop": 0.1, "adam": 0.2}))
    captions = {picture.name: picture.caption for picture in pictures(found)}
    assert "what stands at ∞ has no number: runs diverged" in captions["difference-loss"]
    assert "what stands at ∞ has no number: runs never reached the target" in captions["difference-steps"]
    assert "logarithmic away from 0 says so below it" in captions["difference-loss"]
