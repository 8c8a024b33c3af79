"""A small run that shows what a rule does: a line through eight points, without chance, in float64.

Its inputs are of different sizes, so that its gradients are too, and it is learnt two points at a time, so that they
never come to rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rmsprop.reference import init, update
from rmsprop.rule import Rule

STEPS, LR, DROP_AT, DROP = 100, 0.05, 40, 0.1
# Decimal fractions and plain arithmetic only: the same bits on every machine.
_X = np.array([-1.75, 1.25, -0.75, 0.25, -0.25, 0.75, -1.25, 1.75])
_NOISE = np.array([0.3, -0.2, -0.4, 0.1, 0.2, 0.3, -0.1, -0.2])
_Y = 2.0 * _X + 3.0 + _NOISE
_INPUTS = np.stack([_X, np.ones(8)], axis=1)
_BATCH = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class SmallRun:
    """What a rule made of the problem.

    Args:
        theta: The parameters before the first and after every step, a row each.
        loss: The mean squared error over all eight points, above the least there is, at each of these rows.
    """

    theta: np.ndarray
    loss: np.ndarray


def dropping(lr: float) -> Callable[[int], float]:
    """Return a learning-rate schedule that falls to a tenth after step 40.

    Args:
        lr: What it starts from.

    Returns:
        A function from the step, counted from 1, to its learning rate.

    Examples:
        >>> dropping(0.5)(40), dropping(0.5)(41)
        (0.5, 0.05)
    """
    return lambda step: lr if step <= DROP_AT else lr * DROP


def small_run(rule: Rule, lr: Callable[[int], float], *, scale: float = 1.0, steps: int = STEPS) -> SmallRun:
    """Fit the line with a rule.

    Args:
        rule: The rule.
        lr: Step, counted from 1 -> its learning rate.
        scale: What every gradient is multiplied with. Default 1.
        steps: How many steps. Default 100.

    Returns:
        The path of the parameters and the loss.

    Examples:
        >>> run = small_run(Rule(decay=0.9), dropping(0.05))
        >>> bool(run.loss[-1] < 0.1 * run.loss[0])
        True
    """
    theta = np.zeros(2)
    state, path = init(rule, theta), [theta]
    with np.errstate(all="ignore"):  # a run may be lost to infinity
        for step in range(1, steps + 1):
            theta, state = update(rule, lr(step), step, theta, scale * _gradient(theta, step), state)
            path.append(theta)
        thetas = np.array(path)
        return SmallRun(theta=thetas, loss=_loss(thetas) - _loss(_best()[None])[0])


def _gradient(theta: np.ndarray, step: int) -> np.ndarray:
    first = _BATCH * (step - 1) % len(_X)
    rows = _INPUTS[first : first + _BATCH]
    missed = (rows * theta).sum(1) - _Y[first : first + _BATCH]
    return np.asarray((2.0 / _BATCH) * (rows * missed[:, None]).sum(0))


def _loss(thetas: np.ndarray) -> np.ndarray:
    missed = (_INPUTS[None] * thetas[:, None]).sum(2) - _Y
    return np.asarray((missed**2).mean(1))


def _best() -> np.ndarray:
    """Return the least-squares line, by Cramer's rule."""
    (a, b), (_, c) = (_INPUTS[:, :, None] * _INPUTS[:, None]).sum(0)
    x, y = (_INPUTS * _Y[:, None]).sum(0)
    return np.asarray(np.array([c * x - b * y, a * y - b * x]) / (a * c - b * b))
