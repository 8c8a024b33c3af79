import math

import numpy as np
import polars as pl
import pytest
import torch

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.datasets import prepare
from rmsprop.lab.problems.defaults import PROBLEMS
from rmsprop.lab.problems.models import build
from rmsprop.lab.problems.problem import builtin_dataset, from_dataset, learned_line, load, predict
from rmsprop.lab.train.settings import resolve


@pytest.mark.parametrize(
    ("name", "rows", "inputs", "classes"),
    [
        ("linear", 200, 1, 0),
        ("digits", 1797, 64, 10),
        ("breast-cancer", 569, 30, 2),
        ("wine", 178, 13, 3),
        ("diabetes", 442, 10, 0),
    ],
)
def test_built_in_problems(name, rows, inputs, classes):
    problem = load(resolve({"problem": name}))
    assert sum(map(len, (problem.train, problem.validation, problem.test))) == rows
    assert problem.train.x.shape[1] == inputs
    assert len(problem.dataset.classes) == classes
    assert abs(len(problem.train) / rows - 0.6) < 0.01
    assert PROBLEMS.keys() == {"linear", "digits", "breast-cancer", "wine", "diabetes"}


def test_a_model_depends_on_the_seed_alone_and_leaves_the_random_state():
    problem = load(resolve({"problem": "wine"}))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = problem.model(1).output.weight
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(first, problem.model(1).output.weight)
    assert not torch.equal(first, problem.model(2).output.weight)


def test_the_constant_loss_is_that_of_the_best_constant_answer():
    wine = load(resolve({"problem": "wine"}))
    shares = wine.train.y.bincount() / len(wine.train)
    logits = shares.log().expand(len(wine.train), 3)
    assert wine.loss(logits, wine.train.y).item() == pytest.approx(wine.constant_loss, rel=1e-6)
    line = load(resolve({"problem": "linear"}))
    mean = line.train.y.mean().expand_as(line.train.y)
    assert line.loss(mean, line.train.y).item() == pytest.approx(line.constant_loss, rel=1e-6)


def test_the_metric_is_in_the_units_of_the_target():
    problem = load(resolve({"problem": "diabetes"}))
    model = problem.model(0)
    loss, rmse = problem.evaluate(model, problem.train)
    assert rmse == pytest.approx(math.sqrt(loss) * problem.dataset.target_scale, rel=1e-5)
    assert problem.dataset.target_scale > 50


def test_prediction_goes_through_all_rows_in_order(monkeypatch):
    monkeypatch.setattr("rmsprop.lab.problems.problem._CHUNK", 7)
    model, x = build(3, [4], 2), torch.randn(50, 3)
    torch.testing.assert_close(predict(model, x), model(x))


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"problem": "digits", "model": "linear"},
            "--model linear is for numbers, and 'digit' has 10 classes: use soft",
        ),
        ({"problem": "digits", "model": "logistic"}, "--model logistic is for two classes"),
        ({"problem": "diabetes", "model": "softmax"}, "--model softmax is for classes"),
        ({"problem": "digits", "hidden": (60_000, 60_000)}, "makes a model of 3,6"),
        ({"problem": "digits", "target": "digit"}, "--target is for a table of your own"),
        ({"problem": "digits", "task": "regression"}, "--task is for a table of your own"),
        ({"problem": "digits", "drop": ("pixel_0_0",)}, "--drop is for a table of your own"),
    ],
)
def test_what_does_not_fit_is_one_line(given, message):
    with pytest.raises(InputError) as caught:
        load(resolve(given))
    assert message in str(caught.value)
