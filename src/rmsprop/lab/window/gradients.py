"""Real gradients: those of some coordinates over a short training run, and what v makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.conventions import few_threads, row_order
from rmsprop.lab.problems.defaults import row_of
from rmsprop.lab.window.decay import STARTS, rules
from rmsprop.reference import init, update
from rmsprop.torch import RMSprop

# So many coordinates are recorded: their quantiles are then known to a few per cent, and any model fits into memory.
COORDINATES = 512
# Those shown are at these quantiles of the gradient's root mean square.
SHOWN = {"small": 0.1, "middling": 0.5, "large": 0.9}
STEPS, MOST_STEPS = 300, 100_000
SIZES_AT = (1, 2, 10, 100)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """Gradients of a training run.

    Args:
        problem: The problem's name.
        batch_size: Rows per step.
        lr: The learning rate of the RMSProp that trained.
        gradients: A row per step and a column per coordinate; the coordinates that never had a gradient are left out.
    """

    problem: str
    batch_size: int
    lr: float
    gradients: np.ndarray

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.gradients)

    def shown(self) -> dict[str, np.ndarray]:
        """Return the gradients of a coordinate with small, with middling and with large ones, as far as they differ."""
        size = np.sqrt(np.mean(self.gradients**2, axis=0))
        order = np.argsort(size, kind="stable")
        places: dict[int, str] = {}
        for name, at in SHOWN.items():
            places.setdefault(round(at * (len(order) - 1)), name)
        return {name: self.gradients[:, order[place]] for place, name in places.items()}


def record(name: str, steps: int = STEPS, on_step: Callable[[], object] = lambda: None, **about: Any) -> Recorded:
    """Train a problem with RMSProp for some steps, and keep the gradients of some of its coordinates.

    Args:
        name: What `rmsprop.lab.problems.load` takes.
        steps: How many steps, from 2 to 100,000. Default 300.
        on_step: Called after each step. Default: nothing.
        about: What shapes it, as `rmsprop.lab.problems.load` takes it: of a table, ``target`` is needed.

    Returns:
        The gradients.

    Raises:
        InputError: If there is no such problem, or the run diverges, or no coordinate has a gradient.

    Examples:
        >>> record("wine", steps=5).gradients.shape
        (5, 42)
    """
    if not 2 <= steps <= MOST_STEPS:
        raise InputError(f"--steps is {steps}: it must be from 2 to {MOST_STEPS}")
    problem, lr = load(name, **about), row_of(name).lr
    model = problem.model(seed=0)
    with few_threads(model, problem.batch_size):
        found = _gradients(problem, model, lr, steps, on_step)
    alive = found[:, np.any(found != 0.0, axis=0)]
    if not alive.size:
        raise InputError(f"{name} has no gradient at all in {steps} steps: there is nothing to look at")
    return Recorded(problem=name, batch_size=problem.batch_size, lr=lr, gradients=alive)


def _gradients(problem: Problem, model: nn.Module, lr: float, steps: int, on_step: Callable[[], object]) -> np.ndarray:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    chosen = _chosen(sum(parameter.numel() for parameter in parameters))
    optimizer = RMSprop(parameters, lr=lr)
    found = np.empty((steps, len(chosen)))
    for step, rows in zip(range(steps), _batches(problem), strict=False):
        optimizer.zero_grad()
        outputs, targets = model(problem.train.x[rows]), problem.train.y[rows]
        problem.objective(parameters, outputs, targets).backward()
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
        found[step] = flat[chosen].double().numpy()
        if not np.isfinite(found[step]).all():
            what = f"{problem.name} diverges at step {step + 1} of a run with lr {lr:g}"
            raise InputError(f"{what}: its gradients are not finite")
        optimizer.step()
        on_step()
    return found


def averages(gradients: np.ndarray, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the average of squared gradients after each step, from v₀ = 0.

    Args:
        gradients: One per step, or a row of them.
        decay: ρ.

    Returns:
        v, and v/(1 − ρᵗ), which is what it would be without the deficit.

    Examples:
        >>> v, corrected = averages(np.array([2.0, 2.0]), 0.5)
        >>> v.tolist(), corrected.tolist()
        ([2.0, 3.0], [4.0, 4.0])
    """
    v, now = np.empty_like(gradients), np.zeros_like(gradients[0])
    for step, g in enumerate(gradients):
        now = now + (1.0 - decay) * (g * g - now)
        v[step] = now
    filled = -np.expm1(np.arange(1, len(gradients) + 1) * np.log(decay))
    return v, (v.T / filled).T


def step_sizes(recorded: Recorded, decays: Sequence[float]) -> dict[float, dict[str, dict[int, float]]]:
    """Return how large the first steps are that RMSProp takes on the recorded gradients.

    Args:
        recorded: The gradients.
        decays: Values of ρ.

    Returns:
        ρ -> what v starts from, a name in `STARTS` -> step -> the median size over the coordinates that have a gradient
        at that step, in units of the learning rate.
    """
    return {decay: {start: _sizes(recorded, decay, start) for start in STARTS} for decay in decays}


def _sizes(recorded: Recorded, decay: float, start: str) -> dict[int, float]:
    rule, sizes = rules(decay)[start], {}
    still = np.zeros(recorded.gradients.shape[1])
    state = init(rule, still)
    for step, g in enumerate(recorded.gradients[: SIZES_AT[-1]], start=1):
        moved, state = update(rule, 1.0, step, still, g, state)
        if step in SIZES_AT:
            sizes[step] = float(np.median(np.abs(moved[g != 0.0]))) if g.any() else 0.0
    return sizes


def _chosen(count: int) -> Tensor:
    """Return some coordinates: all of a small model, some of a large one, always the same."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:COORDINATES].sort().values


def _batches(problem: Problem) -> Iterator[Tensor]:
    epoch = 0
    while True:
        epoch += 1
        yield from torch.split(row_order(0, epoch, len(problem.train)), problem.batch_size)
