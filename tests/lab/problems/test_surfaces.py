"""The surfaces, the problems made of them, and the numbers that Dive into Deep Learning prints for them."""

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad, minimize

from rmsprop.lab.problems import load
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.torch import RMSprop


@pytest.mark.parametrize("name", SURFACES)
def test_a_surface_is_lowest_at_its_minima_and_what_the_formula_says(name):
    surface = SURFACES[name]
    x, y = np.random.default_rng(0).uniform(-2.0, 2.0, size=(2, 50))
    np.testing.assert_allclose(surface.f(x, y), eval(surface.formula, {"x": x, "y": y}), rtol=1e-14)
    assert (surface.f(x, y) >= surface.least).all()
    for minimum in surface.minima:
        assert surface.f(*minimum) == pytest.approx(surface.least, abs=1e-30)
        found = minimize(lambda p: surface.f(*p), np.array(minimum) + 0.1, tol=1e-12).x
        np.testing.assert_allclose(found, minimum, atol=1e-4)
    low_x, high_x, low_y, high_y = surface.window
    for px, py in (surface.start, *surface.minima):
        assert low_x < px < high_x
        assert low_y < py < high_y


@pytest.mark.parametrize("name", SURFACES)
def test_the_problem_of_a_surface_is_the_surface(name):
    surface, problem = SURFACES[name], load(name)
    model = problem.model(3)
    assert (model.x.item(), model.y.item()) == surface.start
    height, distance = problem.evaluate(model, problem.train)
    assert height == pytest.approx(surface.f(*surface.start), rel=1e-14)
    assert distance == pytest.approx(min(np.hypot(*np.subtract(surface.start, m)) for m in surface.minima), rel=1e-14)
    assert problem.optimum == surface.least
    assert not problem.holds_out

    def value(point):
        with torch.no_grad():
            model.x.fill_(point[0])
            model.y.fill_(point[1])
        return problem.evaluate(model, problem.train)[0]

    def gradient(point):
        value(point)
        objective = problem.objective(model.parameters(), model(problem.train.x), problem.train.y)
        return torch.stack(torch.autograd.grad(objective, list(model.parameters()))).numpy()

    assert check_grad(value, gradient, np.array([0.3, -0.7])) < 1e-4


def test_noise_is_added_to_the_gradient_and_vanishes_in_the_mean_of_all_rows():
    problem = load("bowl-noisy")
    model = problem.model(0)
    gradients = []
    for row in range(len(problem.train)):
        x, y = problem.train.x[[row]], problem.train.y[[row]]
        loss = problem.objective(model.parameters(), model(x), y)
        gradients.append(torch.stack(torch.autograd.grad(loss, list(model.parameters()))))
    gradients = torch.stack(gradients)
    torch.testing.assert_close(gradients.mean(dim=0), torch.tensor([-1.0, -8.0], dtype=torch.float64))
    assert 0.5 < gradients.std(dim=0).min() < gradients.std(dim=0).max() < 2.0
    assert problem.evaluate(model, problem.train)[0] == pytest.approx(10.5, rel=1e-14)


def descended(name, make, steps):
    """Where an optimizer of torch's kind is after each of some steps."""
    problem = load(name)
    model = problem.model(0)
    optimizer = make(model.parameters())
    points = []
    for _ in range(steps):
        optimizer.zero_grad()
        problem.objective(model.parameters(), model(problem.train.x), problem.train.y).backward()
        optimizer.step()
        points.append((model.x.item(), model.y.item()))
    return np.array(points)


def adagrad(lr):
    return lambda parameters: torch.optim.Adagrad(parameters, lr=lr, eps=1e-6)


def rmsprop(parameters):
    return RMSprop(parameters, lr=0.4, alpha=0.9, dialect="d2l")


@pytest.mark.parametrize(
    ("make", "x", "y"),
    [
        (rmsprop, (-0.010599, 5e-7), (0.0, 1e-13)),
        (adagrad(0.4), (-2.3826, 5e-5), (-0.1586, 5e-5)),
        (adagrad(2.0), (-0.0023, 5e-5), (0.0, 5e-5)),
    ],
    ids=["rmsprop .4", "adagrad .4", "adagrad 2"],
)
def test_twenty_steps_on_the_bowl_end_where_dive_into_deep_learning_prints(make, x, y):
    end = descended("bowl", make, 20)[-1]
    for coordinate, (expected, digits) in zip(end, (x, y), strict=True):
        assert abs(coordinate - expected) <= digits


def test_on_the_rotated_bowl_it_settles_into_steps_of_plus_and_minus_half_the_learning_rate():
    tail = descended("bowl-rotated", rmsprop, 400)[-20:]
    np.testing.assert_allclose(np.abs(tail), 0.2, rtol=0.01)
    np.testing.assert_array_equal(np.sign(tail[1:]), -np.sign(tail[:-1]))
