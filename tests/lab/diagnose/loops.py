"""Short loops in memory, healthy and sick on purpose, recorded as a person's own would be."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rmsprop.lab import Recorder
from rmsprop.lab.diagnose.finding import Diagnosis
from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.diagnose.rules import diagnose

Batches = Iterator[tuple[Tensor, Tensor]]


def digits(batch_size: int, seed: int = 0, rows: int = 1000) -> Batches:
    """Batches of the digits without end."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.tensor(bunch.data[:rows] / 16.0, dtype=torch.float32)
    y = torch.tensor(bunch.target[:rows])
    generator = torch.Generator().manual_seed(seed)
    while True:
        for chosen in torch.randperm(len(x), generator=generator).split(batch_size):
            yield x[chosen], y[chosen]


def perceptron(seed: int = 0, hidden: int = 32) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def train(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    steps: int,
    *,
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    every: int = 10,
    validate: Callable[[], float] | None = None,
) -> Diagnosis:
    """Run a loop with a recorder and diagnose its file."""
    path = folder / "record.jsonl"
    with Recorder(optimizer, path, model=model, every=every) as recorder:
        for step in range(1, steps + 1):
            x, y = next(batches)
            optimizer.zero_grad()
            loss = loss_of(model(x), y)
            recorder.loss(loss)
            loss.backward()
            optimizer.step()
            if validate and step % 20 == 0:
                recorder.validation(loss=validate())
    return diagnose(histories(path)[0])


def same(x: Tensor, y: Tensor) -> Batches:
    """The same batch without end."""
    while True:
        yield x, y


def labelled_noise(batches: Batches, share: float) -> Batches:
    """Batches with a share of the labels drawn at random, the same one for the same row."""
    for x, y in batches:
        drawn = (1000.0 * x[:, 20:40]).sum(1).long() % 10
        noisy = torch.arange(len(y)) < share * len(y)
        yield x, torch.where(noisy, drawn, y)
