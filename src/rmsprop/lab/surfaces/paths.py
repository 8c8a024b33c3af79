"""The path of an optimizer on a surface, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rmsprop.dialects import DIALECTS
from rmsprop.lab.optimizers import Choice, make, row
from rmsprop.lab.problems.builtin.surfaces import Surface
from rmsprop.lab.surfaces.derivative import gradient
from rmsprop.reference import init, update
from rmsprop.rule import Rule

Point = tuple[float, float]
Move = Callable[[int, np.ndarray, np.ndarray], np.ndarray]

# A picture grows by up to so many windows on each side to hold the paths; what goes further is told in words.
MOST_GROWTH = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """A path on a surface.

    Args:
        choice: The optimizer and its settings.
        points: x and y before the first step and after each, as many rows as steps and one more. Not finite from the
            step on at which the optimizer left the finite numbers.
        losses: The surface there.
        left_at: The first step that ends beyond what a picture of this surface may grow to; None if none does.
    """

    choice: Choice
    points: np.ndarray
    losses: np.ndarray
    left_at: int | None

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.losses) - 1

    @property
    def shown(self) -> np.ndarray:
        """The points that a picture can show: all, or those before the path left."""
        return self.points[: self.left_at]

    @property
    def last_step(self) -> float:
        """The length of the last step."""
        return math.dist(self.points[-1], self.points[-2])


def walk(surface: Surface, choice: Choice, steps: int, start: Point | None = None) -> Walk:
    """Let an optimizer descend on a surface.

    RMSProp in any dialect is computed by `rmsprop.reference`, the others by ``torch.optim``; both in float64.

    Args:
        surface: The surface.
        choice: The optimizer and its settings.
        steps: How many steps.
        start: Where to begin. Default: the surface's start.

    Returns:
        The path.

    Examples:
        >>> from rmsprop.lab.optimizers import choose
        >>> from rmsprop.lab.problems.builtin.surfaces import SURFACES
        >>> walk(SURFACES["bowl"], choose("sgd", lr=0.1), 2).points[:, 1].round(3).tolist()
        [-2.0, -1.2, -0.72]
    """
    rule = rule_of(choice)
    move = by_torch(lambda params: make(choice, params)) if rule is None else by_reference(rule, choice.lr)
    points = np.full((steps + 1, 2), np.nan)
    losses = np.full(steps + 1, np.nan)
    point = np.array(surface.start if start is None else start, dtype=np.float64)
    for step in range(steps + 1):
        value, *slopes = gradient(surface.f, *point.tolist())
        points[step], losses[step] = point, value
        if step < steps:
            point = move(step + 1, point, np.array(slopes))
    return Walk(choice=choice, points=points, losses=losses, left_at=_left_at(surface, points))


def rule_of(choice: Choice) -> Rule | None:
    """Return the rule of RMSProp in some dialect, or None for another optimizer or one that does more.

    Args:
        choice: The optimizer and its settings.

    Returns:
        The rule.

    Examples:
        >>> from rmsprop.lab.optimizers import choose
        >>> rule_of(choose("rmsprop-keras", alpha=0.8)).decay, rule_of(choose("adam"))
        (0.8, None)
    """
    if not choice.name.startswith("rmsprop") or not row(choice.name).elementwise:
        return None
    options = {**dict(choice.options), **row(choice.name).fields}
    return DIALECTS[dialect_of(choice.name)].rule_with(decay=options.pop("alpha"), **options)


def dialect_of(name: str) -> str:
    """Return the dialect of an RMSProp.

    Args:
        name: A key of `rmsprop.lab.optimizers.OPTIMIZERS` that begins with ``rmsprop``.

    Returns:
        A key of `rmsprop.DIALECTS`: torch's, where the name says nothing else.

    Examples:
        >>> dialect_of("rmsprop-keras"), dialect_of("rmsprop-momentum")
        ('keras', 'torch')
    """
    dialect = name.removeprefix("rmsprop-")
    return dialect if dialect in DIALECTS else "torch"


def by_reference(rule: Rule, lr: float, size: int = 2) -> Move:
    """Return what takes the steps of a rule.

    Args:
        rule: The rule.
        lr: The learning rate.
        size: The number of coordinates. Default 2.

    Returns:
        A function from the step, counted from 1, the point and the slopes there to the next point.

    Examples:
        >>> by_reference(Rule(decay=0.75), 0.1)(1, np.ones(2), np.full(2, 2.0))
        array([0.8, 0.8])
    """
    state = init(rule, np.zeros(size))

    def move(step: int, point: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        nonlocal state
        point, state = update(rule, lr, step, point, slopes, state)
        return point

    return move


def by_torch(make_optimizer: Callable[[list[torch.Tensor]], torch.optim.Optimizer], size: int = 2) -> Move:
    """Return what takes the steps of an optimizer of PyTorch, in float64.

    Args:
        make_optimizer: Makes the optimizer from its parameters.
        size: The number of coordinates. Default 2.

    Returns:
        A function from the step, counted from 1, the point and the slopes there to the next point.

    Examples:
        >>> by_torch(lambda params: torch.optim.SGD(params, lr=0.1))(1, np.ones(2), np.full(2, 2.0))
        array([0.8, 0.8])
    """
    parameter = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer([parameter])

    def move(step: int, point: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        parameter.data.copy_(torch.from_numpy(point))
        parameter.grad = torch.from_numpy(slopes)
        optimizer.step()
        return parameter.detach().numpy().copy()

    return move


def _left_at(surface: Surface, points: np.ndarray) -> int | None:
    low, high = np.array(surface.window).reshape(2, 2).T
    low, high = np.minimum(low, points[0]), np.maximum(high, points[0])
    room = MOST_GROWTH * (high - low)
    outside = ~np.all((points >= low - room) & (points <= high + room), axis=1)
    return int(outside.argmax()) if outside.any() else None
