"""A problem: what is to be learnt, from which data, by which model, and how the result is judged.

This is the one notion of a problem in the lab. Whatever trains, compares or tunes takes a `Problem`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import datasets, models
from rmsprop.lab.problems.datasets import Dataset, Part, prepare
from rmsprop.lab.problems.defaults import PROBLEMS, Task
from rmsprop.lab.train.settings import Settings

# Rows per forward pass when a whole part is evaluated: bounds the memory of the hidden layers.
_CHUNK = 65_536


@dataclass(frozen=True)
class Data:
    """Rows to train on or to judge by: inputs ``x`` and targets ``y``."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)


@dataclass(frozen=True)
class Metric:
    """What a person reads instead of the loss.

    Args:
        name: Its name, which also names a column of history.csv.
        unit: What it is measured in, for an axis; empty for a share.
        higher_is_better: Whether it should rise.
        of: Computes it from all outputs and targets.
    """

    name: str
    unit: str
    higher_is_better: bool
    of: Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Problem:
    """What is to be learnt, from which data, by which model, and how the result is judged.

    Args:
        name: What to call it.
        make_model: Makes a model, initialised from torch's global random state.
        loss: The mean loss of outputs and targets: what is minimised.
        loss_name: What it is, for an axis.
        metric: What a person reads instead.
        train: The rows to train on.
        validation: The rows that verdicts and schedules look at.
        test: The rows that are read once, at the end.
        constant_loss: The loss on the training rows of the best constant output: whoever is not below hasn't learnt.
        dataset: Where the rows come from.
    """

    name: str
    make_model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    loss_name: str
    metric: Metric
    train: Data
    validation: Data
    test: Data
    constant_loss: float
    dataset: Dataset

    def model(self, seed: int) -> nn.Module:
        """Return a model whose initial weights depend on the seed alone.

        Args:
            seed: Any whole number from 0.

        Returns:
            The model. Torch's global random state is as it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make_model()

    def evaluate(self, model: nn.Module, data: Data) -> tuple[float, float]:
        """Return the loss and the metric of a model on some rows.

        Args:
            model: The model.
            data: The rows.

        Returns:
            The mean loss and the metric.
        """
        outputs = predict(model, data.x)
        return self.loss(outputs, data.y).item(), self.metric.of(outputs, data.y)


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a model for any number of rows.

    Args:
        model: The model.
        x: The inputs.

    Returns:
        The outputs.
    """
    with torch.no_grad():
        return torch.cat([model(chunk) for chunk in torch.split(x, _CHUNK)])


def load(settings: Settings) -> Problem:
    """Return the problem that the settings name: a built-in one, or a person's table.

    Args:
        settings: The run's settings.

    Returns:
        The problem.

    Raises:
        InputError: If the table can't be used, or the model is not one for its task.

    Examples:
        >>> from rmsprop.lab.train.settings import resolve
        >>> len(load(resolve({"problem": "wine"})).train)
        107
    """
    builtin = settings.problem in PROBLEMS
    if builtin:
        _refuse_table_options(settings)
    dataset = builtin_dataset(settings.problem) if builtin else datasets.from_file(settings)
    _check_model(settings.model, dataset)
    return from_dataset(dataset, settings.hidden)


def from_dataset(dataset: Dataset, hidden: tuple[int, ...]) -> Problem:
    """Return the problem of learning a data set with a perceptron.

    Args:
        dataset: The data set.
        hidden: The widths of the hidden layers; none make a linear model.

    Returns:
        The problem.

    Raises:
        InputError: If the model would be too large.
    """
    train, validation, test = map(_data, (dataset.train, dataset.validation, dataset.test))
    inputs, outputs = train.x.shape[1], len(dataset.classes) or 1
    loss: Callable[[Tensor, Tensor], Tensor]
    if dataset.task == "classification":
        loss, loss_name = functional.cross_entropy, "cross-entropy (nats)"
        metric, constant = _accuracy(), _entropy(train.y)
    else:
        loss, loss_name = functional.mse_loss, f"mean squared error{' (standardised)' * (dataset.target_scale != 1.0)}"
        metric, constant = _rmse(dataset), train.y.var(correction=0).item()
    models.check_size(inputs, hidden, outputs)
    return Problem(
        name=dataset.name,
        make_model=lambda: models.build(inputs, hidden, outputs),
        loss=loss,
        loss_name=loss_name,
        metric=metric,
        train=train,
        validation=validation,
        test=test,
        constant_loss=constant,
        dataset=dataset,
    )


def learned_line(dataset: Dataset, model: nn.Module) -> str | None:
    """Return the line a linear model of one input has learnt, in the units of the table; None for other models.

    Args:
        dataset: The data it was trained on.
        model: The trained model.

    Returns:
        The line, such as ``"y = 1.998 x + 3.004"``.
    """
    parameters = list(model.parameters())
    if dataset.task != "regression" or len(dataset.inputs) != 1 or len(parameters) != 2:
        return None
    row = dataset.preparation[0]
    if row["kind"] != "number":
        return None
    slope = parameters[0].item() * dataset.target_scale / row["scale"]
    offset = parameters[1].item() * dataset.target_scale + dataset.target_mean - slope * row["mean"]
    return f"{dataset.target} = {slope:.4g} {dataset.inputs[0]} {'-' if offset < 0 else '+'} {abs(offset):.4g}"


def builtin_dataset(name: str) -> Dataset:
    """Return the data of a built-in problem; nothing is downloaded.

    Args:
        name: A key of `rmsprop.lab.problems.defaults.PROBLEMS`.

    Returns:
        The data set.
    """
    if name == "linear":
        return _line()
    from sklearn import datasets as bundled

    bunch = getattr(bundled, f"load_{name.replace('-', '_')}")()
    target, task = _TARGETS[name]
    frame = pl.DataFrame(bunch.data, schema=[str(column) for column in bunch.feature_names])
    labels = bunch.target.astype(float) if task == "regression" else bunch.target_names[bunch.target].astype(str)
    return prepare(name, frame.with_columns(pl.Series(target, labels)), target, task)


_TARGETS: dict[str, tuple[str, Task]] = {
    "digits": ("digit", "classification"),
    "breast-cancer": ("diagnosis", "classification"),
    "wine": ("cultivar", "classification"),
    "diabetes": ("progression", "regression"),
}


def _line() -> Dataset:
    """The textbook example as it is in textbooks: nothing is standardised, so the weights are the line."""
    random = np.random.RandomState(0)
    x = random.uniform(-2.0, 2.0, size=(200, 1))
    y = 2.0 * x + 3.0 + random.normal(scale=0.2, size=(200, 1))
    rows: list[Any] = np.split(np.arange(200), [120, 160])
    train, validation, test = (Part(x[r].astype(np.float32), y[r].astype(np.float32)) for r in rows)
    preparation = ({"column": "x", "kind": "number", "missing": 0.0, "mean": 0.0, "scale": 1.0},)
    return Dataset("linear", "regression", "y", train, validation, test, ("x",), preparation=preparation)


def _data(part: Part) -> Data:
    return Data(torch.from_numpy(part.x), torch.from_numpy(part.y))


def _accuracy() -> Metric:
    def of(outputs: Tensor, targets: Tensor) -> float:
        return (outputs.argmax(dim=1) == targets).double().mean().item()

    return Metric("accuracy", "", higher_is_better=True, of=of)


def _rmse(dataset: Dataset) -> Metric:
    def of(outputs: Tensor, targets: Tensor) -> float:
        return math.sqrt(functional.mse_loss(outputs.double(), targets.double()).item()) * dataset.target_scale

    return Metric("rmse", f"units of {dataset.target}", higher_is_better=False, of=of)


def _entropy(labels: Tensor) -> float:
    shares = labels.bincount().double() / len(labels)
    return -torch.xlogy(shares, shares).sum().item()


def _refuse_table_options(settings: Settings) -> None:
    for name in ("target", "task", "drop"):
        if getattr(settings, name):
            raise InputError(f"--{name} is for a table of your own; {settings.problem} is built in and needs none")


def _check_model(model: str, dataset: Dataset) -> None:
    classes = len(dataset.classes)
    if dataset.task == "regression" and model in ("logistic", "softmax"):
        raise InputError(f"--model {model} is for classes, and {dataset.target!r} is a number: use linear or mlp")
    if dataset.task == "classification" and model == "linear":
        name = "logistic" if classes == 2 else "softmax"
        raise InputError(f"--model linear is for numbers, and {dataset.target!r} has {classes} classes: use {name}")
    if model == "logistic" and classes != 2:
        raise InputError(f"--model logistic is for two classes, and {dataset.target!r} has {classes}: use softmax")
