"""The optimizers that can be compared, one row each: how it is made, its defaults, and where it is searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmsprop.dialects import DIALECTS, Dialect
from rmsprop.lab.optimizers import makers
from rmsprop.lab.optimizers.ranges import Range

if TYPE_CHECKING:
    import torch

# The learning rate of a framework that has no default: Hinton's advice in lecture 6, and Keras' default.
_NO_DEFAULT_LR = 1e-3


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
        fields: Fields of the rule that no option sets, where it is RMSProp. Default none.
        holds_out: Whether steps need rows that are held out of training: those of `rmsprop.torch.Marthe`, which is then
            the ``tuner`` of the optimizer. Default False.
        sparse: Whether the gradients of embeddings come as the rows that a batch touched. Default False: dense.
        dense: Whether it takes dense gradients at all. Default True.
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
    fields: Mapping[str, bool] = field(default_factory=dict)
    holds_out: bool = False
    sparse: bool = False
    dense: bool = True


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
    return Row(label=label, make=makers.rmsprop(name), lr=lr, options=options, space=space, call=call)


def _towards_adam(label: str, lr: float | None = None, alpha: float | None = None, **fields: bool) -> Row:
    """Return the row of torch's RMSProp with some of what Adam has and it hasn't: fields of the rule, and settings."""
    plain = _rmsprop_row(label, "torch", DIALECTS["torch"])
    adams = {} if alpha is None else {"alpha": alpha}
    adams |= {"momentum": 0.9} if fields.get("averaged_momentum") else {}
    said = ", ".join(f"{name}={value}" for name, value in fields.items())
    return replace(
        plain,
        make=makers.rmsprop("torch", **fields),
        fields=fields,
        lr=plain.lr if lr is None else lr,
        options={**plain.options, **adams},
        space={**plain.space, **({"momentum": _MOMENTUM} if "momentum" in adams else {})},
        call=f"rmsprop.torch.RMSprop(params, {{}}, {said})",
    )


def _on_rows(label: str, **fixed: str) -> Row:
    """Return the row of torch's RMSProp that takes the rows of embeddings which a batch touched."""
    said = "".join(f', {name}="{value}"' for name, value in fixed.items())
    return replace(
        _rmsprop_row(label, "torch", DIALECTS["torch"]),
        make=makers.rmsprop("torch", **fixed),
        call=f"rmsprop.torch.RMSprop(params, {{}}{said})",
        sparse=True,
    )


_ADAM = Row(
    label="Adam",
    make=makers.adam,
    lr=1e-3,
    options={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    space={"lr": _lr(1e-3), "beta2": Range(low=1e-4, high=0.5, complement=True), "eps": _EPS, "beta1": _MOMENTUM},
    call="torch.optim.Adam(params, {})",
)

OPTIMIZERS: Mapping[str, Row] = MappingProxyType(
    {
        "sgd": Row(label="SGD", make=makers.sgd, lr=1e-3, space={"lr": _lr(0.1)}, call="torch.optim.SGD(params, {})"),
        "momentum": Row(
            label="Momentum",
            make=makers.sgd,
            lr=1e-3,
            options={"momentum": 0.9},
            space={"lr": _lr(0.01), "momentum": _MOMENTUM},
            call="torch.optim.SGD(params, {})",
        ),
        "nesterov": Row(
            label="Nesterov",
            make=makers.nesterov,
            lr=1e-3,
            options={"momentum": 0.9},
            space={"lr": _lr(0.01), "momentum": Range(low=1e-2, high=0.99, complement=True)},
            call="torch.optim.SGD(params, {}, nesterov=True)",
        ),
        "adagrad": Row(
            label="AdaGrad",
            make=makers.adagrad,
            lr=1e-2,
            options={"eps": 1e-10},
            space={"lr": _lr(0.1), "eps": _EPS},
            call="torch.optim.Adagrad(params, {})",
        ),
        "adadelta": Row(
            label="Adadelta",
            make=makers.adadelta,
            lr=1.0,
            options={"rho": 0.9, "eps": 1e-6},
            space={"lr": _lr(1.0), "rho": _DECAY, "eps": _EPS},
            call="torch.optim.Adadelta(params, {})",
        ),
        "adam": _ADAM,
        "sparse-adam": replace(
            _ADAM,
            label="SparseAdam",
            make=makers.sparse_adam,
            call="torch.optim.SparseAdam(params, {})",
            sparse=True,
            dense=False,
        ),
        "rmsprop": _rmsprop_row("RMSProp", "torch", DIALECTS["torch"]),
        "rmsprop-momentum": _rmsprop_row("RMSProp + momentum", "torch", DIALECTS["torch"], momentum=0.9),
        **{f"rmsprop-{name}": _rmsprop_row(f"RMSProp ({name})", name, dialect) for name, dialect in DIALECTS.items()},
        "rmsprop-sparse": _on_rows("RMSProp on rows"),
        "rmsprop-lazy": _on_rows("RMSProp (lazy rows)", sparse="lazy"),
        "rmsprop-rowwise": _on_rows("RMSProp (one average per row)", sparse="rowwise"),
        # From RMSProp to Adam, a difference at a time. With Adam's settings, LaProp only divides before it averages.
        "rmsprop-bias-correction": _towards_adam("RMSProp + bias correction", bias_correction=True),
        "rmsprop-averaged-momentum": _towards_adam("RMSProp + averaged momentum", averaged_momentum=True),
        "rmsprop-corrected-momentum": _towards_adam(
            "RMSProp + corrected momentum", averaged_momentum=True, bias_correction=True
        ),
        "rmsprop-laprop": _towards_adam("LaProp", lr=1e-3, alpha=0.999, averaged_momentum=True, bias_correction=True),
        "rmsprop-sf": Row(
            label="Schedule-free RMSProp",
            make=makers.schedule_free,
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
            make=makers.hypergradient_descent,
            call="rmsprop.torch.HypergradientDescent(rmsprop.torch.RMSprop(params, {})).optimizer",
            elementwise=False,
        ),
        "rmsprop-marthe": replace(
            _rmsprop_row("RMSProp + MARTHE", "torch", DIALECTS["torch"]),
            make=makers.marthe,
            call="rmsprop.torch.Marthe(rmsprop.torch.RMSprop(params, {})).optimizer",
            evaluations=4,  # a gradient, one of the rows held out, and a Hessian-vector product
            elementwise=False,
            holds_out=True,
        ),
    }
)
