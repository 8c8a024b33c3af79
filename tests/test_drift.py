"""Rows that move without a gradient: what many steps make of them at once, against the steps one by one."""

from dataclasses import replace

import numpy as np
import pytest
from support import same_bits

from rmsprop import Rule, reference
from rmsprop.drift import MOST_STEPS, Drift, DriftShares, drifted, drifts, of_a_step

RULES = [
    Rule(momentum=0.9),
    Rule(momentum=0.9, nesterov=True, lr_in_momentum=True),
    Rule(momentum=0.3, nesterov=True),
    Rule(momentum=0.9, averaged_momentum=True, bias_correction=True),
    Rule(weight_decay=0.5, weight_decay_mode="decoupled"),
    Rule(momentum=0.99, weight_decay=0.5, weight_decay_mode="decoupled", centered=True),
    Rule(momentum=0.9, weight_decay=0.5, weight_decay_mode="decoupled", weight_decay_max_lr=0.02),
    Rule(momentum=0.9, init_from_gradient=True, delayed=True),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_many_steps_at_once_are_the_steps_one_by_one(rule):
    rng = np.random.default_rng(0)
    p, steps = rng.standard_normal(50), 300
    state = {name: rng.random(50) for name in rule.state_names}
    start, first, drift = p, state.get("momentum_buffer"), Drift("float64", 7)
    for step in range(8, 8 + steps):
        now = replace(rule, momentum=rule.momentum * (0.9 if step % 5 == 0 else 1.0))
        lr = 1e-2 * (1 + np.cos(step / 20))
        drift.record(now, lr, step)
        p, state = reference.update(now, lr, step, p, np.zeros(50), state)
    ours, buffer = drifted(start, first, drift.shares(np.full(50, 7), 7 + steps))
    # Six roundings in each step of either: two of b, which the step multiplies by lr, of θ and of its share.
    unit = np.finfo(np.float64).eps / 2
    size = np.abs(start).max() + (0 if first is None else 0.02 * steps * np.abs(first).max())
    assert np.abs(ours - p).max() <= 2 * 6 * steps * unit * size
    if first is not None:
        assert np.abs(buffer - state["momentum_buffer"]).max() <= 2 * 6 * steps * unit * np.abs(first).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_one_step_is_that_of_the_update_but_for_its_last_roundings(rule, dtype):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(1000).astype(dtype)
    state = {name: rng.random(1000).astype(dtype) for name in rule.state_names}
    dense, after = reference.update(rule, 0.01, 3, p, np.zeros_like(p), state)
    ours, buffer = drifted(p, state.get("momentum_buffer"), of_a_step(rule, 0.01, 3, dtype))
    unit = np.finfo(dtype).eps / 2
    assert np.abs(ours - dense).max() <= 4 * unit * (np.abs(p).max() + 1)
    if buffer is not None:
        assert np.abs(buffer - after["momentum_buffer"]).max() <= 3 * unit


@pytest.mark.parametrize(
    ("momentum", "left"), [(0.9, 1.0 - float(np.float32(1.0 - 0.9))), (0.3, float(np.float32(0.3)))]
)
def test_a_step_leaves_of_momentum_what_the_update_leaves_to_the_bit(momentum, left):
    assert of_a_step(Rule(momentum=momentum), 0.1, 1, "float32") == (1.0, float(np.float32(0.1)) * left, left)


def test_a_step_that_did_not_happen_is_forgotten():
    drift, rule = Drift("float64", 0), Rule(momentum=0.5)
    drift.record(rule, 1.0, 1)
    drift.record(rule, 2.0, 1)
    assert drift.shares(np.array([0]), 0).taken == 0.0
    drift.record(rule, 2.0, 1)
    assert drift.shares(np.array([0, 1]), 1).taken.tolist() == [1.0, 0.0]


def test_it_is_full_after_so_many_steps():
    drift, rule = Drift("float32", 0), Rule(momentum=0.5)
    for step in range(1, MOST_STEPS + 1):
        drift.record(rule, 1.0, step)
        assert not drift.is_full
    drift.record(rule, 1.0, MOST_STEPS + 1)
    assert drift.is_full


def test_an_infinite_buffer_stays_infinite():
    p, b = drifted(np.array([1.0]), np.array([np.inf]), DriftShares(1.0, 0.5, 0.0))
    assert same_bits(p, np.array([-np.inf]))
    assert same_bits(b, np.array([np.inf]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"momentum": 0.9}, True),
        ({"weight_decay": 0.1}, False),
        ({"weight_decay": 0.1, "weight_decay_mode": "decoupled"}, True),
        ({"weight_decay": 0.1, "weight_decay_mode": "cautious"}, False),
        ({"momentum": 0.9, "caution": True}, False),
    ],
)
def test_what_is_one_map_for_all_elements(options, expected):
    assert drifts(Rule(**options)) == expected
