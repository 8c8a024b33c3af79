"""The calls that are shown make exactly the rule that they are shown for."""

import os
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from support import ALL_RULES

import rmsprop
from rmsprop import DIALECTS, RECIPES, Rule, reference
from rmsprop.lab.dialects.calls import FRONT_ENDS, calls, overrides, recipe_calls
from rmsprop.torch.groups import rule_of

# Every option in a few combinations, under a dialect of its own each.
CHOICES = [{}, {"momentum": 0.9}, {"centered": True}, {"momentum": 0.5, "eps_inside_sqrt": False}, {"eps": 0.0}]
CASES = [
    (name, dialect.rule_with(**choice), lr)
    for name, dialect in DIALECTS.items()
    for choice in CHOICES
    for lr in (None, 0.125)
]
CASES += [(name, rule, None) for name, rule in zip(list(DIALECTS) * 40, ALL_RULES, strict=False)]


def evaluated(line, **names):
    return eval(line, {"rmsprop": rmsprop, "lr": 0.25, **names})


def expected_lr(dialect, lr):
    return next(rate for rate in (lr, DIALECTS[dialect].lr, 0.25) if rate is not None)


@pytest.mark.parametrize("name", DIALECTS)
def test_overrides_lead_to_the_rule_and_none_is_superfluous(name):
    dialect = DIALECTS[name]
    for rule in [*ALL_RULES, *(row.rule for row in DIALECTS.values())]:
        given = overrides(dialect, rule)
        assert dialect.rule_with(**given) == rule
        for field in given:
            assert dialect.defaults({key: given[key] for key in given if key != field})[field] != given[field]


@pytest.mark.parametrize(("dialect", "rule", "lr"), CASES)
def test_torch(dialect, rule, lr):
    optimizer = evaluated(calls(dialect, rule, lr)["torch"], params=[torch.zeros(1, requires_grad=True)])
    assert rule_of(optimizer.param_groups[0]) == rule
    assert optimizer.param_groups[0]["lr"] == expected_lr(dialect, lr)


@pytest.mark.parametrize(("dialect", "rule", "lr"), CASES)
def test_numpy(dialect, rule, lr):
    import_module("rmsprop.numpy")
    optimizer = evaluated(calls(dialect, rule, lr)["numpy"], arrays=[np.zeros(1)])
    assert optimizer.rule == rule
    assert optimizer.lr == expected_lr(dialect, lr)


@pytest.mark.parametrize(("dialect", "rule", "lr"), CASES[::5])
def test_jax(dialect, rule, lr):
    import_module("rmsprop.jax")
    optimizer = evaluated(calls(dialect, rule, lr)["jax"])
    theta, grads = np.ones(3, np.float32), np.array([[1.0, -0.1, 3.0], [-0.5, 0.01, 2.0]], np.float32)
    params, state, expected, kept = theta, optimizer.init(theta), theta, reference.init(rule, theta)
    for step, grad in enumerate(grads, 1):
        updates, state = optimizer.update(grad, state, params)
        params = np.asarray(params + updates)
        expected, kept = reference.update(rule, expected_lr(dialect, lr), step, expected, grad, kept)
    # A few roundings of a step, and one of the parameter; any other rule is further away after two steps.
    np.testing.assert_allclose(params, expected, rtol=1e-5)


def test_keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import_module("rmsprop.keras")
    for dialect, rule, lr in CASES:
        optimizer = evaluated(calls(dialect, rule, lr)["keras"])
        assert optimizer.rule == rule
        assert float(optimizer.learning_rate) == np.float32(expected_lr(dialect, lr))


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_recipes(name):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import_module(f"rmsprop.{name}")
    for recipe in RECIPES:
        evaluated(recipe_calls(recipe)[name], params=[torch.zeros(1, requires_grad=True)], arrays=[np.zeros(1)])


def test_defaults_are_left_out():
    shown = calls("torch", Rule())
    assert shown == {
        "torch": "rmsprop.torch.RMSprop(params)",
        "numpy": "rmsprop.numpy.RMSprop(arrays)",
        "jax": 'rmsprop.jax.rmsprop(dialect="torch")',
        "keras": 'rmsprop.keras.RMSprop(dialect="torch")',
    }
    assert calls("torch", Rule(), lr=0.01)["torch"] == "rmsprop.torch.RMSprop(params, lr=0.01)"  # a rate that was given
    shown = calls("optax", replace(Rule.from_dialect("optax"), decay=0.95, initial_square_avg=1.0), lr=0.1)
    assert shown["jax"] == "rmsprop.jax.rmsprop(learning_rate=0.1, decay=0.95, initial_scale=1)"
    assert shown["torch"] == 'rmsprop.torch.RMSprop(params, lr=0.1, dialect="optax", alpha=0.95, initial_square_avg=1)'
