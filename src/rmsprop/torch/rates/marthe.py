"""MARTHE and RTHO: each learning rate follows how the steps so far have changed the loss on a validation split.

For every learning rate η there is a tangent Z = d(θ, v, m, b)/dη, of the size of all parameters and their state. A step
computes, in this order:

1. the gradient of the validation loss at θ, and from it and Z the hypergradients; the learning rates change;
2. the gradient of the training loss, with its graph, and for every η one product of the Hessian with μ·dθ/dη;
3. the new tangents (`rmsprop.rates.tangent`), from the state before the update, which the optimizer then makes.

A learning rate of one group moves the parameters of all, so that each has a tangent over all of them, and k groups take
k Hessian-vector products: exact, and counted. Only `step` may take the optimizer's steps, which a hook of it watches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rmsprop.rates import tangent
from rmsprop.rule import Rule
from rmsprop.torch.optimizer import RMSprop
from rmsprop.torch.rates.tunable import check_gradients
from rmsprop.torch.rates.tuned import Mode, Products, TunedRates, checked_number, loaded_like, products
from rmsprop.torch.state.completion import complete

# What a tangent has for a parameter: its rate under this name, and those of its state under the state's.
_PARAM = "param"
Rates = dict[str, Tensor]


class Marthe(TunedRates):
    """MARTHE on the learning rates of an `RMSprop`, one per parameter group; with ``mu=1`` it is RTHO.

    `step` takes the place of backward and ``optimizer.step()``. The validation loss must be of rows that are neither
    trained on nor tested on: of a split of its own, because the learning rates are fitted to it.

    Args:
        optimizer: The optimizer, from whose learning rates it starts.
        mu: μ, what a step counts less with each step that follows, from 0 (the last step alone) to 1 (RTHO: all count
            alike). Default 0.9.
        hyper_lr: In multiplicative mode by which share a learning rate changes in a step at most, in additive mode what
            its hypergradient is multiplied with. Above 0. Default 0.05.
        mode: ``"multiplicative"``: η·(1 − β·cos), with the angle between gradient and tangent, whatever the scale of
            the loss. ``"additive"``: η − β·h, as in the papers. Default ``"multiplicative"``.
        max_factor: By what factor a learning rate may change in a step, above 1. It so stays above 0. Default 2.

    Raises:
        TypeError: If the optimizer is no `RMSprop`, or a number is none.
        ValueError: If a number is out of range.
        RuntimeError: If the optimizer clips, rounds or steps in a way whose derivative is another.

    Examples:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> tuner = Marthe(RMSprop([weight], lr=1e-6, alpha=0.9), hyper_lr=0.5)
        >>> for _ in range(60):
        ...     tuner.step(weight.square().sum(), (weight - 0.01).square().sum())
        >>> weight.abs().item() < 0.01, tuner.evaluations
        (True, 238)

    Source: Donini et al., "MARTHE: scheduling the learning rate via online hypergradients", arXiv 1910.08525;
    RTHO: Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", arXiv 1703.01785.
    """

    def __init__(
        self,
        optimizer: RMSprop,
        *,
        mu: float = 0.9,
        hyper_lr: float = 0.05,
        mode: Mode = "multiplicative",
        max_factor: float = 2.0,
    ) -> None:
        super().__init__(optimizer, hyper_lr, mode, max_factor)
        self.mu = checked_number("mu", mu, 0.0, 1.0)
        self._tangents: dict[int, dict[Tensor, Rates]] = {}  # by the number of the group whose learning rate it is
        self._is_stepping = False
        self._attach([optimizer.register_step_pre_hook(self._watch)])

    def step(self, loss: Tensor, validation_loss: Tensor) -> None:
        """Change the learning rates, then update all parameters that the training loss depends on.

        Afterwards ``grad`` of the parameters is the training loss's gradient; it need not be zeroed.

        Args:
            loss: The training loss at the present parameters, a scalar with its graph.
            validation_loss: The validation loss at the same parameters, likewise, from a forward pass of its own.

        Raises:
            TypeError: If a loss is no tensor.
            ValueError: If one is no scalar or has no graph, or the validation loss is NaN, as the mean of no rows is.
            RuntimeError: If something else sets the learning rates, several processes train, or what the constructor
                checks has changed. Parameters and their state are then as they were.
        """
        for name, value in (("loss", loss), ("validation_loss", validation_loss)):
            _check_loss(name, value)
        if math.isnan(validation_loss.item()):
            raise ValueError("validation_loss is nan: it must be a mean over rows of a validation split, at least one")
        _check_one_process()
        rules, groups = self._rules(), self.optimizer.param_groups
        params = [param for group in groups for param in group["params"]]
        held_out = torch.autograd.grad(validation_loss, params, allow_unused=True)
        found = self._products(dict(zip(params, held_out, strict=True)))
        for number, each in enumerate(found):
            if each is not None and not each.are_finite:
                del self._tangents[number]  # it would stay so: start anew
        grads, curved = self._differentiate(loss, params)
        with torch.no_grad():
            self._tune(found)
            made = self._new_tangents(rules, grads, curved)
        self._update(params, grads)
        self._tangents = made
        self.gradients += 1
        self.validation_gradients += 1

    def _products(self, held_out: Mapping[Tensor, Tensor | None]) -> list[Products | None]:
        """Return what the hypergradient of each group is made of; None if it has none yet."""
        uphill = {}
        for group in self.optimizer.param_groups:
            for param in group["params"]:
                if (grad := held_out[param]) is not None:
                    uphill[param] = _downhill(group, grad)
        found: list[Products | None] = []
        for number in range(len(self.optimizer.param_groups)):
            rates = self._tangents.get(number, {})
            pairs = [(grad, rates[param][_PARAM]) for param, grad in uphill.items() if param in rates]
            found.append(products(pairs) if pairs else None)
        return found

    def _differentiate(
        self, loss: Tensor, params: Sequence[Tensor]
    ) -> tuple[dict[Tensor, Tensor], dict[int, dict[Tensor, Tensor]]]:
        """Return the gradients of the training loss, and for each tangent the Hessian times μ·dθ/dη."""
        tangents = self._tangents if self.mu else {}
        grads = torch.autograd.grad(loss, params, create_graph=bool(tangents), allow_unused=True)
        found = {param: grad for param, grad in zip(params, grads, strict=True) if grad is not None}
        curved: dict[int, dict[Tensor, Tensor]] = {}
        for number, rates in tangents.items():
            pairs = [(g, self.mu * rates[p][_PARAM]) for p, g in found.items() if g.requires_grad and p in rates]
            if pairs:
                outputs, along = zip(*pairs, strict=True)
                their = torch.autograd.grad(outputs, params, along, retain_graph=True, allow_unused=True)
                self.hessian_vector_products += 1
                curved[number] = {p: each for p, each in zip(params, their, strict=True) if each is not None}
        return {param: grad.detach() for param, grad in found.items()}, curved

    def _new_tangents(
        self, rules: Sequence[Rule], grads: Mapping[Tensor, Tensor], curved: Mapping[int, Mapping[Tensor, Tensor]]
    ) -> dict[int, dict[Tensor, Rates]]:
        """Return the tangent of each learning rate after the update that is about to be made."""
        made: dict[int, dict[Tensor, Rates]] = {}
        for number in range(len(rules)):
            old, products_of = self._tangents.get(number, {}), curved.get(number, {})
            made[number] = {}
            for of_group, (rule, group) in enumerate(zip(rules, self.optimizer.param_groups, strict=True)):
                for param in group["params"]:
                    rates = {name: self.mu * rate for name, rate in old.get(param, {}).items()}
                    if param in grads:
                        lr_rate = 1.0 if of_group == number else 0.0
                        rates = self._moved(rule, group, param, grads[param], rates, products_of.get(param), lr_rate)
                    if rates:
                        made[number][param] = rates
        return made

    def _moved(
        self,
        rule: Rule,
        group: Mapping[str, Any],
        param: Tensor,
        grad: Tensor,
        rates: Rates,
        curved: Tensor | None,
        lr_rate: float,
    ) -> Rates:
        """Return the rates of a parameter and its state after its update."""
        state = self.optimizer.state[param]
        if not state.keys() >= {"step", *rule.state_names}:
            state = complete(self.optimizer.state, param, rule, count_on_device=False)
        nothing = torch.zeros_like(param)
        p_rate, state_rate = tangent(
            rule,
            group["lr"],
            state.counter.item() + 1.0,
            param.detach(),
            _downhill(group, grad),
            {name: state[name] for name in rule.state_names},
            rates.get(_PARAM, nothing),
            nothing if curved is None else _downhill(group, curved),
            {name: rates.get(name, nothing) for name in rule.state_names},
            torch,
            lr_rate,
        )
        return {_PARAM: p_rate, **state_rate}

    def _update(self, params: Sequence[Tensor], grads: Mapping[Tensor, Tensor]) -> None:
        for param in params:
            param.grad = grads.get(param)
        self._is_stepping = True
        try:
            self.optimizer.step()
        finally:
            self._is_stepping = False

    def _watch(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._is_stepping:
            raise RuntimeError(
                "MARTHE takes the steps of this optimizer: call its step(loss, validation_loss) in the place of "
                "backward() and optimizer.step(), or remove() it"
            )
        check_gradients(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return what continues the learning rates to the last bit, beside the optimizer's own state dict.

        Returns:
            Numbers, and ``"tangents"``: by the number of the group, then of the parameter, a mapping of tensors.

        Examples:
            >>> Marthe(RMSprop([torch.zeros(2, requires_grad=True)], lr=0.1)).state_dict()["lrs"]
            [0.1]
        """
        numbers = {param: number for number, param in enumerate(self._params())}
        tangents = {
            group: {numbers[p]: {name: rate.clone() for name, rate in rates.items()} for p, rates in of_group.items()}
            for group, of_group in self._tangents.items()
        }
        return {**self._numbers(), "mu": self.mu, "tangents": tangents}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned; the optimizer loads its own.

        Args:
            state_dict: The state dict; left as it is.

        Raises:
            ValueError: If it has other groups or parameters.
        """
        self._check_groups(state_dict)
        params = self._params()
        loaded = {
            group: {
                params[number]: {n: loaded_like(rate, params[number], f"tangent {number}") for n, rate in rates.items()}
                for number, rates in of_group.items()
            }
            for group, of_group in state_dict["tangents"].items()
        }
        self._load_numbers(state_dict)
        self._tangents, self.mu = loaded, float(state_dict["mu"])

    def _params(self) -> list[Tensor]:
        return [param for group in self.optimizer.param_groups for param in group["params"]]


def _downhill(group: Mapping[str, Any], grad: Tensor) -> Tensor:
    """Return the gradient of what is minimised, or the Hessian times a vector."""
    return -grad if group["maximize"] else grad


def _check_loss(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}: it must be a tensor, as the loss function returns it")
    if value.numel() != 1 or not value.requires_grad:
        what = f"has {value.numel()} elements" if value.numel() != 1 else "has no graph"
        raise ValueError(
            f"{name} {what}: it must be a scalar that was computed from the parameters, with gradients enabled"
        )


def _check_one_process() -> None:
    if (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    ):
        raise RuntimeError(
            "MARTHE computes its gradients without backward(), so that processes would not average them: train in one "
            "process, or use HypergradientDescent, which needs the gradients of backward() alone"
        )
