"""Optax, run on a case in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

KEYWORDS = {"eps_inside_sqrt": "eps_in_sqrt", "initial_square_avg": "initial_scale"}


def run(case):
    """Return the parameter after every step and the final state."""
    with jax.enable_x64(True):
        rates = jnp.array(case.learning_rates())
        keywords = {KEYWORDS.get(name, name): value for name, value in case.settings.items()}
        optimizer = optax.rmsprop(lambda count: rates[count], **keywords)
        theta = jnp.array(case.parameter())
        state = optimizer.init(theta)
        params = []
        for grad in case.gradients():
            changes, state = optimizer.update(jnp.array(grad), state, theta)
            theta = optax.apply_updates(theta, changes)
            params.append(np.array(theta))
        kept = {"nu": state[0].nu}
        if case.settings.get("centered"):
            kept["mu"] = state[0].mu
        if case.settings.get("momentum"):
            kept["trace"] = -state[2].trace
        return np.array(params), {name: np.array(value) for name, value in kept.items()}
