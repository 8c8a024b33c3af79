"""Which settings are tried."""

import math

import numpy as np
import pytest

from rmsprop.lab.compare.search import best, beyond, points, searched, settings
from rmsprop.lab.optimizers import OPTIMIZERS, choose, row


def test_points_are_a_halton_sequence_of_the_study():
    assert np.array_equal(points(1, 8), points(1, 16)[:8])
    assert not np.array_equal(points(0, 8), points(1, 8))
    assert points(0, 8).shape == (8, 4)
    for study in range(5):  # what makes it quasi-random: every eighth holds one of the first eight numbers
        assert sorted((points(study, 8)[:, 0] * 8).astype(int)) == list(range(8))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_below_ten_trials_only_the_learning_rate_is_searched(name):
    assert set(searched(name, 9)) == {"lr"}
    assert set(searched(name, 10)) <= {"lr", "alpha", "rho", "beta2"}
    assert set(searched(name, 29)) == set(searched(name, 10))
    assert searched(name, 30) == dict(row(name).space)


@pytest.mark.parametrize(
    ("name", "decay"), [("rmsprop", "alpha"), ("rmsprop-keras", "alpha"), ("adam", "beta2"), ("adadelta", "rho")]
)
def test_from_ten_trials_on_the_decay_is_searched(name, decay):
    assert set(searched(name, 10)) == {"lr", decay}


def test_a_point_lies_at_the_same_place_of_everyones_space():
    at = points(0, 6)
    for name in OPTIMIZERS:
        ranges = searched(name, 30)
        for choice, point in zip(settings(name, ranges, at), at, strict=True):
            values = {"lr": choice.lr, **dict(choice.options)}
            columns = {"lr": 0, "alpha": 1, "rho": 1, "beta2": 1, "eps": 2, "momentum": 3, "beta1": 3, "beta": 3}
            for key, where in ranges.items():
                assert where.where(values[key]) == pytest.approx(point[columns[key]], abs=1e-6)


def test_what_is_not_searched_keeps_its_default():
    choice = settings("adam", searched("adam", 5), points(0, 1))[0]
    assert choice.options == choose("adam").options


def test_the_best_has_the_least_score_and_then_the_least_learning_rate():
    slow, fast = choose("sgd", lr=0.1), choose("sgd", lr=1.0)
    assert best({slow: 0.3, fast: 0.2}) == fast
    assert best({fast: math.inf, slow: math.inf}) == slow


@pytest.mark.parametrize(
    ("lr", "low", "high"), [(9.0, 10.0, 1000.0), (0.0011, 1e-5, 0.001), (0.0026, None, None), (3.9, None, None)]
)
def test_a_best_in_the_outer_tenth_widens_the_range(lr, low, high):
    found = beyond(searched("sgd", 5), choose("sgd", lr=lr), 0.5)
    assert bool(found) == (low is not None)
    if found:
        assert (found["lr"].low, found["lr"].high) == pytest.approx((low, high))


def test_only_the_ends_that_the_best_is_at_are_moved():
    ranges = searched("rmsprop", 10)
    found = beyond(ranges, choose("rmsprop", lr=1e-3, alpha=0.9989), 0.5)
    assert found["lr"] == ranges["lr"]
    assert (found["alpha"].low, found["alpha"].high) == pytest.approx((1e-3 / math.sqrt(500), 1e-3))


def test_a_momentum_of_zero_is_the_end():
    assert beyond({"momentum": row("momentum").space["momentum"]}, choose("momentum", momentum=0.01), 0.5) == {}


def test_where_all_diverged_the_learning_rate_comes_down():
    found = beyond(searched("rmsprop", 10), choose("rmsprop", lr=1e-3, alpha=0.9989), math.inf)
    assert (found["lr"].low, found["lr"].high) == pytest.approx((1e-7, 1e-5))
    assert found["alpha"] == row("rmsprop").space["alpha"]
