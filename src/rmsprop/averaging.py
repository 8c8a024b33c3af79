"""Schedule-free training: an average of the iterates in the place of a falling learning rate.

Three sequences are kept in two arrays. z takes the steps of a rule; x is the average of all z so far, and what is used
after training; y = (1 − β)·z + β·x lies between the two, and is where gradients are taken:

    z ← z − lr·u,    x ← (1 − c)·x + c·z,    c = w / Σw

u is what the rule makes of the gradient at y, and w = kʳ·(the largest lr so far)^p the weight of the k-th step. What is
stored is y, in the place of the parameter, and z: x follows from them.

Source: Defazio et al., "The Road Less Scheduled", arXiv 2405.15682; weights, warm-up and decay at y as in
``AdamWScheduleFree`` of their package schedulefree 1.4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rmsprop.hyperparameters import as_float, check_number
from rmsprop.rule import Rule

ITERATE = "z"  # the name of its array of state


class AverageProgress(NamedTuple):
    """How far an average has come.

    Args:
        k: How many steps it has in it.
        lr_max: The largest learning rate among them, warm-up included.
        weight_sum: The sum of their weights.
    """

    k: int = 0
    lr_max: float = 0.0
    weight_sum: float = 0.0


class AveragedStep(NamedTuple):
    """The numbers of one step.

    Args:
        lr: What z moves by.
        average_lr: What y moves by: lr·(1 − β·(1 − c)).
        share: c, the share of the new z in the average.
        weight_decay: λ; λ·y is added to the update u.
        after: How far the average has come after it.
    """

    lr: float
    average_lr: float
    share: float
    weight_decay: float
    after: AverageProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class Averaging:
    """How z is averaged.

    Args:
        beta: β, the share of x in y, above 0, to 1. Default 0.9.
        warmup_steps: In so many steps lr rises linearly to its value. Default 0.
        r: The power of k in a step's weight, at least 0. Default 0: all weigh the same.
        weight_lr_power: The power of the largest lr so far, at least 0. Default 2.
        weight_decay: λ at y, at least 0. Default 0.

    Raises:
        TypeError: If a number is not a number.
        ValueError: If one is out of range.

    Examples:
        >>> Averaging(beta=1.5)
        Traceback (most recent call last):
        ValueError: Invalid beta: 1.5 (allowed: a number above 0, to 1)
    """

    beta: float = 0.9
    warmup_steps: int = 0
    r: float = 0.0
    weight_lr_power: float = 2.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check every number."""
        self._check("beta", lambda beta: 0.0 < beta <= 1.0, "a number above 0, to 1")
        if not (isinstance(self.warmup_steps, int) and not isinstance(self.warmup_steps, bool)):
            raise TypeError(f"Invalid warmup_steps: {self.warmup_steps!r} (allowed: a whole number >= 0)")
        if self.warmup_steps < 0:
            raise ValueError(f"Invalid warmup_steps: {self.warmup_steps} (allowed: a whole number >= 0)")
        for name in ("r", "weight_lr_power"):
            self._check(name, lambda power: 0.0 <= power < math.inf, "a finite number >= 0")
        object.__setattr__(self, "weight_decay", check_number("weight_decay", self.weight_decay))

    def _check(self, name: str, is_allowed: Callable[[float], bool], allowed: str) -> None:
        """Make a float of a number that was given, or say why it can't be one."""
        number = as_float(name, value := getattr(self, name), allowed)
        if not is_allowed(number):
            raise ValueError(f"Invalid {name}: {value} (allowed: {allowed})")
        object.__setattr__(self, name, number)

    def warmed(self, lr: float, k: int) -> float:
        """Return the learning rate of the step after ``k`` others.

        Examples:
            >>> Averaging(warmup_steps=4).warmed(0.1, 1)
            0.05
        """
        return lr * ((k + 1) / self.warmup_steps if k < self.warmup_steps else 1.0)

    def step(self, lr: float, done: AverageProgress) -> AveragedStep:
        """Return the numbers of the next step, in float64.

        Args:
            lr: The learning rate, warm-up aside, at least 0.
            done: How far the average has come.

        Raises:
            ValueError: If the powers make a weight that no float holds: infinite, or 0 where lr isn't.

        Examples:
            >>> Averaging(beta=0.5).step(0.1, AverageProgress(k=1, lr_max=0.1, weight_sum=0.01)).share
            0.5
        """
        lr = self.warmed(lr, done.k)
        lr_max = max(lr, done.lr_max)
        weight = self._weight(done.k + 1, lr_max)
        total = done.weight_sum + weight
        share = weight / total if total else 0.0
        average_lr = lr * (1.0 - self.beta * (1.0 - share))
        return AveragedStep(lr, average_lr, share, self.weight_decay, AverageProgress(done.k + 1, lr_max, total))

    def _weight(self, k: int, lr_max: float) -> float:
        """Return what step k weighs: kʳ times the power of the largest learning rate."""
        try:
            weight: float = float(k) ** self.r * lr_max**self.weight_lr_power
        except OverflowError:
            weight = math.inf
        if weight == math.inf or (weight == 0.0 and lr_max > 0.0):
            raise ValueError(
                f"r={self.r:g} and weight_lr_power={self.weight_lr_power:g} give step {k} with learning rate "
                f"{lr_max:g} a weight of {weight:g} in the average, which no float holds more precisely: use smaller "
                "powers (0 and 2 are usual)"
            )
        return weight


@dataclass(frozen=True, slots=True)
class AveragedRule:
    """A rule whose steps z takes.

    What decides which arrays of state there are; the numbers of a step are `AveragedStep`.

    Args:
        rule: The rule, without momentum and weight decay of its own.

    Raises:
        ValueError: If it has what averaging leaves no place for.

    Examples:
        >>> AveragedRule(Rule()).state_names
        ('square_avg', 'z')
    """

    rule: Rule

    def __post_init__(self) -> None:
        """Refuse what averaging leaves no place for."""
        if self.rule.has_momentum:
            raise ValueError(
                f"Invalid momentum value: {self.rule.momentum} (allowed with schedule-free averaging: 0, since beta "
                "takes the place of momentum)"
            )
        for name in ("delayed", "init_from_gradient"):
            if getattr(self.rule, name):
                raise ValueError(
                    f"{name}=True can't be averaged schedule-free, which is defined without it: use {name}=False"
                )
        if self.rule.centered:
            raise ValueError(
                "centered=True can't be averaged schedule-free: the variance of the first gradient is 0, so that the "
                "first step, which weighs as much as any other in the average, is lr·g/eps; use centered=False"
            )
        if self.rule.weight_decay:
            raise ValueError("an averaged rule decays no weights itself: give weight_decay to Averaging")

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the arrays that are kept per parameter: those of the rule, and z."""
        return (*self.rule.state_names, ITERATE)

    @property
    def centered(self) -> bool:
        """Whether the rule is: it isn't."""
        return False

    @property
    def depends_on_step(self) -> bool:
        """Whether the rule's numbers depend on how many updates there have been."""
        return self.rule.depends_on_step

    def start(self, name: str) -> float:
        """Return the value that an array of the rule's state starts from; z starts as its parameter.

        Examples:
            >>> AveragedRule(Rule(initial_square_avg=1.0)).start("square_avg")
            1.0
        """
        return self.rule.start(name)


Updating = Rule | AveragedRule  # what computes an update


def inner(rule: Updating) -> Rule:
    """Return the rule itself, or the one whose steps z takes.

    Examples:
        >>> inner(AveragedRule(Rule(decay=0.9))).decay
        0.9
    """
    return rule.rule if isinstance(rule, AveragedRule) else rule


def moved(numbers: AveragedStep, y: Any, z: Any, u: Any) -> tuple[Any, Any]:
    """Return y and z after a step, from arrays of any library.

    Args:
        numbers: Those of the step.
        y: The parameter, in the working precision.
        z: The iterate, likewise.
        u: What the rule makes of the gradient at y, g/√v, likewise.

    Returns:
        The new y and the new z. Every operation rounds once, in the order written here; without weight decay one less.

    Examples:
        >>> moved(Averaging().step(0.5, AverageProgress()), 1.0, 1.0, 0.5)
        (0.75, 0.75)
    """
    u = u + numbers.weight_decay * y if numbers.weight_decay else u
    return (y + numbers.share * (z - y)) - numbers.average_lr * u, z - numbers.lr * u


def x_of(beta: float, y: Any, z: Any) -> Any:
    """Return the average of all iterates.

    Args:
        beta: β, as for `Averaging`.
        y: Where gradients are taken.
        z: The iterate.

    Examples:
        >>> x_of(0.5, 1.5, 2.0)
        1.0
    """
    return y + (1.0 - 1.0 / beta) * (z - y)


def y_of(beta: float, x: Any, z: Any) -> Any:
    """Return where gradients are taken.

    Args:
        beta: β, as for `Averaging`.
        x: The average of all iterates.
        z: The iterate.

    Examples:
        >>> y_of(0.5, 1.0, 2.0)
        1.5
    """
    return x + (1.0 - beta) * (z - x)
