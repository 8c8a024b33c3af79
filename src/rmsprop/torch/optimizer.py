"""`RMSprop` for PyTorch: its parameter groups and what a step does in which order."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, Self

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    ParamsT,
    StateDict,
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
    _use_grad_for_differentiable,
)

from rmsprop.dialects import get_dialect, learning_rate
from rmsprop.recipes import get_recipe
from rmsprop.rule import WeightDecayMode
from rmsprop.torch import composite, fused, gpu
from rmsprop.torch.groups import KEYS, check_group, lr_of
from rmsprop.torch.plan import Plan, check_gradients
from rmsprop.torch.state import adopted, exported, holders, share_counters

# Refuses to be captured without `capturable`. PyTorch 2.10 knows it by its old name only.
_check_capture: Callable[[Optimizer], None] = getattr(
    Optimizer, "_accelerator_graph_capture_health_check", None
) or getattr(Optimizer, "_cuda_graph_capture_health_check")  # noqa: B009


class RMSprop(Optimizer):
    """RMSProp in any framework's dialect: a drop-in for ``torch.optim.RMSprop``.

    In the torch dialect v ← ρ·v + (1 − ρ)·g² and θ ← θ − lr·g/(√v + ε).

    On CPU tensors the update of all parameters is one pass of a compiled kernel on torch's threads, on CUDA tensors one
    launch of a Triton kernel; whatever they can't do (a differentiable step, another device, a parameter with gaps in
    memory) is done with tensor operations. State is kept in at least 32 bits. `rmsprop.reference.update` states the
    arithmetic with every option.

    Args:
        params: Parameters, named parameters or dicts that define parameter groups, as for every torch optimizer.
        lr: Learning rate, a number or a tensor of one element, at least 0. Default: the dialect's, 1e-2 for torch.
        alpha: The decay ρ of the moving averages, from 0 to 1. Default: the dialect's, 0.99 for torch.
        eps: ε in the denominator, at least 0. Default: the dialect's, 1e-8 for torch.
        weight_decay: λ, at least 0. Default: the dialect's, 0 for torch.
        momentum: μ, from 0 to 1. Default: the dialect's, 0 for torch.
        centered: Divide by the standard deviation of the gradient instead of its root mean square. Default: the
            dialect's, False for torch.
        capturable: Keep step counters on the parameters' device, so that a CUDA graph can hold the step. Default False.
        foreach: False asks for tensor operations instead of the kernel, as in torch; True and None leave the choice.
        maximize: Ascend instead of descend. Default False.
        differentiable: Keep the step part of the autograd graph. Default False.
        dialect: Whose RMSProp: a key of `rmsprop.DIALECTS`. It gives the defaults; an explicit argument wins.
            Default ``"torch"``.
        fused: True demands one of the kernels, False forbids them. Default None: use them where they can serve.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default: the dialect's.
        initial_square_avg: What v starts from, at least 0. Default: the dialect's.
        nesterov: Nesterov momentum. Default: the dialect's.
        lr_in_momentum: The momentum buffer collects lr·u instead of u. Default: the dialect's.
        bias_correction: Divide the averages by 1 − ρᵗ; their state then holds the corrected averages. Default: the
            dialect's.
        weight_decay_mode: ``"l2"`` (added to the gradient) or ``"decoupled"`` (subtracted from the parameter, times
            lr). Default: the dialect's.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or ``lr`` is left out for a dialect without a default.
        RuntimeError: If ``fused=True`` is combined with what the kernel can't do.

    Examples:
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = RMSprop(model.parameters(), lr=0.256, dialect="tensorflow1", momentum=0.9, eps=1e-3)
        >>> model(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()

    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine Learning, 2012;
    centered: Graves, arXiv 1308.0850, equations 38 to 45.
    """

    # torch.amp.GradScaler then leaves gradients as they are and passes grad_scale and found_inf to the step.
    _step_supports_amp_scaling = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | None = None,
        alpha: float | None = None,
        eps: float | None = None,
        weight_decay: float | None = None,
        momentum: float | None = None,
        centered: bool | None = None,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        dialect: str = "torch",
        fused: bool | None = None,
        eps_inside_sqrt: bool | None = None,
        initial_square_avg: float | None = None,
        nesterov: bool | None = None,
        lr_in_momentum: bool | None = None,
        bias_correction: bool | None = None,
        weight_decay_mode: WeightDecayMode | None = None,
    ) -> None:
        given = {
            "alpha": alpha,
            "eps": eps,
            "eps_inside_sqrt": eps_inside_sqrt,
            "initial_square_avg": initial_square_avg,
            "centered": centered,
            "momentum": momentum,
            "nesterov": nesterov,
            "lr_in_momentum": lr_in_momentum,
            "bias_correction": bias_correction,
            "weight_decay": weight_decay,
            "weight_decay_mode": weight_decay_mode,
        }
        self._dialect = dialect
        self._given = {key: value for key, value in given.items() if value is not None}
        defaults = self._rule_defaults({}) | {
            "lr": learning_rate(dialect, lr),
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        check_group(defaults)
        self._plans: list[Plan] | None = None
        self._planned_states: list[Any] = []
        self._all_on_cpu = self._all_on_gpu = False
        self._launches: list[gpu.Launch] = []
        self._captured: list[Any] = []  # what CUDA graphs of steps read whenever they run
        super().__init__(params, defaults)

    @classmethod
    def from_recipe(cls, params: ParamsT, name: str, **overrides: Any) -> Self:
        """Return an optimizer with the settings of a published result.

        Args:
            params: What to update, as for the class. What a parameter group says itself wins.
            name: A key of `rmsprop.RECIPES`.
            **overrides: Arguments of the class, which win over the recipe's; None stands for the recipe's.

        Returns:
            The optimizer. Its learning rate is the one that the recipe's schedule starts from, or peaks at.

        Raises:
            TypeError: If an override is unknown or of the wrong type.
            ValueError: If there is no such recipe, or an override is out of range.
            RuntimeError: If ``fused=True`` is combined with what the kernel can't do.

        Examples:
            >>> model = torch.nn.Linear(2, 1)
            >>> optimizer = RMSprop.from_recipe(model.parameters(), "efficientnet", lr=0.016)
            >>> optimizer.param_groups[0]["eps"]
            0.001
        """
        return cls(params, **get_recipe(name).arguments(KEYS, overrides))

    def _rule_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a group's options that make its rule: its own choices, else the optimizer's, else the dialect's."""
        given = self._given | given
        of_dialect = get_dialect(self._dialect).defaults(
            {field: given[key] for field, key in KEYS.items() if key in given}
        )
        return {key: given.get(key, of_dialect[field]) for field, key in KEYS.items()}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own.

        Args:
            param_group: ``"params"`` and any of the constructor's options; what is left out is the optimizer's default.

        Raises:
            TypeError: If an option is of the wrong type, or a parameter not a tensor.
            ValueError: If an option is out of range.
            RuntimeError: If ``fused=True`` is combined with what the kernel can't do.

        Examples:
            >>> optimizer = RMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.add_param_group({"params": [torch.zeros(3, requires_grad=True)], "lr": 1e-4})
        """
        if isinstance(param_group, dict):
            if "dialect" in param_group:
                raise ValueError(
                    f"a parameter group can't choose a dialect ({param_group['dialect']!r} was given): "
                    "give it the options in which it differs, such as eps_inside_sqrt"
                )
            made = self._rule_defaults({})  # what of the defaults is another now, was set by the user
            changed = {key: self.defaults[key] for key in made if self.defaults[key] != made[key]}
            param_group = {**self._rule_defaults(changed | param_group), **param_group}
            check_group({**self.defaults, **param_group})
        super().add_param_group(param_group)
        self._plans = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy keeps."""
        return {**super().__getstate__(), "_dialect": self._dialect, "_given": self._given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over groups and state from a pickle, a copy, or a loaded state dict."""
        super().__setstate__(state)
        self._plans = None
        self._planned_states = []
        self._launches = []  # they hold the state that is being replaced
        self.__dict__.setdefault("_captured", [])
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            for param in group["params"]:
                if isinstance(saved := self.state.get(param), _Saved):
                    self.state[param] = adopted(saved.state, param)
            share_counters(group["params"], self.state, group["capturable"])

    def state_dict(self) -> StateDict:
        """Return the optimizer's state in the form of ``torch.optim.RMSprop``, which can load it.

        Returns:
            ``"state"`` by parameter number and ``"param_groups"``. Centered state carries ``square_avg`` for torch
            beside the ``grad_var`` and ``grad_avg`` that it is rebuilt from.

        Examples:
            >>> optimizer = RMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.state_dict()["param_groups"][0]["alpha"]
            0.99
        """
        # The first hook to run, so that all others see what torch's optimizer would show them.
        first_hook = self.register_state_dict_post_hook(_export, prepend=True)
        try:
            return super().state_dict()
        finally:
            first_hook.remove()

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load what `state_dict` returned, of this class or of ``torch.optim.RMSprop``.

        Tensors are copied, to the parameters' devices, and state keeps its own precision (torch would cast it to the
        parameter's).

        Args:
            state_dict: The state dict; left as it is.

        Raises:
            ValueError: If it does not belong to parameters like these, or an option in it is out of range. The
                optimizer is then as it was before.

        Examples:
            >>> optimizer = RMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.load_state_dict(torch.optim.RMSprop([torch.zeros(2, requires_grad=True)]).state_dict())
        """
        before = {"state": self.state, "param_groups": self.param_groups}
        # The last hook to run, so that it sees what all others have made of the state dict.
        last_hook = self.register_load_state_dict_pre_hook(_keep_precision)
        try:
            super().load_state_dict(state_dict)
            for group in self.param_groups:
                check_group(group)
        except Exception:
            self.__setstate__(before)
            raise
        finally:
            last_hook.remove()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Everything is checked before anything is changed: after an exception parameters and state are as they were.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            What the closure returned, or None.

        Raises:
            TypeError: If an option of a group was set to something of the wrong type.
            ValueError: If one was set out of range.
            RuntimeError: If a gradient is sparse, a state tensor was replaced by one that does not fit, or
                ``fused=True`` meets what the kernel can't do.

        Examples:
            >>> weight = torch.zeros(2, requires_grad=True)
            >>> optimizer = RMSprop([weight], lr=0.1)
            >>> weight.sum().backward()
            >>> optimizer.step()
            >>> weight.detach()
            tensor([-1.0000, -1.0000])
        """
        if torch.compiler.is_compiling():
            step = RMSprop._step_traced if self._must_trace() else RMSprop._step_untraced
            return step(self) if closure is None else step(self, closure)
        try:
            if torch._C._autograd._profiler_enabled():
                return RMSprop._step_observed(self) if closure is None else RMSprop._step_observed(self, closure)
            if (
                self._optimizer_step_pre_hooks
                or self._optimizer_step_post_hooks
                or _global_optimizer_pre_hooks
                or _global_optimizer_post_hooks
            ):
                return self._step_hooked(closure)
            return self._step(closure)
        except BaseException:
            # GradScaler takes these back after a step that succeeds; left behind, they would scale the next one.
            self.__dict__.pop("grad_scale", None)
            self.__dict__.pop("found_inf", None)
            raise

    # Tells the base class that this step runs the hooks itself. Its wrapper would cost as much as a small update.
    step.hooked = True  # type: ignore[attr-defined]

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = _evaluate(closure)
        found_inf = getattr(self, "found_inf", None)
        if found_inf is not None and not gpu.holds(found_inf) and found_inf.item():
            return loss  # before any state is made
        lrs = [lr_of(group) for group in self.param_groups]
        plans = self._current_plans(gpu.holds(found_inf))
        scaling, scale = self._scaling(found_inf)
        if scale is None:
            return loss
        if not self._all_on_cpu:
            _check_capture(self)
        for group, plan, lr in zip(self.param_groups, plans, lrs, strict=True):
            for bucket in plan.buckets:
                bucket.set_numbers(lr, group["maximize"], scale)
        launches = [launch.prepared(scaling, self._captured) for launch in self._launches]
        for plan in plans:
            plan.count(scaling)  # first, because a Ctrl-C during the kernel is raised right after it
        if buckets := [bucket for plan in plans for bucket in plan.buckets]:
            fused.run(buckets, launches)
        for group, plan, lr in zip(self.param_groups, plans, lrs, strict=True):
            if plan.composite:
                with torch.set_grad_enabled(group["differentiable"]):
                    composite.update_group(plan.rule, lr, self._members(plan), group, scale)
        return loss

    def _step_hooked(self, closure: Callable[[], Any] | None) -> Any:
        """Take a step with the base class's hooks, but without its mark for the profiler: that costs 9 µs."""
        args: tuple[Any, ...] = (self,) if closure is None else (self, closure)
        kwargs: dict[str, Any] = {}
        for before in (*_global_optimizer_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()):
            result = before(self, args, kwargs)
            if result is not None:
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(
                        f"{self.step} must return None or a tuple of (new_args, new_kwargs), but got {result}."
                    )
                args, kwargs = result
        out = self._step(*args[1:], **kwargs)
        self._optimizer_step_code()
        for after in (*self._optimizer_step_post_hooks.values(), *_global_optimizer_post_hooks.values()):
            after(self, args, kwargs)
        return out

    # With the base class's hooks and its mark for the profiler around it.
    _step_observed = Optimizer.profile_hook_step(_step)
    # On CPU the kernel is faster than what a compiler makes of the step; a GPU's is one launch. Neither is compiled.
    _step_untraced = torch.compiler.disable(_step_observed)  # type: ignore[no-untyped-call]

    @Optimizer.profile_hook_step
    @_use_grad_for_differentiable
    def _step_traced(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = _evaluate(closure)
        for group, (plan, members) in zip(self.param_groups, self._composite_plans(), strict=True):
            plan.count(gpu.NO_SCALING)
            composite.update_group(plan.rule, group["lr"], members, group, 1.0)
        return loss

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _composite_plans(self) -> list[tuple[Plan, list[composite.Member]]]:
        return [(plan, self._members(plan)) for plan in self._new_plans(kernel=False)]

    def _members(self, plan: Plan) -> list[composite.Member]:
        return [(param, param.grad, self.state[param]) for param in plan.composite]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _must_trace(self) -> bool:
        """Whether a compiler should see the step: the kernel can't serve all groups, and GradScaler waits for none."""
        kernel_serves = all(
            group["fused"] is not False
            and group["foreach"] is not False
            and not group["differentiable"]
            and all(param.device.type == "cpu" or not gpu.missing(param.device) for param in group["params"])
            for group in self.param_groups
        )
        return not kernel_serves and getattr(self, "found_inf", None) is None

    def _current_plans(self, counts_on_device: bool) -> list[Plan]:
        """Return the plan of each group: those of the last step if nothing has changed since, else new ones."""
        if self._plans is not None and self._still_planned(self._plans, counts_on_device):
            return self._plans
        self._plans = None
        plans = self._new_plans(kernel=True, counts_on_device=counts_on_device)
        self._plans, self._planned_states = plans, list(self.state.values())
        self._all_on_cpu = all(plan.all_on_cpu for plan in plans)
        self._all_on_gpu = all(plan.all_on_gpu for plan in plans)
        self._launches = gpu.launches(bucket for plan in plans for bucket in plan.buckets if bucket.on_gpu)
        return plans

    def _still_planned(self, plans: list[Plan], counts_on_device: bool) -> bool:
        states = self.state.values()
        return (
            len(plans) == len(self.param_groups)
            and len(states) == len(self._planned_states)
            and all(map(is_, states, self._planned_states))
            and (not counts_on_device or all(plan.counts_on_device for plan in plans))
            and all(plan.still_fits(group) for plan, group in zip(plans, self.param_groups, strict=True))
        )

    def _new_plans(self, kernel: bool, counts_on_device: bool = False) -> list[Plan]:
        rules = [check_group(group) for group in self.param_groups]
        for group in self.param_groups:
            check_gradients(group, self.state)
        held, taken = holders(self.state), set[int]() if kernel else None
        return [
            Plan(group, rule, self.state, held, taken, counts_on_device)
            for group, rule in zip(self.param_groups, rules, strict=True)
        ]

    def _scaling(self, found_inf: Tensor | None) -> tuple[gpu.Scaling, float | None]:
        """Return what of GradScaler's numbers stays on the device, and what gradients must be multiplied with here.

        The latter is None if they are known to be infinite, so that nothing may change.
        """
        grad_scale = getattr(self, "grad_scale", None)
        if grad_scale is None and found_inf is None:
            return gpu.NO_SCALING, 1.0
        scaling = gpu.Scaling(*(x if self._all_on_gpu and gpu.holds(x) else None for x in (grad_scale, found_inf)))
        if found_inf is not None and scaling.found_inf is None and found_inf.item():
            return scaling, None
        return scaling, 1.0 if grad_scale is None or scaling.grad_scale is not None else 1.0 / float(grad_scale)


class _Saved:
    """A parameter's saved state, wrapped so that the base class does not cast it to the parameter's dtype."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state


def _keep_precision(optimizer: Optimizer, state_dict: StateDict) -> StateDict:
    params = {key for group in state_dict["param_groups"] for key in group["params"]}
    wrapped = {key: _Saved(value) if key in params else value for key, value in state_dict["state"].items()}
    return {**state_dict, "state": wrapped}


def _export(optimizer: Optimizer, state_dict: StateDict) -> StateDict:
    states = state_dict["state"].items()
    # A user's hook may have put something of another kind beside the parameters' states.
    return {**state_dict, "state": {key: exported(s) if isinstance(s, dict) else s for key, s in states}}


def _evaluate(closure: Callable[[], Any] | None) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
