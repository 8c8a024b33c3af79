"""What an optimizer divides its gradients by: its second moment, where its ε stands, and the denominator."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from rmsprop.torch.rows.clock import ROWS, as_held

# Choices of other packages' optimizers that no option of theirs names: timm's and Stable-Baselines3's keep
# ``square_avg`` as torch's RMSprop does, and have ε inside the root.
_TENSORFLOW = {"eps_inside_sqrt": True, "initial_square_avg": 1.0}
_FIXED: Mapping[str, Mapping[str, float | bool]] = {"RMSpropTF": _TENSORFLOW, "RMSpropTFLike": _TENSORFLOW}


@dataclass(frozen=True)
class Moments:
    """What a parameter's gradient is divided by.

    Args:
        second: The average of squares, or of squared differences from the mean; None where nothing is divided by.
        mean: The average of the gradient that is subtracted, where one is.
        subtracted: Whether ``second`` is the variance already.
        scale: What ``second`` is multiplied with, a bias correction.
        eps: The ε.
        eps_inside_sqrt: Whether it stands under the root.
    """

    second: Tensor | None = None
    mean: Tensor | None = None
    subtracted: bool = False
    scale: float = 1.0
    eps: float = 0.0
    eps_inside_sqrt: bool = False


def number_of(group: Mapping[str, Any], name: str) -> float:
    """Return an option of a parameter group, NaN where it isn't one number, as Adafactor's ε isn't.

    Args:
        group: The group.
        name: The option.

    Returns:
        The number.

    Examples:
        >>> number_of({"eps": (None, 1e-3)}, "eps"), number_of({"lr": torch.tensor(0.5)}, "lr")
        (nan, 0.5)
    """
    value = group.get(name, math.nan)
    is_number = isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
    return float(value) if is_number else math.nan


def fixed_choices(optimizer: str) -> Mapping[str, float | bool]:
    """Return what an optimizer computes with and has no option for.

    Args:
        optimizer: Its class, without the module.

    Returns:
        Fields of a `Rule`.

    Examples:
        >>> fixed_choices("RMSpropTF")["initial_square_avg"], fixed_choices("RMSprop")
        (1.0, {})
    """
    return _FIXED.get(optimizer, {})


def moments(optimizer: Optimizer, group: Mapping[str, Any], parameter: Tensor) -> Moments:
    """Return what an optimizer divides a parameter's gradient by.

    Args:
        optimizer: The optimizer.
        group: The parameter's group.
        parameter: The parameter.

    Returns:
        The moments: of RMSprop (``rmsprop.torch``, torch, timm, Stable-Baselines3), Adam and its like, and Adagrad. Of
        any other optimizer, and before the first step, those without a ``second``.

    Examples:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> optimizer = torch.optim.RMSprop([weight])
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> moments(optimizer, optimizer.param_groups[0], weight).second
        tensor([0.0100])
    """
    state = optimizer.state.get(parameter, {})
    if ROWS in as_held(state):  # reading brings all rows up to date, which rounds them otherwise: those of a copy
        state = copy.deepcopy(state)
    found = _known(optimizer, group, state)
    # What has these names elsewhere may be one number for all elements, or have an ε of another meaning.
    fits = found.second is not None and found.second.shape == parameter.shape and not math.isnan(found.eps)
    return found if fits else Moments()


def _known(optimizer: Optimizer, group: Mapping[str, Any], state: Mapping[str, Any]) -> Moments:
    eps = number_of(group, "eps")
    if "grad_var" in state or "grad_var_codes" in state:  # of `rmsprop.torch`, which reads codes of 8 bits as numbers
        return Moments(state["grad_var"], state["grad_avg"], True, 1.0, eps, bool(group.get("eps_inside_sqrt")))
    if ("square_avg" in state or "square_avg_codes" in state) and "acc_delta" not in state:  # with it, it is Adadelta's
        inside = bool(group.get("eps_inside_sqrt", "eps_inside_sqrt" in fixed_choices(type(optimizer).__name__)))
        mean = state.get("grad_avg") if group.get("centered") else None
        return Moments(state["square_avg"], mean, False, 1.0, eps, inside)
    if "exp_avg_sq" in state and "step" in state and len(group.get("betas") or ()) == 2:
        second = state.get("max_exp_avg_sq", state["exp_avg_sq"])
        return Moments(second, scale=1.0 / (1.0 - group["betas"][1] ** float(state["step"])), eps=eps)
    if "sum" in state:
        return Moments(state["sum"], eps=eps)
    return Moments()


def denominator(average: Tensor, eps: float | Tensor, eps_inside_sqrt: bool | Tensor) -> Tensor:
    """Return what gradients are divided by.

    Args:
        average: The average of squares, or the variance where the mean is subtracted.
        eps: The ε, of all elements or of each.
        eps_inside_sqrt: Whether it stands under the root, of all elements or of each.

    Returns:
        √(average + ε) or √average + ε.

    Examples:
        >>> denominator(torch.tensor([4.0]), 5.0, True), denominator(torch.tensor([4.0]), 5.0, False)
        (tensor([3.]), tensor([7.]))
    """
    if isinstance(eps_inside_sqrt, Tensor):
        return torch.where(eps_inside_sqrt, (average + eps).sqrt(), average.sqrt() + eps)
    return (average + eps).sqrt() if eps_inside_sqrt else average.sqrt() + eps
