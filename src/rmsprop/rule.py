"""What one RMSProp is: every semantic choice of the update as a named, validated field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal, TypeVar, get_args

WeightDecayMode = Literal["l2", "decoupled"]
Scalar = TypeVar("Scalar")

# Field -> (what an error calls it, largest allowed value). The wording is torch's where torch has one,
# so that code and tests that match its messages keep working.
_NUMBERS: dict[str, tuple[str, float]] = {
    "lr": ("learning rate", math.inf),
    "decay": ("decay value", 1.0),
    "eps": ("epsilon value", math.inf),
    "initial_square_avg": ("initial_square_avg value", math.inf),
    "momentum": ("momentum value", 1.0),
    "weight_decay": ("weight_decay value", math.inf),
}
_FLAGS = ("eps_inside_sqrt", "centered", "nesterov", "lr_in_momentum", "bias_correction")


def check_number(field: str, value: object, label: str | None = None) -> float:
    """Return a hyperparameter as a float, or say in one sentence why it cannot be one.

    Args:
        field: The hyperparameter: ``"lr"`` or the name of a numeric field of `Rule`.
        value: What the caller gave.
        label: What an error calls it; by default torch's wording, or the field's name.

    Returns:
        ``value`` as a Python float.

    Raises:
        TypeError: If ``value`` is not a real number.
        ValueError: If it is NaN, infinite, negative or above the field's upper bound.

    Examples:
        >>> check_number("momentum", 0.9)
        0.9
        >>> check_number("decay", 1.5)
        Traceback (most recent call last):
        ValueError: Invalid decay value: 1.5 (allowed: a number from 0 to 1)
    """
    name, high = _NUMBERS[field]
    name = label or name
    allowed = "a finite number >= 0" if high == math.inf else f"a number from 0 to {high:g}"
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"Invalid {name}: {value!r} is a {type(value).__name__} (allowed: {allowed})")
    number = float(value)
    if not (0.0 <= number <= high and number < math.inf):
        raise ValueError(f"Invalid {name}: {value} (allowed: {allowed})")
    return number


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One RMSProp: the choices that decide what an update computes.

    The defaults are those of ``torch.optim.RMSprop``. A rule is immutable; `dataclasses.replace` makes a changed
    one. `rmsprop.reference.update` states the arithmetic.

    Args:
        decay: The share ρ of the old value that the moving averages keep, from 0 to 1. Default 0.99.
        eps: The ε that keeps the denominator away from zero, at least 0. Default 1e-8.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default False.
        initial_square_avg: v₀, what the average of squared gradients starts from. Default 0. It has no effect
            under ``bias_correction``, which removes its share exactly.
        centered: Divide by the standard deviation √(v − m²) of the gradient instead of its root mean square.
            Default False.
        momentum: The μ of a heavy-ball buffer, from 0 to 1; 0 keeps no buffer. Default 0.
        nesterov: Step with the buffer as it will be after one more decay (needs ``momentum``). Default False.
        lr_in_momentum: The buffer collects lr·u instead of u. The two differ once the learning rate changes.
            Default False.
        bias_correction: Divide the averages by 1 − ρᵗ, as Adam does. Default False.
        weight_decay: λ, at least 0. Default 0.
        weight_decay_mode: ``"l2"`` adds λθ to the gradient, ``"decoupled"`` subtracts lr·λ·θ from the parameter.
            Default ``"l2"``.

    Raises:
        TypeError: If a number is not a number or a flag is not a bool.
        ValueError: If a value is out of range or two choices contradict each other.

    Examples:
        >>> Rule(decay=0.9, eps=1e-3, eps_inside_sqrt=True).decay
        0.9

    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine Learning, 2012;
    centered and with momentum: Graves, arXiv 1308.0850, equations 38 to 45.
    """

    decay: float = 0.99
    eps: float = 1e-8
    eps_inside_sqrt: bool = False
    initial_square_avg: float = 0.0
    centered: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    lr_in_momentum: bool = False
    bias_correction: bool = False
    weight_decay: float = 0.0
    weight_decay_mode: WeightDecayMode = "l2"

    def __post_init__(self) -> None:
        """Check every field, then what they say together."""
        for field in _NUMBERS.keys() & set(self.__slots__):
            object.__setattr__(self, field, check_number(field, getattr(self, field)))
        for field in _FLAGS:
            value = getattr(self, field)
            if not isinstance(value, bool):
                raise TypeError(f"Invalid {field} value: {value!r} (allowed: True or False)")
        if self.weight_decay_mode not in get_args(WeightDecayMode):
            raise ValueError(
                f"Invalid weight_decay_mode value: {self.weight_decay_mode!r} (allowed: 'l2' or 'decoupled')"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum above 0: set momentum, or leave nesterov off")
        if self.bias_correction and self.decay == 1.0:
            raise ValueError("bias_correction=True needs a decay below 1: at decay 1 it would divide by zero")

    @classmethod
    def from_dialect(cls, name: str, **overrides: object) -> Rule:
        """Return the rule of a framework, with explicit choices put over its defaults.

        Args:
            name: A key of `rmsprop.DIALECTS`, such as ``"tensorflow1"``.
            **overrides: Fields of `Rule`; None stands for the dialect's default.

        Returns:
            The rule.

        Raises:
            TypeError: If a field is unknown or of the wrong type.
            ValueError: If the dialect is unknown or a value is out of range.

        Examples:
            >>> Rule.from_dialect("tensorflow1", momentum=0.9, eps=1e-3).initial_square_avg
            1.0
        """
        from rmsprop.dialects import get_dialect  # the table is made of rules, so it imports this module

        return get_dialect(name).rule_with(**overrides)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the arrays that this rule keeps per parameter, in the order of the update."""
        averages = ("grad_avg", "grad_var") if self.centered else ("square_avg",)
        return (*averages, "momentum_buffer") if self.momentum else averages

    @property
    def initial_average(self) -> float:
        """The value that ``square_avg`` (``grad_var`` when centered) starts from; the other arrays start from 0."""
        return 0.0 if self.bias_correction else self.initial_square_avg

    def gains(self, step: Scalar) -> tuple[float | Scalar, float | Scalar]:
        """Return the shares that the new and the old value have in each average after ``step`` updates.

        Without bias correction these are 1 − ρ and ρ. A bias-corrected average v̂ = (v − ρᵗv₀)/(1 − ρᵗ) is itself
        a moving average, v̂ ← v̂ + k·(g² − v̂) with k = (1 − ρ)/(1 − ρᵗ): the same recursion with another gain.
        That is how this package computes and stores it, because v − ρᵗv₀ would cancel.

        Args:
            step: The number t of the update, counted from 1 (a number, or an array of a front end).

        Returns:
            The gain of the new value and the share kept of the old; they sum to 1.

        Examples:
            >>> Rule(decay=0.5, bias_correction=True).gains(2)
            (0.6666666666666666, 0.3333333333333333)
        """
        if not self.bias_correction:
            return 1.0 - self.decay, self.decay
        decay, t = self.decay, step
        total = 1.0 - decay**t  # type: ignore[operator]
        return (1.0 - decay) / total, decay * (1.0 - decay ** (t - 1)) / total  # type: ignore[operator]
