"""Problems made of a table: a perceptron that learns a bundled data set or a person's own."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.answers import Answers, positive_of
from rmsprop.lab.problems.defaults import ClassWeights, Task
from rmsprop.lab.problems.problem import Baseline, Data, Metric, Problem
from rmsprop.lab.problems.table.class_weights import equal_shares, weighted, weighted_cross_entropy
from rmsprop.lab.problems.table.datasets import Dataset, Part, prepare


def from_dataset(dataset: Dataset, hidden: tuple[int, ...], class_weights: ClassWeights = "none") -> Problem:
    """Return the problem of learning a data set with a perceptron.

    Args:
        dataset: The data set.
        hidden: The widths of the hidden layers; none make a linear model.
        class_weights: How the rows of each class count in the loss. Default ``"none"``: alike.

    Returns:
        The problem.

    Raises:
        InputError: If the model would be too large, or classes of a target of numbers are to be weighted.
    """
    train, validation, test = map(_data, (dataset.train, dataset.validation, dataset.test))
    inputs, outputs = train.x.shape[1], len(dataset.classes) or 1
    loss: Callable[[Tensor, Tensor], Tensor]
    if class_weights == "balanced":
        dataset, weights = weighted(dataset)
        loss, loss_name = partial(weighted_cross_entropy, weights), "cross-entropy of weighted classes (nats)"
        metric, constant = accuracy(), math.log(len(train.y.unique()))
        baseline = equal_shares(train.y, shares(train.y, dataset.classes))
    elif dataset.task == "classification":
        loss, loss_name = functional.cross_entropy, "cross-entropy (nats)"
        metric, constant = accuracy(), entropy(train.y)
        baseline = shares(train.y, dataset.classes)
    else:
        loss, loss_name = functional.mse_loss, f"mean squared error{' (standardised)' * (dataset.target_scale != 1.0)}"
        metric, constant = rmse(dataset.target, dataset.target_scale), train.y.var(correction=0).item()
        baseline = Baseline(MEAN, train.y.mean(0))
    check_size(inputs, hidden, outputs)
    return Problem(
        name=dataset.name,
        make_model=lambda: build(inputs, hidden, outputs),
        loss=loss,
        loss_name=loss_name,
        metric=metric,
        train=train,
        validation=validation,
        test=test,
        constant_loss=constant,
        baseline=baseline,
        answers=_answers(dataset, train.y),
        dataset=dataset,
    )


def _answers(dataset: Dataset, labels: Tensor) -> Answers:
    if not dataset.classes:
        return Answers(mean=dataset.target_mean, scale=dataset.target_scale)
    return Answers(classes=dataset.classes, positive=positive_of(dataset.classes, labels))


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
        name: A key of `rmsprop.lab.problems.defaults.PROBLEMS` that has a model which can be chosen.

    Returns:
        The data set.
    """
    if name == "linear":
        return _line()
    from sklearn import datasets as bundled

    loader, target, task = _BUNDLED[name]
    bunch = getattr(bundled, loader)()
    frame = pl.DataFrame(bunch.data, schema=[str(column) for column in bunch.feature_names])
    labels = bunch.target.astype(float) if task == "regression" else bunch.target_names[bunch.target].astype(str)
    return prepare(name, frame.with_columns(pl.Series(target, labels)), target, task)


# Each data set's loader in scikit-learn, its target and what to do with it.
_BUNDLED: Mapping[str, tuple[str, str, Task]] = {
    "digits": ("load_digits", "digit", "classification"),
    "digits-softmax": ("load_digits", "digit", "classification"),
    "breast-cancer": ("load_breast_cancer", "diagnosis", "classification"),
    "wine": ("load_wine", "cultivar", "classification"),
    "diabetes": ("load_diabetes", "progression", "regression"),
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


def accuracy() -> Metric:
    """Return the share of rows whose largest output is that of their class."""

    def of(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(dim=-1) == targets).double().mean()

    return Metric("accuracy", "", higher_is_better=True, of=of)


def rmse(target: str, scale: float) -> Metric:
    """Return the root mean square error in the units of the target.

    Args:
        target: The target's name.
        scale: What its values were divided by.

    Returns:
        The metric.
    """

    def of(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(outputs.double(), targets.double()).sqrt() * scale

    return Metric("rmse", f"units of {target}", higher_is_better=False, of=of)


# The best constant answer to numbers, as it is called.
MEAN = "always the mean"


def shares(labels: Tensor, classes: Sequence[str]) -> Baseline:
    """Return the baseline of always answering with the shares of the classes, of which the largest is the guess.

    Args:
        labels: The indices of the rows' classes.
        classes: The names of all classes.

    Returns:
        The baseline.

    Examples:
        >>> shares(torch.tensor([0, 1, 1]), ("no", "yes")).name
        "always 'yes'"
    """
    counts = labels.flatten().bincount(minlength=len(classes)).double()
    logits = (counts / counts.sum()).clamp_min(torch.finfo(torch.float32).tiny).log().float()
    return Baseline(f"always '{classes[int(counts.argmax())]}'", logits)


def entropy(labels: Tensor) -> float:
    """Return the cross-entropy in nats of always answering with the shares of the classes.

    Args:
        labels: The indices of the rows' classes.

    Returns:
        The entropy.

    Examples:
        >>> round(entropy(torch.tensor([0, 1, 0, 1])), 4)
        0.6931
    """
    shares = labels.bincount().double() / len(labels)
    return -torch.xlogy(shares, shares).sum().item()


# 16 bytes each (parameter, gradient, average, momentum): 100 million are 1.6 GB, and a table needs far fewer.
MOST_PARAMETERS = 100_000_000
# What is between its layers.
ACTIVATION = "relu"


def build(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Return a perceptron with ReLU between its layers; without hidden layers it is a linear model.

    Args:
        inputs: The number of inputs.
        hidden: The widths of the hidden layers.
        outputs: The number of outputs.

    Returns:
        The model, initialised from torch's global random state. Its layers are called ``hidden1``, ... and ``output``.

    Examples:
        >>> list(dict(build(4, [8], 3).named_children()))
        ['hidden1', 'relu1', 'output']
    """
    widths = [inputs, *hidden, outputs]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(zip(widths, hidden, strict=False), start=1):
        layers[f"hidden{number}"] = nn.Linear(before, after)
        layers[f"relu{number}"] = nn.ReLU()
    layers["output"] = nn.Linear(widths[-2], outputs)
    return nn.Sequential(layers)


def check_size(inputs: int, hidden: Sequence[int], outputs: int) -> None:
    """Refuse a model that would be too large.

    Args:
        inputs: The number of inputs.
        hidden: The widths of the hidden layers.
        outputs: The number of outputs.

    Raises:
        InputError: If it would have more than `MOST_PARAMETERS`.
    """
    widths = [inputs, *hidden, outputs]
    count = sum((before + 1) * after for before, after in pairwise(widths))
    if count > MOST_PARAMETERS:
        raise InputError(
            f"--hidden {','.join(map(str, hidden))} makes a model of {count:,} parameters: "
            f"at most {MOST_PARAMETERS:,} are allowed, so give smaller widths"
        )
