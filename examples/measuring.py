"""What an example measures: losses beside those of the framework's own RMSProp, what served, how long a step takes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter
from typing import Any

TURNS = 30


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run, as a client left it.

    Args:
        losses: The loss at every step.
        step: Takes one more step of the optimizer, and nothing else.
        paths: What updates the parameters.
    """

    losses: Sequence[float]
    step: Callable[[], object]
    paths: Sequence[str]

    @classmethod
    def of_torch(cls, losses: Iterable[Any], optimizer: Any) -> Run:
        """Return the run of a torch optimizer.

        Args:
            losses: The loss at every step, as numbers or tensors of one.
            optimizer: What trained; a wrapper's is inside it.
        """
        import torch

        for param in (param for group in optimizer.param_groups for param in group["params"]):
            param.grad = torch.full_like(param, 1e-3)
        paths = optimizer.paths() if hasattr(optimizer, "paths") else {}
        kinds = sorted({path.split(" (")[0] for path in paths.values()})
        return cls(losses=[float(loss) for loss in losses], step=lambda: optimizer.step(), paths=kinds)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an example measured.

    Args:
        client: The distribution that it trains with.
        version: Its version.
        losses: The loss at every step.
        difference: The largest difference from the losses of the framework's own RMSProp in the same place, divided by
            the largest loss.
        resumed: How many steps a run made that was stopped and went on from what was saved; 0 if the client saves
            nothing.
        same: Whether the losses of those steps are to the bit those of the run that was not stopped.
        paths: What updated the parameters.
        seconds: The shortest time of a step, of the optimizer alone, on one thread: what else runs only adds to it.
        their_seconds: That of the framework's own, taken by turns with it.
    """

    client: str
    version: str
    losses: list[float]
    difference: float
    resumed: int
    same: bool
    paths: list[str]
    seconds: float
    their_seconds: float

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(dataclasses.asdict(self))


def measured(client: str, ours: Run, theirs: Run, resumed: Sequence[float] = ()) -> Measured:
    """Return what two runs, and one that went on from a checkpoint, come to.

    Args:
        client: The distribution that trained.
        ours: The run with this package's optimizer.
        theirs: The same with the framework's own.
        resumed: The losses after going on from what was saved on the way. Default: nothing was saved.
    """
    seconds, their_seconds = by_turns(ours.step, theirs.step)
    largest = max(map(abs, theirs.losses))
    return Measured(
        client=client,
        version=version(client),
        losses=list(ours.losses),
        difference=max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True)) / largest,
        resumed=len(resumed),
        same=list(resumed) == list(ours.losses[len(ours.losses) - len(resumed) :]),
        paths=list(ours.paths),
        seconds=seconds,
        their_seconds=their_seconds,
    )


def by_turns(*steps: Callable[[], object]) -> tuple[float, ...]:
    """Return the shortest seconds of each step; they take turns, so that a disturbance meets all alike.

    Args:
        *steps: What is timed.

    Examples:
        >>> len(by_turns(list, dict))
        2
    """
    took: list[list[float]] = [[] for _ in steps]
    for _ in range(TURNS):
        for times, step in zip(took, steps, strict=True):
            start = perf_counter()
            step()
            times.append(perf_counter() - start)
    return tuple(map(min, took))


def digits(count: int = 256) -> tuple[Any, Any]:
    """Return handwritten digits, as every example learns them that needs data.

    Args:
        count: How many. Default 256.

    Returns:
        Pixels from 0 to 1, shape (count, 64), and the digits, shape (count,).
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data[:count] / 16).astype("float32"), found.target[:count]
