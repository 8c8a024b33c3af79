"""`ScheduleFreeRMSprop`: an average of the iterates in the place of a falling learning rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.optim.optimizer import ParamsT

from rmsprop.averaging import ITERATE, AverageProgress, x_of, y_of
from rmsprop.storage import Rounding
from rmsprop.torch.averaged import KEYS_OF_AVERAGE, averaging_of
from rmsprop.torch.groups import as_groups
from rmsprop.torch.local import inside
from rmsprop.torch.optimizer import RMSprop
from rmsprop.torch.state.rounding import LOST

POINT = "y"  # where gradients are taken: kept in the state while the parameter shows the average


class ScheduleFreeRMSprop(RMSprop):
    """RMSProp that needs no learning rate schedule, and no end of training to be chosen beforehand.

    z takes RMSProp's steps, x is the average of all z, and gradients are taken at y = (1 − β)·z + β·x. The model holds
    y in training, and x, the result, after `eval`:

        u = g/(√v̂ + ε) + λ·y,    z ← z − lr·u,    x ← (1 − c)·x + c·z

    Where ``schedulefree.AdamWScheduleFree`` has ``betas=(b, a)``, this has ``beta=b, alpha=a``, and computes the same.
    It is made in eval mode, as that is, and refuses to step until `train` was called.

    On CPU tensors the update is one pass of the compiled kernel; on others it is done with tensor operations.

    Args:
        params: Parameters, named parameters or dicts that define parameter groups, as for every torch optimizer.
        lr: Learning rate, at least 0; it stays as it is: a scheduler may leave it alone, not change it. Default 0.0025.
        alpha: The decay ρ of the average of squared gradients, from 0 to below 1. Default 0.999.
        eps: ε in the denominator, at least 0. Default 1e-8.
        weight_decay: λ, at least 0. Default 0.
        momentum: Only 0: β takes its place. Here for the order of RMSprop's arguments. Default 0.
        centered: Only False, likewise. Default False.
        beta: β, the share of x in y, above 0, to 1. Default 0.9; 0.95 or 0.98 may serve long runs better.
        warmup_steps: In so many steps lr rises linearly to its value. Default 0.
        r: Steps weigh kʳ in the average, at least 0. Default 0.
        weight_lr_power: They weigh as this power of the largest lr so far, at least 0. Default 2.
        foreach: False asks for tensor operations instead of the kernel. Default None.
        fused: True demands the kernel, False forbids it. Default None: use it where it can serve.
        maximize: Ascend instead of descend. Default False.
        rounding: How parameters of bfloat16 and float16 are rounded, ``"kahan"`` or ``"stochastic"``; the default
            ``"nearest"`` would lose the average, and is refused for them.
        seed: Chooses the random bits of ``rounding="stochastic"``. Default 0.
        max_grad_norm: As for `RMSprop`. Default None: no limit.
        max_grad_value: As for `RMSprop`. Default None: no limit.
        max_grad_ratio: As for `RMSprop`, by the norms of y. Default None: no limit.
        max_update_rms: As for `RMSprop`, of g/√v before weight decay is added. Default None: no limit.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default False.
        initial_square_avg: What v starts from where it is not corrected, at least 0. Default 0.
        bias_correction: Divide v by 1 − ρᵗ. Default True.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or leaves no place for an average.
        RuntimeError: If ``fused=True`` is combined with what the kernel can't do.

    Examples:
        >>> weight = torch.full((1,), 2.0, requires_grad=True)
        >>> optimizer = ScheduleFreeRMSprop([weight], lr=0.3)
        >>> optimizer.train()
        >>> for _ in range(100):
        ...     optimizer.zero_grad()
        ...     (weight**2).sum().backward()
        ...     optimizer.step()
        >>> with optimizer.evaluating():
        ...     abs(weight.item()) < 0.1
        True

    Source: Defazio et al., "The Road Less Scheduled", arXiv 2405.15682; weights, warm-up and decay at y as in
    ``AdamWScheduleFree`` of their package schedulefree 1.4.1.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.0025,
        alpha: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        beta: float = 0.9,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = None,
        fused: bool | None = None,
        maximize: bool = False,
        rounding: Rounding = "nearest",
        seed: int = 0,
        max_grad_norm: float | None = None,
        max_grad_value: float | None = None,
        max_grad_ratio: float | None = None,
        max_update_rms: float | None = None,
        eps_inside_sqrt: bool = False,
        initial_square_avg: float = 0.0,
        bias_correction: bool = True,
    ) -> None:
        own = {"decay": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered}
        more = {"eps_inside_sqrt": eps_inside_sqrt, "initial_square_avg": initial_square_avg}
        average = (beta, warmup_steps, r, weight_lr_power, False, *AverageProgress())
        self._set_up(
            params,
            {**own, **more, "bias_correction": bias_correction},
            max_grad_norm,
            **dict(zip(KEYS_OF_AVERAGE, average, strict=True)),
            lr=lr,
            capturable=False,
            foreach=foreach,
            maximize=maximize,
            differentiable=False,
            fused=fused,
            rounding=rounding,
            seed=seed,
            state_dtype=None,
            max_grad_value=max_grad_value,
            max_grad_ratio=max_grad_ratio,
            max_update_rms=max_update_rms,
        )

    @property
    def training(self) -> bool:
        """Whether parameters are y, where gradients are taken, and not their average x."""
        return any(group["train_mode"] for group in self.param_groups)

    def train(self) -> None:
        """Let parameters be y, where gradients are taken: before training, wherever ``model.train()`` is called.

        What `eval` has put into the parameters is taken back to the bit. Parameters that were changed since (by loading
        weights, say) are taken for a new x.

        Examples:
            >>> optimizer = ScheduleFreeRMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.train()
            >>> optimizer.training
            True
        """
        self._switch(True)

    def eval(self) -> None:
        """Let parameters be x, the average: before evaluating or using the model, and before its weights are saved.

        y is kept in the state meanwhile, which is one array more.

        Examples:
            >>> optimizer = ScheduleFreeRMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.eval()
            >>> optimizer.training
            False
        """
        self._switch(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Return a context in which parameters are the average x; afterwards they are what they were.

        Examples:
            >>> optimizer = ScheduleFreeRMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.train()
            >>> with optimizer.evaluating():
            ...     optimizer.training
            False
            >>> optimizer.training
            True
        """
        before = self.training
        self.eval()
        try:
            yield
        finally:
            if before:
                self.train()

    def watch(self, model: nn.Module) -> torch.utils.hooks.RemovableHandle:
        """Let a model refuse to run with the wrong one of its two sets of weights.

        A forward then raises where the model is in eval mode and this optimizer in train mode, and where a gradient
        would be taken at x. What an optimizer can't see by itself.

        Args:
            model: The model whose parameters are optimized.

        Returns:
            A handle; its ``remove()`` ends it.

        Examples:
            >>> model = torch.nn.Linear(2, 1)
            >>> optimizer = ScheduleFreeRMSprop(model.parameters())
            >>> handle = optimizer.watch(model)
            >>> optimizer.train()
            >>> model.eval()(torch.ones(1, 2))
            Traceback (most recent call last):
            RuntimeError: the model is in eval mode, but its parameters are y, not their average: call optimizer.eval()
        """
        return model.register_forward_pre_hook(self._check_mode)

    def _check_mode(self, model: nn.Module, _: Any) -> None:
        if self.training and not model.training:
            raise RuntimeError(
                "the model is in eval mode, but its parameters are y, not their average: call optimizer.eval()"
            )
        if model.training and not self.training and torch.is_grad_enabled():  # without, BatchNorm is recomputed
            raise RuntimeError("the model is in train mode, but its parameters are the average: call optimizer.train()")

    def _switch(self, train: bool) -> None:
        switch = _hide_average if train else _show_average
        with self._stepper.lock, torch.no_grad():
            for group in as_groups(self.param_groups):
                if bool(group["train_mode"]) == train:
                    continue
                group["train_mode"], beta = train, averaging_of(group).beta
                if not group["k"]:
                    continue  # all three are what the parameters are
                for param in group["params"]:
                    switch(param, self.state.get(param, {}), beta)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own, and an average of their own.

        Args:
            param_group: As for `RMSprop.add_param_group`.

        Examples:
            >>> optimizer = ScheduleFreeRMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.add_param_group({"params": [torch.zeros(3, requires_grad=True)], "beta": 0.95})
        """
        if isinstance(param_group, dict):
            param_group = {**param_group, "train_mode": self.training}
        super().add_param_group(param_group)

    @classmethod
    def from_recipe(cls, params: ParamsT, name: str, **overrides: Any) -> NoReturn:
        """Raise: recipes are settings for RMSProp with a schedule, most with momentum."""
        raise TypeError("ScheduleFreeRMSprop has no recipes, which belong to RMSProp with a schedule: use RMSprop")

    def share_memory(self) -> Self:
        """Raise: each process would weigh the common average by steps of its own."""
        raise RuntimeError(
            "ScheduleFreeRMSprop can't be stepped by several processes on shared parameters, each of which would count "
            "its own steps alone in the average: use RMSprop"
        )

    @_disable_dynamo
    def _must_trace(self) -> bool:
        """Whether a compiler should see the step: its numbers are computed in Python."""
        return False


def _show_average(param: Tensor, state: Any, beta: float) -> None:
    """Put x into a parameter, and keep y."""
    if ITERATE in state and POINT not in state:
        state[POINT] = param.detach().clone(memory_format=torch.preserve_format)
        param.copy_(x_of(beta, _wide_point(state), state[ITERATE]))


def _hide_average(param: Tensor, state: Any, beta: float) -> None:
    """Put y back into a parameter."""
    if ITERATE not in state:
        return
    z = state[ITERATE]
    if POINT in state and _shows_either(param, x_of(beta, _wide_point(state), z).to(param.dtype), state[POINT]):
        param.copy_(state[POINT])
    else:
        y = y_of(beta, param.to(z.dtype), z)
        param.copy_(y)
        if LOST in state:
            state[LOST].copy_(y - param.to(z.dtype))
    state.pop(POINT, None)


def _shows_either(param: Tensor, average: Tensor, point: Tensor) -> bool:
    """Whether a parameter is its average, or y already, because its model was saved in train mode."""
    return any(_equal(inside(param), inside(known)) for known in (average, point))


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same numbers, NaN included: one lost weight must not move the others."""
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())


def _wide_point(state: Mapping[str, Any]) -> Tensor:
    """Return y in the precision in which updates work."""
    point: Tensor = state[POINT].to(state[ITERATE].dtype)
    return point + state[LOST].to(point.dtype) if LOST in state else point
