"""The limits of a parameter group: of each element of a gradient, and of what an update makes of a tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rmsprop.clipping import check_limit

LIMITS = ("max_grad_ratio", "max_grad_value", "max_update_rms")  # keys of a group


class Limits(NamedTuple):
    """What the update of a tensor does to its gradient, and to what it makes of it.

    Args:
        scale: What the gradient is multiplied with first.
        max_grad: What the magnitude of each element is then limited to.
        max_update_rms: What the root mean square of g/√v is limited to.
        max_grad_ratio: What the norm of the scaled gradient is limited to before that, unit by unit, in norms of its
            parameters.
    """

    scale: float
    max_grad: float = math.inf
    max_update_rms: float = math.inf
    max_grad_ratio: float = math.inf

    @property
    def of_units(self) -> bool:
        """Whether gradients are clipped unit by unit."""
        return self.max_grad_ratio < math.inf

    def once_scaled(self) -> Limits:
        """Return the limits of gradients that are multiplied with their scale and clipped unit by unit already."""
        return self._replace(scale=1.0, max_grad_ratio=math.inf)

    @property
    def of_updates(self) -> bool:
        """Whether there is a limit to what an update makes of a tensor."""
        return self.max_update_rms < math.inf

    def scaled(self, scale: float) -> Limits:
        """Return the limits where gradients are multiplied with another scale first."""
        return self if scale == self.scale else self._replace(scale=scale)

    def negated(self) -> Limits:
        """Return the limits of who ascends."""
        return self._replace(scale=-self.scale)


def limits_of(group: Mapping[str, Any], scale: float) -> Limits:
    """Return the limits of a parameter group, which is checked, where gradients are multiplied with a scale."""
    limits = (group[name] for name in ("max_grad_value", "max_update_rms", "max_grad_ratio"))
    return Limits(scale, *(math.inf if limit is None else float(limit) for limit in limits))


def check_not_differentiable(groups: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to clip by the norm in a step that is part of a graph.

    Args:
        groups: The parameter groups.

    Raises:
        RuntimeError: If one is differentiable.
    """
    if any(group["differentiable"] for group in groups):
        raise RuntimeError("`max_grad_norm` does not support `differentiable`: clip in the graph, or set it to None")


def check_limits(group: Mapping[str, Any]) -> None:
    """Check the limits of a parameter group.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Raises:
        TypeError: If one is no number.
        ValueError: If one is not above 0, or belongs to all groups together.
        RuntimeError: If the step can't be what it must be for it.
    """
    for name in LIMITS:
        if group[name] is not None:
            check_limit(name, group[name])
            if group["differentiable"]:
                raise RuntimeError(f"`{name}` does not support `differentiable`: limit in the graph, or set it to None")
    if group.get("max_grad_norm") is not None:
        raise ValueError(
            "max_grad_norm is in a parameter group, but limits the norm over all groups: give it to the optimizer "
            "(ZeroRedundancyOptimizer, which shows each process some of the parameters, can't have it)"
        )
