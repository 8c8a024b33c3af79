"""The optimizers that can be compared, one row each: how it is made, its defaults, and where it is searched.

This module imports no framework until an optimizer is made, so that a command's help can name them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmsprop.dialects import DIALECTS, Dialect
from rmsprop.lab.averages import NAMES, Average
from rmsprop.lab.errors import InputError

if TYPE_CHECKING:
    import torch

# What people call RMSProp with averaged weights; after a name, +swa and +ema average those of any optimizer.
SHORT = {"swa": "rmsprop+swa", "ema": "rmsprop+ema"}
# The learning rate of a framework that has no default: Hinton's advice in lecture 6, and Keras' default.
_NO_DEFAULT_LR = 1e-3


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where one hyperparameter is searched.

    Args:
        low: The least value, above 0 if ``log``.
        high: The greatest value.
        log: Search evenly in the logarithm. Default True.
        complement: Search 1 − value between ``low`` and ``high``: a decay of 0.9 to 0.999 is 0.001 to 0.1.
            Default False.

    Examples:
        >>> Range(low=1e-4, high=1.0).at(0.5)
        0.01
        >>> Range(low=1e-3, high=1e-1, complement=True).at(0.5)
        0.99
    """

    low: float
    high: float
    log: bool = True
    complement: bool = False

    def at(self, u: float) -> float:
        """Return the value at a point of the range.

        Args:
            u: 0 for ``low``, 1 for ``high``.

        Returns:
            The value, to 12 significant digits, so that it prints as it is.
        """
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + u * (high - low)
        value = math.exp(value) if self.log else value
        return float(f"{1.0 - value if self.complement else value:.12g}")

    def where(self, value: float) -> float:
        """Return the point of the range at which a value lies: the inverse of `at`.

        Args:
            value: The hyperparameter.

        Returns:
            0 for ``low``, 1 for ``high``; outside the range below 0 or above 1.

        Examples:
            >>> round(Range(low=1e-4, high=1.0).where(0.01), 12)
            0.5
        """
        value = 1.0 - value if self.complement else value
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)

    def beyond(self, u: float) -> Range:
        """Return the stretch that widens the range by half of its width, at the end that a point is nearer to.

        Args:
            u: The point, 0 for ``low`` and 1 for ``high``.

        Returns:
            The stretch alone. The complement of a decay stays at or below 1.

        Examples:
            >>> Range(low=1e-4, high=1.0).beyond(0.95)
            Range(low=1.0, high=100.0, log=True, complement=False)
        """
        more = math.sqrt(self.high / self.low) if self.log else (self.high - self.low) / 2
        if u < 0.5:
            low = self.low / more if self.log else self.low - more
            return Range(low=low, high=self.low, log=self.log, complement=self.complement)
        high = self.high * more if self.log else self.high + more
        high = min(high, 1.0) if self.complement else high
        return Range(low=self.high, high=high, log=self.log, complement=self.complement)


@dataclass(frozen=True, kw_only=True)
class Row:
    """An optimizer that can be compared.

    Args:
        label: What a figure calls it.
        make: Makes it from parameters, ``lr`` and the options.
        lr: Its default learning rate.
        options: Its other hyperparameters with their defaults, under its own keywords.
        space: Where each hyperparameter is searched.
        call: How a person makes it, with a place for the learning rate and the options.
        evaluations: Gradient evaluations per step. Default 1.
        averages: Whether it averages weights itself: it has `train` and `eval`, and is made in eval mode. Default
            False.
        elementwise: Whether an element's update depends on that element alone, so that models can be stacked in one
            tensor. Default True.
        holds_out: Whether steps need rows that are held out of training: those of `rmsprop.torch.Marthe`, which is then
            the ``tuner`` of the optimizer. Default False.
    """

    label: str
    make: Callable[..., torch.optim.Optimizer]
    lr: float
    options: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Range]
    call: str
    evaluations: int = 1
    averages: bool = False
    elementwise: bool = True
    holds_out: bool = False


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


def _sgd(params: Any, **options: Any) -> torch.optim.Optimizer:
    from torch.optim import SGD

    return SGD(params, **options)


def _nesterov(params: Any, **options: Any) -> torch.optim.Optimizer:
    return _sgd(params, nesterov=True, **options)


def _adagrad(params: Any, **options: Any) -> torch.optim.Optimizer:
    from torch.optim import Adagrad

    return Adagrad(params, **options)


def _adadelta(params: Any, **options: Any) -> torch.optim.Optimizer:
    from torch.optim import Adadelta

    return Adadelta(params, **options)


def _adam(params: Any, *, beta1: float, beta2: float, **options: Any) -> torch.optim.Optimizer:
    from torch.optim import Adam

    return Adam(params, betas=(beta1, beta2), **options)


def _rmsprop(dialect: str) -> Callable[..., torch.optim.Optimizer]:
    def make(params: Any, **options: Any) -> torch.optim.Optimizer:
        from rmsprop.torch import RMSprop

        return RMSprop(params, dialect=dialect, **options)

    return make


def _schedule_free(params: Any, **options: Any) -> torch.optim.Optimizer:
    from rmsprop.torch import ScheduleFreeRMSprop

    return ScheduleFreeRMSprop(params, **options)


def _hypergradient_descent(params: Any, **options: Any) -> torch.optim.Optimizer:
    from rmsprop.torch import HypergradientDescent, RMSprop

    return HypergradientDescent(RMSprop(params, **options)).optimizer


def _marthe(params: Any, **options: Any) -> torch.optim.Optimizer:
    from rmsprop.torch import Marthe, RMSprop

    return Marthe(RMSprop(params, **options)).optimizer


# Four decades of learning rate for everyone, so that equally many trials are equally dense. The middle is the default
# or, where the default serves another scale (SGD, AdaGrad, momentum), a tenth of what ends divergence on most problems.
_DECAY = Range(low=1e-3, high=0.5, complement=True)
_MOMENTUM = Range(low=1e-2, high=1.0, complement=True)
_EPS = Range(low=1e-10, high=1.0)


def _lr(middle: float) -> Range:
    return Range(low=middle / 100, high=middle * 100)


def _rmsprop_row(label: str, name: str, dialect: Dialect, momentum: float | None = None) -> Row:
    rule = dialect.rule_with(momentum=momentum)
    options = {"alpha": rule.decay, "eps": rule.eps}
    space = {"lr": _lr(1e-3), "alpha": _DECAY, "eps": _EPS}
    if rule.momentum:
        options["momentum"] = rule.momentum
        space |= {"lr": _lr(1e-4), "momentum": _MOMENTUM}
    call = f'rmsprop.torch.RMSprop(params, {{}}, dialect="{name}")'
    lr = dialect.lr or _NO_DEFAULT_LR
    return Row(label=label, make=_rmsprop(name), lr=lr, options=options, space=space, call=call)


OPTIMIZERS: Mapping[str, Row] = MappingProxyType(
    {
        "sgd": Row(label="SGD", make=_sgd, lr=1e-3, space={"lr": _lr(0.1)}, call="torch.optim.SGD(params, {})"),
        "momentum": Row(
            label="Momentum",
            make=_sgd,
            lr=1e-3,
            options={"momentum": 0.9},
            space={"lr": _lr(0.01), "momentum": _MOMENTUM},
            call="torch.optim.SGD(params, {})",
        ),
        "nesterov": Row(
            label="Nesterov",
            make=_nesterov,
            lr=1e-3,
            options={"momentum": 0.9},
            space={"lr": _lr(0.01), "momentum": Range(low=1e-2, high=0.99, complement=True)},
            call="torch.optim.SGD(params, {}, nesterov=True)",
        ),
        "adagrad": Row(
            label="AdaGrad",
            make=_adagrad,
            lr=1e-2,
            options={"eps": 1e-10},
            space={"lr": _lr(0.1), "eps": _EPS},
            call="torch.optim.Adagrad(params, {})",
        ),
        "adadelta": Row(
            label="Adadelta",
            make=_adadelta,
            lr=1.0,
            options={"rho": 0.9, "eps": 1e-6},
            space={"lr": _lr(1.0), "rho": _DECAY, "eps": _EPS},
            call="torch.optim.Adadelta(params, {})",
        ),
        "adam": Row(
            label="Adam",
            make=_adam,
            lr=1e-3,
            options={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
            space={
                "lr": _lr(1e-3),
                "beta2": Range(low=1e-4, high=0.5, complement=True),
                "eps": _EPS,
                "beta1": _MOMENTUM,
            },
            call="torch.optim.Adam(params, {})",
        ),
        "rmsprop": _rmsprop_row("RMSProp", "torch", DIALECTS["torch"]),
        "rmsprop-momentum": _rmsprop_row("RMSProp + momentum", "torch", DIALECTS["torch"], momentum=0.9),
        **{f"rmsprop-{name}": _rmsprop_row(f"RMSProp ({name})", name, dialect) for name, dialect in DIALECTS.items()},
        "rmsprop-sf": Row(
            label="Schedule-free RMSProp",
            make=_schedule_free,
            lr=2.5e-3,
            options={"alpha": 0.999, "beta": 0.9, "eps": 1e-8},
            space={
                "lr": _lr(2.5e-3),
                "alpha": Range(low=1e-4, high=0.5, complement=True),
                "eps": _EPS,
                "beta": Range(low=1e-2, high=0.5, complement=True),
            },
            call="rmsprop.torch.ScheduleFreeRMSprop(params, {})",
            averages=True,
        ),
        "rmsprop-hd": replace(
            _rmsprop_row("RMSProp + HD", "torch", DIALECTS["torch"]),
            make=_hypergradient_descent,
            call="rmsprop.torch.HypergradientDescent(rmsprop.torch.RMSprop(params, {})).optimizer",
            elementwise=False,
        ),
        "rmsprop-marthe": replace(
            _rmsprop_row("RMSProp + MARTHE", "torch", DIALECTS["torch"]),
            make=_marthe,
            call="rmsprop.torch.Marthe(rmsprop.torch.RMSprop(params, {})).optimizer",
            evaluations=4,  # a gradient, one of the rows held out, and a Hessian-vector product
            elementwise=False,
            holds_out=True,
        ),
    }
)


def full_name(name: str) -> str:
    """Return the name of an optimizer that a short one stands for.

    Args:
        name: Any name.

    Returns:
        The same, unless it is a key of `SHORT`.

    Examples:
        >>> full_name("swa"), full_name("adam+swa")
        ('rmsprop+swa', 'adam+swa')
    """
    return SHORT.get(name, name)


def bare(name: str) -> str:
    """Return the name of an optimizer without the average of its weights.

    Args:
        name: A key of `OPTIMIZERS`, perhaps followed by ``+swa`` or ``+ema``.

    Returns:
        The key.

    Examples:
        >>> bare("adam+ema"), bare("adam")
        ('adam', 'adam')
    """
    return name if average_of(name) == "none" else name.rpartition("+")[0]


def average_of(name: str) -> Average:
    """Return the average of the weights that a name asks for.

    Args:
        name: As for `bare`.

    Returns:
        The average.

    Examples:
        >>> average_of("adam+ema"), average_of("adam")
        ('ema', 'none')
    """
    if name.endswith("+swa"):
        return "swa"
    return "ema" if name.endswith("+ema") else "none"


def row(name: str) -> Row:
    """Return the row of an optimizer.

    Args:
        name: A key of `OPTIMIZERS`, perhaps followed by ``+swa`` or ``+ema``, or one of `SHORT`.

    Returns:
        Its row; an average makes no difference to it.

    Raises:
        InputError: If there is no such optimizer.

    Examples:
        >>> row("adam").lr
        0.001
        >>> row("adm")
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: there is no optimizer 'adm' (did you mean adam?): choose from ...
    """
    found = OPTIMIZERS.get(bare(full_name(name)))
    if found is None:
        close = get_close_matches(name.lower(), OPTIMIZERS, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(
            f"there is no optimizer {name!r}{hint}: choose from {', '.join(OPTIMIZERS)}; +swa or +ema may follow each, "
            "and swa and ema alone are RMSProp's"
        )
    if found.averages and (average := average_of(full_name(name))) != "none":
        raise InputError(f"{name} would average weights twice: leave out +{average}, or use rmsprop+{average}")
    return found


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
