"""From a source's checkpoint to one that a target can hold: what moves as it is, what is rescaled, what can't move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from rmsprop.checkpoint.formats import FIELDS, FORMATS, Format
from rmsprop.checkpoint.matching import Names, Place, Transpose, permuted, placed, renamed
from rmsprop.checkpoint.moves import Move
from rmsprop.checkpoint.neutral import Checkpoint, CheckpointError, Group, rule_fields
from rmsprop.dialects import get_dialect
from rmsprop.rule import Rule, check_number

_OURS = {"torch": "rmsprop.torch", "optax": "rmsprop.jax", "keras": "rmsprop.keras"}
# What state means depends on these, so that a wrong word about them would silently change it.
_MEANING = ("lr_in_momentum", "bias_correction", "initial_square_avg")
_REQUIRED = ("decay", "eps", "momentum", "centered")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a checkpoint is to be put into.

    Args:
        format: A key of `FORMATS`.
        places: Its parameters, or None if it takes them as they come.
        groups: What is known of its rules, or None if it takes over the source's.
        keeps: The arrays that it has room for, or None if that depends on its rule.
        rule: What the caller says its rule is, as far as the rest doesn't.
    """

    format: str
    places: tuple[Place, ...] | None = None
    groups: tuple[Group, ...] | None = None
    keeps: frozenset[str] | None = None
    rule: Rule | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What the caller says about a source: what it doesn't carry, or hyperparameters that are to be different.

    Args:
        settings: Fields of `rmsprop.Rule`.
        lr: The learning rate that the run goes on with.
        step: How many updates the parameters have had.
    """

    settings: Mapping[str, Any]
    lr: float | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        """Check every value as a `rmsprop.Rule` would."""
        for field, value in self.settings.items():
            if field not in FIELDS:
                raise TypeError(f"Unknown hyperparameter {field!r} (known: {', '.join(FIELDS)})")
            if field != "maximize":
                Rule(**{"momentum": 0.5, field: value})
        if self.lr is not None:
            object.__setattr__(self, "lr", check_number("lr", self.lr))
        if self.step is not None and (isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 0):
            raise ValueError(f"Invalid step: {self.step!r} (allowed: a whole number >= 0)")

    def put_over(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint with what is stated in the place of what it says.

        Args:
            checkpoint: What was read.

        Returns:
            The same arrays under the settings, learning rate and step that hold.

        Raises:
            CheckpointError: If a setting contradicts the checkpoint about what its arrays mean.
        """
        for field in _MEANING:
            told = {group.settings[field] for group in checkpoint.groups if field in group.settings}
            if field in self.settings and told - {self.settings[field]}:
                raise CheckpointError(
                    f"the checkpoint says {field}={told.pop()}, but {field}={self.settings[field]} was given, which "
                    "would only reinterpret its arrays: leave it out; what it goes on with is said by rule or like"
                )
        groups = tuple(
            Group(settings={**group.settings, **self.settings}, lr=group.lr if self.lr is None else self.lr)
            for group in checkpoint.groups
        )
        if self.step is None:
            return replace(checkpoint, groups=groups)
        stepped = (replace(p, step=self.step) if p.arrays else p for p in checkpoint.parameters)
        return replace(checkpoint, groups=groups, parameters=tuple(stepped))


def translate(
    checkpoint: Checkpoint, target: Target, stated: Stated, names: Names, transpose: Transpose, notes: list[str]
) -> Checkpoint:
    """Return a checkpoint whose parameters, arrays and conventions are the target's.

    Args:
        checkpoint: The source.
        target: What it is to be put into.
        stated: What the caller says about the source.
        names: Which parameter is which, as for `renamed`.
        transpose: Whose axes change their order, as for `permuted`.
        notes: Receives what the caller must know, in sentences.

    Returns:
        The target's checkpoint. A parameter without arrays starts from the target's own v₀.

    Raises:
        CheckpointError: If it can't be converted; the message says why.
    """
    source = stated.put_over(checkpoint)
    _check_complex(source, target)
    parameters = renamed(permuted(source.parameters, transpose), names, target.places)
    if target.places is None:
        belongs = [parameter.group for parameter in parameters]
    else:
        parameters = placed(parameters, target.places)
        belongs = [place.group for place in target.places]
    pairs = sorted(set(zip((p.group for p in parameters), belongs, strict=True)))
    groups = _groups(source, target, pairs, notes)
    moves = {
        pair: Move(source.groups[pair[0]], groups[pair[1]], source.format, target.format, target.keeps, notes)
        for pair in pairs
    }
    moved = tuple(
        replace(moves[p.group, group].parameter(p), group=group) for p, group in zip(parameters, belongs, strict=True)
    )
    return Checkpoint(format=target.format, parameters=moved, groups=groups, ordered=source.ordered)


def _check_complex(source: Checkpoint, target: Target) -> None:
    """Check that complex numbers stay where their squares are kept part by part, as torch does."""
    if {FORMATS[source.format].module, FORMATS[target.format].module} <= {"torch", "numpy"}:
        return
    for parameter in source.parameters:
        if any(array.dtype.kind == "c" for array in parameter.arrays.values()):
            raise CheckpointError(
                f"parameter {parameter.name!r} is complex, and torch squares its real and imaginary parts apart while "
                "others square its magnitude: its state moves between torch and rmsprop.numpy only"
            )


def _groups(
    source: Checkpoint, target: Target, pairs: Sequence[tuple[int, int]], notes: list[str]
) -> tuple[Group, ...]:
    """Return the target's groups with all that is known of them."""
    form = FORMATS[target.format]
    own = target.groups or tuple(Group() for _ in source.groups)
    groups = []
    for index, group in enumerate(own):
        origins = [source.groups[origin] for origin, goal in pairs if goal == index] or [Group()]
        common = {
            field: value
            for field, value in origins[0].settings.items()
            if all(field in other.settings and other.settings[field] == value for other in origins)
        }
        named = {} if target.rule is None else asdict(target.rule)
        settings = {**common, **named, **form.constants({**common, **named}), **group.settings}
        lrs = {origin.lr for origin in origins} - {None}
        if len(lrs) > 1:
            raise CheckpointError(
                f"parameters with different learning rates ({', '.join(map(str, sorted(lrs)))}) would come into one "  # type: ignore[type-var]
                "group of the target: pass the lr that it goes on with"
            )
        lr = next(iter(lrs), group.lr)
        if form.holds_settings and target.groups is None:
            settings, lr = _completed(settings, lr, source, target, notes)
        elif target.format == "rmsprop.jax" and target.rule is None:
            kept = {field: settings.get(field) for field in ("lr_in_momentum", "bias_correction")}
            notes.append(
                f"a state of rmsprop.jax doesn't say its rule: it is made for the checkpoint's, {rule_fields(kept)}; "
                "pass rule if the transformation has another"
            )
        groups.append(Group(settings=settings, lr=lr))
        for origin in origins:
            notes.extend(n for n in _differences(origin.settings, settings, form) if n not in notes)
    return tuple(groups)


def _completed(
    settings: dict[str, Any], lr: float | None, source: Checkpoint, target: Target, notes: list[str]
) -> tuple[dict[str, Any], float]:
    """Return the settings with nothing left out, because the target writes them down."""
    missing = [field for field in _REQUIRED if field not in settings] + (["lr"] if lr is None else [])
    if missing or lr is None:
        raise CheckpointError(
            f"{FORMATS[target.format].program} keeps its hyperparameters with its state, but the "
            f"{FORMATS[source.format].program} checkpoint doesn't say {', '.join(missing)}: pass "
            f"{'it' if len(missing) == 1 else 'them'}, or give the optimizer that is to go on with like"
        )
    dialect = FORMATS[source.format].dialect
    defaults = {"maximize": False, **get_dialect(dialect).defaults(settings)}
    assumed = {field: value for field, value in defaults.items() if field not in settings}
    if not settings["momentum"]:
        settings["nesterov"] = False
        assumed.pop("nesterov", None)
    if assumed:
        notes.append(
            f"the checkpoint doesn't say whether {rule_fields(assumed)}: that is taken, because it is the default of "
            f"{FORMATS[source.format].program}"
        )
    return {**settings, **assumed}, lr


def _differences(source: Mapping[str, Any], target: Mapping[str, Any], form: Format) -> list[str]:
    """Return how the rule changes by the move, in words; a changed convention of the buffer is none."""
    idle = {"initial_square_avg", "lr_in_momentum"}
    if not (source.get("weight_decay") or target.get("weight_decay")):
        idle.add("weight_decay_mode")
    if not target.get("momentum", True):
        idle.add("nesterov")
    return [
        f"{form.program} goes on with {rule_fields({field: target[field]})} where the checkpoint has "
        f"{source[field]!r}: the run continues under another rule{_remedy(field, form)}"
        for field in FIELDS
        if field in source and field in target and field not in idle and not _alike(source[field], target[field])
    ]


def _remedy(field: str, form: Format) -> str:
    """Return which format could keep a setting that this one has no choice in."""
    ours = _OURS.get(form.module)
    return f"; {ours} can keep it" if ours and field not in form.choices and field in FORMATS[ours].choices else ""


def _alike(a: Any, b: Any) -> bool:
    """Whether two values of a setting are one, but for a rounding to float32."""
    return bool(a == b or (isinstance(a, float) and isinstance(b, float) and np.isclose(a, b, rtol=1e-6, atol=0.0)))
