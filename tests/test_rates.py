"""Learning rates from gradients: every derivative against finite differences, every bound at its edge."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from support import COMMON_RULES, VARIANT_RULES

from rmsprop import Rule, rates, reference

STEPS, LR = 4, 0.05
# The variance of a bias-corrected first step is 0: with an ε of 1e-8 θ moves by 1e7, where differences say nothing.
RULES = [replace(rule, eps=0.1) if rule.centered and rule.bias_correction else rule for rule in COMMON_RULES]


@dataclass
class Quartic:
    """A loss with a Hessian that differs from place to place and couples all parameters."""

    matrix: np.ndarray
    centre: np.ndarray

    @classmethod
    def made(cls, seed=0, size=5):
        random = np.random.default_rng(seed)
        root = random.standard_normal((size, size))
        return cls(root @ root.T / size + np.eye(size), 3.0 * random.standard_normal(size))

    def loss(self, p):
        x = p - self.centre
        return 0.5 * x @ self.matrix @ x + 0.05 * (x**4).sum()

    def grad(self, p):
        x = p - self.centre
        return self.matrix @ x + 0.2 * x**3

    def hessian(self, p):
        return self.matrix + np.diag(0.6 * (p - self.centre) ** 2)


TRAIN, VALIDATION = Quartic.made(0), Quartic.made(1)


def run(rule, lrs):
    """Return θ after a step with each learning rate; each may be one per element."""
    p = np.ones(5)
    state = reference.init(rule, p)
    for step, lr in enumerate(lrs, 1):
        p, state = reference.update(rule, lr, step, p, TRAIN.grad(p), state)
    return p


def tangents(rule, lrs, mu=1.0, lr_rate=1.0):
    """Return dθ/dη after steps with some learning rates, by MARTHE's recursion."""
    p, p_rate = np.ones(5), np.zeros(5)
    state = reference.init(rule, p)
    state_rate = {name: np.zeros(5) for name in state}
    for step, lr in enumerate(lrs, 1):
        p_rate, state_rate = mu * p_rate, {name: mu * rate for name, rate in state_rate.items()}
        g, g_rate = TRAIN.grad(p), TRAIN.hessian(p) @ p_rate
        found = rates.tangent(rule, lr, step, p, g, state, p_rate, g_rate, state_rate, np, lr_rate)
        p, state = reference.update(rule, lr, step, p, g, state)
        p_rate, state_rate = found
    return p, p_rate


def slope(of, at=0.0, h=1e-3):
    """Return a derivative by differences of sixth order: the error is h⁶/140 of the seventh, rounding 2⁻⁵²/h."""
    return sum(c * (of(at + k * h) - of(at - k * h)) for k, c in ((1, 45.0), (2, -9.0), (3, 1.0))) / (60.0 * h)


def close(found, wanted):
    # With h = 1e-3 of the learning rate both errors of `slope` are below 1e-9 of the largest entry here.
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-7 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_the_direction_is_the_derivative_of_the_last_step(rule):
    p, lrs = np.ones(5), [LR] * STEPS
    state = reference.init(rule, p)
    for step, lr in enumerate(lrs, 1):
        before, g = p, TRAIN.grad(p)
        p, state = reference.update(rule, lr, step, p, g, state)
    wanted = slope(lambda x: run(rule, [*lrs[:-1], LR * (1 + x)])) / LR
    close(-rates.direction(rule, before, g, state, np), wanted)


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_the_tangent_is_the_derivative_of_the_whole_run(rule):
    p, p_rate = tangents(rule, [LR] * STEPS)
    np.testing.assert_array_equal(p, run(rule, [LR] * STEPS))
    wanted = slope(lambda x: VALIDATION.loss(run(rule, [LR * (1 + x)] * STEPS))) / LR
    close(VALIDATION.grad(p) @ p_rate, wanted)


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rule", RULES[::7], ids=range(len(RULES[::7])))
def test_mu_weighs_the_steps_by_their_age(rule, mu):
    p, p_rate = tangents(rule, [LR] * STEPS, mu)
    single = [
        slope(lambda x, k=k: VALIDATION.loss(run(rule, [LR * (1 + x * (i == k)) for i in range(STEPS)]))) / LR
        for k in range(STEPS)
    ]
    wanted = sum(mu ** (STEPS - 1 - k) * one for k, one in enumerate(single))
    close(VALIDATION.grad(p) @ p_rate, wanted)


@pytest.mark.parametrize("rule", RULES[::7], ids=range(len(RULES[::7])))
def test_the_learning_rate_of_a_group_moves_the_others_too(rule):
    first = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    p, p_rate = tangents(rule, [LR] * STEPS, lr_rate=first)
    wanted = slope(lambda x: VALIDATION.loss(run(rule, [LR * (1 + x * first)] * STEPS))) / LR
    close(VALIDATION.grad(p) @ p_rate, wanted)


def test_a_parameter_without_gradient_so_far_has_a_derivative():
    zero = {"square_avg": np.zeros(1)}
    given = (np.ones(1), np.zeros(1), zero, np.ones(1), np.zeros(1), zero)
    for rule in (Rule(), Rule(eps=0.0), Rule(eps=0.0, eps_inside_sqrt=True)):
        assert rates.tangent(rule, LR, 1, *given, np)[0] == 1.0
        assert rates.direction(rule, np.ones(1), np.zeros(1), zero, np) == 0.0


def test_every_field_of_a_rule_has_its_derivative():
    assert {field.name for field in fields(Rule)} >= rates._KNOWN
    for rule in COMMON_RULES:
        rates.check_rule(rule)


@pytest.mark.parametrize("rule", VARIANT_RULES, ids=range(len(VARIANT_RULES)))
def test_what_only_papers_choose_is_refused(rule):
    with pytest.raises(ValueError, match="has no hypergradient here: leave it at"):
        rates.check_rule(rule)


def test_a_choice_without_derivative_is_refused(monkeypatch):
    monkeypatch.setattr(rates, "_KNOWN", rates._KNOWN - {"nesterov"})
    rates.check_rule(Rule(momentum=0.9))
    with pytest.raises(ValueError, match="nesterov=True has no hypergradient here: leave it at False"):
        rates.check_rule(Rule(momentum=0.9, nesterov=True))


@pytest.mark.parametrize(
    ("hypergradient", "wanted"), [(0.0, 0.1), (1.0, 0.09), (-1.0, 0.11), (100.0, 0.025), (-100.0, 0.4), (np.inf, 0.025)]
)
def test_additive_steps_are_bounded_and_stay_above_zero(hypergradient, wanted):
    assert rates.additive(0.1, hypergradient, 0.01, 4.0) == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize(
    ("hypergradient", "scale", "hyper_lr", "wanted"),
    [(-2.0, 2.0, 0.01, 0.101), (1.0, 2.0, 0.01, 0.0995), (0.0, 0.0, 0.01, 0.1), (2.0, 2.0, 5.0, 0.025)],
)
def test_multiplicative_steps_depend_on_the_angle_alone(hypergradient, scale, hyper_lr, wanted):
    assert rates.multiplicative(0.1, hypergradient, scale, hyper_lr, 4.0) == pytest.approx(wanted, rel=1e-15)
