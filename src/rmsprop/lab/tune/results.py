"""What a tuning found, as plain data: everything that sentences, tables and figures are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.tune.comparison import Contender
from rmsprop.lab.tune.lr_range import LrRange
from rmsprop.lab.tune.maps import Map
from rmsprop.lab.tune.trials import Tried
from rmsprop.lab.tune.verification import Verification
from rmsprop.rule import Rule

# The seeds with which the winner's loss is estimated, from this one on: no stage before has seen them.
FRESH_SEEDS = 2000


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What `tune` found.

    Args:
        problem: The problem.
        dialect: The dialect.
        rule: The rule that was given: the dialect's with what the person fixed.
        choices: What the person fixed: fields of the rule by name.
        budget: The budget's name.
        short_epochs: Epochs of the runs before the last comparison.
        epochs: Epochs of its runs.
        seeds: The seeds of the last comparison.
        range_test: The range test.
        verification: The runs around its suggestion.
        maps: The maps.
        samples: The joint search.
        ladder: The runs around the verified learning rate in full length, with the seeds of the last comparison.
        contenders: The last comparison: first the best learning rate for the given rule, then others, then other rules.
        recommended: The one to use, if it `works`.
        fresh: What came of it with as many seeds more, which had no part in choosing it. The best of several is best by
            luck, too: its loss in the last comparison is too low an estimate.
        untrained: The loss of the models of the last comparison before their first step.
        good_lrs: The learning rates whose loss is at most 5 % above the best, with the given rule.
        versions: The versions it ran with.
        runs: How many runs there were, without the range test.
        cached: How many of them came from the cache.
        notes: What a person should know about the cache, a sentence each.
    """

    problem: Problem
    dialect: str
    rule: Rule
    choices: Mapping[str, Any]
    budget: str
    short_epochs: int
    epochs: int
    seeds: tuple[int, ...]
    range_test: LrRange
    verification: Verification
    maps: tuple[Map, ...]
    samples: tuple[Tried, ...]
    ladder: Verification
    contenders: tuple[Contender, ...]
    recommended: Contender
    fresh: Tried
    untrained: float
    good_lrs: tuple[float, float]
    versions: Mapping[str, str]
    runs: int
    cached: int
    notes: tuple[str, ...]

    @property
    def measure(self) -> str:
        """What is compared, in a few words."""
        if self.problem.holds_out:
            return "validation loss"
        return "loss" if self.problem.optimum is None else "loss above the optimum"

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of `fresh`."""
        return tuple(range(FRESH_SEEDS, FRESH_SEEDS + len(self.seeds)))

    @property
    def works(self) -> bool:
        """Whether there is a setting that trains: its loss is below that of untrained models."""
        return self.recommended.tried.typical < self.untrained

    @property
    def diverged(self) -> bool:
        """Whether more than a few runs diverged with each setting."""
        return math.isinf(self.recommended.tried.typical)

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers and names, for JSON."""
        problem, chosen = self.problem, self.recommended.tried.setting
        return {
            "problem": problem.name,
            "loss": problem.loss_name,
            "dialect": self.dialect,
            "rule": asdict(self.rule),
            "budget": self.budget,
            "short_epochs": self.short_epochs,
            "epochs": self.epochs,
            "batch_size": problem.batch_size,
            "seeds": list(self.seeds),
            "works": self.works,
            "untrained": self.untrained,
            "recommended": self.recommended.as_dict() | {"rule": asdict(chosen.rule), "calls": chosen.calls},
            "fresh": {"seeds": list(self.fresh_seeds), **self.fresh.as_dict()},
            "good_lrs": list(self.good_lrs),
            "contenders": [one.as_dict() for one in self.contenders],
            "range_test": self.range_test.as_dict(),
            "verification": self.verification.as_dict(),
            "maps": {one.name: one.as_dict() for one in self.maps},
            "ladder": self.ladder.as_dict(),
            "samples": [one.as_dict() for one in self.samples],
            "versions": dict(self.versions),
        }
