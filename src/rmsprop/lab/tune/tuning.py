"""From a problem to a recommendation: range test, verification, maps, joint search, and a comparison with new seeds."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

import rmsprop
from rmsprop.dialects import get_dialect
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.checks import check
from rmsprop.lab.problems.conventions import few_threads
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.tune.budgets import BUDGETS, TuningBudget
from rmsprop.lab.tune.comparison import Contender, compare, good_lrs, recommended, winners
from rmsprop.lab.tune.maps import Map, draw_maps
from rmsprop.lab.tune.reading import LrRange
from rmsprop.lab.tune.search import search
from rmsprop.lab.tune.sweep import sweep
from rmsprop.lab.tune.trials import Setting, Trials, Tried, rounded
from rmsprop.lab.tune.verification import Verification, verify
from rmsprop.rule import Rule

# Where the verification starts if the range test finds nothing and the dialect has no default: Keras' default.
_FALLBACK_LR = 1e-3
# The last comparison has seeds of its own, and so has the estimate of what comes of its winner: from these on.
_FINAL_SEEDS, _FRESH_SEEDS = 1000, 2000
# Median ends of runs need a few epochs.
_FEWEST_EPOCHS = 3


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

    @property
    def measure(self) -> str:
        """What is compared, in a few words."""
        if self.problem.holds_out:
            return "validation loss"
        return "loss" if self.problem.optimum is None else "loss above the optimum"

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of `fresh`."""
        return tuple(range(_FRESH_SEEDS, _FRESH_SEEDS + len(self.seeds)))

    @property
    def works(self) -> bool:
        """Whether there is a setting that trains: its loss is below that of untrained models, with fresh seeds, too."""
        return max(self.recommended.tried.typical, self.fresh.typical) < self.untrained

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


def tune(
    problem: Problem,
    *,
    dialect: str = "torch",
    budget: str = "standard",
    seeds: int | None = None,
    on_progress: Callable[[str, int, int], object] | None = None,
    **rule: Any,
) -> Tuning:
    """Find a learning rate, a decay and an ε for a problem, from its training and validation rows alone.

    A range test over several seeds suggests a learning rate; short runs at a third, at it and at three times it verify
    it, and move on if a neighbour is better. Around it come maps and a joint search. Runs of full length, with seeds
    that no earlier stage has seen, verify the learning rate again and compare with it what was best in maps and search:
    another rule is recommended only if its loss is lower by more than 5 % and by more than chance. What comes of the
    recommended one is told from as many seeds more, with which nothing was chosen.

    Args:
        problem: The problem.
        dialect: Whose RMSProp: a key of `rmsprop.DIALECTS`. Default ``"torch"``.
        budget: How much is tried: a key of `rmsprop.lab.tune.budgets.BUDGETS`. Default ``"standard"``.
        seeds: Seeds of the last comparison, at least 2. Default: the budget's.
        on_progress: Called with the stage, what is done and what there is to do. Default None.
        **rule: Fields of `rmsprop.Rule` that are fixed; the others start from the dialect's and may be changed.

    Returns:
        What was found.

    Raises:
        InputError: If a number is out of range, or the problem can't be trained on.
        ValueError: If the dialect or the budget is unknown or a field is out of range.
        TypeError: If a field is unknown or something of another type.

    Examples:
        >>> from rmsprop.lab.problems import load
        >>> found = tune(load("linear"), budget="quick", seeds=2, decay=0.9, eps=1e-8)
        >>> 0.003 < found.recommended.tried.setting.lr < 1
        True
    """
    rows, count = _checked(problem, budget, seeds)
    fixed = {name: value for name, value in rule.items() if value is not None}
    trials = Trials(problem, on_progress)
    start = Setting(dialect=dialect, rule=get_dialect(dialect).rule_with(**fixed), lr=_FALLBACK_LR)
    short = min(problem.epochs, max(_FEWEST_EPOCHS, round(rows.short * problem.epochs)))
    final_seeds = tuple(range(_FINAL_SEEDS, _FINAL_SEEDS + count))
    with few_threads(problem.model(0), problem.batch_size):
        found = sweep(trials, start, range(rows.sweeps))
        verification = verify(trials, "verifying", start.with_(lr=_first_lr(found, dialect)), range(rows.seeds), short)
        centre = verification.best.setting
        map_seeds = range(rows.map_seeds)
        maps = draw_maps(trials, centre, rows, fixed, map_seeds, short)
        samples = search(trials, centre, rows.samples, fixed, map_seeds, short)
        ladder, contenders = compare(trials, centre, winners(centre, maps, samples), final_seeds)
        chosen = recommended(contenders)
        fresh_seeds = range(_FRESH_SEEDS, _FRESH_SEEDS + count)
        (fresh,) = trials.run("fresh seeds", [chosen.tried.setting], fresh_seeds, problem.epochs)
    return Tuning(
        problem=problem,
        dialect=dialect,
        rule=start.rule,
        choices=fixed,
        budget=budget,
        short_epochs=short,
        epochs=problem.epochs,
        seeds=final_seeds,
        range_test=found,
        verification=verification,
        maps=maps,
        samples=samples,
        ladder=ladder,
        contenders=contenders,
        recommended=chosen,
        fresh=fresh,
        untrained=trials.untrained(final_seeds),
        good_lrs=good_lrs(contenders),
        versions={"rmsprop": rmsprop.__version__, "torch": str(torch.__version__), "python": platform.python_version()},
    )


def _checked(problem: Problem, budget: str, seeds: int | None) -> tuple[TuningBudget, int]:
    """Return the budget and the number of seeds of the last comparison, if all can be used."""
    if not isinstance(problem, Problem):
        raise TypeError(
            f"problem is a {type(problem).__name__}: give a Problem, such as rmsprop.lab.problems.load gives"
        )
    if budget not in BUDGETS:
        raise ValueError(f"budget is {budget!r}: choose one of {', '.join(BUDGETS)}")
    count = BUDGETS[budget].final_seeds if seeds is None else seeds
    if not isinstance(count, int):
        raise TypeError(f"seeds is {count!r}: give a whole number")
    if count < 2:
        raise InputError(f"--seeds is {count}: at least 2 are needed to tell a difference from chance")
    check(problem)
    return BUDGETS[budget], count


def _first_lr(found: LrRange, dialect: str) -> float:
    if found.problem:
        return get_dialect(dialect).lr or _FALLBACK_LR
    return rounded(found.suggestion)
