"""Schedule-free's numbers and sequences, against their definitions."""

import math

import numpy as np
import pytest
from support import same_bits, wild_gradients
from test_native import instruction_set  # noqa: F401  a fixture

from rmsprop import Rule, native, reference
from rmsprop.averaging import AveragedRule, AverageProgress, Averaging, moved, x_of, y_of
from rmsprop.batch import Batch

SETTINGS = [
    Averaging(),
    Averaging(beta=0.5, warmup_steps=7),
    Averaging(beta=1.0, r=1.5, warmup_steps=3, weight_lr_power=1.0),
    Averaging(beta=0.98, weight_lr_power=0.0, weight_decay=0.1),
]


def updates(count=30, size=5):
    return np.random.default_rng(0).standard_normal((count, size))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_two_arrays_hold_the_weighted_mean_of_all_iterates(settings):
    y = z = np.ones(5)
    done, weights, iterates, peak = AverageProgress(), [], [], 0.0
    for k, u in enumerate(updates(), 1):
        lr = 0.1 * min(1.0, k / settings.warmup_steps) if settings.warmup_steps else 0.1
        expected_z = z - lr * (u + settings.weight_decay * y)
        numbers = settings.step(0.1, done)
        y, z = moved(numbers, y, z, u)
        done, peak = numbers.after, max(peak, lr)
        np.testing.assert_allclose(z, expected_z, rtol=1e-15)  # the same three operations
        weights.append(k**settings.r * peak**settings.weight_lr_power)
        iterates.append(z)
        mean = np.average(iterates, axis=0, weights=weights)
        # 30 steps of a few roundings of numbers below 4, x being y with up to twice the error at these β.
        np.testing.assert_allclose(x_of(settings.beta, y, z), mean, rtol=0, atol=30 * 4 * 2.0**-52)
        np.testing.assert_allclose(y_of(settings.beta, mean, z), y, rtol=0, atol=30 * 4 * 2.0**-52)
    assert done.k == 30
    assert done.weight_sum == pytest.approx(math.fsum(weights), rel=30 * 2.0**-53)  # one rounding per addition


def test_a_learning_rate_of_zero_moves_nothing():
    numbers = Averaging().step(0.0, AverageProgress())
    assert (numbers.share, numbers.average_lr) == (0.0, 0.0)
    assert moved(numbers, 1.0, 2.0, 3.0) == (1.0, 2.0)


def test_a_step_weighs_by_the_largest_rate_so_far():
    assert Averaging().step(0.1, AverageProgress(k=1, lr_max=0.2, weight_sum=0.2**2)).share == 0.5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"beta": 0.0}, r"Invalid beta: 0.0 \(allowed: a number above 0, to 1\)"),
        ({"beta": 1.01}, "Invalid beta"),
        ({"beta": math.nan}, "Invalid beta"),
        ({"beta": None}, "Invalid beta: None is a NoneType"),
        ({"beta": "0.9"}, "Invalid beta: '0.9' is a str"),
        ({"warmup_steps": -1}, r"Invalid warmup_steps: -1 \(allowed: a whole number >= 0\)"),
        ({"warmup_steps": 1.5}, r"Invalid warmup_steps: 1.5"),
        ({"warmup_steps": True}, r"Invalid warmup_steps: True"),
        ({"r": True}, r"Invalid r: True is a bool \(allowed: a finite number >= 0\)"),
        ({"r": -0.5}, r"Invalid r: -0.5 \(allowed: a finite number >= 0\)"),
        ({"weight_lr_power": math.inf}, "Invalid weight_lr_power: inf"),
        ({"weight_decay": -1.0}, "Invalid weight_decay value: -1.0"),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_named(options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        Averaging(**options)


@pytest.mark.parametrize("number", [np.float32(0.75), np.array(0.75), np.float64(0.75)], ids=repr)
def test_numbers_of_arrays_are_numbers(number):
    averaging = Averaging(beta=number, r=number, weight_lr_power=number, weight_decay=number)
    assert averaging == Averaging(beta=0.75, r=0.75, weight_lr_power=0.75, weight_decay=0.75)
    assert {type(value) for value in (averaging.beta, averaging.r, averaging.weight_lr_power)} == {float}


@pytest.mark.parametrize(
    ("options", "k", "weight"),
    [({"r": 1e9}, 2, "inf"), ({"r": 200.0}, 40, "inf"), ({"weight_lr_power": 400.0}, 1, "0")],
    ids=["r", "r later", "power"],
)
def test_a_weight_that_no_float_holds_is_refused(options, k, weight):
    done = AverageProgress(k=k - 1, lr_max=0.1, weight_sum=1.0)
    with pytest.raises(ValueError, match=rf"give step {k} with learning rate 0.1 a weight of {weight} .* powers"):
        Averaging(**options).step(0.1, done)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (Rule(momentum=0.9), r"Invalid momentum value: 0.9 .*beta takes the place of momentum"),
        (Rule(delayed=True), "delayed=True can't be averaged schedule-free, .*use delayed=False"),
        (Rule(init_from_gradient=True), "init_from_gradient=True can't be averaged schedule-free"),
        (Rule(centered=True), "centered=True can't be averaged schedule-free: .*use centered=False"),
        (Rule(weight_decay=0.1), "decays no weights itself"),
    ],
    ids=["momentum", "delayed", "first gradient", "centered", "weight decay"],
)
def test_rules_that_leave_no_place_for_an_average_are_refused(rule, error):
    with pytest.raises(ValueError, match=error):
        AveragedRule(rule)


RULES = [
    Rule(decay=0.3, eps=0.0),
    Rule(decay=0.9, eps=1e-3, eps_inside_sqrt=True, initial_square_avg=1.0),
    Rule(decay=0.999, bias_correction=True),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_kernel_has_the_bits_of_these_functions(instruction_set, settings, dtype):  # noqa: F811
    rng = np.random.default_rng(1)
    for rule in RULES:
        y = rng.standard_normal(83).astype(dtype)
        z, state, done = y.copy(), reference.init(rule, y), AverageProgress()
        ours = [y.copy(), np.empty_like(y), state["square_avg"].copy(), z.copy()]
        batch = Batch(y.dtype.name, 1, rule, averages=True)
        batch.place([y.size], [array.ctypes.data for array in ours])
        for step in range(1, 6):
            grad = wild_gradients(rng, 83, dtype)
            numbers = settings.step(0.1, done)
            with np.errstate(all="ignore"):
                u, state = reference.change(rule, 1.0, step, grad * dtype(-0.7), state, np)
                y, z = moved(numbers, y, z, u)
            done, ours[1][:] = numbers.after, grad
            averaged = (numbers.share, numbers.average_lr, numbers.weight_decay)
            batch.set_numbers(numbers.lr, step, maximize=True, grad_scale=0.7, averaged=averaged)
            native.update([batch])
            for found, wanted in zip((ours[0], *ours[2:]), (y, state["square_avg"], z), strict=True):
                assert same_bits(found, wanted), (rule, step)
