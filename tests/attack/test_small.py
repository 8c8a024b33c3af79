"""A few rules for a few steps on the kernel: the quickest look at whether it and the specification agree."""

import numpy as np
import pytest
from support import ALL_RULES, BOUNDARY_RULES, kernel_update, same_bits, wild_gradients

from rmsprop import reference


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_kernel_has_the_bits_of_the_specification(dtype):
    rng = np.random.default_rng(2)
    for rule in [*ALL_RULES[::7], *BOUNDARY_RULES]:
        param = rng.standard_normal(19).astype(dtype)
        state = reference.init(rule, param)
        ours, our_state = param.copy(), {name: value.copy() for name, value in state.items()}
        for step, (lr, maximize) in enumerate(((0.01, False), (0.5, True)), start=1):
            grad = wild_gradients(rng, 19, dtype)
            param, state = reference.update(rule, lr, step, param, grad, state, maximize=maximize, grad_scale=0.7)
            kernel_update(rule, lr, step, [ours], [grad], [our_state], maximize=maximize, grad_scale=0.7)
            assert same_bits(ours, param), (rule, step)
            assert all(same_bits(our_state[name], state[name]) for name in state), (rule, step)
