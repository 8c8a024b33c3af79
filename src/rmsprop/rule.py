"""What one RMSProp is: every semantic choice of the update as a named, validated field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, Literal, TypedDict, Unpack, get_args

from rmsprop.hyperparameters import Traced, check_factor, check_number

WeightDecayMode = Literal["l2", "decoupled", "cautious"]
# The averages of squares among the arrays of the state: v, and v − m² in its place.
SQUARES = ("square_avg", "grad_var")
# How many times as long caution makes a step at most: timm's bound of 1/1000 of the elements of a tensor that agree.
MOST_FOR_THE_REST = 1000.0


class OwnOptions(TypedDict, total=False):
    """The choices that no framework's own signature has, as typed keywords: ``**options: Unpack[OwnOptions]``.

    The three classes of options are layers, because a typed keyword must not stand beside a named argument of the same
    name. None stands for the dialect's default; `Rule` says what each choice means.

    Examples:
        >>> sorted(OwnOptions.__optional_keys__)[:5]
        ['averaged_momentum', 'caution', 'delayed', 'init_from_gradient', 'lr_in_momentum']
    """

    lr_in_momentum: bool | None
    averaged_momentum: bool | None
    caution: bool | None
    init_from_gradient: bool | None
    delayed: bool | None
    weight_decay_mode: WeightDecayMode | None
    weight_decay_max_lr: float | None


class ChoiceOptions(OwnOptions, total=False):
    """The choices that PyTorch and Keras have no argument for: where ε stands, what v starts from, which corrections.

    Examples:
        >>> sorted(ChoiceOptions.__optional_keys__ - OwnOptions.__optional_keys__)
        ['bias_correction', 'eps_inside_sqrt', 'initial_square_avg', 'nesterov']
    """

    eps_inside_sqrt: bool | None
    initial_square_avg: float | None
    nesterov: bool | None
    bias_correction: bool | None


class RuleOptions(ChoiceOptions, total=False):
    """Every field of `Rule`, for whom no framework has named any of them.

    Examples:
        >>> options: RuleOptions = {"decay": 0.9, "eps": None}
        >>> Rule.from_dialect("torch", **options).decay
        0.9
    """

    decay: float | None
    eps: float | None
    centered: bool | None
    momentum: float | None
    weight_decay: float | None


# (name, **options) -> rule. `rmsprop.dialects` registers itself: its rows are rules, so it imports this module.
_from_dialect: Callable[..., Rule] | None = None


def register_dialects(rule_of: Callable[..., Rule]) -> None:
    """Tell `Rule.from_dialect` where the dialects are.

    Args:
        rule_of: Returns the rule of a dialect's name, with fields of `Rule` as keywords put over its defaults.
    """
    global _from_dialect
    _from_dialect = rule_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One RMSProp: the choices that decide what an update computes.

    The defaults are those of ``torch.optim.RMSprop``. A rule is immutable; `dataclasses.replace` makes a changed
    one. `rmsprop.reference.update` states the arithmetic. A number may be one that a compiler traces (`Traced`):
    it is then not checked here, and counts as being above zero.

    Args:
        decay: The share ρ of the old value that the moving averages keep, from 0 to 1. Default 0.99.
        eps: The ε that keeps the denominator away from zero, at least 0. Default 1e-8.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default False.
        initial_square_avg: v₀, what the average of squared gradients starts from. Default 0. It has no effect
            under ``bias_correction``, which removes its share exactly.
        init_from_gradient: v starts from the square of the first gradient instead. Default False.
        delayed: Divide by the average as it was before this gradient, and let no element of the quotient exceed
            (t − 1)^¼ at step t, so that the first step only begins the average: ADOPT's update. Default False.
        centered: Divide by the standard deviation √(v − m²) of the gradient instead of its root mean square.
            Default False.
        momentum: The μ of a heavy-ball buffer, from 0 to 1; 0 keeps no buffer. Default 0.
        nesterov: Step with the buffer as it will be after one more decay (needs ``momentum``). Default False.
        averaged_momentum: The buffer is the moving average of u, b ← μ·b + (1 − μ)·u, instead of the sum
            b ← μ·b + u: LaProp's momentum. ``bias_correction`` then divides it by 1 − μᵗ. Default False.
        caution: Where a step with momentum has another sign than its gradient, take none, and multiply the rest of
            the tensor's by its number of elements over how many agree, a thousand at most (needs ``momentum``).
            Default False.
        lr_in_momentum: The buffer collects lr·u instead of u. The two differ once the learning rate changes.
            Default False.
        bias_correction: Divide the averages by 1 − ρᵗ, as Adam does. Default False. With ``centered`` the first
            variance is 0, and the first step has nothing but ε in its denominator.
        weight_decay: λ, at least 0. Default 0.
        weight_decay_mode: ``"l2"`` adds λθ to the gradient, ``"decoupled"`` subtracts lr·λ·θ from the parameter,
            ``"cautious"`` does so only where the update doesn't move it away from 0. Default ``"l2"``.
        weight_decay_max_lr: The largest learning rate of a schedule, lr_max: decay that isn't L2 is multiplied by
            lr/lr_max, so that weights keep their size relative to their gradients' while the learning rate falls:
            corrected weight decay. 0 corrects nothing. Default 0.

    Raises:
        TypeError: If a number is not a number or a flag is not a bool.
        ValueError: If a value is out of range or two choices contradict each other.

    Examples:
        >>> Rule(decay=0.9, eps=1e-3, eps_inside_sqrt=True).decay
        0.9

    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine Learning, 2012;
    centered and with momentum: Graves, arXiv 1308.0850, equations 38 to 45; averaged momentum: Ziyin, Wang and Ueda,
    "LaProp: Separating Momentum and Adaptivity in Adam", arXiv 2002.04839, algorithm 1; delayed: Taniguchi et al.,
    "ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal Rate", arXiv 2411.02853, algorithm 2, whose v also
    starts from the first gradient; caution: Liang et al., "Cautious Optimizers: Improving Training with One Line of
    Code", arXiv 2411.16085, algorithm 1, bounded as in timm 1.0.31; cautious weight decay: Chen et al., "Cautious
    Weight Decay", arXiv 2510.12402; corrected: Defazio, "Why Gradients Rapidly Increase Near the End of Training",
    arXiv 2506.02285.
    """

    decay: float = 0.99
    eps: float = 1e-8
    eps_inside_sqrt: bool = False
    initial_square_avg: float = 0.0
    init_from_gradient: bool = False
    delayed: bool = False
    centered: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    lr_in_momentum: bool = False
    averaged_momentum: bool = False
    caution: bool = False
    bias_correction: bool = False
    weight_decay: float = 0.0
    weight_decay_mode: WeightDecayMode = "l2"
    weight_decay_max_lr: float = 0.0

    def __post_init__(self) -> None:
        """Check every field, then what they say together."""
        for field in NUMBERS:
            object.__setattr__(self, field, check_number(field, getattr(self, field), traced=True))
        for field in FLAGS:
            value = getattr(self, field)
            if not isinstance(value, bool):
                raise TypeError(f"Invalid {field} value: {value!r} (allowed: True or False)")
        if self.weight_decay_mode not in get_args(WeightDecayMode):
            raise ValueError(
                f"Invalid weight_decay_mode value: {self.weight_decay_mode!r} "
                "(allowed: 'l2', 'decoupled' or 'cautious')"
            )
        if self.nesterov and not self.has_momentum:
            raise ValueError("nesterov=True needs a momentum above 0: set momentum, or leave nesterov off")
        if self.caution and not self.has_momentum:
            raise ValueError(
                "caution=True needs a momentum above 0: without it no step has another sign than its gradient; set "
                "momentum, or leave caution off"
            )
        if self.bias_correction and not (isinstance(self.decay, Traced) or self.decay < 1.0):
            raise ValueError("bias_correction=True needs a decay below 1: at decay 1 it would divide by zero")
        if self.averaged_momentum and not (isinstance(self.momentum, Traced) or self.momentum < 1.0):
            raise ValueError("averaged_momentum=True needs a momentum below 1: at 1 the average would stay at 0")
        if self.weight_decay_mode == "l2" and self.corrects_decay:
            raise ValueError(
                f"weight_decay_max_lr={self.weight_decay_max_lr} needs weight_decay_mode='decoupled' or 'cautious': L2 "
                "decay is part of the gradient, which no learning rate scales"
            )

    @classmethod
    def from_dialect(cls, name: str, **overrides: Unpack[RuleOptions]) -> Rule:
        """Return the rule of a framework, with explicit choices put over its defaults.

        Args:
            name: A key of `rmsprop.DIALECTS`, such as ``"tensorflow1"``.
            **overrides: Fields of `Rule`; None stands for the dialect's default.

        Returns:
            The rule.

        Raises:
            TypeError: If a field is unknown or of the wrong type.
            ValueError: If the dialect is unknown or a value is out of range.

        Examples:
            >>> Rule.from_dialect("tensorflow1", momentum=0.9, eps=1e-3).initial_square_avg
            1.0
        """
        assert _from_dialect is not None, "importing the package has registered the dialects"
        return _from_dialect(name, **overrides)

    def known(self) -> Rule:
        """Return this rule, whose numbers must all be known: for what can't be traced.

        Returns:
            The rule itself.

        Raises:
            TypeError: If a number is traced.

        Examples:
            >>> Rule(decay=0.9).known().decay
            0.9
        """
        for field in NUMBERS:
            check_number(field, getattr(self, field))
        return self

    def scaled(self, factor: float) -> Rule:
        """Return this rule for batches that are ``factor`` times as large.

        After as many samples it has come as far, if the gradient is mostly noise, so that its square falls as the batch
        grows: ρ and μ keep their half-life in samples (ρ^κ, μ^κ), ε and v₀ their size beside √v and v. `scaled_lr`
        gives the learning rate that belongs to it; what is counted in steps (schedules, warm-up) is divided by κ.

        Args:
            factor: κ, the new batch size over the old, above 0.

        Returns:
            The rule. ``weight_decay`` stays where it is added to the gradient; decoupled it is multiplied, so that
            weights decay as fast per sample.

        Raises:
            TypeError: If ``factor`` or a number of the rule isn't a number.
            ValueError: If ``factor`` isn't finite and above 0, or so small that ρ or μ rounds to 1.

        Examples:
            >>> rule = Rule(decay=0.99, eps=1e-3, eps_inside_sqrt=True).scaled(4)
            >>> round(rule.decay, 4), rule.eps
            (0.9606, 0.00025)

        Source: Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", arXiv 2205.10287, to
        first order in 1 − ρ; the power: Marek et al., arXiv 2507.07101. ε inside the root, v₀, heavy-ball momentum and
        decoupled weight decay are derived here in the same way; a test compares each on a noisy bowl.
        """
        known, times = self.known(), check_factor(factor)
        root, decay, momentum = math.sqrt(times), known.decay**times, known.momentum**times
        for name, old, new in (("decay", known.decay, decay), ("momentum", known.momentum, momentum)):
            if old < 1.0 <= new:
                raise ValueError(
                    f"Invalid factor: {factor} makes {name}={old:g} round to 1, at which it forgets nothing: scale "
                    "less far"
                )
        decoupled = known.weight_decay_mode != "l2"
        return replace(
            known,
            decay=decay,
            eps=known.eps / (times if known.eps_inside_sqrt else root),
            initial_square_avg=known.initial_square_avg / times,
            momentum=momentum,
            # Of a buffer that keeps nothing, after very large batches.
            **{name: getattr(known, name) and momentum > 0.0 for name in ("nesterov", "caution")},
            weight_decay=known.weight_decay * (times / self.scaled_lr(1.0, times) if decoupled else 1.0),
            weight_decay_max_lr=self.scaled_lr(known.weight_decay_max_lr, times),
        )

    def scaled_lr(self, lr: float, factor: float) -> float:
        """Return the learning rate that `scaled` needs: √κ times as large.

        Args:
            lr: The learning rate, at least 0.
            factor: κ, the new batch size over the old, above 0.

        Returns:
            √κ·lr. With momentum it is also multiplied by (1 − μ^κ)/(1 − μ), since the buffer adds up fewer steps;
            not where it averages them.

        Raises:
            TypeError: If an argument or the momentum isn't a number.
            ValueError: If an argument is out of range.

        Examples:
            >>> Rule().scaled_lr(0.01, 4)
            0.02
            >>> round(Rule(momentum=0.9).scaled_lr(0.01, 4), 4)
            0.0688

        Source: as `scaled`.
        """
        times, momentum = check_factor(factor), self.known().momentum
        kept = times if momentum == 1.0 else (1.0 - momentum**times) / (1.0 - momentum)
        return check_number("lr", lr) * math.sqrt(times) * (1.0 if self.averaged_momentum else kept)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the arrays that this rule keeps per parameter, in the order of the update."""
        averages = ("grad_avg", "grad_var") if self.centered else ("square_avg",)
        return (*averages, "momentum_buffer") if self.has_momentum else averages

    @property
    def has_momentum(self) -> bool:
        """Whether there is a momentum buffer: unless ``momentum`` is known to be 0."""
        return isinstance(self.momentum, Traced) or self.momentum > 0.0

    @property
    def depends_on_step(self) -> bool:
        """Whether the number of an update decides what it computes."""
        return self.bias_correction or self.init_from_gradient or self.delayed

    def decays_weights(self, *modes: WeightDecayMode) -> bool:
        """Whether weights decay in one of some ways: unless ``weight_decay`` is known to be 0.

        Args:
            *modes: ``"l2"``, ``"decoupled"``, ``"cautious"``.

        Returns:
            True if one is the rule's ``weight_decay_mode`` and there is something to decay by.

        Examples:
            >>> Rule(weight_decay=1e-4).decays_weights("decoupled")
            False
        """
        return self.weight_decay_mode in modes and (isinstance(self.weight_decay, Traced) or self.weight_decay > 0.0)

    @property
    def corrects_decay(self) -> bool:
        """Whether decoupled weight decay is corrected by the learning rate: unless there is no largest one."""
        return isinstance(self.weight_decay_max_lr, Traced) or self.weight_decay_max_lr > 0.0

    def decay_at(self, lr: Any) -> Any:
        """Return what decoupled weight decay, cautious or not, takes off a parameter, as a share of lr times it.

        Args:
            lr: The learning rate (a number, or a 0-d array of a front end).

        Returns:
            λ, or λ·lr/lr_max where it is corrected.

        Examples:
            >>> Rule(weight_decay=0.5, weight_decay_mode="decoupled", weight_decay_max_lr=0.25).decay_at(0.125)
            0.25
        """
        if not self.corrects_decay:
            return self.weight_decay
        largest = self.weight_decay_max_lr
        if isinstance(largest, Traced):  # 0 corrects nothing there too: lr/lr_max becomes 1/1
            is_none = largest == 0.0
            lr, largest = lr * (1 - is_none) + is_none, largest + is_none
        return self.weight_decay * (lr / largest)

    @property
    def initial_average(self) -> float:
        """The value that ``square_avg`` (``grad_var`` when centered) starts from; the other arrays start from 0."""
        return 0.0 if self.bias_correction or self.init_from_gradient else self.initial_square_avg

    @property
    def starts_large(self) -> bool:
        """Whether v begins at 0 and nothing makes up for it, so that the first steps are the largest."""
        return not (self.initial_square_avg or self.depends_on_step)

    def start(self, name: str) -> float:
        """Return the value that an array of the state starts from.

        Args:
            name: One of `state_names`.

        Returns:
            `initial_average` for the averages of squares, else 0.

        Examples:
            >>> Rule(initial_square_avg=1.0).start("square_avg")
            1.0
        """
        return self.initial_average if name in SQUARES else 0.0

    def gains(self, step: Any, xp: Any = math) -> tuple[Any, Any]:
        """Return the shares that the new and the old value have in each average after ``step`` updates.

        Without bias correction these are 1 − ρ and ρ. A bias-corrected average v̂ = (v − ρᵗv₀)/(1 − ρᵗ) is itself
        a moving average, v̂ ← v̂ + k·(g² − v̂) with k = (1 − ρ)/(1 − ρᵗ): the same recursion with another gain.
        That is how this package computes and stores it, because v − ρᵗv₀ would cancel.

        Args:
            step: The number t of the update, counted from 1 (a number, or an array of a front end).
            xp: The library of ``step`` where it is an array, with ``expm1`` (and ``log`` and ``maximum`` where the
                decay is traced). Default: ``math``.

        Returns:
            The gain of the new value and the share kept of the old; they sum to 1.

        Examples:
            >>> Rule(decay=0.5, bias_correction=True).gains(2)
            (0.6666666666666666, 0.3333333333333333)
        """
        return self._gains(self.decay, step, xp)

    def momentum_gains(self, step: Any, xp: Any = math) -> tuple[Any, Any]:
        """Return what the momentum buffer takes of u, and what it keeps of itself.

        Args:
            step: As for `gains`.
            xp: As for `gains`.

        Returns:
            1 and μ where the buffer is a sum. Where it is an average, they are to μ what `gains` are to ρ.

        Examples:
            >>> Rule(momentum=0.75).momentum_gains(1), Rule(momentum=0.75, averaged_momentum=True).momentum_gains(1)
            ((1.0, 0.75), (0.25, 0.75))
        """
        return self._gains(self.momentum, step, xp) if self.averaged_momentum else (1.0, self.momentum)

    def largest_quotient(self, step: Any) -> Any:
        """Return what the magnitude of each quotient g/√v is limited to at an update: (t − 1)^¼ where v is delayed.

        Args:
            step: The number t of the update, counted from 1; a number, or an array.

        Returns:
            The limit; infinity where there is none.

        Examples:
            >>> Rule(delayed=True).largest_quotient(17), Rule().largest_quotient(17)
            (2.0, inf)
        """
        return (step - 1) ** 0.25 if self.delayed else math.inf

    def _gains(self, decay: Any, step: Any, xp: Any) -> tuple[Any, Any]:
        if not self.bias_correction:
            return 1.0 - decay, decay
        if isinstance(step, Real) and not isinstance(decay, Traced):
            now, before = 1.0 - decay**step, 1.0 - decay ** (step - 1)
        else:  # an array counts in 32 bits, where 1 − ρᵗ would cancel
            log = xp.log(xp.maximum(decay, 1e-30)) if isinstance(decay, Traced) else math.log(max(decay, 1e-30))
            now, before = -xp.expm1(step * log), -xp.expm1((step - 1) * log)
        return (1.0 - decay) / now, decay * before / now


def agreement_scale(count: Any, size: Any, xp: Any = None) -> Any:
    """Return what ``caution`` multiplies the elements of a step with that agree with their gradient.

    Args:
        count: How many of a tensor's elements do: an int, or an array.
        size: Of how many, likewise.
        xp: The library of such arrays, with ``where``. Default: there are none.

    Examples:
        >>> agreement_scale(2, 5), agreement_scale(0, 5)
        (2.5, 1000.0)
    """
    if isinstance(count, int):
        return min(size / count, MOST_FOR_THE_REST) if count else MOST_FOR_THE_REST
    scale = size / count
    return xp.where(scale > MOST_FOR_THE_REST, MOST_FOR_THE_REST, scale)


# The fields of `Rule` that are numbers (each needs its range above), and those that are switched on or off.
NUMBERS = tuple(field.name for field in fields(Rule) if type(field.default) is float)
FLAGS = tuple(field.name for field in fields(Rule) if type(field.default) is bool)
