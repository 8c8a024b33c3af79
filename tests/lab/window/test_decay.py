"""What a decay keeps: sums to 1, halves when it says, fills as fast as it forgets."""

import math

import numpy as np
import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.window.decay import STARTS, deficit, measure, rules, step_sizes, weights
from rmsprop.reference import init, update

DECAYS = (0.5, 0.9, 0.99, 0.999)


@pytest.mark.parametrize("decay", DECAYS)
def test_weights_sum_to_one_halve_and_hold_95_percent_where_they_say(decay):
    window = measure([decay])[0]
    ages = np.arange(20 * window.window)
    kept = weights(decay, ages)
    assert kept.sum() == pytest.approx(1.0, abs=1e-8)
    assert weights(decay, np.array([window.half_life]))[0] == pytest.approx((1 - decay) / 2)
    assert kept[ages < window.mass_window].sum() == pytest.approx(0.95, abs=1 - decay)
    assert (ages * kept).sum() + 1 == pytest.approx(window.window, rel=1e-6)


@pytest.mark.parametrize("decay", DECAYS)
def test_the_weights_are_those_of_the_reference(decay):
    rule, v = rules(decay)["v₀ = 0"], []
    state = init(rule, np.zeros(1))
    for step in range(1, 21):  # one squared gradient of 1, and then none
        _, state = update(rule, 0.1, step, np.zeros(1), np.array([1.0 if step == 1 else 0.0]), state)
        v.append(float(state["square_avg"][0]))
    np.testing.assert_allclose(v, weights(decay, np.arange(20)), rtol=1e-12)


@pytest.mark.parametrize("decay", DECAYS)
def test_v_fills_by_the_deficit_and_steps_shrink_by_its_root(decay):
    window = measure([decay])[0]
    assert window.filled == pytest.approx({t: 1 - decay**t for t in (1, 10, 100, 1000)})
    assert deficit(decay, np.array([window.mass_window]))[0] == pytest.approx(0.95)
    from_zero, from_one, corrected = (window.first[start].sizes for start in STARTS)
    for step in (1, 2, 10, 100):
        filled = 1 - decay**step
        assert from_zero[step] == pytest.approx(1 / math.sqrt(filled))
        assert from_one[step] == pytest.approx(0.01 / math.sqrt(decay**step + filled * 1e-4))
        assert corrected[step] == pytest.approx(1.0)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("decay", DECAYS)
def test_what_is_drawn_is_what_the_rule_does(decay, start):
    first = measure([decay], 0.03)[0].first[start].sizes
    drawn = step_sizes(decay, start, 0.03, np.array(list(first)))
    np.testing.assert_allclose(drawn, list(first.values()), rtol=1e-13)


@pytest.mark.parametrize("gradient", [1e-150, 1e-12, 1e150])
def test_no_epsilon_takes_part_however_small_the_gradient(gradient):
    first = measure([0.9], gradient)[0].first
    assert first["bias correction"].sizes == pytest.approx(dict.fromkeys((1, 2, 10, 100), 1.0))
    assert first["v₀ = 0"].sizes[1] == pytest.approx(10**0.5)


def test_the_size_of_the_gradient_matters_from_one_alone():
    small, large = (measure([0.9], gradient)[0].first for gradient in (1e-4, 1.0))
    assert small["v₀ = 0"].sizes[1] == pytest.approx(large["v₀ = 0"].sizes[1])
    assert small["v₀ = 1"].sizes[1] == pytest.approx(1e-4 * large["v₀ = 1"].sizes[1], rel=0.1)


@pytest.mark.parametrize(
    ("decays", "gradient", "message"),
    [
        ([], 1.0, "0 decays are given: give 1 to 6, such as 0.9 0.99 0.999"),
        ([0.5 + i / 20 for i in range(7)], 1.0, "7 decays are given: give 1 to 6, such as 0.9 0.99 0.999"),
        ([0.0], 1.0, "the decay is 0.0: it must be a number between 0 and 1, both excluded, such as 0.99"),
        ([1.0], 1.0, "the decay is 1.0: it must be a number between 0 and 1, both excluded, such as 0.99"),
        ([0.9, -0.5], 1.0, "the decay is -0.5: it must be a number between 0 and 1, both excluded, such as 0.99"),
        ([math.nan], 1.0, "the decay is nan: it must be a number between 0 and 1, both excluded, such as 0.99"),
        ([0.9, 0.9], 1.0, "the decay 0.9 is given twice: give each once"),
        ([0.9], 0.0, "--gradient is 0: it must be a number from 1e-150 to 1e+150"),
        ([0.9], 1e-151, "--gradient is 1e-151: it must be a number from 1e-150 to 1e+150"),
        ([0.9], math.inf, "--gradient is inf: it must be a number from 1e-150 to 1e+150"),
        ([0.9], math.nan, "--gradient is nan: it must be a number from 1e-150 to 1e+150"),
    ],
)
def test_what_has_no_window_is_one_sentence(decays, gradient, message):
    with pytest.raises(InputError) as caught:
        measure(decays, gradient)
    assert str(caught.value) == message
