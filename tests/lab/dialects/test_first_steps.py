"""The size of the first steps, against what follows from the formulas."""

import math

import numpy as np
import pytest

from rmsprop import DIALECTS, Rule
from rmsprop.lab.dialects.first_steps import GRADIENTS, MOST_STEPS, SHOWN, first_steps


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.99, 0.999])
def test_from_v_zero_the_steps_shrink_to_lr(decay):
    first = first_steps(Rule(decay=decay, eps=0.0))[1.0]
    for step in SHOWN:
        assert first.sizes[step] == pytest.approx(1 / math.sqrt(1 - decay**step), rel=1e-12)
    assert first.final == 1.0
    # 1/√(1 − ρᵗ) ≤ 1.05, solved for t
    assert first.settled == math.ceil(math.log(1 - 1.05**-2) / math.log(decay))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_from_v_one_they_are_the_gradient_until_that_has_faded(gradient):
    first = first_steps(DIALECTS["sb3"].rule_with(eps=0.0))[gradient]
    for step in SHOWN:
        v = 0.99**step + (1 - 0.99**step) * gradient**2
        assert first.sizes[step] == pytest.approx(gradient / math.sqrt(v), rel=1e-9)
    assert first.final == 1.0


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_what_they_settle_at(inside, centered, momentum):
    rule = Rule(decay=0.9, eps=1e-3, eps_inside_sqrt=inside, centered=centered, momentum=momentum)
    for gradient, first in first_steps(rule).items():
        v = 0.0 if centered else gradient**2
        expected = gradient / (math.sqrt(v + 1e-3) if inside else math.sqrt(v) + 1e-3) / (1 - momentum)
        assert first.final == pytest.approx(expected, rel=1e-12)
        assert first.settled < 500


@pytest.mark.parametrize(
    ("rule", "final", "settled"),
    [
        (Rule(decay=0.0, eps=0.0), 1.0, 1),
        (Rule(decay=1.0, initial_square_avg=4.0, eps=0.0), 0.5, 1),
        (Rule(bias_correction=True, eps=0.0), 1.0, 1),
        (Rule(decay=0.9999, eps=0.0), 1.0, None),
        (Rule(momentum=1.0), math.inf, None),
        (Rule(centered=True, eps=0.0), math.inf, None),
        (Rule(weight_decay=0.5, weight_decay_mode="decoupled", decay=0.0, eps=0.0), 1.0, 1),
    ],
    ids=str,
)
def test_the_ends_of_the_ranges(rule, final, settled):
    first = first_steps(rule)[1.0]
    assert (first.final, first.settled) == (final, settled)


def test_settling_is_looked_for_far_enough():
    first = first_steps(Rule(decay=0.9, momentum=0.9, initial_square_avg=1e6))
    for gradient, found in first.items():
        more = first_steps(Rule(decay=0.9, momentum=0.9, initial_square_avg=1e6), (gradient, 1e-9))[gradient]
        assert 1 < found.settled == more.settled < MOST_STEPS


@pytest.mark.parametrize(
    "rule",
    [
        Rule(centered=True, eps=1e-320, eps_inside_sqrt=True),
        Rule(centered=True, initial_square_avg=1e308),
        Rule(centered=True, initial_square_avg=1e308, eps=1e-320),
        Rule(eps=1.7e308),
        Rule(decay=1e-320, momentum=1.0 - 2**-53, initial_square_avg=1.7e308),
    ],
    ids=str,
)
def test_settings_at_the_ends_of_the_floats(rule):
    for gradient, first in first_steps(rule).items():
        v = 0.0 if rule.centered else gradient**2
        below = math.sqrt(v + rule.eps) if rule.eps_inside_sqrt else math.sqrt(v) + rule.eps
        with np.errstate(over="ignore"):
            expected = np.float64(gradient) / below / (1 - rule.momentum)
        assert first.final == pytest.approx(expected, rel=1e-12)
