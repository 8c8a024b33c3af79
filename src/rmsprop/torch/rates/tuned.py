"""The learning rates of an optimizer's groups as gradients change them: what hypergradient descent and MARTHE share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from rmsprop.hyperparameters import as_float
from rmsprop.rates import additive, multiplicative
from rmsprop.rule import Rule
from rmsprop.torch.optimizer import RMSprop
from rmsprop.torch.rates.tunable import checked_rules

Mode = Literal["multiplicative", "additive"]


class Products(NamedTuple):
    """What a hypergradient is made of: ∇E·∂θ/∂η and the squares of both norms."""

    inner: float
    of_gradient: float
    of_tangent: float

    @property
    def scale(self) -> float:
        """The largest magnitude that the inner product could have."""
        return math.sqrt(self.of_gradient) * math.sqrt(self.of_tangent)

    @property
    def are_finite(self) -> bool:
        """Whether a learning rate may be made of them."""
        return all(map(math.isfinite, self))


class TunedRates:
    """The learning rates of the groups of an optimizer, changed by their hypergradients.

    Args:
        optimizer: The optimizer.
        hyper_lr: β, by which share a learning rate changes at most (multiplicative), or what its hypergradient is
            multiplied with (additive).
        mode: ``"multiplicative"`` or ``"additive"``.
        max_factor: By what factor a learning rate may change in a step.

    Attributes:
        hypergradients: dE/dη of each group at the last step that had one; 0 before.
        gradients: How many gradients of the training loss were evaluated.
        validation_gradients: How many of the validation loss.
        hessian_vector_products: How many products of the Hessian of the training loss with a vector.
        not_finite: How often a hypergradient was not finite, and the learning rate stayed as it was.
    """

    def __init__(self, optimizer: RMSprop, hyper_lr: float, mode: Mode, max_factor: float) -> None:
        self.hyper_lr = checked_number("hyper_lr", hyper_lr, above=0.0)
        self.max_factor = checked_number("max_factor", max_factor, above=1.0)
        if mode not in get_args(Mode):
            raise ValueError(f"Invalid mode: {mode!r} (allowed: {' or '.join(map(repr, get_args(Mode)))})")
        self.mode: Mode = mode
        self.optimizer = optimizer
        rules = checked_rules(optimizer)
        if optimizer.tuner is not None:
            raise RuntimeError("gradients tune the learning rates of this optimizer already: remove() the first tuner")
        self.hypergradients = [0.0] * len(rules)
        self.gradients = self.validation_gradients = self.hessian_vector_products = self.not_finite = 0
        self._lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self._hooks: list[Any] = []

    @property
    def evaluations(self) -> int:
        """The cost so far in gradient evaluations; a Hessian-vector product counts as two.

        With the graph of the gradient kept, the product is one pass backward through two passes.
        """
        return self.gradients + self.validation_gradients + 2 * self.hessian_vector_products

    def __getstate__(self) -> Any:
        """Refuse to be copied or pickled: the copy of an optimizer has no hooks, so nothing would tune it."""
        raise TypeError(f"a {type(self).__name__} can't be copied or pickled: make one anew and load its state_dict()")

    def remove(self) -> None:
        """Leave the learning rates as they are from now on."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self.optimizer.tuner is self:
            self.optimizer.tuner = None

    def _attach(self, hooks: Sequence[Any]) -> None:
        self._hooks = list(hooks)
        self.optimizer.tuner = self

    def _rules(self) -> list[Rule]:
        """Return the rule of each group, after checking that nothing else has taken over."""
        rules, groups = checked_rules(self.optimizer), self.optimizer.param_groups
        for group in groups[len(self._lrs) :]:
            self._lrs.append(float(group["lr"]))
            self.hypergradients.append(0.0)
        for number, (group, lr) in enumerate(zip(groups, self._lrs, strict=True)):
            if float(group["lr"]) != lr:
                raise RuntimeError(
                    f"the learning rate of group {number} was {lr:g} after the last step and is {group['lr']:g} now: a "
                    "scheduler or a loop that sets it works against its hypergradient, so leave it to one of them"
                )
        return rules

    def _tune(self, products: Sequence[Products | None]) -> None:
        """Change the learning rate of each group that has a hypergradient, unless it is not finite."""
        for number, found in enumerate(products):
            if found is None:
                continue
            if not found.are_finite:
                self.not_finite += 1
                continue
            lr = self._lrs[number]
            self.hypergradients[number] = found.inner
            self._lrs[number] = self.optimizer.param_groups[number]["lr"] = (
                multiplicative(lr, found.inner, found.scale, self.hyper_lr, self.max_factor)
                if self.mode == "multiplicative"
                else additive(lr, found.inner, self.hyper_lr, self.max_factor)
            )

    def _numbers(self) -> dict[str, Any]:
        """Return what a state dict has beside tensors."""
        return {
            "hyper_lr": self.hyper_lr,
            "mode": self.mode,
            "max_factor": self.max_factor,
            "lrs": list(self._lrs),
            "hypergradients": list(self.hypergradients),
            "gradients": self.gradients,
            "validation_gradients": self.validation_gradients,
            "hessian_vector_products": self.hessian_vector_products,
            "not_finite": self.not_finite,
        }

    def _check_groups(self, state_dict: Mapping[str, Any]) -> None:
        """Refuse the state of an optimizer with other groups."""
        groups = self.optimizer.param_groups
        if len(state_dict["lrs"]) != len(groups):
            raise ValueError(
                f"loaded state has {len(state_dict['lrs'])} learning rates, and the optimizer {len(groups)} groups: "
                "make it with the same groups first"
            )

    def _load_numbers(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `_numbers` returned, and put the learning rates into the groups."""
        for name, value in self._numbers().items():
            if name != "lrs":
                setattr(self, name, type(value)(state_dict[name]))
        self._lrs = list(state_dict["lrs"])
        for group, lr in zip(self.optimizer.param_groups, self._lrs, strict=True):
            group["lr"] = lr


def checked_number(
    name: str, value: object, low: float = -math.inf, high: float = math.inf, *, above: float = -math.inf
) -> float:
    """Return a setting as a float, or say in one sentence why it can't be one.

    Args:
        name: What an error calls it.
        value: What the caller gave.
        low: The least value.
        high: The greatest value; infinity itself is never allowed.
        above: What it must exceed.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is NaN, infinite or out of range.
    """
    allowed = f"a number from {low:g} to {high:g}" if high < math.inf else f"a finite number above {above:g}"
    number = as_float(name, value, allowed)
    if not (low <= number <= high and number > above and math.isfinite(number)):
        raise ValueError(f"Invalid {name}: {value} (allowed: {allowed})")
    return number


def products(pairs: Iterable[tuple[Any, Any]]) -> Products:
    """Return the inner product of a gradient and what moves along it, and their norms.

    Args:
        pairs: For each part of a parameter both, of equal shapes: NumPy arrays, or tensors, on whose device this waits
            once.
    """
    sums = [each for a, b in pairs for each in ((a * a).sum(), (b * b).sum(), (a * b).sum())]
    if sums and all(isinstance(each, Tensor) and each.device == sums[0].device for each in sums):
        totals = torch.stack(sums).double().view(-1, 3).sum(0).tolist()
    else:
        totals = np.array([float(each) for each in sums]).reshape(-1, 3).sum(axis=0).tolist()
    of_gradient, of_tangent, inner = totals
    return Products(inner, of_gradient, of_tangent)


def loaded_like(saved: Tensor, param: Tensor, name: str) -> Tensor:
    """Return a copy of a saved tensor that belongs to a parameter, on its device.

    Args:
        saved: The tensor.
        param: The parameter.
        name: What an error calls it.

    Raises:
        ValueError: If it has another shape.
    """
    if saved.shape != param.shape:
        raise ValueError(
            f"loaded {name} has shape {tuple(saved.shape)}, but its parameter has {tuple(param.shape)}: "
            "the state is another model's"
        )
    return saved.detach().to(param.device, param.dtype, copy=True)
