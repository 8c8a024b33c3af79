"""What a comparison found: every trial, every run and what defines them, as plain data that goes through JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from rmsprop.lab.batched import Curve
from rmsprop.lab.format import number
from rmsprop.lab.optimizers import Choice

Track = Literal["defaults", "tuned"]
Phase = Literal["tuning", "widening", "reporting", "timing"]
_FORMAT = 1
# The fields of a curve: arrays, numbers that may not be finite, and whole numbers.
_ARRAYS = ("train", "validation", "metric", "lr")
_NUMBERS = ("test", "test_metric")
_WHOLE = ("diverged_at", "epochs", "steps_per_epoch")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is spent on a comparison.

    Args:
        name: What it is called.
        trials: Settings that are tried per optimizer and study.
        studies: Independent repetitions of the tuning, each with a sequence and a seed of its own.
        seeds: Runs per optimizer and track that are reported.
    """

    name: str
    trials: int
    studies: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a report says of the problem.

    Args:
        problem: Its name.
        about: What it is, in a few words.
        loss_name: What the objective is, for an axis.
        metric: The name of the metric.
        metric_unit: What it is measured in; empty for a share.
        higher_is_better: Whether the metric should rise.
        optimum: The least objective on the training rows, where it is known.
        rows: How many are trained on, validated on and tested on.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        steps_per_epoch: Steps per epoch.
        parameters: Numbers that are learnt.
    """

    problem: str
    about: str
    loss_name: str
    metric: str
    metric_unit: str
    higher_is_better: bool
    optimum: float | None
    rows: tuple[int, int, int]
    epochs: int
    batch_size: int
    steps_per_epoch: int
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried while tuning.

    Args:
        optimizer: The optimizer's name.
        study: The study it belongs to, from 0.
        choice: What was tried.
        seed: The seed it ran with; never one that is reported.
        score: The best validation objective of all epochs; infinite if the run diverged.
        widened: Whether it lies in the stretch by which the range was widened.
    """

    optimizer: str
    study: int
    choice: Choice
    seed: int
    score: float
    widened: bool


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run that is reported.

    Args:
        track: With the optimizer's defaults, or as tuned.
        optimizer: The optimizer's name.
        study: The study whose best choice it uses; None for defaults.
        seed: Decides the initial weights and the order of the rows.
        choice: What it ran with.
        curve: What came of it.
    """

    track: Track
    optimizer: str
    study: int | None
    seed: int
    choice: Choice
    curve: Curve


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a comparison is.

    Args:
        phase: What it does.
        done: Runs of this phase that are done.
        total: All runs of this phase.
        standings: For each optimizer the median so far of the best validation objective, over its best trials of the
            studies while tuning and over its tuned runs while reporting; infinite if most diverged. Those without a
            run yet are left out.
        cached: How many of ``done`` came from the cache.
    """

    phase: Phase
    done: int
    total: int
    standings: Mapping[str, float] = field(default_factory=dict)
    cached: int = 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that a comparison found.

    Args:
        facts: The problem.
        budget: What was spent.
        optimizers: The names of what was compared, in the order asked for.
        trials: What was tried while tuning.
        runs: What is reported.
        seconds_per_step: Seconds of one step of a single model, for each optimizer: gradient and update. Not a number
            where it wasn't measured.
        evaluations: Gradient evaluations per step, for each optimizer.
        reference: The optimizer that the others are compared with. Default ``"rmsprop"``.
        notes: What a reader should know of how it went, as sentences.
        versions: The versions that it ran with.
    """

    facts: Facts
    budget: Budget
    optimizers: tuple[str, ...]
    trials: tuple[Trial, ...]
    runs: tuple[Run, ...]
    seconds_per_step: Mapping[str, float]
    evaluations: Mapping[str, int]
    reference: str = "rmsprop"
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON, in which a number that isn't finite is a word."""
        return {
            "format": _FORMAT,
            "facts": asdict(self.facts),
            "budget": asdict(self.budget),
            "optimizers": list(self.optimizers),
            "reference": self.reference,
            "trials": [_plain(trial) for trial in self.trials],
            "runs": [_plain(run) for run in self.runs],
            "seconds_per_step": {name: number(value) for name, value in self.seconds_per_step.items()},
            "evaluations": dict(self.evaluations),
            "notes": list(self.notes),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Comparison:
        """Return the comparison that `as_dict` gave.

        Args:
            values: The dictionary, perhaps after a trip through JSON.

        Returns:
            The comparison.

        Raises:
            ValueError: If it was written in another form.
        """
        if values.get("format") != _FORMAT:
            raise ValueError(f"a comparison of format {values.get('format')!r} can't be read: only {_FORMAT} can")
        facts = {**values["facts"], "rows": tuple(values["facts"]["rows"])}
        trials = ({**t, "choice": choice_from(t["choice"]), "score": float(t["score"])} for t in values["trials"])
        runs = ({**r, "choice": choice_from(r["choice"]), "curve": curve_from(r["curve"])} for r in values["runs"])
        return cls(
            facts=Facts(**facts),
            budget=Budget(**values["budget"]),
            optimizers=tuple(values["optimizers"]),
            reference=values["reference"],
            trials=tuple(Trial(**trial) for trial in trials),
            runs=tuple(Run(**run) for run in runs),
            seconds_per_step={name: float(value) for name, value in values["seconds_per_step"].items()},
            evaluations=dict(values["evaluations"]),
            notes=tuple(values["notes"]),
            versions=dict(values["versions"]),
        )


def best_validation(curve: Curve) -> float:
    """Return what a run is judged by: its best validation objective after an epoch.

    Args:
        curve: What came of it.

    Returns:
        The objective, infinite if the run diverged; less is better. The one before the first step is nobody's merit.
    """
    return math.inf if curve.diverged_at is not None else float(curve.validation[1:].min())


def choice_from(values: Mapping[str, Any]) -> Choice:
    """Return a choice from its plain values.

    Args:
        values: The fields of a `Choice`, perhaps after a trip through JSON.

    Returns:
        The choice.
    """
    return Choice(name=values["name"], lr=values["lr"], options=tuple((n, v) for n, v in values["options"]))


def curve_as_dict(curve: Curve) -> dict[str, Any]:
    """Return a curve as plain values for JSON, in which a number that isn't finite is a word.

    Args:
        curve: The curve.

    Returns:
        Its fields.
    """
    values: dict[str, Any] = {name: [number(float(v)) for v in getattr(curve, name)] for name in _ARRAYS}
    values |= {name: number(getattr(curve, name)) for name in _NUMBERS}
    return values | {name: getattr(curve, name) for name in _WHOLE}


def curve_from(values: Mapping[str, Any]) -> Curve:
    """Return the curve that `curve_as_dict` gave.

    Args:
        values: Its fields, perhaps after a trip through JSON.

    Returns:
        The curve.
    """
    fields: dict[str, Any] = {name: np.array([float(v) for v in values[name]]) for name in _ARRAYS}
    fields |= {name: float(values[name]) for name in _NUMBERS}
    return Curve(**fields, **{name: values[name] for name in _WHOLE})


def _plain(item: Trial | Run) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(item, name) for name in item.__dataclass_fields__}
    values["choice"] = asdict(item.choice)
    if isinstance(item, Run):
        values["curve"] = curve_as_dict(item.curve)
    else:
        values["score"] = number(item.score)
    return values
