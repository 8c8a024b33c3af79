"""Runs a comparison from beginning to end: it tunes, widens where the best lies at an end, reports, and times."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rmsprop.lab.batched import Curve, Job
from rmsprop.lab.compare import search
from rmsprop.lab.compare.cache import Cache, identity, versions
from rmsprop.lab.compare.cluster import cluster as workers_of
from rmsprop.lab.compare.protocol import (
    DEFAULT_OPTIMIZERS,
    budget_of,
    checked,
    reference,
    study_of,
    tuning_seed,
    whole_number,
)
from rmsprop.lab.compare.results import (
    Budget,
    Comparison,
    Facts,
    Phase,
    Progress,
    Run,
    Track,
    Trial,
    best_validation,
)
from rmsprop.lab.compare.timing import seconds_per_step
from rmsprop.lab.compare.workers import Workers, workers
from rmsprop.lab.embeddings import check_optimizers
from rmsprop.lab.errors import InputError
from rmsprop.lab.held_out import note
from rmsprop.lab.optimizers import Choice, Range, choose, row
from rmsprop.lab.problems.checks import check
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.problems.problem import Problem


def compare(
    problem: Problem,
    *,
    optimizers: Sequence[str] = DEFAULT_OPTIMIZERS,
    budget: str | Budget = "standard",
    seeds: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    cache: Path | str | None = None,
    fresh: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> Comparison:
    """Compare optimizers on a problem, with their defaults and equally tuned.

    For each optimizer and study the same quasi-random points are tried, each optimizer in its own space, and judged by
    the best validation objective. If the best lies in the outer tenth of a range, as many points again are tried
    beyond that end, once. The reported runs use other seeds, spread over the studies' best settings, and read the
    test rows at the end. Within a seed every optimizer begins with the same weights and sees the same batches, MARTHE
    four fifths of them: it fits its learning rate to the other rows.

    A comparison that was interrupted goes on where it was if ``cache`` is the same.

    Args:
        problem: What to compare them on.
        optimizers: Keys of `rmsprop.lab.optimizers.OPTIMIZERS`, each perhaps followed by ``+swa`` or ``+ema``. Default:
            RMSProp without and with momentum, Adam, AdaGrad, Adadelta, SGD, momentum, Nesterov.
        budget: ``"quick"``, ``"standard"``, ``"full"``, or a `Budget`. Default ``"standard"``.
        seeds: Runs to report per optimizer and track. Default: the budget's.
        epochs: How often the training rows are gone through, at least 1. Default: the problem's.
        batch_size: Rows per step, at least 1. Default: the problem's.
        jobs: Processes to train in, at least 1; they are spawned, so a script needs the usual
            ``if __name__ == "__main__"``. The results are the same. Default 1: in this process.
        cluster: The address of a Dask scheduler, such as ``"tcp://host:8786"``, on whose workers to train instead,
            with a ``cache`` that they share. The results are the same. Default: none.
        cache: The folder of runs that are done already; one that can't be written in is noted. Default: none is kept.
        fresh: Do all runs anew, and replace those in the cache. Default False.
        on_progress: Called with a `Progress` as runs end. Default: nothing is.

    Returns:
        The comparison.

    Raises:
        InputError: If something can't be used, the problem among it.
        LostWorkerError: If one of several processes ends before its time, or a cluster; what was done is in the cache.

    Examples:
        >>> from rmsprop.lab.problems import load
        >>> tiny = Budget(name="tiny", trials=2, studies=1, seeds=2)
        >>> found = compare(load("linear"), optimizers=["rmsprop", "sgd"], budget=tiny, epochs=2)
        >>> len(found.trials) >= 4, len(found.runs)
        (True, 8)
    """
    names, budget = checked(optimizers), budget_of(budget, seeds)
    if not isinstance(problem, Problem):
        raise InputError(f"problem is {problem!r}: give a Problem, such as rmsprop.lab.problems.load makes of a name")
    epochs = whole_number("epochs", problem.epochs if epochs is None else epochs)
    batch_size = whole_number("batch_size", problem.batch_size if batch_size is None else batch_size)
    jobs = whole_number("jobs", jobs)
    if cluster is not None and jobs > 1:
        raise InputError(f"jobs is {jobs}, and cluster {cluster}: give one of them, as a cluster has its own processes")
    check(problem)
    check_optimizers(problem, names)
    folder = None if cache is None else Path(cache)
    kept = Cache(folder, identity(problem, epochs, batch_size), fresh=fresh)
    with (
        workers_of(cluster, problem, folder, fresh=fresh) as theirs,
        workers(problem, epochs, batch_size, kept, jobs, theirs) as crew,
    ):
        comparing = _Comparing(names, budget, crew, on_progress)
        seconds = kept.seconds(names, lambda: comparing.time(problem, batch_size))
        comparing.tell("timing", len(names), len(names))
        comparing.tune()
        comparing.report()
    return Comparison(
        facts=_facts(problem, epochs, batch_size),
        budget=budget,
        optimizers=names,
        trials=tuple(comparing.trials()),
        runs=tuple(comparing.runs()),
        seconds_per_step=seconds,
        evaluations={name: row(name).evaluations for name in names},
        reference=reference(names),
        notes=(*comparing.notes(), *_held_out(names, problem), *kept.notes()),
        versions=versions(),
    )


@dataclass(frozen=True)
class _Tried:
    """A setting of a study, and the run that tries it."""

    name: str
    study: int
    widened: bool
    job: Job


@dataclass(frozen=True)
class _Planned:
    """A run that is to be reported."""

    track: Track
    name: str
    study: int | None
    job: Job


class _Comparing:
    """A comparison as it goes.

    Args:
        names: The optimizers.
        budget: What is spent.
        crew: Does the runs.
        on_progress: Called as runs end.
    """

    def __init__(
        self, names: Sequence[str], budget: Budget, crew: Workers, on_progress: Callable[[Progress], object] | None
    ) -> None:
        self.names, self.budget, self.crew, self.on_progress = names, budget, crew, on_progress
        self.tried: list[_Tried] = []
        self.widened: dict[tuple[str, int], dict[str, Range]] = {}
        self.planned: list[_Planned] = []
        self.curves: dict[Job, Curve] = {}

    def time(self, problem: Problem, batch_size: int) -> dict[str, float]:
        """Measure a step of each optimizer. They take turns: a share of it counts as so many of them."""
        told, total = -1, len(self.names)

        def tell(share: float) -> None:
            nonlocal told
            if share < 1.0 and int(share * total) > told:
                told = int(share * total)
                self.tell("timing", told, total)

        tell(0.0)
        with one_thread():
            return seconds_per_step(problem, self.names, batch_size, tell)

    def tune(self) -> None:
        """Try the first points of every study, then as many beyond the end of a range where the best lies at one."""
        studies = [(name, study) for study in range(self.budget.studies) for name in self.names]
        self._try("tuning", {(name, study): self._ranges(name) for name, study in studies})
        found = {(name, study): self._beyond(name, study) for name, study in studies}
        self.widened = {which: ranges for which, ranges in found.items() if ranges}
        if self.widened:
            self._try("widening", self.widened)

    def report(self) -> None:
        """Run what is reported: each optimizer with its defaults, and with the best setting of the seed's study."""
        for name in self.names:
            for seed in range(self.budget.seeds):
                study = study_of(seed, self.budget)
                tuned = Job(choice=self._best(name, study), seed=seed)
                self.planned.append(_Planned("defaults", name, None, Job(choice=choose(name), seed=seed)))
                self.planned.append(_Planned("tuned", name, study, tuned))
        # Equal settings side by side train fastest; tuned ones first, because the standings show them.
        at_work = sorted(self.planned, key=lambda p: (study_of(p.job.seed, self.budget), p.track != "tuned"))
        self._do("reporting", [planned.job for planned in at_work], test=True)

    def tell(self, phase: Phase, done: int, total: int, cached: int = 0) -> None:
        """Tell how far it is."""
        if self.on_progress is not None:
            standings = self._standings(reporting=phase == "reporting")
            self.on_progress(Progress(phase=phase, done=done, total=total, standings=standings, cached=cached))

    def trials(self) -> list[Trial]:
        """Return what was tried."""
        return [
            Trial(
                optimizer=tried.name,
                study=tried.study,
                choice=tried.job.choice,
                seed=tried.job.seed,
                score=best_validation(self.curves[tried.job]),
                widened=tried.widened,
            )
            for tried in self.tried
        ]

    def runs(self) -> list[Run]:
        """Return what is reported: by track, then in the order of the optimizers, then of the seeds."""
        return [
            Run(
                track=planned.track,
                optimizer=planned.name,
                study=planned.study,
                seed=planned.job.seed,
                choice=planned.job.choice,
                curve=self.curves[planned.job],
            )
            for planned in sorted(self.planned, key=lambda planned: planned.track)
        ]

    def notes(self) -> list[str]:
        """Return what a reader should know of how the tuning went."""
        every = range(self.budget.studies)
        said: dict[str, list[str]] = {}  # what differs in the name only is one note
        for name in self.names:
            if widened := [study for study in every if (name, study) in self.widened]:
                said.setdefault(self._about_widening(name, widened), []).append(choose(name).label)
            if lost := [study for study in every if math.isinf(min(self._scores(name, study).values()))]:
                which = f"every setting diverged in {_listed(lost)}, and the least learning rate is reported."
                said.setdefault(which, []).append(choose(name).label)
        return [f"{', '.join(labels)}: {note}" for note, labels in said.items()]

    def _about_widening(self, name: str, studies: Sequence[int]) -> str:
        ranges, count = self._ranges(name), self.budget.trials
        at_end = {key for s in studies for key, where in self.widened[name, s].items() if where != ranges[key]}
        return (
            f"the best {' and '.join(sorted(at_end))} lay in the outer tenth of its range in "
            f"{_listed(studies)}, or all diverged there, so the range was widened once and {count} more "
            f"{'setting' if count == 1 else 'settings'} tried."
        )

    def _ranges(self, name: str) -> dict[str, Range]:
        return search.searched(name, self.budget.trials)

    def _try(self, phase: Phase, where: Mapping[tuple[str, int], Mapping[str, Range]]) -> None:
        widened, count, jobs = phase == "widening", self.budget.trials, []
        for (name, study), ranges in where.items():
            at = search.points(study, 2 * count)[count if widened else 0 :][:count]
            for choice in search.settings(name, ranges, at):
                jobs.append(Job(choice=choice, seed=tuning_seed(study)))
                self.tried.append(_Tried(name, study, widened, jobs[-1]))
        self._do(phase, jobs, test=False)

    def _do(self, phase: Phase, jobs: Sequence[Job], *, test: bool) -> None:
        done, cached, told, total = 0, 0, 0, len(set(jobs))

        def keep(some: Sequence[Job], curves: Sequence[Curve], from_cache: bool) -> None:
            nonlocal done, cached
            self.curves.update(zip(some, curves, strict=True))
            done += len(some)
            cached += len(some) if from_cache else 0
            self.tell(phase, done, total, cached)

        def tell_part(runs: float) -> None:
            nonlocal told
            if told < done + int(runs) < total:
                told = done + int(runs)
                self.tell(phase, told, total, cached)

        self.crew.run(jobs, test=test, on_done=keep, on_part=tell_part)

    def _scores(self, name: str, study: int) -> dict[Choice, float]:
        mine = (tried.job for tried in self.tried if (tried.name, tried.study) == (name, study))
        return {job.choice: best_validation(self.curves[job]) for job in mine if job in self.curves}

    def _beyond(self, name: str, study: int) -> dict[str, Range]:
        best = self._best(name, study)
        return search.beyond(self._ranges(name), best, self._scores(name, study)[best])

    def _best(self, name: str, study: int) -> Choice:
        return search.best(self._scores(name, study))

    def _standings(self, reporting: bool) -> dict[str, float]:
        reached = {name: self._reached(name, reporting) for name in self.names}
        return {name: median(values) for name, values in reached.items() if values}

    def _reached(self, name: str, reporting: bool) -> list[float]:
        if reporting:
            mine = (planned.job for planned in self.planned if (planned.name, planned.track) == (name, "tuned"))
            return [best_validation(self.curves[job]) for job in mine if job in self.curves]
        scores = (self._scores(name, study) for study in range(self.budget.studies))
        return [min(values.values()) for values in scores if values]


def _held_out(names: Sequence[str], problem: Problem) -> list[str]:
    """Return what a reader should know of who doesn't train on all rows."""
    return [f"{choose(name).label}: {note(len(problem.train))}" for name in names if row(name).holds_out]


def _facts(problem: Problem, epochs: int, batch_size: int) -> Facts:
    return Facts(
        problem=problem.name,
        about=problem.about,
        loss_name=problem.loss_name,
        metric=problem.metric.name,
        metric_unit=problem.metric.unit,
        higher_is_better=problem.metric.higher_is_better,
        optimum=problem.optimum,
        rows=(len(problem.train), len(problem.validation), len(problem.test)),
        epochs=epochs,
        batch_size=batch_size,
        steps_per_epoch=math.ceil(len(problem.train) / batch_size),
        parameters=sum(p.numel() for p in problem.model(0).parameters() if p.requires_grad),
    )


def _listed(studies: Sequence[int]) -> str:
    """Return studies in words, counted from 1."""
    numbers = [str(study + 1) for study in studies]
    return f"study {numbers[0]}" if len(numbers) == 1 else f"studies {', '.join(numbers[:-1])} and {numbers[-1]}"
