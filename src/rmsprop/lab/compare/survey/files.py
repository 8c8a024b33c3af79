"""What a survey found as a table of runs and a page of facts, and back: a report can be written again from them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from rmsprop.lab.compare.ranking import Measure
from rmsprop.lab.compare.results import Budget, Run, Track
from rmsprop.lab.compare.survey.costs import Costs, ProblemCosts
from rmsprop.lab.format import number

_HEADING = ("problem", "track", "optimizer", "study", "seed")


def runs_csv(problems: Sequence[ProblemCosts]) -> str:
    """Return a row per reported run: its costs by every measure, by the measure's key, and empty where there is none.

    Args:
        problems: What was found.

    Returns:
        The table. A cost is the measure's value, negated if higher is better; ``inf`` is a divergence or never.
    """
    keys = list(dict.fromkeys(measure.key for problem in problems for measure in problem.measures))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_HEADING, *keys])
    for problem in problems:
        for track, studies in problem.studies.items():
            for name in problem.labels:
                for seed, study in enumerate(studies):
                    costs = (problem.costs.get((track, key), {}).get(name) for key in keys)
                    row = [problem.problem, track, name, study, seed]
                    writer.writerow([*row, *("" if cost is None else float(cost[seed]) for cost in costs)])
    return text.getvalue()


def facts_json(problems: Sequence[ProblemCosts]) -> str:
    """Return everything else as JSON.

    Args:
        problems: What was found.

    Returns:
        The text.
    """
    return json.dumps([_facts(problem) for problem in problems], indent=1, ensure_ascii=False) + "\n"


def _facts(problem: ProblemCosts) -> dict[str, Any]:
    return {
        "problem": problem.problem,
        "about": problem.about,
        "budget": asdict(problem.budget),
        "labels": dict(problem.labels),
        "evaluations": dict(problem.evaluations),
        "measures": [
            {"key": m.key, "name": m.name, "higher_is_better": m.higher_is_better, "span": number(m.span)}
            for m in problem.measures
        ],
        "target": problem.target,
        "alike": sorted(problem.alike),
        "notes": list(problem.notes),
    }


def read(facts: str, runs: str) -> tuple[ProblemCosts, ...]:
    """Return what was found.

    Args:
        facts: What `facts_json` gave.
        runs: What `runs_csv` gave.

    Returns:
        The problems, in their order.
    """
    rows = list(csv.DictReader(io.StringIO(runs)))
    return tuple(
        _problem(found, [row for row in rows if row["problem"] == found["problem"]]) for found in json.loads(facts)
    )


def _problem(facts: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> ProblemCosts:
    measures = [_measure(found) for found in facts["measures"]]
    tracks = cast("list[Track]", list(dict.fromkeys(row["track"] for row in rows)))
    some = next(iter(facts["labels"]))
    return ProblemCosts(
        problem=facts["problem"],
        about=facts["about"],
        budget=Budget(**facts["budget"]),
        labels=facts["labels"],
        evaluations=facts["evaluations"],
        measures=tuple(measures),
        target=facts["target"],
        costs={(track, m.key): _costs(rows, track, m.key, facts["labels"]) for track in tracks for m in measures},
        studies={track: tuple(int(row["study"]) for row in _of(rows, track, some)) for track in tracks},
        alike=frozenset(facts["alike"]),
        notes=tuple(facts["notes"]),
    )


def _measure(found: Mapping[str, Any]) -> Measure:
    def value(_: Run) -> float:
        return math.nan  # the costs are read, and the runs are gone

    return Measure(found["key"], found["name"], found["higher_is_better"], value, float(found["span"]))


def _costs(rows: Sequence[Mapping[str, str]], track: Track, key: str, names: Mapping[str, str]) -> Costs:
    return {name: np.array([float(row[key]) for row in _of(rows, track, name)]) for name in names}


def _of(rows: Sequence[Mapping[str, str]], track: Track, name: str) -> list[Mapping[str, str]]:
    return [row for row in rows if (row["track"], row["optimizer"]) == (track, name)]
