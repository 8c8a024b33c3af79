"""Optimizers in any order of what programs do with them keep the bits of the specification."""

import pytest
from attack.machines import MACHINES
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

EXAMPLES, STEPS = 40, 15


@pytest.mark.parametrize("name", MACHINES)
def test_any_order_of_uses_has_the_bits_of_the_specification(name):
    run_state_machine_as_test(MACHINES[name], settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS))
