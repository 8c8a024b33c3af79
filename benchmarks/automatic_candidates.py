"""The candidates for ``lr="auto"``, and the fixed learning rate that they are held against.

All of them are RMSProp in torch's dialect (a decay of 0.99, an epsilon of 1e-8), by `rmsprop.jax.scale_by_rmsprop`, and
Optax's own transformations around it. With u the direction g / (√v + ε), x₀ the initial weights, and s a schedule of
peak 1, a step is

- a fixed learning rate: x ← x − lr·s·u.
- DoG (Ivgi et al. 2023, arXiv 2302.12022, with u in the place of the gradient): x ← x − s·r/√G·u, where r is the
  greatest ‖x − x₀‖ so far, at least 1e-6·(1 + ‖x₀‖), and G the sum of all ‖u‖². The norms are those of all weights
  together.
- DoWG (Khaled et al. 2023, arXiv 2305.16284, with u in the place of the gradient): x ← x − s·r²/√V·u, V being the sum
  of all r²·‖u‖², and r² at least 1e-4.
- Prodigy (Mishchenko and Defazio 2023, arXiv 2306.06101) with β₁ = 0 and β₂ = 0.99, which is RMSProp with bias
  correction whose learning rate is the estimate d, 1e-6 at first.
- Mechanic (Cutkosky et al. 2023, arXiv 2306.00144) around RMSProp with the learning rate s.
- a range test (`rmsprop.lab.find_lr` with its defaults), then a fixed learning rate: its suggestion.

The settings of each are the defaults of Optax, which are those of the papers. The schedule is none (s = 1), a cosine to
0 over all steps, or the same after a linear warm-up over a twentieth of them. DoG's and DoWG's authors advise an
average of the weights, Prodigy's no schedule or a cosine, Mechanic's the schedule that one would take anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax
import torch
from optax import contrib
from torch import Tensor

from rmsprop import Rule
from rmsprop.jax import scale_by_rmsprop
from rmsprop.lab import find_lr
from rmsprop.lab.problems import Problem
from rmsprop.lab.problems.conventions import row_order

RULE = Rule.from_dialect("torch")
WARM_UP = 0.05
# Of a range test with the defaults: three sweeps of a hundred steps.
_MOST_GRADIENTS = 300
# A learning rate that may be traced, and the number of steps.
Makes = Callable[[Any, int], optax.GradientTransformation]
Schedule = Callable[[int], optax.Schedule]
Rate = Literal["all problems", "data", "range test", "own"]


def constant(steps: int) -> optax.Schedule:
    """Return the schedule that is 1 throughout."""
    return optax.constant_schedule(1.0)


def cosine(steps: int) -> optax.Schedule:
    """Return the schedule that falls from 1 to 0 along a cosine."""
    return optax.cosine_decay_schedule(1.0, steps)


def warm_up_and_cosine(steps: int) -> optax.Schedule:
    """Return the schedule that rises to 1 over a twentieth of the steps, then falls to 0 along a cosine."""
    rising = max(1, round(WARM_UP * steps))
    return optax.warmup_cosine_decay_schedule(1.0 / rising, 1.0, rising - 1, steps)


def fixed(schedule: Schedule, lr: Any, steps: int) -> optax.GradientTransformation:
    """Return RMSProp with a learning rate.

    Args:
        schedule: Of steps.
        lr: The peak of the learning rate; of the candidates that find their own it is not looked at.
        steps: How many steps there will be.
    """
    shape = schedule(steps)
    return optax.chain(scale_by_rmsprop(RULE), optax.scale_by_learning_rate(lambda step: lr * shape(step)))


def dog(schedule: Schedule, lr: Any, steps: int) -> optax.GradientTransformation:
    """Return RMSProp with the step size of DoG. The arguments are those of `fixed`."""
    return optax.chain(scale_by_rmsprop(RULE), contrib.dog(schedule(steps)))


def dowg(schedule: Schedule, lr: Any, steps: int) -> optax.GradientTransformation:
    """Return RMSProp with the step size of DoWG. The arguments are those of `fixed`."""
    return optax.chain(scale_by_rmsprop(RULE), contrib.dowg(schedule(steps)))


def prodigy(schedule: Schedule, lr: Any, steps: int) -> optax.GradientTransformation:
    """Return Prodigy without momentum. The arguments are those of `fixed`."""
    return contrib.prodigy(schedule(steps), betas=(0.0, RULE.decay), eps=RULE.eps)


def mechanic(schedule: Schedule, lr: Any, steps: int) -> optax.GradientTransformation:
    """Return RMSProp scaled by Mechanic. The arguments are those of `fixed`."""
    return contrib.mechanize(fixed(schedule, 1.0, steps))


@dataclass(frozen=True)
class Candidate:
    """A way to train without choosing a learning rate.

    Args:
        make: Makes the transformation of a learning rate and the number of steps.
        rate: Where the learning rate comes from: the one that is calibrated on all problems, the one that is calibrated
            on those with data, a range test of the run's own, or the transformation itself. Default: itself.
        averaged: Whether the run is judged by an exponential moving average of its weights, as ``+ema`` of
            `rmsprop compare` makes it, with a half-life of a twentieth of the run. Default False.
    """

    make: Makes
    rate: Rate = "own"
    averaged: bool = False


BASELINE, ON_DATA = "fixed", "fixed on data"
CANDIDATES: Mapping[str, Candidate] = {
    BASELINE: Candidate(partial(fixed, warm_up_and_cosine), "all problems"),
    ON_DATA: Candidate(partial(fixed, warm_up_and_cosine), "data"),
    "DoG": Candidate(partial(dog, constant)),
    "DoG, averaged": Candidate(partial(dog, constant), averaged=True),
    "DoG, cosine": Candidate(partial(dog, cosine)),
    "DoWG": Candidate(partial(dowg, constant)),
    "DoWG, averaged": Candidate(partial(dowg, constant), averaged=True),
    "DoWG, cosine": Candidate(partial(dowg, cosine)),
    "Prodigy": Candidate(partial(prodigy, constant)),
    "Prodigy, cosine": Candidate(partial(prodigy, cosine)),
    "Mechanic": Candidate(partial(mechanic, constant)),
    "Mechanic, cosine": Candidate(partial(mechanic, warm_up_and_cosine)),
    "range test": Candidate(partial(fixed, constant), "range test"),
    "range test, cosine": Candidate(partial(fixed, warm_up_and_cosine), "range test"),
}


class Vmapped:
    """A transformation that moves many models, each as if it were alone.

    Args:
        make: Makes the transformation.
        lrs: The learning rate of each model.
        steps: How many steps there will be.
        flat: The parameters, one model a row.
        gradient: Their gradient.
    """

    def __init__(self, make: Makes, lrs: npt.NDArray[np.float64], steps: int, flat: Tensor, gradient: Tensor) -> None:
        """See the class."""
        self._flat, self._gradient = flat, gradient

        def update(gradient: Any, state: Any, params: Any, lr: Any) -> Any:
            updates, state = make(lr, steps).update(gradient, state, params)
            return params + updates, state

        self._lrs = jnp.array(lrs, dtype=flat.numpy().dtype)
        self._state = jax.vmap(lambda params, lr: make(lr, steps).init(params))(_copied(flat), self._lrs)
        self._update = jax.jit(jax.vmap(update))

    def step(self) -> None:
        """Take a step."""
        params, self._state = self._update(_copied(self._gradient), self._state, _copied(self._flat), self._lrs)
        self._flat.copy_(torch.from_numpy(np.array(params)))


def _copied(tensor: Tensor) -> jax.Array:
    """Return what a tensor holds now: JAX may go on reading the memory of an array that it doesn't copy."""
    return jnp.array(tensor.numpy())


def suggestion(problem: Problem, seed: int) -> tuple[float, int]:
    """Return the learning rate that a range test suggests, not a number if none, and how many gradients it took.

    Args:
        problem: What is to be learnt.
        seed: Gives the initial weights and the batches, in the order in which a run goes through them.
    """
    found = find_lr(
        problem.model(seed),
        lambda model, rows: problem.objective(model.parameters(), model(problem.train.x[rows]), problem.train.y[rows]),
        list(islice(_batches(problem, seed), _MOST_GRADIENTS)),
        loss_takes="model",
        lr=1.0,
        dialect="torch",
    )
    return float("nan") if found.problem else found.suggestion, int(np.isfinite(found.losses).sum())


def _batches(problem: Problem, seed: int) -> Any:
    for epoch in count(1):
        yield from torch.split(row_order(seed, epoch, len(problem.train)), problem.batch_size)
