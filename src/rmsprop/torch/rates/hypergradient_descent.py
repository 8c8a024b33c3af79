"""Hypergradient descent: each learning rate follows how the last step changed the loss.

The derivative of the last step by its learning rate is −d, the direction that `rmsprop.rates.direction` returns, and
the next gradient g tells what the step did: dE/dη = −g·d. So this takes no pass through the model and no call in the
loop. Two hooks of the optimizer do it:

- before a step: g·d of each group, and from it the new learning rate, with which the step is then taken;
- after it: the new d, from the gradient and the state that the step has left.

One tensor more per parameter is kept: d, which between the two hooks holds the weights of before, where they decay.
On the CPU NumPy computes on parts that stay in the cache, as in `rmsprop.torch.blocks`. A parameter without a gradient
has no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from rmsprop.rates import direction
from rmsprop.reference import with_l2
from rmsprop.rule import Rule
from rmsprop.threads import is_forked, one_thread
from rmsprop.torch.blocks import BLOCK
from rmsprop.torch.composite import IN_BLOCKS
from rmsprop.torch.optimizer import RMSprop
from rmsprop.torch.rates.tunable import check_gradients
from rmsprop.torch.rates.tuned import Mode, Products, TunedRates, loaded_like, products


class HypergradientDescent(TunedRates):
    """Hypergradient descent on the learning rates of an `RMSprop`, one per parameter group.

    The loop stays as it is: before each ``optimizer.step()`` the learning rate of a group changes by how well the last
    step's direction fits the new gradient. For a rate per layer, give the optimizer a group per layer. Start from a
    small one, or let v start from 1 (``initial_square_avg=1``): first steps that are too large are not undone.

    Args:
        optimizer: The optimizer, from whose learning rates it starts.
        hyper_lr: In multiplicative mode by which share a learning rate changes in a step at most, in additive mode what
            its hypergradient is multiplied with. Above 0. Default 0.05.
        mode: ``"multiplicative"``: η·(1 − β·cos), with the angle between gradient and direction, whatever the scale of
            the loss. ``"additive"``: η − β·h. Default ``"multiplicative"``.
        max_factor: By what factor a learning rate may change in a step, above 1. It so stays above 0. Default 2.

    Raises:
        TypeError: If the optimizer is no `RMSprop`, or a number is none.
        ValueError: If a number is out of range.
        RuntimeError: If the optimizer clips, rounds or steps in a way whose derivative is another.

    Examples:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> optimizer = RMSprop([weight], lr=1e-6, alpha=0.9)
        >>> tuner = HypergradientDescent(optimizer, hyper_lr=0.5)
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     weight.square().sum().backward()
        ...     optimizer.step()
        >>> weight.abs().item() < 0.01
        True

    Source: Baydin et al., "Online learning rate adaptation with hypergradient descent", arXiv 1703.04782, section 2.
    """

    def __init__(
        self,
        optimizer: RMSprop,
        *,
        hyper_lr: float = 0.05,
        mode: Mode = "multiplicative",
        max_factor: float = 2.0,
    ) -> None:
        super().__init__(optimizer, hyper_lr, mode, max_factor)
        self._directions: dict[Tensor, Tensor] = {}
        self._rules_of_step: list[Rule] = []
        self._is_stale = False  # whether a step failed after the weights had taken the place of a direction
        before = optimizer.register_step_pre_hook(self._before_step)
        self._attach([before, optimizer.register_step_post_hook(self._after_step)])

    @_disable_dynamo
    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if any(each is not None and each is not optimizer for each in (*args, kwargs.get("closure"))):
            raise RuntimeError(
                "hypergradients need the gradients before the step: call backward(), then step() without a closure"
            )
        check_gradients(optimizer)
        rules = self._rules_of_step = self._rules()
        with torch.no_grad(), np.errstate(all="ignore"), one_thread() if is_forked() else nullcontext():
            if not self._is_stale:
                self._tune([self._products_of(*each) for each in zip(rules, optimizer.param_groups, strict=True)])
            self._is_stale = True
            for rule, group in zip(rules, optimizer.param_groups, strict=True):
                self._make_room(rule, group)

    def _products_of(self, rule: Rule, group: dict[str, Any]) -> Products | None:
        """Return what the hypergradient of a group is made of; None if no parameter moved and has a new gradient."""
        moved = [p for p in group["params"] if p.grad is not None and p in self._directions]
        if not moved:
            return None
        pairs = (
            (with_l2(rule, p, _downhill(group, grad)), back)
            for param in moved
            for _, p, grad, back in _parts(param, param.grad, self._directions[param])
        )
        uphill = products(pairs)
        return uphill._replace(inner=-uphill.inner)  # the direction leads back

    def _make_room(self, rule: Rule, group: dict[str, Any]) -> None:
        """Let each direction to be hold the weights of before, if these are needed after the step."""
        for param in group["params"]:
            if param.grad is None:
                self._directions.pop(param, None)
                continue
            if param not in self._directions:
                self._directions[param] = torch.empty_like(param, requires_grad=False)
            if rule.weight_decay:
                self._directions[param].copy_(param)

    @_disable_dynamo
    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with torch.no_grad(), np.errstate(all="ignore"), one_thread() if is_forked() else nullcontext():
            for rule, group in zip(self._rules_of_step, optimizer.param_groups, strict=True):
                for param in group["params"]:
                    if param.grad is not None:
                        self._take_direction(rule, group, param, param.grad)
        self._is_stale = False
        self.gradients += 1

    def _take_direction(self, rule: Rule, group: dict[str, Any], param: Tensor, whole: Tensor) -> None:
        state = self.optimizer.state[param]
        arrays = [state[name] for name in rule.state_names]
        for xp, room, grad, *parts in _parts(self._directions[param], whole, *arrays):
            of_part = dict(zip(rule.state_names, parts, strict=True))
            room[...] = direction(rule, room, _downhill(group, grad), of_part, xp)

    def state_dict(self) -> dict[str, Any]:
        """Return what continues the learning rates to the last bit, beside the optimizer's own state dict.

        Returns:
            Numbers, and ``"directions"``: a tensor per parameter that moved at the last step, by its number.

        Examples:
            >>> optimizer = RMSprop([torch.zeros(2, requires_grad=True)], lr=0.1)
            >>> HypergradientDescent(optimizer).state_dict()["lrs"]
            [0.1]
        """
        found = {} if self._is_stale else self._directions
        numbered = enumerate(param for group in self.optimizer.param_groups for param in group["params"])
        directions = {number: found[param].clone() for number, param in numbered if param in found}
        return {**self._numbers(), "directions": directions}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned; the optimizer loads its own.

        Args:
            state_dict: The state dict; left as it is.

        Raises:
            ValueError: If it has other groups or parameters.
        """
        self._check_groups(state_dict)
        params = [param for group in self.optimizer.param_groups for param in group["params"]]
        saved = state_dict["directions"].items()
        loaded = {params[n]: loaded_like(each, params[n], f"direction {n}") for n, each in saved}
        self._load_numbers(state_dict)
        self._directions = loaded
        self._is_stale = False


def _downhill(group: Mapping[str, Any], grad: Any) -> Any:
    """Return the gradient of what is minimised."""
    return -grad if group["maximize"] else grad


def _parts(*tensors: Tensor) -> Iterator[tuple[Any, ...]]:
    """Yield the library that computes with tensors of one shape, and its arrays of a part of each, or of all of it."""
    first = tensors[0]
    if first.device.type not in IN_BLOCKS:
        yield torch, *tensors
    elif first.numel() > BLOCK and all(each.is_contiguous() for each in tensors):
        flat = (each.detach().view(-1).numpy() for each in tensors)
        split = [[row[start : start + BLOCK] for start in range(0, row.size, BLOCK)] for row in flat]
        yield from ((np, *parts) for parts in zip(*split, strict=True))
    else:
        yield np, *(each.detach().numpy() for each in tensors)
