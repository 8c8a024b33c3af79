"""The specification itself: against the textbook formulas, and by the properties that any RMSProp has."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support import ALL_RULES

from rmsprop import DIALECTS, Rule, reference

numbers = st.floats(-1e3, 1e3).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
gradients = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=numbers)
rules = st.sampled_from(ALL_RULES)


def trajectory(rule, grads, lr=0.01, param=None, **options):
    """Return the parameter and state after a step with each row of `grads`."""
    param = np.ones(grads.shape[1:], grads.dtype) if param is None else param
    state = reference.init(rule, param)
    for step, grad in enumerate(grads, 1):
        param, state = reference.update(rule, lr, step, param, grad, state, **options)
    return param, state


def textbook(rule, grads, lr, param):
    """The formulas written out the long way, with the averages v and m themselves; extended, because v − m² cancels."""
    param, decay = param.astype(np.longdouble), np.longdouble(rule.decay)
    v, m, b = param * 0 + rule.initial_square_avg, param * 0, param * 0
    for t, g in enumerate(grads.astype(np.longdouble), 1):
        if rule.weight_decay_mode == "l2":
            g = g + rule.weight_decay * param
        v = g**2 if t == 1 and rule.init_from_gradient else v
        before = v, m
        v = decay * v + (1 - decay) * g**2
        m = decay * m + (1 - decay) * g
        if rule.delayed:
            v_hat, m_hat = corrected(rule, *before, t - 1)
        else:
            v_hat, m_hat = corrected(rule, v, m, t)
        d = np.maximum(v_hat - m_hat**2, 0.0) if rule.centered else v_hat
        u = g / (np.sqrt(d + rule.eps) if rule.eps_inside_sqrt else np.sqrt(d) + rule.eps)
        if rule.delayed:
            u = np.clip(u, -((t - 1) ** 0.25), (t - 1) ** 0.25)
        collected = lr * u if rule.lr_in_momentum else u
        if rule.averaged_momentum:
            faded = np.longdouble(rule.momentum) ** t if rule.bias_correction else 0.0
            share = (1 - np.longdouble(rule.momentum)) / (1 - faded)
            b = rule.momentum * b + (1 - np.longdouble(rule.momentum)) * collected
            b_hat = b / (1 - faded)
            change = share * collected + (1 - share) * b_hat if rule.nesterov else b_hat
        else:
            b = rule.momentum * b + collected
            change = collected + rule.momentum * b if rule.nesterov else b
        if rule.caution:
            agrees = change * g > 0
            change = np.where(agrees, change / max(agrees.mean(), 1e-3), 0.0)
        change = change if rule.lr_in_momentum else lr * change
        decays = {"l2": False, "decoupled": True, "cautious": change * param >= 0}[rule.weight_decay_mode]
        lr_squared = lr * lr / rule.weight_decay_max_lr if rule.weight_decay_max_lr else lr
        param = param - decays * lr_squared * rule.weight_decay * param - change
    return param


def corrected(rule, v, m, t):
    if not rule.bias_correction or t == 0:
        return v, m
    faded = np.longdouble(rule.decay) ** t
    start = v * 0 if rule.init_from_gradient else rule.initial_square_avg
    return (v - faded * start) / (1 - faded), m / (1 - faded)


@pytest.mark.parametrize("rule", ALL_RULES, ids=range(len(ALL_RULES)))
def test_every_rule_follows_the_textbook(rule):
    rule = replace(rule, eps=1.0)  # far above what cancellation leaves of a variance that is zero
    grads = np.random.default_rng(0).standard_normal((8, 5))
    param, _ = trajectory(rule, grads)
    np.testing.assert_allclose(param, textbook(rule, grads, 0.01, np.ones(5)).astype(float), rtol=1e-9)


@given(rules, gradients)
def test_the_opposite_gradient_takes_the_opposite_step(rule, grads):
    rule = replace(rule, weight_decay=0.0)
    zero = np.zeros(grads.shape[1:])
    there, state = trajectory(rule, grads, param=zero)
    back, mirrored = trajectory(rule, -grads, param=zero)
    np.testing.assert_array_equal(back, -there)
    for name in {"square_avg", "grad_var"} & state.keys():
        np.testing.assert_array_equal(mirrored[name], state[name])


@given(rules, gradients)
def test_maximizing_is_minimizing_the_negative(rule, grads):
    rule = replace(rule, weight_decay=0.0)
    np.testing.assert_array_equal(trajectory(rule, grads, maximize=True)[0], trajectory(rule, -grads)[0])


@given(rules, gradients, st.integers(-20, 20))
def test_without_epsilon_the_scale_of_the_gradient_does_not_matter(rule, grads, exponent):
    # Powers of two scale exactly, so the steps are equal to the last bit. Centered, v − m² may be a rounding error.
    rule = replace(rule, eps=0.0, weight_decay=0.0, initial_square_avg=0.0)
    scaled, _ = trajectory(rule, grads * 2.0**exponent)
    np.testing.assert_array_equal(scaled, trajectory(rule, grads)[0])


@given(rules, gradients, st.integers(-20, 20))
def test_grad_scale_multiplies_the_gradient(rule, grads, exponent):
    scale = 2.0**exponent
    np.testing.assert_array_equal(trajectory(rule, grads, grad_scale=scale)[0], trajectory(rule, grads * scale)[0])


@given(rules, gradients)
def test_v_stays_within_the_range_of_the_squared_gradients(rule, grads):
    rule = replace(rule, centered=False, weight_decay=0.0)
    _, state = trajectory(rule, grads)
    squares = np.concatenate([grads**2, np.full((1, *grads.shape[1:]), rule.initial_square_avg)])
    slack = 1e-12 * squares.max(0)
    assert (state["square_avg"] >= squares.min(0) - slack).all()
    assert (state["square_avg"] <= squares.max(0) + slack).all()


@given(rules, gradients)
def test_the_centered_variance_is_never_negative(rule, grads):
    rule = replace(rule, centered=True)
    param, state = np.ones(grads.shape[1:], np.float32), None
    state = reference.init(rule, param)
    for step, grad in enumerate(grads.astype(np.float32), 1):
        param, state = reference.update(rule, 0.01, step, param, grad, state)
        assert (state["grad_var"] >= 0).all()


@given(rules, st.floats(0.01, 100.0), st.integers(1, 60))
def test_a_constant_gradient_has_a_closed_form(rule, g, steps):
    rule = replace(rule, weight_decay=0.0, bias_correction=False)
    _, state = trajectory(rule, np.full((steps, 1), g))
    faded = rule.decay**steps
    if rule.centered:
        m = g * (1 - faded)
        found = state["grad_var"] + state["grad_avg"] ** 2
        np.testing.assert_allclose(state["grad_avg"], m, rtol=1e-12)
    else:
        found = state["square_avg"]
    start = g**2 if rule.init_from_gradient else rule.initial_square_avg
    np.testing.assert_allclose(found, g**2 * (1 - faded) + faded * start, rtol=1e-10)


@given(rules, st.floats(0.01, 100.0))
def test_the_corrected_average_of_a_constant_is_the_constant(rule, g):
    rule = replace(rule, weight_decay=0.0, bias_correction=True, centered=False)
    _, state = trajectory(rule, np.full((20, 1), g))
    np.testing.assert_allclose(state["square_avg"], g**2, rtol=1e-14)


@given(gradients)
def test_dialects_with_equal_rules_give_equal_results(grads):
    as_torch = DIALECTS["hinton"].rule_with(decay=0.99)
    assert as_torch == DIALECTS["torch"].rule
    np.testing.assert_array_equal(trajectory(as_torch, grads)[0], trajectory(DIALECTS["torch"].rule, grads)[0])
    # With constant lr and v₀ = 0, lr inside or outside the buffer is the same rule in exact arithmetic.
    inside = DIALECTS["tensorflow1"].rule_with(initial_square_avg=0.0, momentum=0.9, eps=1e-3)
    outside = replace(inside, lr_in_momentum=False)
    np.testing.assert_allclose(trajectory(inside, grads)[0], trajectory(outside, grads)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [r for r in ALL_RULES if not r.weight_decay], ids=str)
def test_no_gradient_asks_for_no_step_even_without_epsilon(rule):
    rule = replace(rule, eps=0.0, initial_square_avg=0.0)
    param, state = trajectory(rule, np.zeros((3, 2), np.float32))
    np.testing.assert_array_equal(param, np.ones(2, np.float32))
    assert not any(value.any() for value in state.values())


@pytest.mark.parametrize("decay", [0.3, 0.9])
@pytest.mark.parametrize("centered", [False, True])
def test_an_infinite_average_stays_infinite(decay, centered):
    grads = np.array([[np.inf], [1.0], [2.0]], np.float32)
    rule = Rule(decay=decay, centered=centered)
    _, state = trajectory(rule, grads[:1])
    _, later = trajectory(rule, grads)
    for name in ("square_avg", "grad_var"):
        if name in later and decay == 0.9:
            assert np.isposinf(state[name]).all()
            assert np.isposinf(later[name]).all()


def test_nan_is_not_hidden():
    for rule in ALL_RULES:
        param, _ = trajectory(rule, np.array([[1.0, np.nan]]))
        assert np.isfinite(param[0])
        assert np.isnan(param[1])


@pytest.mark.parametrize("rule", ALL_RULES[::7], ids=str)
def test_inputs_are_left_as_they_are(rule):
    param, grad = np.ones(3), np.arange(3.0)
    state = reference.init(rule, param)
    before = {name: value.copy() for name, value in state.items()}
    reference.update(rule, 0.1, 1, param, grad, state)
    np.testing.assert_array_equal(param, np.ones(3))
    np.testing.assert_array_equal(grad, np.arange(3.0))
    assert all(np.array_equal(state[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("param", "state"), [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)]
)
def test_precisions(param, state):
    theta, kept = trajectory(Rule(momentum=0.9), np.ones((2, 3), param))
    assert theta.dtype == param
    assert {value.dtype for value in kept.values()} == {np.dtype(state)}


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3)])
def test_shapes(shape):
    param, state = trajectory(Rule(centered=True), np.ones((2, *shape)))
    assert param.shape == shape
    assert all(value.shape == shape for value in state.values())


@pytest.mark.parametrize("rule", [Rule(), Rule(momentum=0.9, lr_in_momentum=True), Rule(weight_decay=0.1)], ids=str)
def test_what_limits_the_quotient_limits_the_step(rule):
    """By a power of two: all that follows is multiplied by it exactly."""
    grad, state = np.array([3.0, -4.0]), {name: np.zeros(2) for name in rule.state_names}
    whole, kept = reference.apply(rule, 0.1, 1, np.zeros(2), grad, state, np)
    halved, ours = reference.apply(rule, 0.1, 1, np.zeros(2), grad, state, np, lambda u: 0.5 * u)
    np.testing.assert_array_equal(halved, 0.5 * whole)
    np.testing.assert_array_equal(ours["square_avg"], kept["square_avg"])


def test_numbers_and_lists_are_arrays():
    rule = Rule(momentum=0.9)
    for param, grad in ((1.0, 2.0), ([1.0, 2.0], [3.0, 4.0])):
        expected = reference.update(rule, 0.1, 1, np.array(param), np.array(grad), reference.init(rule, param))
        found = reference.update(rule, 0.1, 1, param, grad, reference.init(rule, np.array(param)))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_equal(ours, theirs)


def test_bad_input_is_said_in_one_sentence():
    rule, param = Rule(), np.ones(2)
    with pytest.raises(ValueError, match=r"grad has shape \(3,\), but param has \(2,\): they must be equal"):
        reference.update(rule, 0.1, 1, param, np.ones(3), reference.init(rule, param))
    with pytest.raises(ValueError, match="step is 0, but the first update is step 1"):
        reference.update(rule, 0.1, 0, param, param, reference.init(rule, param))


def test_the_smallest_normal_number_is_that_of_float32():
    assert np.finfo(np.float32).smallest_normal == reference.SMALLEST_NORMAL


@pytest.mark.parametrize("rule", [Rule(), Rule(decay=0.3), Rule(centered=True), Rule(momentum=0.9), Rule(momentum=0.3)])
def test_an_infinite_average_that_meets_an_infinity_stays_infinite(rule):
    state = {name: np.full(2, np.inf) for name in rule.state_names}
    grad = np.array([np.inf, -np.inf])
    _, new = reference.update(rule, 0.1, 2, np.ones(2), grad, state)
    if not rule.centered:  # whose deviation is inf − inf
        np.testing.assert_array_equal(new["square_avg"], [np.inf, np.inf])


def test_no_gradient_asks_for_no_step_whatever_the_library_has():
    """One with ``finite`` is asked for 0/0 only where ε doesn't keep it from happening."""
    names = ("sqrt", "where", "real", "conj")
    library = SimpleNamespace(**{name: getattr(np, name) for name in names}, finite=lambda values: values)
    state = {"square_avg": np.zeros(2)}
    new, _ = reference.apply(Rule(eps=0.0), 0.1, 1, np.ones(2), np.zeros(2), state, library)
    np.testing.assert_array_equal(new, np.ones(2))


def test_a_library_that_knows_of_no_infinity_is_asked_for_no_choice():
    """As torch's ``where``, this one takes no Python bool."""

    def where(condition, *values):
        assert isinstance(condition, np.ndarray)
        return np.where(condition, *values)

    names = ("sqrt", "real", "conj")
    library = SimpleNamespace(**{name: getattr(np, name) for name in names}, where=where, isinf=lambda values: False)
    rule, arrays = Rule(momentum=0.9), (np.ones(2), np.full(2, 3.0))
    state = {name: np.full(2, 0.5) for name in rule.state_names}
    expected = reference.apply(rule, 0.1, 2, *arrays, state, np)
    for ours, theirs in zip(reference.apply(rule, 0.1, 2, *arrays, state, library), expected, strict=True):
        np.testing.assert_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_averages_of_squares_are_real_and_others_complex(dtype):
    rule, param = Rule(centered=True, momentum=0.9), np.ones(2, dtype)
    _, after = reference.update(rule, 0.1, 1, param, param, reference.init(rule, param))
    for state in (reference.init(rule, param), after):
        assert {name: array.dtype for name, array in state.items()} == {
            "grad_var": np.zeros(0, dtype).real.dtype,
            "grad_avg": dtype,
            "momentum_buffer": dtype,
        }


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_a_delayed_rule_refuses_complex_numbers(dtype):
    rule, param = Rule(delayed=True), np.ones(2, dtype)
    state = {"square_avg": np.ones(2, np.empty(0, dtype).real.dtype)}
    with pytest.raises(TypeError, match="delayed=True limits each element of a quotient, but has no limit for complex"):
        reference.update(rule, 0.1, 2, param, param, state)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_zero_keeps_its_sign_where_the_limit_is_zero_too(zero):
    rule = Rule(delayed=True, init_from_gradient=True, momentum=0.25)
    param = np.ones(1)
    _, state = reference.update(
        rule, 0.1, 1, param, np.full(1, zero), reference.init(rule, param) | {"momentum_buffer": np.full(1, -0.0)}
    )
    assert np.signbit(state["momentum_buffer"][0]) == np.signbit(zero)


def test_an_infinite_buffer_and_an_infinite_quotient_against_it_are_no_number():
    rule = Rule(decay=1.0, eps=0.0, momentum=0.9)  # v stays 0
    state = {"square_avg": np.zeros(1), "momentum_buffer": np.full(1, np.inf)}
    _, state = reference.update(rule, 0.1, 1, np.ones(1), np.full(1, -1.0), state)
    assert np.isnan(state["momentum_buffer"][0])
