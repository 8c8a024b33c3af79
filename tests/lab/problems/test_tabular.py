import math

import numpy as np
import polars as pl
import pytest
import torch

from rmsprop.lab.problems import load
from rmsprop.lab.problems.table.datasets import prepare
from rmsprop.lab.problems.table.tabular import build, builtin_dataset, from_dataset, learned_line


@pytest.mark.parametrize(
    ("name", "rows", "inputs", "classes"),
    [
        ("linear", 200, 1, 0),
        ("digits", 1797, 64, 10),
        ("digits-softmax", 1797, 64, 10),
        ("breast-cancer", 569, 30, 2),
        ("wine", 178, 13, 3),
        ("diabetes", 442, 10, 0),
    ],
)
def test_bundled_data_sets(name, rows, inputs, classes):
    problem = load(name)
    assert sum(map(len, problem.parts.values())) == rows
    assert problem.train.x.shape[1] == inputs
    assert len(problem.dataset.classes) == classes
    assert abs(len(problem.train) / rows - 0.6) < 0.01
    assert problem.holds_out


def test_the_constant_loss_is_that_of_the_best_constant_answer():
    wine = load("wine")
    shares = wine.train.y.bincount() / len(wine.train)
    logits = shares.log().expand(len(wine.train), 3)
    assert wine.loss(logits, wine.train.y).item() == pytest.approx(wine.constant_loss, rel=1e-6)
    line = load("linear")
    mean = line.train.y.mean().expand_as(line.train.y)
    assert line.loss(mean, line.train.y).item() == pytest.approx(line.constant_loss, rel=1e-6)


def test_the_metric_is_in_the_units_of_the_target():
    problem = load("diabetes")
    loss, rmse = problem.evaluate(problem.model(0), problem.train)
    assert rmse == pytest.approx(math.sqrt(loss) * problem.dataset.target_scale, rel=1e-5)
    assert problem.dataset.target_scale > 50


def test_the_learned_line_is_in_the_units_of_the_table():
    x = np.linspace(100.0, 300.0, 50)
    data = prepare("t", pl.DataFrame({"km": x, "cost": 0.25 * x - 10.0}), "cost", None)
    model = from_dataset(data, ()).model(0)
    with torch.no_grad():  # a line through standardised values goes through 0 with slope 1
        model.output.weight.fill_(1.0)
        model.output.bias.zero_()
    assert learned_line(data, model) == "cost = 0.25 km - 10"
    assert learned_line(data, build(1, [3], 1)) is None
    assert learned_line(builtin_dataset("diabetes"), build(10, [], 1)) is None
