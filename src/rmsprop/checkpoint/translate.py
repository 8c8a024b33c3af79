"""From a source's checkpoint to one that a target can hold: what moves as it is, what is rescaled, what can't move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.formats import FIELDS, FORMATS
from rmsprop.checkpoint.matching import ORDER, Names, Place, Transpose, check_order, permuted, placed, renamed
from rmsprop.checkpoint.moves import Move
from rmsprop.checkpoint.neutral import Checkpoint, CheckpointError, Group, Parameter, quoted, rule_fields
from rmsprop.checkpoint.rules import differences, tell_of_different, tell_rule
from rmsprop.dialects import get_dialect
from rmsprop.hyperparameters import check_number
from rmsprop.rule import Rule

# What state means depends on these, so that a wrong word about them would silently change it.
_MEANING = ("lr_in_momentum", "averaged_momentum", "bias_correction", "initial_square_avg", "init_from_gradient")
# What has one rule for all its parameters, and what keeps none with its state.
_ONE_RULE = ("optax", "keras", "tensorflow")
_SILENT = ("optax", "tensorflow")
_MOST_STEPS = 2**63 - 1
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
                Rule(**{"momentum": 0.5, "weight_decay_mode": "decoupled", field: value})
        if self.lr is not None:
            object.__setattr__(self, "lr", check_number("lr", self.lr))
        step = self.step
        if step is not None and not (type(step) is int and 0 <= step <= _MOST_STEPS):
            raise ValueError(f"Invalid step: {step!r} (allowed: a whole number from 0 to {_MOST_STEPS})")

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
                    f"the checkpoint says {field}={told.pop()}, but {called(field, self.settings[field])} was "
                    "given, which "
                    "would only reinterpret its arrays: leave it out; what it goes on with is said by "
                    f"{called('rule')} or {called('like')}"
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
    _tell_of_chains(source, target, stated, notes)
    if names == ORDER and target.places is not None:
        _check_order(source, target)
    parameters = renamed(permuted(source.parameters, transpose), names, target.places, notes)
    members = _members(parameters, target, notes)
    pairs = sorted({(p.group, place.group) for p, place in members if p is not None})
    groups = _groups(source, target, pairs, notes)
    moves = {
        pair: Move(source.groups[pair[0]], groups[pair[1]], source.format, target.format, target.keeps, notes)
        for pair in pairs
    }
    moved = tuple(
        Parameter(name=place.name, shape=place.shape, group=place.group)
        if p is None
        else replace(moves[p.group, place.group].parameter(p), group=place.group)
        for p, place in members
    )
    return Checkpoint(format=target.format, parameters=moved, groups=groups, ordered=source.ordered)


def _members(parameters: Sequence[Parameter], target: Target, notes: list[str]) -> list[tuple[Parameter | None, Place]]:
    """Return what is to stand at each of the target's places, or, if it takes them as they come, the places for all."""
    module = FORMATS[target.format].module
    if target.places is not None:
        members = placed(parameters, target.places, module == "torch", notes)
    else:
        if module == "torch" and len({p.name.isdecimal() for p in parameters}) > 1:
            raise CheckpointError(
                f"some of {quoted(p.name for p in parameters)} are positions and some are not: give each parameter its "
                "position with names, or all other names"
            )
        one_rule = module in _ONE_RULE
        members = [(p, Place(name=p.name, group=0 if one_rule else p.group)) for p in parameters]
    return [(None if p is None else _with_dtype(p, place, parameters), place) for p, place in members]


def _with_dtype(parameter: Parameter, place: Place, parameters: Sequence[Parameter]) -> Parameter:
    """Return a parameter that was never stepped with the precision of its place, or else that of its group."""
    if parameter.arrays:
        return parameter
    peers = {p.dtype for p in parameters if p.arrays and p.group == parameter.group}
    return replace(parameter, dtype=place.dtype or (peers.pop() if len(peers) == 1 else parameter.dtype))


def _check_order(source: Checkpoint, target: Target) -> None:
    """Check that parameters may be paired by order: not if one side alone has its names in alphabetical order."""
    places = target.places or ()
    sorts = [_sorts_names(source.format, source.parameters), _sorts_names(target.format, places)]
    if sorts[0] != sorts[1]:
        check_order(source.parameters, places, FORMATS[source.format if sorts[0] else target.format].program)


def _sorts_names(form: str, named: Sequence[Parameter | Place]) -> bool:
    return FORMATS[form].module in ("optax", "tensorflow") and not all(one.name.isdecimal() for one in named)


def _tell_of_chains(source: Checkpoint, target: Target, stated: Stated, notes: list[str]) -> None:
    """Tell what a state of Optax can't show of its chain, where another framework goes on without it."""
    if source.format != "optax" or target.format == "optax":
        return
    notes.append(
        "what else is in Optax's chain, such as weight decay or clipping, doesn't show in its state: give it to what "
        "goes on"
    )
    moves_trace = any("momentum_buffer" in p.arrays for p in source.parameters)
    if moves_trace and "lr_in_momentum" not in stated.settings and source.groups[0].settings.get("lr_in_momentum"):
        notes.append(
            "Optax's trace is taken to come after the learning rate, as in optax.rmsprop; pass "
            f"{called('lr_in_momentum', False)} for a chain where it comes before"
        )


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
    own = target.groups or tuple(Group() for _ in (source.groups[:1] if form.module in _ONE_RULE else source.groups))
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
        tell_of_different(origins, settings, form, notes)
        lrs = {origin.lr for origin in origins if origin.lr is not None}
        if len(lrs) > 1:
            raise CheckpointError(
                f"parameters with different learning rates ({', '.join(map(str, sorted(lrs)))}) would come into one "
                f"group of the target: pass the {called('lr')} that it goes on with"
            )
        lr = next(iter(lrs), group.lr)
        if form.holds_settings and target.groups is None:
            settings, lr = _completed(settings, lr, source, target, notes)
        elif form.module in _SILENT and target.rule is None:
            tell_rule(settings, lr if group.lr is None else None, group.settings, target.format, notes)
        groups.append(Group(settings=settings, lr=lr))
        for origin in origins:
            notes.extend(n for n in differences(origin.settings, settings, form) if n not in notes)
    return tuple(groups)


def _completed(
    settings: dict[str, Any], lr: float | None, source: Checkpoint, target: Target, notes: list[str]
) -> tuple[dict[str, Any], float]:
    """Return the settings with nothing left out, because the target writes them down."""
    missing = [field for field in _REQUIRED if field not in settings] + (["lr"] if lr is None else [])
    if missing or lr is None:
        options = [called(field) for field in missing]
        them = "it" if len(missing) == 1 else "them"
        them += "" if options == missing else f" ({', '.join(options)})"
        raise CheckpointError(
            f"{FORMATS[target.format].program} keeps its hyperparameters with its state, but the "
            f"{FORMATS[source.format].program} checkpoint doesn't say {', '.join(missing)}: pass "
            f"{them}, or give the optimizer that is to go "
            f"on with {called('like')}"
        )
    dialect = FORMATS[source.format].dialect
    defaults = {"maximize": False, **get_dialect(dialect).defaults(settings)}
    assumed = {field: value for field, value in defaults.items() if field not in settings}
    if not settings["momentum"]:
        settings |= {"nesterov": False, "caution": False}
        for field in ("nesterov", "caution"):
            assumed.pop(field, None)
    if assumed:
        notes.append(
            f"the checkpoint doesn't say whether {rule_fields(assumed)}: that is taken, because it is the default of "
            f"{FORMATS[source.format].program}"
        )
    return {**settings, **assumed}, lr
