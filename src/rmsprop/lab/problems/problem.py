"""A problem: what is to be learnt, from which data, by which model, and how the result is judged.

This is the one notion of a problem in the lab. Whatever trains, compares or tunes takes a `Problem`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.answers import Answers

if TYPE_CHECKING:
    from rmsprop.lab.problems.table.datasets import Dataset

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
        of: Computes it from all outputs and targets, in torch operations that `torch.vmap` can take.

    Raises:
        InputError: If the name can't be one of a column.
    """

    name: str
    unit: str
    higher_is_better: bool
    of: Callable[[Tensor, Tensor], Tensor]

    def __post_init__(self) -> None:
        """Check the name."""
        if not (
            isinstance(self.name, str) and self.name and self.name.isprintable() and not set(self.name) & set(',"')
        ):
            raise InputError(
                f"a metric's name is {self.name!r}: it must be a text that can name a column of a CSV file"
            )


@dataclass(frozen=True)
class Baseline:
    """What a model is to beat: one answer, whatever the inputs are.

    Args:
        name: What to call it, such as ``"always 'no'"``.
        output: What a model that gives this answer would put out for a row.
    """

    name: str
    output: Tensor

    def outputs(self, rows: int) -> Tensor:
        """Return the outputs for some rows, all the same.

        Args:
            rows: How many.

        Returns:
            The outputs.
        """
        return self.output.expand(rows, *self.output.shape)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be learnt, from which data, by which model, and how the result is judged.

    What is minimised is the objective: ``loss`` plus ``l2 / 2`` times the sum of the squared parameters. Models, losses
    and metrics are made of operations that `torch.vmap` can take, so that many runs can be trained together.

    Args:
        name: What to call it.
        make_model: Makes a model, initialised from torch's global random state.
        loss: The mean loss of outputs and targets.
        loss_name: What it is, for an axis.
        metric: What a person reads instead.
        train: The rows to train on.
        validation: The rows that verdicts, schedules and tuning look at.
        test: The rows that are read once, at the end.
        epochs: How often the training rows are gone through unless told otherwise. Default 30.
        batch_size: Rows per step unless told otherwise. Default 32.
        l2: The weight of the squared parameters in the objective. Default 0.
        optimum: The least objective on the training rows, where it is known. Default None.
        constant_loss: The loss on the training rows of the best constant output: whoever is not below hasn't learnt.
            Default infinity, for problems where there is no such thing.
        baseline: That answer, where it is known: scores show it, and a verdict compares the validation loss with its.
            Default None.
        answers: What outputs and targets stand for, if they are classes or numbers: scores need it. Default None.
        about: What it is, in a few words. Default none.
        dataset: The table that the rows come from, if they come from one. Default None.

    Raises:
        InputError: If a number is out of range or the data are of different lengths.

    Examples:
        >>> one = Data(torch.zeros(1, 2), torch.zeros(1, 1))
        >>> level = Metric("level", "", False, lambda outputs, targets: outputs.mean())
        >>> problem = Problem(
        ...     name="line", make_model=lambda: nn.Linear(2, 1), loss=nn.functional.mse_loss, loss_name="squared error",
        ...     metric=level, train=one, validation=one, test=one,
        ... )
        >>> problem.batch_size
        32
    """

    name: str
    make_model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    loss_name: str
    metric: Metric
    train: Data
    validation: Data
    test: Data
    epochs: int = 30
    batch_size: int = 32
    l2: float = 0.0
    optimum: float | None = None
    constant_loss: float = math.inf
    baseline: Baseline | None = None
    answers: Answers | None = None
    about: str = ""
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        """Check the names, the numbers and the data; `check` tries the model, the loss and the metric too."""
        if not (isinstance(self.name, str) and self.name):
            raise InputError(f"a problem's name is {self.name!r}: it must be a text")
        if not isinstance(self.metric, Metric):
            raise InputError(f"problem {self.name}: metric is {self.metric!r}: it must be a Metric(name, unit, ...)")
        for name in ("epochs", "batch_size"):
            if not (isinstance(value := getattr(self, name), int) and value >= 1):
                raise InputError(f"problem {self.name}: {name} is {value!r}: it must be a whole number from 1")
        if not 0.0 <= self.l2 < math.inf:
            raise InputError(f"problem {self.name}: l2 is {self.l2}: it must be a finite number, at least 0")
        if self.optimum is not None and not (isinstance(self.optimum, float | int) and math.isfinite(self.optimum)):
            raise InputError(f"problem {self.name}: optimum is {self.optimum!r}: it must be a finite number, or None")
        for part, data in self.parts.items():
            _check_data(f"problem {self.name}: {part}", data)

    @property
    def parts(self) -> dict[str, Data]:
        """The parts of the split by name: train, validation and test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how a table was prepared, a sentence each."""
        return self.dataset.notes if self.dataset else ()

    @property
    def holds_out(self) -> bool:
        """Whether the validation rows are others than the training rows: without, there is nothing to overfit to."""
        return self.validation is not self.train

    def baseline_scores(self) -> dict[str, tuple[float, float]]:
        """Return the loss and the metric of the baseline for each part of the split; none if there is no baseline."""
        if self.baseline is None:
            return {}
        scores = {}
        for name, data in self.parts.items():
            outputs = self.baseline.outputs(len(data))
            scores[name] = (self.loss(outputs, data.y).item(), self.metric.of(outputs, data.y).item())
        return scores

    def fingerprint(self) -> str:
        """Return a hash of the data: two problems with the same one train on and are judged by the same numbers."""
        digest = hashlib.sha256()
        for data in self.parts.values():
            for tensor in (data.x, data.y):
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

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

    def objective(self, parameters: Iterable[Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what is minimised.

        Args:
            parameters: The model's parameters.
            outputs: Its outputs for some rows.
            targets: The targets of these rows.

        Returns:
            The loss with the penalty, a scalar.
        """
        loss = self.loss(outputs, targets)
        return loss + self.l2 / 2 * sum(p.square().sum() for p in parameters) if self.l2 else loss

    def evaluate(self, model: nn.Module, data: Data) -> tuple[float, float]:
        """Return the objective and the metric of a model on some rows.

        Args:
            model: The model.
            data: The rows.

        Returns:
            The objective and the metric.
        """
        outputs = predict(model, data.x)
        with torch.no_grad():
            objective = self.objective(model.parameters(), outputs, data.y)
        return objective.item(), self.metric.of(outputs, data.y).item()


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a model for any number of rows, in evaluation mode: batch norm takes what it has learnt.

    Args:
        model: The model; it is in the mode it was in afterwards.
        x: The inputs.

    Returns:
        The outputs.
    """
    with torch.no_grad(), _evaluating(model):
        return torch.cat([model(chunk) for chunk in torch.split(x, _CHUNK)])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_data(name: str, data: object) -> None:
    if not (isinstance(data, Data) and isinstance(data.x, Tensor) and isinstance(data.y, Tensor)):
        raise InputError(f"{name} must be Data(x, y) of two torch tensors")
    if not data.x.ndim or not data.y.ndim or len(data.x) != len(data.y):
        shapes = f"{tuple(data.x.shape)} and {tuple(data.y.shape)}"
        raise InputError(f"{name} has x and y of shapes {shapes}: both must have one row per example")
    if not len(data):
        raise InputError(f"{name} has no rows: give at least one")
    if data.x.requires_grad or data.y.requires_grad:
        raise InputError(f"{name} holds tensors that require a gradient: detach() them")
