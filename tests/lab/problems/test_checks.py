import dataclasses
import random

import pytest
import torch
from torch import nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import Data, Metric, check, load
from rmsprop.lab.problems.defaults import PROBLEMS


class Unused(nn.Linear):
    def __init__(self):
        super().__init__(13, 3)
        self.spare = nn.Parameter(torch.zeros(2))


class Steep(nn.Linear):
    def __init__(self):
        super().__init__(13, 3)

    def forward(self, x):
        return (super().forward(x) * 0).abs().sqrt()


def with_metric(of):
    return {"metric": Metric("m", "", True, of)}


def with_nan(part):
    data = getattr(load("wine"), part)
    x = data.x.clone()
    x[-1, 2] = torch.nan
    return {part: Data(x, data.y)}


def with_class(part, row):
    data = getattr(load("wine"), part)
    y = data.y.clone()
    y[row] = 3
    return {part: Data(data.x, y)}


ONE = nn.Linear(13, 3)
DRAWS = random.Random(0)


def drawn_elsewhere():
    model = nn.Linear(13, 3)
    nn.init.constant_(model.bias, DRAWS.random())
    return model


BROKEN = {
    "a class that isn't there": (with_class("train", 60), "evaluating all train rows raised IndexError: Target 3 is"),
    "one among the test rows": (with_class("test", -1), "evaluating all test rows raised IndexError: Target 3 is out"),
    "always the same model": (
        {"make_model": lambda: ONE},
        "make_model() returned the same parameters twice: make a new model at each call",
    ),
    "weights of another generator": (
        {"make_model": drawn_elsewhere},
        "make_model() returned another bias for the same seed: draw it from torch's random state",
    ),
    "a lazy layer": ({"make_model": lambda: nn.LazyLinear(3)}, "leave out lazy layers"),
    "nan among the training rows": (with_nan("train"), "train.x holds NaN or infinite values: leave these rows out"),
    "nan among the test rows": (with_nan("test"), "test.x holds NaN or infinite values"),
    "no model": ({"make_model": lambda: 3}, "make_model() returned an int: it must return a torch.nn.Module"),
    "a model that fails": ({"make_model": lambda: 1 / 0}, "make_model() raised ZeroDivisionError: division by zero"),
    "no parameters": ({"make_model": nn.ReLU}, "the model has no parameters to train"),
    "frozen": ({"make_model": lambda: nn.Linear(13, 3).requires_grad_(False)}, "has no parameters to train"),
    "other inputs": ({"make_model": lambda: nn.Linear(12, 3)}, "the model raised RuntimeError: mat1 and mat2 shapes"),
    "too few outputs": (
        {"make_model": lambda: nn.Sequential(nn.Linear(13, 3), nn.Flatten(0))},
        "the model returned a tensor of shape (48,) and dtype torch.float32 for 16 rows: it must return a row for each",
    ),
    "batch norm": (
        {"make_model": lambda: nn.Sequential(nn.Linear(13, 3), nn.BatchNorm1d(3))},
        "its buffer 1.running_mean when it is called: leave out batch norm, which only rmsprop train takes",
    ),
    "dropout": (
        {"make_model": lambda: nn.Sequential(nn.Linear(13, 3), nn.Dropout())},
        "the model gives other outputs when called again: leave out dropout and noise",
    ),
    "an unused parameter": ({"make_model": Unused}, "parameter spare has no part in the loss: use it, or requires_gr"),
    "an infinite gradient": ({"make_model": Steep}, "the gradient of weight is not finite before the first step"),
    "a loss that fails": ({"loss": nn.functional.mse_loss}, "the loss raised RuntimeError"),
    "a loss of all rows": (
        {"loss": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none")},
        "the loss returned a tensor of shape (16,) and dtype torch.float32: it must return one number",
    ),
    "a loss that is no tensor": ({"loss": lambda outputs, targets: 1.0}, "the loss returned a float"),
    "an infinite loss": ({"loss": lambda o, t: o.mean() / 0}, "before the first step: it must be finite"),
    "a loss without a gradient": (
        {"loss": lambda outputs, targets: outputs.detach().mean()},
        "the loss doesn't depend on the model's parameters",
    ),
    "a metric that is a number": (with_metric(lambda o, t: 0.5), "the metric returned a float: it must return one num"),
    "a metric that fails": (with_metric(lambda o, t: o[99]), "the metric raised IndexError"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
def test_a_broken_problem_is_refused_in_one_sentence(change, message):
    with pytest.raises(InputError) as caught:
        check(dataclasses.replace(load("wine"), **change))
    assert str(caught.value).startswith("problem wine: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_built_in_problems_are_sound(name):
    before = torch.get_rng_state()
    check(load(name))
    assert torch.equal(torch.get_rng_state(), before)


def test_some_frozen_parameters_are_fine():
    def half_frozen():
        model = nn.Sequential(nn.Linear(13, 4), nn.Linear(4, 3))
        model[0].requires_grad_(False)
        return model

    check(dataclasses.replace(load("wine"), make_model=half_frozen))
