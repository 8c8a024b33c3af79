"""`RMSprop` for PyTorch: its parameter groups, its state dict and its hooks around a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, Literal, Self, Unpack

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim.optimizer import (
    Optimizer,
    ParamsT,
    StateDict,
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
    _use_grad_for_differentiable,
)

from rmsprop.averaging import Updating
from rmsprop.clipping import check_limit
from rmsprop.dialects import get_dialect, learning_rate
from rmsprop.options import check_options, named_options
from rmsprop.recipes import get_recipe
from rmsprop.rule import ChoiceOptions
from rmsprop.storage import Rounding
from rmsprop.threads import is_forked, one_thread
from rmsprop.torch import composite
from rmsprop.torch.averaged import check_kind, is_averaged
from rmsprop.torch.backward.step_in_backward import NEEDS_ALL_GRADIENTS, StepInBackward
from rmsprop.torch.callers import is_distributed_checkpoint
from rmsprop.torch.checks import check_states_belong
from rmsprop.torch.clipping.limits import LIMITS, Limits, check_not_differentiable
from rmsprop.torch.groups import EXTRA, KEYS, ParamGroup, as_groups, check_group, check_new_group, slimmed
from rmsprop.torch.paths import ScalesGradients, paths_of
from rmsprop.torch.rows.prepared import prepare
from rmsprop.torch.rows.sparse import ON_ROWS
from rmsprop.torch.state.completion import share
from rmsprop.torch.state.rounding import choice_of
from rmsprop.torch.state_dict import adopt, as_torch_has_it, keep_shared, prepared_to_load
from rmsprop.torch.step import Stepper

# What every group of torch's has.
_TORCHS = {"lr", *(KEYS.values() - EXTRA.keys()), "capturable", "foreach", "maximize", "differentiable"}


class RMSprop(torch.optim.RMSprop):
    """RMSProp in any framework's dialect: a drop-in for ``torch.optim.RMSprop``.

    In the torch dialect v ← ρ·v + (1 − ρ)·g² and θ ← θ − lr·g/(√v + ε).

    On CPU tensors the update of all parameters is one pass of a compiled kernel on torch's threads, on CUDA tensors one
    launch of a Triton kernel per dtype and kind of state; shards of a `DTensor` and views with gaps in memory too. What
    the kernels can't do (a differentiable step, another device) is done with tensor operations; a warning says so where
    nobody asked for them, on the CPU or a CUDA device. `paths` tells what updates each parameter. Sparse gradients are
    taken row by row. State is made in at least 32 bits, unless ``state_dtype`` asks for less.
    `rmsprop.reference.update` states the arithmetic with every option of the rule.

    Args:
        params: Parameters, named parameters or dicts that define parameter groups, as for every torch optimizer.
        lr: Learning rate, a number or a tensor of one element, at least 0; a schedule may take it below. Default: the
            dialect's, 1e-2 for torch.
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
        rounding: How parameters of bfloat16 and float16 are rounded: ``"nearest"``, which loses every change below half
            a unit in the last place; ``"stochastic"``, which keeps it on average; ``"kahan"``, which keeps what is lost
            in a state of 16 bits more. Parameters of float32 are left alone. Default ``"nearest"``, as in torch.
        seed: Chooses the random bits of ``rounding="stochastic"`` and of ``state_dtype``, from 0 to 2⁶⁴ − 1. Default 0.
        state_dtype: What state is kept in: ``torch.bfloat16``, or ``"8bit"`` for codes of a byte (1.02 bytes per
            number with their scales), both rounded at random so that averages neither stop moving nor stray; for
            parameters of float32, bfloat16 and float16. Default None: float32.
        sparse: What becomes of rows that a sparse gradient hasn't: ``"exact"``, what the dense gradient, 0 there, makes
            of them; ``"lazy"``, nothing at all, as in TensorFlow 1, though their averages would decay and momentum and
            weight decay would move them; ``"rowwise"``, nothing either, and each row has one average, of the mean of
            its squares: 4 bytes per row, as FBGEMM's ``ROWWISE_RMSPROP_AR``. Default ``"exact"``.
        staleness_decay: Weight decay of ``sparse="rowwise"``, at least 0: a row that a gradient touches first loses a
            share of itself, lr times this times the steps since it was touched last, but not more than 0.9; FBGEMM's
            ``ar_alpha``. Default 0.
        max_grad_norm: Scale the gradients so that their norm over all groups is at most this, as
            ``torch.nn.utils.clip_grad_norm_`` would before the step, but without writing to them; a step with a norm
            that is not finite is skipped. Infinity skips such steps and clips nothing. Default None: no limit.
        max_grad_value: Limit each element of a gradient to ± this, as ``torch.nn.utils.clip_grad_value_`` would; after
            ``max_grad_norm``. Default None: no limit.
        max_grad_ratio: Scale the gradient so that its norm is at most so many norms of its parameters (at least 1e-3),
            row by row of the leading dimension, a vector as a whole: adaptive gradient clipping, as
            ``timm.utils.adaptive_clip_grad`` does it. After ``max_grad_norm``, before ``max_grad_value``. Default None:
            no limit.
        max_update_rms: Scale g/√v, tensor by tensor, so that its root mean square is at most this, as Adafactor does
            with 1. Default None: no limit.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default: the dialect's.
        initial_square_avg: What v starts from, at least 0. Default: the dialect's.
        nesterov: Nesterov momentum. Default: the dialect's.
        lr_in_momentum: The momentum buffer collects lr·u instead of u. Default: the dialect's.
        averaged_momentum: The momentum buffer averages u instead of adding it up. Default: the dialect's.
        caution: Take no step with another sign than its gradient, and longer ones instead in the rest of the tensor
            (needs ``momentum``). Default: the dialect's.
        init_from_gradient: v starts from the square of the first gradient. Default: the dialect's.
        delayed: Divide by v as it was before this gradient, and limit the quotient to (t − 1)^¼, as ADOPT does.
            Default: the dialect's.
        bias_correction: Divide the averages by 1 − ρᵗ; their state then holds the corrected averages. Default: the
            dialect's.
        weight_decay_mode: ``"l2"`` (added to the gradient), ``"decoupled"`` (subtracted from the parameter, times
            lr) or ``"cautious"`` (that, but not where the update moves away from 0). Default: the dialect's.
        weight_decay_max_lr: The schedule's largest learning rate, by which decay that isn't L2 is corrected: times
            lr/lr_max. 0 corrects nothing. Default: the dialect's.

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
    centered: Graves, arXiv 1308.0850, equations 38 to 45; ``max_update_rms``: Shazeer and Stern, arXiv 1804.04235,
    section 6; ``max_grad_ratio``: Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization",
    arXiv 2102.06171, equation 3.
    """

    # With it torch.amp.GradScaler leaves gradients as they are and passes grad_scale and found_inf to the step.
    _step_supports_amp_scaling = ScalesGradients()

    @named_options(ChoiceOptions)
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
        rounding: Rounding = "nearest",
        seed: int = 0,
        state_dtype: torch.dtype | Literal["8bit"] | None = None,
        sparse: Literal["exact", "lazy", "rowwise"] = "exact",
        staleness_decay: float = 0.0,
        max_grad_norm: float | None = None,
        max_grad_value: float | None = None,
        max_grad_ratio: float | None = None,
        max_update_rms: float | None = None,
        **options: Unpack[ChoiceOptions],
    ) -> None:
        check_options(options, RMSprop.__init__)
        own = {"decay": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered}
        given = {field: value for field, value in {**own, **options}.items() if value is not None}
        self._dialect = dialect
        self._set_up(
            params,
            given,
            max_grad_norm,
            lr=learning_rate(dialect, lr),
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
            rounding=rounding,
            seed=seed,
            state_dtype=state_dtype,
            sparse=sparse,
            staleness_decay=staleness_decay,
            max_grad_value=max_grad_value,
            max_grad_ratio=max_grad_ratio,
            max_update_rms=max_update_rms,
        )

    def _set_up(self, params: ParamsT, given: Mapping[str, Any], max_grad_norm: float | None, **options: Any) -> None:
        """Check what groups start with, and make those of the parameters.

        Args:
            params: As for the class.
            given: The fields of the rule in which it differs from the dialect's.
            max_grad_norm: As for the class.
            **options: All other options of a group.
        """
        self._given = {KEYS[field]: value for field, value in given.items()}
        defaults = ParamGroup(self._rule_defaults({}) | options)
        check_new_group(defaults)
        Optimizer.__init__(self, params, slimmed(defaults))
        self.max_grad_norm = max_grad_norm

    @classmethod
    def from_recipe(cls, params: ParamsT, name: str, **overrides: Any) -> Self:
        """Return an optimizer with the settings of a published result.

        Args:
            params: What to update, as for the class. What a parameter group says itself wins.
            name: A key of `rmsprop.RECIPES`.
            **overrides: Arguments of the class, which win over the recipe's; None stands for the recipe's.

        Returns:
            The optimizer. Its learning rate is the one that the recipe's schedule starts from, or peaks at. It clips
            gradients where the recipe says by how much; ``max_grad_norm=math.inf`` leaves that to you.

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
        recipe = get_recipe(name)
        return cls(params, **recipe.clipping | recipe.arguments(KEYS, overrides))

    # A subclass may leave all of the above to itself and call `Optimizer.__init__`.
    _dialect: str = "torch"
    _given: Mapping[str, Any] = MappingProxyType({})
    _max_grad_norm: float | None = None
    in_backward: StepInBackward | None = None  # what lets backward take the steps
    tuner: Any = None  # what changes the learning rates by their gradients

    @property
    def max_grad_norm(self) -> float | None:
        """The largest norm of all gradients together that is left as it is; None: there is no limit. May be set."""
        return self._max_grad_norm

    @max_grad_norm.setter
    def max_grad_norm(self, value: float | None) -> None:
        if value is not None and self.in_backward is not None:
            raise RuntimeError(NEEDS_ALL_GRADIENTS)
        if value is not None:
            check_not_differentiable(as_groups(self.param_groups))
        self._max_grad_norm = check_limit("max_grad_norm", value)

    @property
    def grad_norm(self) -> Tensor | None:
        """The norm of all gradients in the last step, before clipping: one float64, on a GPU where they are all there.

        None before the first step with ``max_grad_norm``.

        Examples:
            >>> weight = torch.zeros(2, requires_grad=True)
            >>> optimizer = RMSprop([weight], max_grad_norm=0.5)
            >>> (3 * weight[0] + 4 * weight[1]).backward()
            >>> optimizer.step()
            >>> optimizer.grad_norm.item()
            5.0
        """
        norm = self._stepper.clipper.norm
        return torch.tensor(norm, dtype=torch.float64, device="cpu") if isinstance(norm, float) else norm

    @property
    def skipped_steps(self) -> int:
        """How many steps ``max_grad_norm`` skipped, because the norm was not finite or `GradScaler` said so.

        Reading it waits for a GPU that knows it.
        """
        return self._stepper.clipper.skipped

    @property
    def _stepper(self) -> Stepper:
        """What takes the steps; made when it is first needed."""
        found: Stepper | None = self.__dict__.get("_stepper_made")
        return self.__dict__.setdefault("_stepper_made", Stepper()) if found is None else found

    def _rule_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a group's options that make its rule: its own choices, else the optimizer's, else the dialect's."""
        given = {**self._given, **given}
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
            if param_group.keys() >= _TORCHS:  # a copy of a group: what it lacks means what torch does
                param_group = {**EXTRA, **param_group}
            own = param_group.get("dialect", self._dialect)  # ZeroRedundancyOptimizer puts every argument into groups
            if own != self._dialect:
                raise ValueError(
                    f"a parameter group can't choose a dialect ({own!r} was given): "
                    "give it the options in which it differs, such as eps_inside_sqrt"
                )
            check_kind([{**self.defaults, **param_group}], is_averaged(self.defaults))
            made = self._rule_defaults({})  # what of the defaults is another now, was set by the user
            defaults = ParamGroup(self.defaults)
            changed = {key: defaults[key] for key in made if defaults[key] != made[key]}
            param_group = ParamGroup({**self._rule_defaults(changed | param_group), **param_group})
            check_new_group(ParamGroup({**self.defaults, **param_group}))
        super().add_param_group(param_group)
        self.param_groups[-1] = slimmed(self.param_groups[-1])
        self._stepper.forget()
        if self.in_backward is not None:
            self.in_backward.include()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy keeps."""
        own = {"_dialect": self._dialect, "_given": dict(self._given), "_max_grad_norm": self._max_grad_norm}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over groups and state from a pickle, a copy, or a loaded state dict."""
        Optimizer.__setstate__(self, state)
        self._stepper.forget()
        self.defaults = ParamGroup(self.defaults)
        for number, group in enumerate(self.param_groups):
            for name in self.defaults.keys() - EXTRA.keys():  # what is missing of those means what torch does
                group.setdefault(name, self.defaults[name])
            self.param_groups[number] = slimmed(group)
            adopt(self.state, self.param_groups[number])

    def state_dict(self) -> StateDict:
        """Return the optimizer's state in the form of ``torch.optim.RMSprop``, which can load it.

        Returns:
            ``"state"`` by parameter number and ``"param_groups"``. Groups have torch's keys, and of the others those in
            which they differ from torch. Centered state has ``square_avg``, and ``grad_var`` where the averages alone
            don't tell it to the last bit.

        Raises:
            RuntimeError: If there is state of a parameter that is in no group any more.

        Examples:
            >>> optimizer = RMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.state_dict()["param_groups"][0]["alpha"]
            0.99
        """
        check_states_belong(self.param_groups, self.state)
        # The first hook to run, so that all others see what torch's optimizer would show them.
        with self._stepper.lock, one_thread() if is_forked() else nullcontext():
            first_hook = self.register_state_dict_post_hook(as_torch_has_it, prepend=True)
            try:
                return super().state_dict()
            finally:
                first_hook.remove()

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load what `state_dict` returned, of this class or of ``torch.optim.RMSprop``.

        Tensors are copied, to the parameters' devices, and state keeps its own precision (torch would cast it to the
        parameter's).

        A key that torch's groups don't have, and that is missing, means what torch does; ``state_dtype`` alone stays as
        it is. timm's and Stable-Baselines3's optimizers can be loaded too.

        Args:
            state_dict: The state dict; left as it is.

        Raises:
            ValueError: If it is another optimizer's, does not belong to parameters like these, or an option in it is
                out of range. The optimizer is then as it was before.

        Examples:
            >>> optimizer = RMSprop([torch.zeros(2, requires_grad=True)])
            >>> optimizer.load_state_dict(torch.optim.RMSprop([torch.zeros(2, requires_grad=True)]).state_dict())
        """
        with self._stepper.lock, one_thread() if is_forked() else nullcontext():
            self._load(state_dict)

    def _load(self, state_dict: StateDict) -> None:
        before: dict[str, Any] = {"state": self.state, "param_groups": self.param_groups}
        # The last hook to run, so that it sees what all others have made of the state dict.
        last_hook = self.register_load_state_dict_pre_hook(prepared_to_load)
        try:
            super().load_state_dict(state_dict)
            for group in self.param_groups:
                check_group(group)
            keep_shared(before["state"], self.state)
        except BaseException:  # a Ctrl-C too
            Optimizer.__setstate__(self, before)
            self._stepper.forget()
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
            RuntimeError: If a gradient is not summed over its processes, has rows that its parameter hasn't, or lies in
                memory that the update writes to, if a state tensor was replaced by one that does not fit, if a row
                was not brought up to date by `prepare` though others are, or ``fused=True`` meets what the kernel can't
                do.

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
        if not self.state and is_distributed_checkpoint("_init_optim_state"):
            self._stepper.make_state(self)
        elif self.in_backward is None or _has_gradients(self.param_groups):
            self._stepper.step(self)
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
    _step_untraced = _disable_dynamo(_step_observed)

    @Optimizer.profile_hook_step
    @_use_grad_for_differentiable
    def _step_traced(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = _evaluate(closure)
        for group, (rule, members) in zip(self.param_groups, self._traced_members(), strict=True):
            composite.update_group(rule, group["lr"], members, group, Limits(1.0))
        return loss

    @_disable_dynamo
    def _traced_members(self) -> list[tuple[Updating, list[composite.Gathered]]]:
        return self._stepper.traced_members(self)

    @_disable_dynamo
    def _must_trace(self) -> bool:
        """Whether a compiler should see the step: the kernel can't serve all groups, and GradScaler waits for none."""
        groups = as_groups(self.param_groups)
        kernel_serves = all(path.startswith(("kernel", ON_ROWS)) for path in self.paths().values())
        clips = self.max_grad_norm is not None or any(group[key] for group in groups for key in LIMITS)
        return not kernel_serves and not clips and getattr(self, "found_inf", None) is None

    @_disable_dynamo
    def prepare(self, rows: Any = None) -> None:
        """Bring rows of tables up to date before a forward reads them, so that no step need go through all rows.

        Momentum and decoupled weight decay move rows that have no gradient, by what has a closed form. With this call
        before each forward, a step with ``sparse="exact"`` works on the rows of the gradient alone, and what is read is
        what the dense gradient would have made of it. Where rows rest anyway (no momentum, no weight decay), where they
        are left alone (``"lazy"``, ``"rowwise"``) and where a step needs the whole table (``weight_decay`` that is
        added to the gradient, a GPU), this does nothing.

        Args:
            rows: The numbers of the rows along the first axis, integers of any shape, any of them repeatedly: what is
                passed to the embedding, by all processes if they share gradients. With several parameters in the
                optimizer, a mapping from parameters to them.
                Default None: all rows of all tables, for whoever reads a table as a whole, to evaluate or to save it,
                or writes it.

        Raises:
            TypeError: If rows are no integers.
            ValueError: If a parameter has no such rows, or isn't the optimizer's.
            RuntimeError: If all rows move by their average (`ScheduleFreeRMSprop`).

        Examples:
            >>> table = torch.nn.Embedding(1000, 16, sparse=True)
            >>> optimizer = RMSprop(table.parameters(), momentum=0.9)
            >>> ids = torch.tensor([3, 14, 15])
            >>> optimizer.prepare(ids)
            >>> table(ids).sum().backward()
            >>> optimizer.step()
            >>> optimizer.prepare()
        """
        with self._stepper.lock, one_thread() if is_forked() else nullcontext():
            if prepare(self.param_groups, self.state, rows):
                self._stepper.forget()

    def paths(self) -> dict[str, str]:
        """Return what updates each parameter at the next step.

        Returns:
            The parameter's name, or its number where it has none -> ``"kernel (avx512)"``, ``"kernel (triton)"``,
            ``"kernel on shard (avx512)"``, ``"kernel on dense copy (avx512)"``, or ``"tensor operations: "`` and the
            reason. With a sparse gradient it is ``"kernel on rows (avx512)"``, ``"tensor operations on rows: "`` and
            the reason, or, where the rule moves rows that have no gradient, ``"kernel on a dense copy of the sparse
            gradient (avx512)"``.

        Examples:
            >>> RMSprop([torch.zeros(2)], fused=False).paths()
            {'0': 'tensor operations: fused=False was asked for'}
        """
        return paths_of(self.param_groups, self.state)

    def share_memory(self) -> Self:
        """Move the state into memory that processes share, and make what there is none of yet.

        Frozen parameters get theirs too, since one may wake in any of the processes.

        Each process then steps an optimizer of its own, on parameters that are shared too (``model.share_memory()``),
        as in Hogwild and A3C. Pass the optimizer to the processes, or fork them.

        Returns:
            The optimizer.

        Examples:
            >>> model = torch.nn.Linear(2, 1).share_memory()
            >>> optimizer = RMSprop(model.parameters()).share_memory()
            >>> optimizer.state[model.weight]["square_avg"].is_shared()
            True

        Source: Recht et al., "Hogwild!", arXiv 1106.5730; Mnih et al., arXiv 1602.01783, section 4.
        """
        self._stepper.forget()
        for group in as_groups(self.param_groups):
            share(self.state, group["params"], check_group(group), choice_of(group))
        return self


def _has_gradients(groups: list[dict[str, Any]]) -> bool:
    return any(param.grad is not None for group in groups for param in group["params"])


def _evaluate(closure: Callable[[], Any] | None) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
