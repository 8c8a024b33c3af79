"""The same numbers as the real ``optax.rmsprop`` over its options, and better ones where it fails."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rmsprop import Rule, reference
from rmsprop.jax import rmsprop

MOMENTA = [{}, {"momentum": 0.3}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}]
OPTIONS = [
    {"centered": centered, "eps_in_sqrt": inside, "bias_correction": correction, "initial_scale": scale, **momentum}
    for centered, inside, correction, scale, momentum in product(
        (False, True), (False, True), (False, True), (0.0, 1.0), MOMENTA
    )
]
RATES = {"constant": 0.01, "schedule": optax.cosine_decay_schedule(0.1, 20)}


def gradients(steps=15, size=7):
    rng = np.random.default_rng(1)
    return rng.standard_normal((steps, size)) * 10.0 ** rng.uniform(-6, 3, size)


def train(optimizer, grads):
    """Return the update of each step; not compiled, because most of the time would go into compiling."""
    state, updates = optimizer.init(jnp.asarray(grads[0])), []
    for grad in jnp.asarray(grads):
        update, state = optimizer.update(grad, state)
        updates.append(update)
    return np.array(updates)


def by_the_reference(options, lr, grads):
    """Return what the reference subtracts in each step, in float64."""
    rule = Rule.from_dialect(
        "optax",
        eps_inside_sqrt=options["eps_in_sqrt"],
        initial_square_avg=options["initial_scale"],
        **{name: options[name] for name in options.keys() - {"eps_in_sqrt", "initial_scale"}},
    )
    state, updates = reference.init(rule, grads[0]), []
    for t, grad in enumerate(grads, 1):
        rate = float(lr(t - 1)) if callable(lr) else lr
        update, state = reference.update(rule, rate, t, np.zeros_like(grad), grad, state)
        updates.append(update)
    return np.array(updates)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("lr", RATES.values(), ids=RATES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_in_float64_it_agrees(options, lr):
    grads = gradients()
    ours = train(rmsprop(lr, **options), grads)
    # Optax leaves v₀ in its corrected average; ours removes it, so it is compared with an Optax that starts from 0.
    scale = 0.0 if options["bias_correction"] else options["initial_scale"]
    # Optax's variance v − m² is 0 or a rounding error in the first corrected step, so there only the reference counts.
    if options["centered"] and options["bias_correction"]:
        expected = by_the_reference(options, lr, grads)
    else:
        expected = train(optax.rmsprop(lr, **{**options, "initial_scale": scale}), grads)
    assert np.isfinite(ours).all()
    # Relative to the largest step of each parameter, because a momentum buffer may pass through zero. Centered, Optax
    # subtracts m² from v, which leaves a rounding error of v in a variance that may be far smaller.
    np.testing.assert_allclose(ours / np.abs(expected).max(0), expected / np.abs(expected).max(0), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_replacing_optax_takes_positional_arguments_in_its_order():
    arguments = 0.01, 0.8, 1e-4, 0.5, False, True, 0.7, True, False
    ours, theirs = (train(factory(*arguments), gradients()) for factory in (rmsprop, optax.rmsprop))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_nesterov_without_momentum_has_no_effect_as_in_optax():
    assert train(rmsprop(0.1, nesterov=True), gradients()).tolist() == train(rmsprop(0.1), gradients()).tolist()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_complex_numbers_have_one_second_moment_as_in_optax(options):
    rng = np.random.default_rng(2)
    grads = jnp.asarray(rng.standard_normal((10, 5)) + 1j * rng.standard_normal((10, 5)))

    np.testing.assert_allclose(
        train(rmsprop(0.1, **options), grads), train(optax.rmsprop(0.1, **options), grads), rtol=1e-12
    )


@pytest.mark.usefixtures("x64")
def test_pairs_of_reals_are_one_wrapper_away():
    rng = np.random.default_rng(3)
    grad = jnp.asarray(rng.standard_normal(5) + 1j * rng.standard_normal(5))
    pairs = optax.contrib.split_real_and_imaginary(rmsprop(0.1))
    update, _ = pairs.update(grad, pairs.init(grad))
    parts = [rmsprop(0.1).update(part, rmsprop(0.1).init(part))[0] for part in (grad.real, grad.imag)]
    np.testing.assert_array_equal(update, parts[0] + 1j * parts[1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("options", [{"eps_in_sqrt": True}, {"eps_in_sqrt": False}, {"bias_correction": True}], ids=str)
def test_centered_never_gives_nan(options, dtype):
    optimizer = rmsprop(1e-3, centered=True, decay=0.99, **options)
    grads = jnp.broadcast_to(jnp.array([1e-3, 0.1, 1.0, 3.0, 0.0], dtype), (4000, 5))
    params = jnp.zeros(5, dtype)

    def step(state, grad):
        update, state = optimizer.update(grad, state, params)
        return state, update

    state, updates = jax.lax.scan(step, optimizer.init(params), grads)
    assert jnp.isfinite(updates).all()
    assert (state.grad_var >= 0).all()


@pytest.mark.parametrize(("decay", "share"), [(0.9, 0.09), (0.99, 0.02)])
def test_so_many_constant_gradients_in_bfloat16_end_in_nan_in_optax(decay, share):
    grads = jax.random.normal(jax.random.key(0), 4000).astype(jnp.bfloat16)

    def is_nan(optimizer):
        def step(state, _):
            update, state = optimizer.update(grads, state)
            return state, update

        _, updates = jax.lax.scan(step, optimizer.init(grads), length=500)
        return jnp.isnan(updates).any(0).mean()

    assert is_nan(optax.rmsprop(0.01, decay=decay, centered=True)) == pytest.approx(share, abs=0.01)
    assert is_nan(rmsprop(0.01, decay=decay, centered=True)) == 0.0


def test_an_average_in_bfloat16_does_not_freeze():
    grad = jnp.ones(3, jnp.bfloat16)

    def average(optimizer, name):
        def step(state, _):
            return optimizer.update(grad, state)[1], None

        state, _ = jax.lax.scan(step, optimizer.init(grad), length=5000)
        return float(optax.tree.get(state, name)[0])

    assert average(rmsprop(0.1, decay=0.999), "square_avg") == pytest.approx(1 - 0.999**5000, rel=1e-4)
    assert average(optax.rmsprop(0.1, decay=0.999), "nu") < 0.6
