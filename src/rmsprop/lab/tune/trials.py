"""Settings of RMSProp, tried on a problem together with many others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.dialects import get_dialect
from rmsprop.keywords import TORCH
from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.compare.cache import Cache, identity
from rmsprop.lab.compare.cluster import Cluster, RunKind
from rmsprop.lab.compare.statistics import interquartile_mean
from rmsprop.lab.compare.workers import batches
from rmsprop.lab.dialects.calls import calls, overrides
from rmsprop.lab.dialects.formulas import number
from rmsprop.lab.optimizers import Choice
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.verdict.levels import tail
from rmsprop.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An RMSProp: a rule, in terms of a dialect, with a learning rate.

    Args:
        dialect: The dialect whose defaults the rule is told from.
        rule: The rule.
        lr: The learning rate.

    Examples:
        >>> Setting(dialect="keras", rule=Rule.from_dialect("keras", decay=0.95), lr=0.01).calls["keras"]
        'rmsprop.keras.RMSprop(learning_rate=0.01, rho=0.95)'
    """

    dialect: str
    rule: Rule
    lr: float

    def with_(self, lr: float | None = None, **fields: Any) -> Setting:
        """Return the same with another learning rate or other fields of the rule.

        Args:
            lr: The learning rate. Default: the same.
            **fields: Fields of `Rule`.

        Returns:
            The setting.
        """
        return dataclasses.replace(
            self, lr=self.lr if lr is None else lr, rule=dataclasses.replace(self.rule, **fields)
        )

    @property
    def choice(self) -> Choice:
        """The setting as `rmsprop.lab.optimizers` makes it."""
        given = overrides(get_dialect(self.dialect), self.rule)
        options = tuple(sorted((TORCH.get(name, name), value) for name, value in given.items()))
        return Choice(name=f"rmsprop-{self.dialect}", lr=self.lr, options=options)

    @property
    def calls(self) -> dict[str, str]:
        """A line of Python per front end that makes it."""
        return calls(self.dialect, self.rule, self.lr)

    @property
    def label(self) -> str:
        """Its learning rate, decay and epsilon in one line."""
        inside = " in √" if self.rule.eps_inside_sqrt else ""
        return f"lr {number(self.lr)}, decay {number(self.rule.decay)}, ε {number(self.rule.eps)}{inside}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """What came of a setting.

    Args:
        setting: The setting.
        losses: What each seed's run ends with: the median over the last fifth of the objective on the validation rows,
            less the optimum where it is known and no rows are held out; infinity after a divergence.
    """

    setting: Setting
    losses: np.ndarray[Any, np.dtype[np.float64]]

    @cached_property
    def typical(self) -> float:
        """The interquartile mean over the seeds; infinite if more than a few diverged."""
        return float(interquartile_mean(self.losses))

    @property
    def diverged(self) -> int:
        """How many runs diverged."""
        return int(np.isinf(self.losses).sum())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, lists and strings, for JSON."""
        rule = dataclasses.asdict(self.setting.rule)
        numbers = {"lr": self.setting.lr, "decay": rule["decay"], "eps": rule["eps"]}
        placement = {"eps_inside_sqrt": rule["eps_inside_sqrt"]}
        return {**numbers, **placement, "loss": self.typical, "diverged": self.diverged, "losses": self.losses.tolist()}


@dataclass
class Trials:
    """Tries settings on a problem.

    Args:
        problem: The problem.
        on_progress: Called with the stage, what is done and what there is to do. Default None.
        folder: Where runs that are done are kept, and found again. Default: nowhere.
        fresh: Do all runs anew, and replace those that are kept. Default False.
        cluster: Who trains, with results in the folder. Default: this process.

    Attributes:
        runs: How many runs there have been.
        cached: How many of them were done already.
    """

    problem: Problem
    on_progress: Callable[[str, int, int], object] | None = None
    folder: Path | None = None
    fresh: bool = False
    cluster: Cluster | None = None
    runs: int = field(default=0, init=False)
    cached: int = field(default=0, init=False)
    _caches: dict[int, Cache] = field(default_factory=dict, init=False)

    @property
    def least(self) -> float:
        """What losses are counted from."""
        known = self.problem.optimum is not None and not self.problem.holds_out
        return self.problem.optimum if known and self.problem.optimum is not None else 0.0

    def untrained(self, seeds: Sequence[int]) -> float:
        """Return the loss before the first step.

        Args:
            seeds: The seeds of the models.

        Returns:
            The interquartile mean over the seeds.
        """
        models = (self.problem.model(seed) for seed in seeds)
        losses = [self.problem.evaluate(model, self.problem.validation)[0] for model in models]
        return float(interquartile_mean(np.array(losses))) - self.least

    def report(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage is.

        Args:
            stage: What is being done.
            done: How much of it is done.
            total: How much there is.
        """
        if self.on_progress:
            self.on_progress(stage, done, total)

    def run(self, stage: str, settings: Sequence[Setting], seeds: Sequence[int], epochs: int) -> list[Tried]:
        """Train each setting with each seed, as many together as it takes some seconds to train.

        Args:
            stage: What to call it while it runs.
            settings: The settings; equal ones are trained once.
            seeds: The seeds.
            epochs: Epochs of each run.

        Returns:
            What came of each setting, in their order.
        """
        different = list(dict.fromkeys(settings))
        jobs = [Job(choice=setting.choice, seed=seed) for setting in different for seed in seeds]
        curves = self._curves(stage, jobs, epochs)
        ends = np.array([_end(curve) - self.least for curve in curves]).reshape(len(different), len(seeds))
        losses = dict(zip(different, ends, strict=True))
        return [Tried(setting=setting, losses=losses[setting]) for setting in settings]

    def _curves(self, stage: str, jobs: list[Job], epochs: int) -> list[Curve]:
        """Return what comes of runs, batch by batch; each batch is kept as a whole, as its runs share the rounding."""
        parts = batches(self.problem, jobs, epochs, self.problem.batch_size)
        found = {place: curves for place, batch in enumerate(parts) if (curves := self._kept(batch, epochs))}
        left, total = [place for place in range(len(parts)) if place not in found], epochs * len(parts)

        def tell(epoch: int) -> None:
            self.report(stage, epochs * len(found) + epoch, total)

        tell(0)
        for place, curves in self._trained([parts[place] for place in left], epochs, tell):
            found[left[place]] = curves
            tell(0)
        self.runs += len(jobs)
        return [curve for _, curves in sorted(found.items()) for curve in curves]

    def _kept(self, batch: list[Job], epochs: int) -> list[Curve] | None:
        found = self._cache(epochs).get_together(batch)
        self.cached += len(found or ())
        return found

    def _trained(
        self, missing: Sequence[list[Job]], epochs: int, on_epoch: Callable[[int], object]
    ) -> Iterator[tuple[int, list[Curve]]]:
        """Yield the place of a batch and what came of it, as they are done."""
        cache = self._cache(epochs)
        if self.cluster is not None:
            kind = RunKind(
                common=cache.common, epochs=epochs, batch_size=self.problem.batch_size, test=False, together=True
            )
            yield from self.cluster.train(missing, kind)
            return
        for place, batch in enumerate(missing):
            curves = train_together(self.problem, batch, epochs=epochs, on_epoch=on_epoch)
            cache.put_together(batch, curves)
            yield place, curves

    def _cache(self, epochs: int) -> Cache:
        if epochs not in self._caches:
            common = identity(self.problem, epochs, self.problem.batch_size) if self.folder else {}
            self._caches[epochs] = Cache(self.folder, common, fresh=self.fresh)
        return self._caches[epochs]

    @property
    def notes(self) -> list[str]:
        """What a person should know about what is kept, a sentence each."""
        return list(dict.fromkeys(note for cache in self._caches.values() for note in cache.notes()))


def _end(curve: Curve) -> float:
    """Return the loss that a run ends with: a learning rate that is too high shows there, and not in the best epoch."""
    return math.inf if curve.diverged_at else float(tail(curve.validation.tolist()))


def best(tried: Sequence[Tried]) -> Tried:
    """Return the one with the lowest loss; if all diverged, that with the lowest learning rate.

    Args:
        tried: At least one.

    Returns:
        The best.
    """
    return min(tried, key=lambda one: (one.typical, one.setting.lr))


def rounded(value: float) -> float:
    """Return a number to two significant digits: a learning rate that a person can copy.

    Args:
        value: The number.

    Returns:
        The nearest such number.

    Examples:
        >>> rounded(0.0031623)
        0.0032
    """
    return float(f"{value:.2g}")
