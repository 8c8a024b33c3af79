"""A rule for batches that are κ times as large comes as far per sample, where gradients are mostly noise."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from rmsprop import RECIPES, Rule, half_life
from rmsprop.reference import init, update

EVERYTHING = Rule(
    decay=0.99,
    eps=1e-3,
    initial_square_avg=1.0,
    momentum=0.9,
    nesterov=True,
    weight_decay=0.1,
    weight_decay_mode="decoupled",
)


@pytest.mark.parametrize("factor", [1 / 16, 0.5, 1, 3, 16])
def test_each_number_is_scaled_by_its_formula(factor):
    scaled, lr = EVERYTHING.scaled(factor), EVERYTHING.scaled_lr(0.01, factor)
    assert scaled.decay == pytest.approx(0.99**factor, rel=1e-15)
    assert scaled.eps == pytest.approx(1e-3 / math.sqrt(factor), rel=1e-15)
    assert scaled.initial_square_avg == pytest.approx(1 / factor, rel=1e-15)
    assert scaled.momentum == pytest.approx(0.9**factor, rel=1e-15)
    assert scaled.nesterov
    assert lr == pytest.approx(0.01 * math.sqrt(factor) * (1 - 0.9**factor) / 0.1, rel=1e-14)
    assert lr * scaled.weight_decay == pytest.approx(factor * 0.01 * 0.1, rel=1e-14)
    assert replace(EVERYTHING, eps_inside_sqrt=True).scaled(factor).eps == pytest.approx(1e-3 / factor, rel=1e-15)
    assert replace(EVERYTHING, weight_decay_mode="l2").scaled(factor).weight_decay == 0.1


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_half_life_in_samples_stays(recipe):
    rule = RECIPES[recipe].rule
    assert 16 * half_life(rule.scaled(16).decay) == pytest.approx(half_life(rule.decay), rel=1e-9)


def test_a_buffer_that_averages_needs_no_more_than_the_root():
    rule = Rule(momentum=0.9, averaged_momentum=True)
    assert rule.scaled_lr(0.1, 4) == 0.2


@pytest.mark.parametrize("decay", [0.0, 1.0])
@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_ends_of_the_range_stay(decay, momentum):
    rule = Rule(decay=decay, momentum=momentum)
    assert (rule.scaled(4).decay, rule.scaled(4).momentum) == (decay, momentum)
    assert rule.scaled_lr(0.1, 4) == pytest.approx(0.1 * (8 if momentum else 2))


def test_a_buffer_that_keeps_nothing_has_no_look_ahead():
    assert not EVERYTHING.scaled(1e6).nesterov


@pytest.mark.parametrize(
    ("factor", "error"),
    [
        (0, "Invalid factor: 0 (allowed: a finite number above 0)"),
        (-2.0, "Invalid factor: -2.0 (allowed: a finite number above 0)"),
        (math.inf, "Invalid factor: inf (allowed: a finite number above 0)"),
        (math.nan, "Invalid factor: nan (allowed: a finite number above 0)"),
        ("4", "Invalid factor: '4' is a str (allowed: a finite number above 0)"),
        (True, "Invalid factor: True is a bool (allowed: a finite number above 0)"),
    ],
)
def test_a_factor_that_is_none(factor, error):
    for call in (Rule().scaled, lambda factor: Rule().scaled_lr(0.1, factor)):
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(error)}$"):
            call(factor)


@pytest.mark.parametrize("options", [{"decay": 0.99}, {"decay": 0.0, "momentum": 0.9}], ids=["decay", "momentum"])
def test_a_factor_after_which_nothing_is_forgotten_is_refused(options):
    name, value = list(options.items())[-1]
    words = f"Invalid factor: 1e-20 makes {name}={value} round to 1, at which it forgets nothing: scale less far"
    with pytest.raises(ValueError, match=f"^{words}$"):
        Rule(**options).scaled(1e-20)
    assert Rule(**options).scaled(1e-9).known()


def end(rule, lr, factor):
    """The loss after 1,600 samples on a bowl whose gradient is mostly noise, in batches of κ."""
    random = np.random.default_rng(0)
    param = np.ones(2000)
    state = init(rule, param)
    for step in range(1, 1600 // factor + 1):
        grad = param + 8.0 / math.sqrt(factor) * random.normal(size=param.shape)
        param, state = update(rule, lr, step, param, grad, state)
    return np.mean(param**2)


@pytest.mark.parametrize(
    ("options", "lr"),
    [
        ({}, 4e-3),
        ({"momentum": 0.99}, 4e-5),
        ({"momentum": 0.99, "nesterov": True, "lr_in_momentum": True}, 4e-5),
        ({"centered": True}, 4e-3),
        ({"bias_correction": True}, 4e-3),
        ({"initial_square_avg": 1000.0}, 4e-3),
        ({"eps": 5.0}, 4e-3),
        ({"eps": 64.0, "eps_inside_sqrt": True}, 4e-3),
        ({"weight_decay": 0.5}, 4e-3),
        ({"weight_decay": 0.5, "weight_decay_mode": "decoupled"}, 4e-3),
    ],
    ids=str,
)
def test_a_run_comes_as_far_per_sample(options, lr):
    rule = Rule(decay=0.999, **options)
    before = end(rule, lr, 1)
    error = abs(end(rule.scaled(8), rule.scaled_lr(lr, 8), 8) - before)
    assert error < 0.15 * before
    assert error < 0.5 * min(abs(end(rule, other * lr, 8) - before) for other in (1, 8))
