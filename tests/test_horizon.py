"""What a decay means in steps, checked against the weights (1 − ρ)ρᵏ themselves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmsprop import (
    decay_from_half_life,
    decay_from_mass_window,
    decay_from_window,
    half_life,
    mass_window,
    window,
)

decays = st.floats(0.01, 0.9999)
PAIRS = [(half_life, decay_from_half_life), (window, decay_from_window), (mass_window, decay_from_mass_window)]


@given(decays)
def test_the_half_life_halves(decay):
    assert decay ** half_life(decay) == pytest.approx(0.5, rel=1e-12)


@given(decays, st.floats(0.01, 0.99))
def test_the_mass_window_holds_the_mass(decay, mass):
    assert 1.0 - decay ** mass_window(decay, mass) == pytest.approx(mass, rel=1e-9)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99])
def test_the_window_is_the_mean_age_of_a_gradient_plus_one(decay):
    k = np.arange(20_000)
    assert np.sum((1 - decay) * decay**k * k) + 1 == pytest.approx(window(decay), rel=1e-9)


@pytest.mark.parametrize(("forth", "back"), PAIRS)
@given(decay=decays)
def test_there_and_back(forth, back, decay):
    assert back(forth(decay)) == pytest.approx(decay, rel=1e-12)


@pytest.mark.parametrize(
    ("decay", "steps", "half"), [(0.9, 10, 6.6), (0.95, 20, 13.5), (0.99, 100, 69.0), (0.999, 1000, 692.8)]
)
def test_known_values(decay, steps, half):
    assert window(decay) == pytest.approx(steps)
    assert half_life(decay) == pytest.approx(half, abs=0.05)


@pytest.mark.parametrize("function", [half_life, window, mass_window])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.1, math.nan])
def test_a_decay_outside_the_open_interval_is_refused(function, value):
    with pytest.raises(ValueError, match=f"Invalid decay: {value} .allowed: a number between 0 and 1, both excluded."):
        function(value)


@pytest.mark.parametrize(
    ("function", "low"), [(decay_from_half_life, 0), (decay_from_window, 1), (decay_from_mass_window, 0)]
)
@pytest.mark.parametrize("below", [0.0, 1.0, math.inf, math.nan])
def test_steps_out_of_range_are_refused(function, low, below):
    value = low - below if math.isfinite(below) else below
    with pytest.raises(ValueError, match=f"allowed: a finite number of steps above {low}"):
        function(value)
