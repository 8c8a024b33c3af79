"""The reference's numbers, in every dialect and every dtype."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import ALL_RULES, same_bits

from rmsprop import DIALECTS, RECIPES, Rule, reference
from rmsprop.jax import from_recipe, rmsprop, scale_by_rmsprop
from rmsprop.jax.transformation import transformation

RULES = [rule for rule in ALL_RULES if not rule.weight_decay]


def gradients(dtype=np.float32, steps=8, size=40):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((steps, size)) * 10.0 ** rng.uniform(-4, 2, size)).astype(dtype)


def both(rule, grads, lr=0.01, compiled=False):
    """Return (name, reference, ours) for the update and the state of each step."""
    optimizer = transformation(rule, lr, -1.0)
    update = jax.jit(optimizer.update) if compiled else optimizer.update
    expected, ours = reference.init(rule, grads[0]), optimizer.init(jnp.asarray(grads[0]))
    for t, grad in enumerate(grads, 1):
        change, expected = reference.update(rule, lr, t, np.zeros_like(grad), grad, expected)
        found, ours = update(jnp.asarray(grad), ours)
        yield "update", change, np.asarray(found)
        for name in rule.state_names:
            yield name, expected[name], np.asarray(getattr(ours, name))


def assert_within(ulps, results, squared):
    """Compare relative to the largest value so far: sums of terms of both signs are off relative to their terms."""
    peak = {"grad_var": squared}  # what the variance is a difference of
    for name, expected, found in results:
        peak[name] = np.maximum(peak.get(name, 0), np.abs(expected))
        assert (np.abs(found - expected) <= ulps * np.spacing(peak[name])).all(), name


@pytest.mark.parametrize("rule", [r for r in RULES if not r.bias_correction], ids=str)
def test_outside_jit_float32_has_the_bits_of_the_reference(rule):
    for name, expected, found in both(rule, gradients()):
        # The update of a parameter of 0 that stays: 0 − 0 has a sign, −0 another one.
        assert same_bits(expected + 0.0, found + 0.0) if name == "update" else same_bits(expected, found), name


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_a_compiled_update_on_the_cpu_has_them_too_without_momentum(centered, inside, decay):
    rule = Rule(decay=decay, centered=centered, eps_inside_sqrt=inside)
    for name, expected, found in both(rule, gradients(), compiled=True):
        assert same_bits(expected, found), name


# What is compiled may round a product and a sum together; what is corrected has a gain with four roundings (logarithm,
# exponential, quotient, product) instead of one. So each of 8 steps adds at most 4 roundings; measured: 4 in all.
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("rule", RULES[::9], ids=str)
def test_float32_stays_within_roundings_of_the_reference(rule, compiled):
    if rule.centered and rule.bias_correction:
        rule = replace(rule, eps=1.0)  # the first corrected variance is 0: a smaller ε would hide the later steps
    grads = gradients(steps=8)
    assert_within(4 * 8, both(rule, grads, compiled=compiled), (grads**2).max(0))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rule", RULES[::5], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_in_double_precision_it_is_the_reference(rule, dtype):
    grads = gradients(dtype)
    rule = replace(rule, delayed=rule.delayed and dtype == np.float64)  # which limits real numbers alone
    if dtype == np.complex128:
        grads = grads + 1j * gradients()[::-1]
    assert_within(64, both(replace(rule, eps=1.0), grads), (np.abs(grads) ** 2).max(0))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "centered": True}, {"weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_follows_its_rule_with_a_changing_learning_rate(dialect, options):
    def lr(count):
        return 0.1 / (count + 1.0)

    rule = DIALECTS[dialect].rule_with(**options)
    optimizer, grads = rmsprop(lr, dialect=dialect, **options), gradients(np.float64)
    param = ours = np.ones(grads.shape[1])
    state, expected = optimizer.init(ours), reference.init(rule, param)
    for t, grad in enumerate(grads, 1):
        param, expected = reference.update(rule, lr(t - 1), t, param, grad, expected)
        update, state = optimizer.update(grad, state, ours)
        ours = ours + np.asarray(update)
    np.testing.assert_allclose(ours, param, rtol=1e-12)
    assert state.count == len(grads)


@pytest.mark.parametrize("mode", ["l2", "decoupled"])
def test_weight_decay_in_either_mode_is_part_of_the_direction(mode):
    rule = Rule(weight_decay=0.5, weight_decay_mode=mode, eps=1.0)
    optimizer = scale_by_rmsprop(rule)
    param, grad = jnp.array([2.0]), jnp.array([1.0])
    direction, _ = optimizer.update(grad, optimizer.init(param), param)
    new, _ = reference.update(rule, 1.0, 1, np.asarray(param), np.asarray(grad), reference.init(rule, param))
    np.testing.assert_allclose(param - direction, new, rtol=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_dialect_with_its_settings(name):
    recipe, grad = RECIPES[name], jnp.array([0.5, -2.0])
    params = jnp.array([1.0, 3.0])
    found = from_recipe(name)
    expected = rmsprop(recipe.lr, dialect=recipe.dialect, **recipe.settings)
    results = [o.update(grad, o.init(params), params) for o in (found, expected)]
    assert jax.tree.all(jax.tree.map(jnp.array_equal, *results))


def test_an_override_of_a_recipe_wins_under_either_name():
    for override in ({"initial_scale": 0.25}, {"initial_square_avg": 0.25}):
        assert from_recipe("efficientnet", **override, eps=None).init(jnp.zeros(1)).square_avg == 0.25


@pytest.mark.parametrize(
    ("param", "grad", "given", "updates", "square_avg"),
    [
        ("bfloat16", "bfloat16", True, "bfloat16", "float32"),
        ("float16", "float16", False, "float16", "float32"),
        ("float32", "bfloat16", True, "float32", "float32"),
        ("bfloat16", "float32", True, "float32", "float32"),
        ("float32", "float32", False, "float32", "float32"),
        ("complex64", "complex64", True, "complex64", "float32"),
    ],
)
def test_dtypes_of_updates_and_state(param, grad, given, updates, square_avg):
    optimizer = rmsprop(optax_schedule, momentum=0.9)
    params = jnp.ones(2, param)
    update, state = optimizer.update(jnp.ones(2, grad), optimizer.init(params), params if given else None)
    assert update.dtype == updates
    assert state.square_avg.dtype == square_avg
    assert state.momentum_buffer.dtype == ("complex64" if param == "complex64" else "float32")


def optax_schedule(count):
    return 0.1 * 0.5**count


@pytest.mark.parametrize("lr", [0.1, jnp.asarray(0.1), np.float32(0.1), np.array([0.1], np.float32), lambda _: 0.1])
def test_the_learning_rate_may_come_in_any_form(lr):
    optimizer = rmsprop(lr)
    update, _ = optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))
    np.testing.assert_allclose(update, -0.1 / np.sqrt(0.1 + 1e-8), rtol=1e-6)


def test_the_learning_rate_left_out_is_the_default_of_the_dialect():
    optimizer, explicit = rmsprop(dialect="torch"), rmsprop(0.01, dialect="torch")
    found = [o.update(jnp.ones(1), o.init(jnp.ones(1)))[0] for o in (optimizer, explicit)]
    assert found[0] == found[1]


def test_a_traced_bias_correction_does_not_cancel():
    # 1 − 0.9999ᵗ in float32 would keep 3 digits.
    optimizer, grad = rmsprop(1.0, decay=0.9999, bias_correction=True, eps=0.0), jnp.full(1, 3.0)
    state = optimizer.init(grad)
    for g in (3.0, 1.0):
        _, state = jax.jit(optimizer.update)(jnp.full(1, g), state)
    np.testing.assert_allclose(state.square_avg, (0.9999 * 9 + 1) / 1.9999, rtol=1e-6)
