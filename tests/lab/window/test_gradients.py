"""Gradients of a real run, and what v makes of them."""

import numpy as np
import pytest
import torch

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import load
from rmsprop.lab.problems.conventions import row_order
from rmsprop.lab.problems.defaults import PROBLEMS
from rmsprop.lab.window.gradients import COORDINATES, Recorded, averages, record, step_sizes
from rmsprop.torch import RMSprop


def test_what_is_recorded_are_the_gradients_of_a_plain_loop():
    found = record("wine", steps=12)
    problem = load("wine")
    model = problem.model(seed=0)
    optimizer = RMSprop(model.parameters(), lr=PROBLEMS["wine"].lr)
    batches = [rows for epoch in (1, 2) for rows in row_order(0, epoch, len(problem.train)).split(problem.batch_size)]
    for step in range(12):
        optimizer.zero_grad()
        rows = batches[step]
        loss = problem.objective(model.parameters(), model(problem.train.x[rows]), problem.train.y[rows])
        loss.backward()
        flat = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        np.testing.assert_array_equal(found.gradients[step], flat.double())
        optimizer.step()
    assert (found.steps, found.lr, found.batch_size) == (12, 0.01, 16)


def test_a_large_model_gives_some_of_its_coordinates_and_none_that_is_dead():
    found = record("digits", steps=3)
    assert COORDINATES / 2 < found.gradients.shape[1] <= COORDINATES
    assert np.any(found.gradients != 0.0, axis=0).all()


@pytest.mark.parametrize("name", ["linear", "english", "cartpole", "bowl", "bowl-noisy"])
def test_any_problem_can_be_recorded(name):
    assert np.isfinite(record(name, steps=3).gradients).all()


def test_no_random_state_is_changed():
    before = torch.get_rng_state()
    record("wine", steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_coordinates_that_are_shown_are_small_middling_and_large():
    gradients = np.arange(1.0, 22.0) * np.ones((5, 1))
    shown = Recorded(problem="", batch_size=1, lr=0.1, gradients=gradients).shown()
    assert {name: values[0] for name, values in shown.items()} == {"small": 3.0, "middling": 11.0, "large": 19.0}


def test_averages_are_the_sums_of_weighted_squares():
    gradients = np.random.default_rng(0).normal(size=30)
    v, corrected = averages(gradients, 0.8)
    for t in range(30):
        kept = 0.2 * 0.8 ** np.arange(t + 1)[::-1]
        assert v[t] == pytest.approx(kept @ gradients[: t + 1] ** 2)
        assert corrected[t] == pytest.approx(v[t] / kept.sum())


def test_first_steps_on_real_gradients_are_those_of_the_rule():
    recorded = Recorded(problem="", batch_size=1, lr=0.1, gradients=np.full((20, 3), 0.01))
    sizes = step_sizes(recorded, [0.9])[0.9]
    assert sizes["v₀ = 0"] == pytest.approx({1: 10**0.5, 2: 0.19**-0.5, 10: (1 - 0.9**10) ** -0.5})
    assert sizes["bias correction"] == pytest.approx({1: 1.0, 2: 1.0, 10: 1.0})
    assert sizes["v₀ = 1"][1] == pytest.approx(0.01 / (0.9 + 1e-5) ** 0.5)


@pytest.mark.parametrize(
    ("name", "steps", "message"),
    [
        ("wine", 1, "--steps is 1: it must be from 2 to 100000"),
        ("zebra", 5, "zebra"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(name, steps, message):
    with pytest.raises(InputError) as caught:
        record(name, steps)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
