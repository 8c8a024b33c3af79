"""Short training loops as data, healthy or sick on purpose, and what their records show."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rmsprop.lab import Recorder
from rmsprop.lab.diagnose.finding import Diagnosis
from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.torch import RMSprop

Rows = tuple[Tensor, Tensor]


@cache
def digits() -> Rows:
    """Return 1,000 digits and what they are."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.tensor(x[:1000] / 16.0, dtype=torch.float32), torch.tensor(y[:1000])


def far_away() -> Rows:
    """Return a line whose offset is so far away that every gradient has the same sign for long."""
    x = torch.rand(16, 8, generator=torch.Generator().manual_seed(0))
    return x, 1e4 + x.sum(1, keepdim=True)


def sums() -> Rows:
    """Return inputs and their sums, as far as these are above 0."""
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    return x, x.sum(1, keepdim=True).relu()


def with_zeros() -> Rows:
    """Return inputs and their sums; one row has nothing but zeros."""
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    x[-1] = 0.0
    return x, x.sum(1, keepdim=True)


def perceptron(hidden: int = 1, bias: float = 0.0, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return a classifier of digits.

    Args:
        hidden: The number of hidden layers. Default 1.
        bias: What is added to the biases of the last of them. Default 0.
        activation: What follows them. Default ReLU.

    Returns:
        The model.
    """
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(64, 32), activation()]
    for _ in range(hidden - 1):
        layers += [nn.Linear(32, 32), activation()]
    last = layers[-2]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias += bias
    return nn.Sequential(*layers, nn.Linear(32, 10))


def linear() -> nn.Module:
    """Return a line of eight inputs."""
    torch.manual_seed(0)
    return nn.Linear(8, 1)


def products() -> Rows:
    """Return pairs and whether both have the same sign, which no line tells."""
    x = torch.randn(512, 2, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def classifier(hidden: int = 0) -> nn.Module:
    """Return a classifier of pairs.

    Args:
        hidden: The units of its hidden layer. Default 0: it is a line, which begins with a constant answer.

    Returns:
        The model.
    """
    torch.manual_seed(0)
    if hidden:
        return nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 2))
    line = nn.Linear(2, 2)
    with torch.no_grad():
        line.weight.zero_()
        line.bias.zero_()
    return line


class Branches(nn.Module):
    """Two classifiers of digits whose answers are added, the second with a factor.

    Args:
        factor: The factor. Default 0.
    """

    def __init__(self, factor: float = 0.0) -> None:
        """See the class."""
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.factor = nn.Linear(64, 10), nn.Linear(64, 10), factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        output: Tensor = self.first(x) + self.factor * self.second(x)
        return output


class Recurrence(nn.Module):
    """Twenty times the same linear layer: what it is multiplied with too much, it is to the twentieth power."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inputs, self.again, self.output = nn.Linear(4, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 1)
        nn.init.orthogonal_(self.again.weight, gain=0.8)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        hidden = self.inputs(x)
        for _ in range(20):
            hidden = self.again(hidden)
        output: Tensor = self.output(hidden)
        return output


def proportional() -> nn.Module:
    """Return a line of four inputs through 0."""
    torch.manual_seed(0)
    return nn.Linear(4, 1, bias=False)


def roots(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean distance as the root of a square, whose gradient isn't finite where the distance is 0."""
    return (output - target).square().sqrt().mean()


@dataclass(frozen=True)
class Loop:
    """A training loop, as data.

    Args:
        model: Makes the model.
        optimizer: The class of the optimizer.
        options: Its options, with the learning rate.
        rows: The data.
        loss: The loss.
        batch: Rows per batch. Default 32.
        steps: Steps. Default 300.
        warm_up: Over so many steps the learning rate rises. Default 0.
        times: What the loss is multiplied with. Default 1.
        clip: What the norm of the gradient is clipped to. Default infinity.
        finite: Whether steps are left out whose gradient isn't finite. Default False.
        dtype: In which the model is kept. Default float32.
        every: Measure every so many steps. Default 5.
    """

    options: Mapping[str, Any]
    optimizer: Callable[..., torch.optim.Optimizer] = RMSprop
    model: Callable[[], nn.Module] = perceptron
    rows: Callable[[], Rows] = digits
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    batch: int = 32
    steps: int = 300
    warm_up: int = 0
    times: float = 1.0
    clip: float = math.inf
    finite: bool = False
    dtype: torch.dtype = torch.float32
    every: int = 5

    def but(self, **options: Any) -> Loop:
        """Return it with other options of the optimizer."""
        return replace(self, options={**self.options, **options})

    @property
    def lr(self) -> float:
        """Its learning rate."""
        return float(self.options["lr"])


@dataclass(frozen=True)
class Outcome:
    """What a loop led to.

    Args:
        loss: The loss over all rows at the end.
        diagnosis: What is found in its record.
    """

    loss: float
    diagnosis: Diagnosis


def run(loop: Loop) -> Outcome:
    """Run a loop with a recorder.

    Args:
        loop: The loop.

    Returns:
        What it led to.
    """
    model = loop.model().to(loop.dtype)
    optimizer = loop.optimizer(model.parameters(), **loop.options)
    x, y = loop.rows()
    x, y = x.to(loop.dtype), y if loop.loss is F.cross_entropy else y.to(loop.dtype)
    batches = _batches(x, y, loop.batch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.jsonl"
        with Recorder(optimizer, path, model=model, every=loop.every) as recorder:
            for step in range(1, loop.steps + 1):
                optimizer.param_groups[0]["lr"] = loop.lr * min(1.0, step / max(loop.warm_up, 1))
                _step(loop, model, optimizer, recorder, next(batches))
        diagnosis = diagnose(histories(path)[0])
    with torch.no_grad():
        return Outcome(float(loop.loss(model(x).float(), y if loop.loss is F.cross_entropy else y.float())), diagnosis)


def _batches(x: Tensor, y: Tensor, size: int) -> Iterator[Rows]:
    generator = torch.Generator().manual_seed(0)
    while True:
        for chosen in torch.randperm(len(x), generator=generator).split(size):
            yield x[chosen], y[chosen]


def _step(loop: Loop, model: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder, batch: Rows) -> None:
    optimizer.zero_grad()
    loss = loop.times * loop.loss(model(batch[0]), batch[1])
    recorder.loss(loss)
    loss.backward()
    if loop.clip < math.inf:
        nn.utils.clip_grad_norm_(model.parameters(), loop.clip)
    if not loop.finite or all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters()):
        optimizer.step()
