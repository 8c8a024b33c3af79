"""What the page says in numbers is so."""

import math

import numpy as np
import pytest

from rmsprop import DIALECTS, Rule
from rmsprop.lab.explain.drawing import readable
from rmsprop.lab.explain.figures import FIGURES
from rmsprop.lab.explain.figures.adam import steps
from rmsprop.lab.explain.figures.averages import sizes
from rmsprop.lab.explain.page import words
from rmsprop.lab.surfaces.paths import by_reference

BY_NAME = {figure.name: figure for figure in FIGURES}


def readouts(name, **given):
    figure = BY_NAME[name]
    return figure.content(**{**figure.settings, **given}).readouts


# Figure, where it is said, the words, and the numbers in them.
CLAIMS = [
    ("ravine", "question", "SGD needs 23 steps", lambda: [readouts("ravine")["steps"]]),
    ("ravine", "why", "SGD needs 184 steps", lambda: [readouts("ravine", kappa=200)["steps"]]),
    ("ten", "choices", "8 steps lower", lambda: [-readouts("ten")["sign"]]),
    *[
        ("ten", "after", said, lambda rho=rho: [round(readouts("ten", rho=rho)["rmsprop"], 2)])
        for rho, said in ((0.0, "the sign: −8.0"), (0.5, "by −4.27"), (0.9, "0.9 by −0.68"), (0.99, "0.99 by −0.07"))
    ],
    ("averages", "why", "after 102 steps", lambda: [readouts("averages")["back"]]),
    ("averages", "why", "1.4 % of a", lambda: [round(100 * readouts("averages")["mean"], 1)]),
    ("memory", "why", "10 learning rates at ρ", lambda: [round(readouts("memory")["first"])]),
    ("memory", "why", "3.2 at 0.9", lambda: [round(readouts("memory", rho=0.9)["first"], 1)]),
    ("memory", "why", "31.6 at 0.999", lambda: [round(readouts("memory", rho=0.999)["first"], 1)]),
    ("variants", "why", "the slope to 0.158,", lambda: [round(readouts("variants")["one"], 3)]),
    ("variants", "why", "Keras's to 0.0905", lambda: [round(readouts("variants")["other"], 4)]),
    ("adam", "before", "31.6 learning rates", lambda: [round(readouts("adam")["first"], 1)]),
    ("adam", "why", "3.16 learning rates", lambda: [round(readouts("adam", average=True)["first"], 2)]),
    ("preconditioner", "why", "109 steps", lambda: [readouts("preconditioner", angle=45)["rmsprop"]]),
    ("preconditioner", "why", "it needed 13", lambda: [readouts("preconditioner")["rmsprop"]]),
    ("preconditioner", "why", "SGD needs 69 on either", lambda: [readouts("preconditioner")["sgd"]]),
    ("preconditioner", "why", "SGD needs 69 on either", lambda: [readouts("preconditioner", angle=45)["sgd"]]),
]


@pytest.mark.parametrize(("name", "place", "said", "numbers"), CLAIMS, ids=lambda part: str(part)[:30])
def test_a_number_in_the_text_is_what_the_figure_computes(name, place, said, numbers):
    text = words("en")["figures"][name][place]
    text = text if isinstance(text, str) else " ".join(text)
    assert said.removesuffix(".0") in text
    for number in numbers():
        assert readable(number) in said


def test_the_first_step_is_one_learning_rate_with_bias_correction():
    for rho in (0.9, 0.999):
        assert readouts("memory", rho=rho, correction=True)["first"] == pytest.approx(1.0, rel=1e-6)
    assert readouts("memory", start="1")["first"] < 0.05


def test_rprop_does_not_see_the_size_of_gradients_and_sgd_does():
    ends = [
        readouts("signs", scale=scale, kappa=kappa)["rprop"] for scale in (0.001, 1.0, 1000.0) for kappa in (1, 1000)
    ]
    assert len(set(ends)) == 1
    assert readouts("signs", scale=10.0)["sgd"] > 1e10


@pytest.mark.parametrize("kappa", [2, 20, 1000])
def test_sgd_is_stable_up_to_two_over_kappa(kappa):
    assert readouts("ravine", kappa=kappa, share=0.98)["steps"] is not None
    assert readouts("ravine", kappa=kappa, share=1.02)["steps"] is None


@pytest.mark.parametrize("angle", [5, 45])
def test_turning_the_bowl_takes_the_stretch_away(angle):
    plain, turned = (readouts("preconditioner", angle=at) for at in (0, angle))
    assert turned["condition"] > 2 * plain["condition"]
    assert turned["rmsprop"] > plain["rmsprop"]
    if angle == 45:
        assert math.isclose(turned["condition"], 100, rel_tol=0.01)


def test_at_099_the_leaky_average_does_not_come_back_within_the_run():
    assert readouts("averages", rho=0.99)["back"] is None


def test_bias_correction_alone_brings_the_first_step_of_rmsprop_down():
    assert readouts("adam", correction=True)["first"] == pytest.approx(1.0, rel=1e-6)
    built = BY_NAME["adam"].content(average=True, correction=False).plots[0].lines[1]
    assert max(length for _, length in built.points) > 6
    assert readouts("adam", average=True, correction=True)["apart"] == 0.0


def test_what_is_built_without_the_average_is_rmsprop():
    g = np.array([0.3, -0.2, 0.5, 0.1])
    for correction in (False, True):
        rule = Rule(decay=0.999, bias_correction=correction)
        np.testing.assert_allclose(steps(g, False, correction), sizes(by_reference(rule, 1.0, size=1), g), rtol=1e-12)


def test_torch_and_keras_part_on_small_gradients_alone():
    assert readouts("variants")["parts"] == 1
    assert readouts("variants", scale=1.0)["parts"] is None
    assert readouts("variants", second="tensorflow1")["other_loss"] > 10
    assert len(DIALECTS) == 15
