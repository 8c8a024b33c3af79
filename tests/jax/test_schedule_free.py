"""Optax's own schedule-free wrapper around ours computes what `rmsprop.averaging` says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rmsprop import Rule, averaging, reference
from rmsprop.jax import rmsprop


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_optax_makes_ours_schedule_free(x64, beta):
    rule = Rule(decay=0.99, bias_correction=True)
    ours = rmsprop(0.01, decay=rule.decay, eps=rule.eps, eps_in_sqrt=False, bias_correction=True)
    wrapped = optax.contrib.schedule_free(ours, 0.01, b1=beta)
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.uniform(-0.1, 0.1, 50))
    state, step = wrapped.init(params), jax.jit(wrapped.update)
    y = z = np.asarray(params)
    kept, done, settings = reference.init(rule, y), averaging.AverageProgress(), averaging.Averaging(beta=beta)
    for number in range(1, 101):
        grad = rng.standard_normal(50)
        updates, state = step(jnp.asarray(grad), state, params)
        params = optax.apply_updates(params, updates)
        numbers = settings.step(0.01, done)
        u, kept = reference.change(rule, 1.0, number, grad, kept, np)
        y, z = averaging.moved(numbers, y, z, u)
        done = numbers.after
        # Optax goes through x = (y − (1 − β)·z)/β and back: some eight roundings a step of numbers below 1, of which
        # those of x are divided by β.
        np.testing.assert_allclose(params, y, rtol=0, atol=number * 8 * 2.0**-53 / beta)
    x = optax.contrib.schedule_free_eval_params(state, params)
    np.testing.assert_allclose(x, averaging.x_of(beta, y, z), rtol=0, atol=100 * 8 * 2.0**-53 / beta**2)
