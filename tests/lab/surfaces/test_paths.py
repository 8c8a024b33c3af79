"""Paths on the surfaces: the numbers of Dive into Deep Learning, and every optimizer against plain loops."""

import numpy as np
import pytest
import torch

from rmsprop.lab.optimizers import OPTIMIZERS, choose, make
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.paths import walk

BOOK = {
    "RMSProp, lr 0.4, decay 0.9": ("rmsprop-d2l", 0.4, (-0.010599, 0.0), (5e-7, 1.1e-14)),
    "AdaGrad, lr 0.4": ("adagrad", 0.4, (-2.3826, -0.1586), (5e-5, 5e-5)),
    "AdaGrad, lr 2": ("adagrad", 2.0, (-0.0023, 0.0), (5e-5, 5e-5)),
}


@pytest.mark.parametrize(("name", "lr", "end", "within"), BOOK.values(), ids=BOOK)
def test_twenty_steps_end_where_they_do_in_the_book(name, lr, end, within):
    path = walk(SURFACES["bowl"], choose(name, lr=lr), 20)
    assert np.all(np.abs(path.points[-1] - end) <= within)
    assert (path.steps, path.left_at) == (20, None)


def test_the_digits_of_the_book_are_all_there():
    x, y = walk(SURFACES["bowl"], choose("rmsprop-d2l", lr=0.4), 20).points[-1]
    assert f"{x:.6f}" == "-0.010599"
    assert f"{y:.0e}" == "1e-14"
    assert [f"{z:.4f}" for z in walk(SURFACES["bowl"], choose("adagrad", lr=0.4), 20).points[-1]] == [
        "-2.3826",
        "-0.1586",
    ]


@pytest.mark.parametrize("lr", [0.1, 0.4])
def test_on_the_rotated_bowl_rmsprop_ends_in_a_cycle_of_half_its_learning_rate(lr):
    last = walk(SURFACES["bowl-rotated"], choose("rmsprop-d2l", lr=lr), 400).points[-20:]
    np.testing.assert_allclose(np.abs(last), lr / 2, rtol=1e-3)
    assert np.all(np.sign(last[1:]) == -np.sign(last[:-1]))


@pytest.mark.parametrize(
    "name", [name for name, row in OPTIMIZERS.items() if row.dense and not (row.averages or row.holds_out)]
)
def test_every_optimizer_walks_as_torch_does_with_gradients_of_its_own(name):
    surface, choice = SURFACES["beale"], choose(name, lr=0.01)
    point = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = make(choice, [point])
    for _ in range(30):
        optimizer.zero_grad()
        surface.f(point[0], point[1]).backward()
        optimizer.step()
    np.testing.assert_allclose(walk(surface, choice, 30).points[-1], point.detach().numpy(), rtol=1e-11)


def test_it_begins_at_the_start_or_where_it_is_told_to():
    bowl = SURFACES["bowl"]
    assert walk(bowl, choose("sgd"), 1).points[0].tolist() == [-5.0, -2.0]
    path = walk(bowl, choose("sgd", lr=1.0), 1, start=(1.0, 0.0))
    assert path.points.tolist() == [[1.0, 0.0], [0.8, 0.0]]
    assert path.losses.tolist() == [pytest.approx(0.1), pytest.approx(0.064)]
    assert path.last_step == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("lr", "steps", "left_at", "finite"),
    [(0.45, 20, None, True), (0.6, 20, 6, True), (30.0, 100, 1, True), (1e6, 100, 1, False)],
)
def test_a_path_that_leaves_is_known_to(lr, steps, left_at, finite):
    path = walk(SURFACES["bowl"], choose("sgd", lr=lr), steps)
    assert path.left_at == left_at
    assert len(path.shown) == (steps + 1 if left_at is None else left_at)
    assert np.isfinite(path.points).all() == finite
