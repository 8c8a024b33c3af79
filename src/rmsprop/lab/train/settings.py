"""The settings of a training run: what is allowed, how they are filled in, and how they are kept.

This module imports no framework, so that `rmsprop train --help` stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any, get_args, get_type_hints

from rmsprop.lab.averages import Average, first_averaged_epoch
from rmsprop.lab.errors import InputError
from rmsprop.lab.field_types import misfit
from rmsprop.lab.options import option, rule_of_options
from rmsprop.lab.problems.defaults import (
    ClassWeights,
    Defaults,
    Keep,
    Model,
    Schedule,
    Task,
    architecture,
    check_choices,
    row_of,
)
from rmsprop.rule import Rule

# Which schedules use which number of their own. A run with cosine or linear can't be resumed for more epochs.
GAMMA_SCHEDULES = ("step", "exponential", "plateau")
STEP_SIZE_SCHEDULES = ("step",)
FIXED_LENGTH_SCHEDULES = ("cosine", "linear")
# Which are none of ours: the optimizer changes its learning rate itself, or an average does what a schedule would.
HYPERGRADIENT, MARTHE, SCHEDULE_FREE = "hypergradient", "marthe", "schedule-free"
TUNED_SCHEDULES = (HYPERGRADIENT, MARTHE)
# What `rmsprop.torch.ScheduleFreeRMSprop` averages squared gradients with, unless told otherwise.
SCHEDULE_FREE_RULE: Mapping[str, object] = {"decay": 0.999, "bias_correction": True}
# Epochs without a lower validation loss that plateau allows: torch's default.
PLATEAU_PATIENCE = 10

RULE_FIELDS = tuple(field.name for field in fields(Rule))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that defines a run besides its data and the versions it ran with.

    `resolve` fills in the defaults; the fields are named as the command's options are.

    Args:
        problem: A key of `PROBLEMS`, the path of a table, or ``package.module:function``.
        target: The table's column to predict; None for a built-in problem.
        task: What to do with the target; None infers it.
        drop: Columns of the table to leave out.
        dayfirst: Whether the day stands before the month in the table's dates; None: its columns show it.
        max_categories: The most inputs that one of its columns of words becomes; None: one per category.
        na: What stands for a missing value in it, besides the usual words.
        delimiter: What separates its columns, if it is text; None: what splits its header.
        encoding: Its encoding, if it is text; None: UTF-8, or what its first bytes say.
        split: How its rows are split: ``random``, ``time``, ``time:COLUMN`` or ``group:COLUMN``; None: at random.
        group_input: Whether its column of groups is an input; None: it isn't.
        test: The path of a table of its own to test on; None: a fifth of the rows.
        dialect: The framework whose RMSProp is meant.
        lr: The learning rate at the top of the schedule, above 0.
        rule: The RMSProp. Elsewhere its fields are settings of their own, under their own names.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        model: The model; None if the problem has one of its own.
        hidden: The widths of its hidden layers.
        class_weights: Whether each class of a table counts alike in the loss, or each row.
        schedule: How the learning rate changes, or what sees to it in the place of a schedule.
        warmup: Epochs over which the learning rate rises from near 0; may be a fraction of one.
        gamma: The factor of the step, exponential (per epoch) and plateau schedules.
        step_size: Epochs between two drops of the step schedule.
        seed: Decides the initial weights and the order of the rows.
        keep: Whose weights are kept: the last epoch's, or the best one's by validation loss; None: the best where there
            are validation rows.
        early_stop: Epochs without a lower validation loss after which the run stops; None: it doesn't.
        average: Whose weights are kept besides: ``ema`` or ``swa`` for an average of them, ``none`` for the raw ones.
        ema_decay: The share of itself that an EMA keeps at a step; None: what fits the run's length.
        swa_start: The first epoch whose weights SWA averages, and from which on the learning rate is constant.
        swa_lr: That learning rate; None: what the schedule has there.

    Raises:
        InputError: If a value is out of range or two contradict each other.

    Examples:
        >>> resolve({"problem": "digits", "lr": 0.01}).epochs
        30
    """

    problem: str
    target: str | None = None
    task: Task | None = None
    drop: tuple[str, ...] = ()
    dayfirst: bool | None = None
    max_categories: int | None = None
    na: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str | None = None
    split: str | None = None
    group_input: bool | None = None
    test: str | None = None
    dialect: str
    lr: float
    rule: Rule
    epochs: int
    batch_size: int
    model: Model | None
    hidden: tuple[int, ...]
    class_weights: ClassWeights = "none"
    schedule: Schedule
    warmup: float
    gamma: float | None
    step_size: int | None
    seed: int
    keep: Keep | None = None
    early_stop: int | None = None
    average: Average = "none"
    ema_decay: float | None = None
    swa_start: int | None = None
    swa_lr: float | None = None

    def __post_init__(self) -> None:
        """Check every value, then what they say together."""
        check_choices(self.task, self.model, self.hidden, self.class_weights)
        if self.schedule not in get_args(Schedule):
            raise InputError(f"--schedule is {self.schedule!r}: choose one of {', '.join(get_args(Schedule))}")
        if self.keep not in (None, *get_args(Keep)):
            raise InputError(f"--keep is {self.keep!r}: choose one of {', '.join(get_args(Keep))}")
        if self.average not in get_args(Average):
            raise InputError(f"--average is {self.average!r}: choose one of {', '.join(get_args(Average))}")
        for name, (allowed, is_allowed) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not is_allowed(value):
                raise InputError(f"{option(name)} is {show(value)}: it must be {allowed}")
        _check_together(self)
        _check_own_rate(self)
        _check_average(self)

    @property
    def averaged_from(self) -> int:
        """The first epoch at whose end there is an average of the weights; one after the last if there is none."""
        if self.average == "none":
            return self.epochs + 1
        return self.swa_start or 1

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values for JSON, the rule's fields among them."""
        parts = ((name, value if name == "rule" else {name: value}) for name, value in asdict(self).items())
        return {name: value for _, part in parts for name, value in part.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Settings:
        """Return the settings that `as_dict` gave.

        Args:
            values: The dictionary, perhaps after a trip through JSON.

        Returns:
            The settings.

        Raises:
            InputError: If a field is missing, unknown or out of range.
        """
        if not isinstance(values, Mapping) or values.keys() != set(FIELDS):
            raise InputError("the settings were written by another version of rmsprop: start over with --force")
        if wrong := misfit(values, field_types()):
            raise InputError(f"the settings of the run were changed ({option(wrong)}): start over with --force")
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        try:
            return cls._of(plain)
        except LookupError as error:  # an unknown dialect; InputError says what is out of range
            raise InputError(f"the settings of the run were changed ({error}): start over with --force") from error

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings in which the rule's fields were settings of their own."""
        rule = rule_of_options(values["dialect"], {name: values.get(name) for name in RULE_FIELDS})
        return cls(rule=rule, **{name: value for name, value in values.items() if name not in RULE_FIELDS})


FIELDS = (*(field.name for field in fields(Settings) if field.name != "rule"), *RULE_FIELDS)


@cache
def field_types() -> Mapping[str, Any]:
    """Return setting -> type, for those that come from a file."""
    return get_type_hints(Settings) | get_type_hints(Rule)


_RANGES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": ("a finite number above 0", lambda v: 0.0 < v < math.inf),
    "epochs": ("a whole number from 1 to 1000000", lambda v: 1 <= v <= 1_000_000),
    "batch_size": ("a whole number from 1 to 1000000000", lambda v: 1 <= v <= 1_000_000_000),
    "warmup": ("a finite number of epochs, at least 0", lambda v: 0.0 <= v < math.inf),
    "gamma": ("a factor above 0 and below 1", lambda v: 0.0 < v < 1.0),
    "step_size": ("a whole number of epochs, at least 1", lambda v: v >= 1),
    # `rmsprop.lab.train.training` shifts it by 24 bits, and torch takes 64.
    "seed": ("a whole number from 0 to 4294967295", lambda v: 0 <= v < 2**32),
    "early_stop": ("a whole number of epochs, at least 1", lambda v: v >= 1),
    "ema_decay": ("a number above 0 and below 1", lambda v: 0.0 < v < 1.0),
    "swa_start": ("an epoch, at least 1", lambda v: v >= 1),
    "swa_lr": ("a finite number above 0", lambda v: 0.0 < v < math.inf),
}
# Which average uses which number of its own.
_OF_AVERAGE: Mapping[str, Average] = {"ema_decay": "ema", "swa_start": "swa", "swa_lr": "swa"}


def _check_together(settings: Settings) -> None:
    if settings.warmup >= settings.epochs:
        raise InputError(f"--warmup {settings.warmup:g} must be shorter than --epochs {settings.epochs}")
    for name, users in (("gamma", GAMMA_SCHEDULES), ("step_size", STEP_SIZE_SCHEDULES)):
        if getattr(settings, name) is not None and settings.schedule not in users:
            raise InputError(f"{option(name)} is for --schedule {' or '.join(users)}, not for {settings.schedule}")


def _check_own_rate(settings: Settings) -> None:
    """Refuse what would set the learning rate besides the optimizer, or average weights twice."""
    if settings.schedule in TUNED_SCHEDULES:
        if settings.warmup:
            raise InputError(
                f"--warmup sets the learning rate that --schedule {settings.schedule} changes itself: leave one out"
            )
        if settings.average == "swa":
            raise InputError(
                f"--average swa needs a constant learning rate, which --schedule {settings.schedule} changes in every "
                "step: use --average ema"
            )
    if settings.schedule != SCHEDULE_FREE:
        return
    if settings.average != "none":
        raise InputError(
            f"--average {settings.average} and --schedule {SCHEDULE_FREE} would average weights twice: leave one out"
        )
    rule = settings.rule
    for name, unknown in (("init_from_gradient", True), ("delayed", True), ("weight_decay_mode", "cautious")):
        if getattr(rule, name) == unknown:
            given = option(name) if unknown is True else f"{option(name)} {unknown}"
            raise InputError(f"--schedule {SCHEDULE_FREE} has no {given}: leave one of them out")


def _check_average(settings: Settings) -> None:
    for name, user in _OF_AVERAGE.items():
        if getattr(settings, name) is not None and settings.average != user:
            raise InputError(f"{option(name)} is for --average {user}, not for {settings.average}")
    if settings.average != "swa":
        return
    first, epochs = settings.averaged_from, settings.epochs
    if first >= epochs:
        raise InputError(
            f"--average swa needs the weights of two epochs, and --swa-start {first} of --epochs {epochs} leaves "
            "fewer: give more epochs, or an earlier start"
        )
    if first - 1 < settings.warmup:
        raise InputError(
            f"--swa-start {first} is within the --warmup of {settings.warmup:g} epochs, and from there on the learning "
            "rate is constant: give a later start"
        )
    if settings.early_stop is not None:
        raise InputError(
            f"--average swa averages the last epochs of a run, and --early-stop {settings.early_stop} may leave them "
            "out: leave out one of them, or use --average ema"
        )


def resolve(given: Mapping[str, object], row: Defaults | None = None) -> Settings:
    """Return the settings of a new run: what was given, over the problem's and the dialect's defaults.

    Args:
        given: Settings by name; ``problem`` is needed. None stands for the default.
        row: The problem's defaults. Default None: those of its name.

    Returns:
        The settings, without a None where there is a default.

    Raises:
        InputError: If a value is out of range or two contradict each other.

    Examples:
        >>> resolve({"problem": "linear"}).rule.eps
        1e-08
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    name = str(chosen["problem"])
    defaults = {field: value for field, value in asdict(row or row_of(name)).items() if field != "about"}
    defaults["model"], defaults["hidden"] = architecture(name, chosen.get("model"))  # type: ignore[arg-type]
    values = {"dialect": "torch", "warmup": 0.0, "seed": 0} | defaults | chosen
    numbers = schedule_numbers(str(values["schedule"]), values["epochs"])  # type: ignore[arg-type]
    if values["schedule"] == SCHEDULE_FREE:
        numbers |= SCHEDULE_FREE_RULE
    if values.get("average") == "swa":
        numbers["swa_start"] = first_averaged_epoch(values["epochs"])  # type: ignore[arg-type]
    return Settings._of(numbers | values)


def schedule_numbers(schedule: str, epochs: int) -> dict[str, object]:
    """Return a schedule's own numbers, fixed when a run begins so that they stay the same when it is made longer.

    Args:
        schedule: The schedule.
        epochs: The run's epochs.

    Returns:
        Its ``gamma`` and ``step_size``, None where it has none.
    """
    gammas = {"step": 0.1, "plateau": 0.1, "exponential": 0.01 ** (1 / max(epochs, 1))}
    return {
        "gamma": gammas.get(schedule),
        "step_size": max(1, math.ceil(epochs / 3)) if schedule in STEP_SIZE_SCHEDULES else None,
    }


def resume(kept: Settings, given: Mapping[str, object]) -> Settings:
    """Return the settings to continue a run with: those it began with, perhaps for more epochs or with more patience.

    Args:
        kept: What the run began with.
        given: Settings named now; None stands for "as it was". Its tables may have moved to other paths,
            and the run may stop later than it would have.

    Returns:
        The settings.

    Raises:
        InputError: If one that was named differs, or the run can't be made longer or shorter.

    Examples:
        >>> resume(resolve({"problem": "linear"}), {"epochs": 200}).epochs
        200
    """
    began_with = kept.as_dict()
    patience = given.get("early_stop")
    if kept.early_stop is not None and isinstance(patience, int) and patience >= kept.early_stop:
        kept = replace(kept, early_stop=patience)
        began_with["early_stop"] = patience
    may_differ = {"problem", "epochs", "test" if kept.test else ""}
    for name, value in given.items():
        if name not in may_differ and value is not None and value != began_with[name]:
            raise InputError(
                f"{option(name)} is {show(value)} here and {show(began_with[name])} in the run: "
                f"leave it out to resume, or start over with --force"
            )
    kept = replace(kept, problem=given.get("problem", kept.problem), test=given.get("test") or kept.test)  # type: ignore[arg-type]
    epochs = given.get("epochs")
    if epochs is None or epochs == kept.epochs:
        return kept
    if kept.schedule in FIXED_LENGTH_SCHEDULES:
        raise InputError(
            f"--epochs is {epochs} here and {kept.epochs} in the run, and its {kept.schedule} schedule is drawn over "
            f"the epochs: resume without --epochs, or start over with --force"
        )
    return replace(kept, epochs=epochs)  # type: ignore[arg-type]


def show(value: object) -> str:
    """Return a setting's value as it is typed on the command line.

    Examples:
        >>> show((64, 32)), show(None)
        ('64,32', 'not set')
    """
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
