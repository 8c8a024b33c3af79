"""Both precisions: JAX computes in float64 only where it is asked to."""

import jax
import pytest


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield
