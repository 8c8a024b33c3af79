"""What a survey asks, and what came of each problem: the costs of every run by every measure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rmsprop.lab.compare.analysis import Analysis
from rmsprop.lab.compare.protocol import REFERENCE
from rmsprop.lab.compare.ranking import Measure, Ranking, ranked
from rmsprop.lab.compare.results import Budget, Track
from rmsprop.lab.compare.statistics import Floats, simultaneous
from rmsprop.lab.compare.tables import target_name

# A convex problem, a table, two networks for images, text, control, and embeddings.
PROBLEMS = ("logistic", "breast-cancer", "digits", "digits-cnn", "english", "cartpole", "ratings")
ADAM = "adam"
QUESTION = (REFERENCE, ADAM, "sgd", "rmsprop+swa", "rmsprop-hd", "rmsprop-marthe", "rmsprop-sf")
# What Adam has and RMSProp hasn't, a difference at a time.
TOWARDS_ADAM = (
    "rmsprop-bias-correction",
    "rmsprop-averaged-momentum",
    "rmsprop-corrected-momentum",
    "rmsprop-laprop",
)
# What may close the gap between the two.
REMEDIES = (*TOWARDS_ADAM, "rmsprop-sf")
EVALUATIONS = "evaluations"

Costs = Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True)
class ProblemCosts:
    """What came of one problem of a survey.

    Args:
        problem: Its name.
        about: What it is, in a few words.
        budget: What was spent.
        labels: Optimizer -> what it is called, in the order of the comparison.
        evaluations: Optimizer -> its gradient evaluations per step.
        measures: What runs are judged by: the loss, the metric and, if there is a target, the gradient evaluations
            until it is reached.
        target: What is to be reached, in words; None if there is no target.
        costs: Track and key of a measure -> optimizer -> one cost per seed; infinity for what was lost.
        studies: Track -> the study of each seed; all 0 where nothing was tuned.
        alike: The tracks in which all seeds of a study give the same run.
        notes: What a reader should know of how it went, as sentences.
    """

    problem: str
    about: str
    budget: Budget
    labels: Mapping[str, str]
    evaluations: Mapping[str, int]
    measures: tuple[Measure, ...]
    target: str | None
    costs: Mapping[tuple[Track, str], Costs]
    studies: Mapping[Track, tuple[int, ...]]
    alike: frozenset[Track]
    notes: tuple[str, ...] = ()
    _known: dict[tuple[Any, ...], Ranking] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks, in the order in which they are told."""
        return tuple(self.studies)

    def kind(self, which: int | str) -> Measure | None:
        """Return a measure by its place or its key; None if runs aren't judged by it."""
        return next((m for place, m in enumerate(self.measures) if which in (place, m.key)), None)

    def judged(self, track: Track, which: int | str, names: Sequence[str], reference: str) -> Ranking | None:
        """Compare some of the optimizers.

        Args:
            track: Which runs.
            which: The measure, by its place or its key.
            names: The optimizers, of which those that weren't compared are left out.
            reference: The one that the others are compared with.

        Returns:
            Their ranking, whose intervals hold together at 95 %; None if runs aren't judged by this.
        """
        measure = self.kind(which)
        if measure is None:
            return None
        costs = self.costs[track, measure.key]
        some = {name: costs[name] for name in names if name in costs}
        asked = (track, measure.key, *some, reference)
        if asked not in self._known:  # a page asks for each many times, and a bootstrap takes a tenth of a second
            level, alike = simultaneous(len(some) - 1), track in self.alike
            self._known[asked] = ranked(track, measure, some, self.studies[track], reference, level, alike=alike)
        return self._known[asked]


def costs_of(analysis: Analysis) -> ProblemCosts:
    """Return what a survey keeps of one of its comparisons.

    Args:
        analysis: The comparison, analysed.

    Returns:
        The costs. Steps to the target become gradient evaluations, of which an optimizer may take several per step.
    """
    comparison, target = analysis.comparison, analysis.target
    first = comparison.reference
    costs: dict[tuple[Track, str], Costs] = {}
    measures: dict[str, Measure] = {}
    for ranking in analysis.rankings:
        found = {standing.optimizer: standing.costs for standing in ranking.standings}
        measure = ranking.measure
        if measure.key == "steps":
            found = {name: steps * comparison.evaluations[name] for name, steps in found.items()}
            measure = in_evaluations(measure, comparison.evaluations.values())
        measures[measure.key] = measure
        costs[ranking.track, measure.key] = found
    return ProblemCosts(
        problem=comparison.facts.problem,
        about=comparison.facts.about,
        budget=comparison.budget,
        labels={name: analysis.labels[name] for name in comparison.optimizers},
        evaluations=comparison.evaluations,
        measures=tuple(measures.values()),
        target=None if target is None else target_name(analysis, target),
        costs=costs,
        studies={track: tuple(run.study or 0 for run in analysis.runs(track, first)) for track in analysis.tracks},
        alike=analysis.alike,
        notes=comparison.notes,
    )


def in_evaluations(steps: Measure, evaluations: Iterable[int]) -> Measure:
    """Return the measure of the gradient evaluations to a target, from that of the steps.

    Args:
        steps: The measure of the steps.
        evaluations: Gradient evaluations per step of each optimizer; the largest bounds how far two runs are apart.
    """
    span = steps.span * max(evaluations) if math.isfinite(steps.span) else steps.span
    return replace(steps, key=EVALUATIONS, name="gradient evaluations to the target", span=span)
