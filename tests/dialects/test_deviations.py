"""Where a row leaves out a flaw of its framework, and says so in its notes."""

import numpy as np
from dialects import live_optax
from dialects.agreement import expectation, rule_and_rates
from dialects.trajectories import Case

from rmsprop import DIALECTS


def test_optax_leaves_a_share_of_v0_in_the_corrected_average():
    case = Case({"initial_square_avg": 1.0, "bias_correction": True})
    g, eps, share = case.gradients()[0], 1e-8, 0.9 / (1.0 - 0.9)
    theirs, _ = live_optax.run(case)
    np.testing.assert_allclose(theirs[0], -0.01 * g / np.sqrt(g**2 + share + eps), rtol=1e-12)
    ours = expectation(*rule_and_rates(DIALECTS["optax"], case), case).trace.params
    np.testing.assert_allclose(ours[0], -0.01 * g / np.sqrt(g**2 + eps), rtol=1e-12)
