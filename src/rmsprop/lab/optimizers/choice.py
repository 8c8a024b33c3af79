"""An optimizer with all of its hyperparameters, and how it is made."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmsprop.lab.averages import NAMES, Average
from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers.names import average_of, full_name, row

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An optimizer with all of its hyperparameters.

    Args:
        name: A key of `OPTIMIZERS`, perhaps followed by ``+swa`` or ``+ema``.
        lr: The learning rate.
        options: The other hyperparameters in alphabetical order, as pairs of keyword and value.

    Examples:
        >>> choose("adam+swa", lr=0.01).label
        'Adam + SWA'
    """

    name: str
    lr: float
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """What a figure calls the optimizer."""
        return row(self.name).label + (f" + {NAMES[self.average]}" if self.average in NAMES else "")

    @property
    def average(self) -> Average:
        """The average of the weights that is judged in their place."""
        return average_of(self.name)

    @property
    def call(self) -> str:
        """A line of Python that makes the optimizer of ``params``, with every digit of its hyperparameters.

        Examples:
            >>> choose("adam", lr=0.01).call
            'torch.optim.Adam(params, lr=0.01, betas=(0.9, 0.999), eps=1e-08)'
        """
        options = {"lr": self.lr, **dict(self.options)}
        if "beta1" in options:
            options = {"lr": self.lr, "betas": (options.pop("beta1"), options.pop("beta2")), **options}
        return row(self.name).call.format(", ".join(f"{name}={value!r}" for name, value in options.items()))


def choose(name: str, lr: float | None = None, **options: Any) -> Choice:
    """Return an optimizer with all of its hyperparameters.

    Args:
        name: A key of `OPTIMIZERS`, perhaps followed by ``+swa`` or ``+ema``, or one of `SHORT`.
        lr: The learning rate, above 0. Default: the optimizer's.
        **options: Other hyperparameters under the optimizer's own keywords. Default: the optimizer's.

    Returns:
        The choice.

    Raises:
        InputError: If there is no such optimizer, or it has no such option, or a value is out of range.

    Examples:
        >>> choose("rmsprop-keras", alpha=0.9).call
        'rmsprop.torch.RMSprop(params, lr=0.001, alpha=0.9, eps=1e-07, dialect="keras")'
    """
    found = row(name)
    if unknown := sorted(options.keys() - found.options.keys()):
        known = ", ".join(("lr", *found.options))
        raise InputError(f"{name} has no option {unknown[0]!r}: it has {known}")
    lr = found.lr if lr is None else lr
    if not 0.0 < lr < math.inf:
        raise InputError(f"the learning rate of {name} is {lr:g}: it must be a finite number above 0")
    return Choice(name=full_name(name), lr=lr, options=tuple(sorted({**found.options, **options}.items())))


def make(choice: Choice, params: Iterable[torch.Tensor] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return the optimizer of a choice: torch's own class, or `rmsprop.torch.RMSprop`.

    Args:
        choice: The optimizer and its hyperparameters. Averaging of weights is up to the caller.
        params: What to update.

    Returns:
        The optimizer.

    Raises:
        ValueError: If a hyperparameter is out of the range that the class allows.

    Examples:
        >>> import torch
        >>> type(make(choose("nesterov"), [torch.zeros(2, requires_grad=True)])).__name__
        'SGD'
    """
    return row(choice.name).make(params, lr=choice.lr, **dict(choice.options))
