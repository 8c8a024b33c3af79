"""A rule in writing computes what the rule computes: its code and its formulas are run against the reference."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support import ALL_RULES

from rmsprop import DIALECTS, Rule, reference
from rmsprop.lab.dialects.formulas import as_code, formulas, number, pseudocode

STEPS = 12
# Options at the ends of their ranges, which change what is left to write down.
EDGES = [
    Rule(decay=0.0),
    Rule(decay=0.0, centered=True, eps=1e-3),
    Rule(decay=0.0, bias_correction=True),
    Rule(decay=1.0, initial_square_avg=0.5),
    Rule(decay=1.0, centered=True, eps=0.5),
    Rule(momentum=1.0, nesterov=True, eps=1e-3),
    Rule(weight_decay=1.0),
    Rule(weight_decay=1.0, weight_decay_mode="decoupled"),
    Rule(decay=0.123456789012345678, initial_square_avg=2.5, momentum=0.1234567890123),
    Rule(eps=0.0),
    Rule(eps=0.0, eps_inside_sqrt=True, centered=True, momentum=0.9, initial_square_avg=1.0),
    Rule(eps=0.0, bias_correction=True),
]
RULES = [*ALL_RULES, *EDGES, *(dialect.rule for dialect in DIALECTS.values())]


def gradients():
    """A gradient that depends on the parameter and the step; the last coordinate has none at first."""
    rows = iter(np.random.default_rng(0).standard_normal((STEPS, 5)) * [1, 1e-4, 1e3, 1, 0])
    return lambda theta: next(rows) + theta * [0.1, 0, 0, 1, 0]


def by_the_reference(rule, lr=0.01):
    theta, gradient = np.ones(5), gradients()
    state = reference.init(rule, theta)
    for step in range(1, STEPS + 1):
        theta, state = reference.update(rule, lr, step, theta, gradient(theta), state)
    return theta


@pytest.mark.parametrize("lr", [None, 0.01], ids=["symbol", "number"])
@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_the_code_of_every_rule_is_the_update(rule, lr):
    names = {"np": np, "theta": np.ones(5), "gradient": gradients(), "steps": STEPS}
    exec(pseudocode(rule, lr), names if lr else names | {"lr": 0.01}, found := {})
    # Both are a few roundings per step from exact; centered, 1 − ρ and the like are rounded apart.
    np.testing.assert_allclose(found["theta"], by_the_reference(rule), rtol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_the_formulas_of_every_rule_are_the_update(rule):
    if rule.centered:  # an ε far above what cancellation leaves of v − m², which may be a little below zero
        rule = replace(rule, eps=1.0)
    start, *steps = (as_code(line) for line in formulas(rule) if not line.startswith("where"))
    names = {
        name.strip("₀ "): np.full(5, float(value.replace("g₁**2", "nan")))
        for name, value in (s.split("=") for s in start.split(","))
    }
    assert np.isnan(names["v"]).all() == rule.init_from_gradient
    names |= {
        "np": SimpleNamespace(sqrt=lambda x: np.sqrt(np.maximum(x, 0.0)), clip=np.clip, mean=np.mean),
        "theta": np.ones(5),
        "lr": 0.01,
    }
    gradient = gradients()
    for names["t"] in range(1, STEPS + 1):
        names["g"] = gradient(names["theta"])
        if rule.init_from_gradient and names["t"] == 1:
            names["v"] = (names["g"] + rule.weight_decay * names["theta"] * rule.decays_weights("l2")) ** 2
        with np.errstate(invalid="ignore"):
            exec("\n".join(steps), names)
    found = names["theta"]
    assert formulas(rule)[-1].startswith("where") == (rule.eps == 0.0)
    if rule.eps == 0.0:
        assert np.isnan(found[-1])  # the coordinate that never has a gradient: "where 0 / 0 is 0"
        found[-1] = 1.0
    np.testing.assert_allclose(found, by_the_reference(rule), rtol=1e-9)


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        (Rule(), ["v₀ = 0", "v ← 0.99·v + 0.01·g²", "θ ← θ − lr·g / (√v + 1e-8)"]),
        (
            Rule.from_dialect("tensorflow1", momentum=0.9, eps=1e-3),
            ["v₀ = 1, b₀ = 0", "v ← 0.9·v + 0.1·g²", "b ← 0.9·b + lr·g / √(v + 0.001)", "θ ← θ − b"],
        ),
        (
            Rule(centered=True, bias_correction=True, momentum=0.5, nesterov=True, eps=0.0, weight_decay=1e-4),
            [
                "v₀ = 0, m₀ = 0, b₀ = 0",
                "g ← g + 0.0001·θ",
                "v ← 0.99·v + 0.01·g²",
                "m ← 0.99·m + 0.01·g",
                "v̂ = v / (1 − 0.99ᵗ)",
                "m̂ = m / (1 − 0.99ᵗ)",
                "u = g / √(v̂ − m̂²)",
                "b ← 0.5·b + u",
                "θ ← θ − lr·(u + 0.5·b)",
                "where 0 / 0 is 0",
            ],
        ),
        (
            Rule(eps=0.0, init_from_gradient=True, delayed=True, momentum=0.9, averaged_momentum=True),
            [
                "v₀ = g₁², b₀ = 0",
                "q = clip(g / √v, ±(t − 1)^¼)",
                "v ← 0.99·v + 0.01·g²",
                "b ← 0.9·b + 0.1·q",
                "θ ← θ − lr·b",
                "where 0 / 0 is 0",
            ],
        ),
        (
            Rule(weight_decay=0.1, weight_decay_mode="cautious"),
            ["v₀ = 0", "v ← 0.99·v + 0.01·g²", "s = lr·g / (√v + 1e-8)", "θ ← θ − s − (s·θ ≥ 0)·lr·0.1·θ"],
        ),
        (
            Rule(momentum=0.9, caution=True),
            [
                "v₀ = 0, b₀ = 0",
                "v ← 0.99·v + 0.01·g²",
                "b ← 0.9·b + g / (√v + 1e-8)",
                "c = (b·g > 0)",
                "θ ← θ − lr·c / max(mean(c), 0.001)·b",
            ],
        ),
        (
            Rule(weight_decay=0.1, weight_decay_mode="decoupled", weight_decay_max_lr=0.5),
            ["v₀ = 0", "θ ← θ − lr·(lr / 0.5)·0.1·θ", "v ← 0.99·v + 0.01·g²", "θ ← θ − lr·g / (√v + 1e-8)"],
        ),
        (Rule(decay=0.0, eps=0.0), ["v₀ = 0", "v ← g²", "θ ← θ − lr·g / √v", "where 0 / 0 is 0"]),
    ],
    ids=str,
)
def test_only_what_is_on_is_written(rule, lines):
    assert list(formulas(rule)) == lines


@pytest.mark.parametrize("value", [0.0, 1.0, 0.9, 1e-8, 1e-3, 0.123456789012345678, 1.5e16, 3e22, 5e-324])
def test_a_number_is_read_back_as_itself(value):
    assert float(number(value)) == value
    assert not number(value).endswith(".0")
