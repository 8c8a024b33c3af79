"""What a survey says in words: who is told from RMSProp on which problems, and what closes the gap to Adam."""

from __future__ import annotations

from collections.abc import Sequence

from rmsprop.lab.compare import tables
from rmsprop.lab.compare.protocol import REFERENCE
from rmsprop.lab.compare.ranking import Outcome, Standing
from rmsprop.lab.compare.results import Track
from rmsprop.lab.compare.survey.costs import ADAM, EVALUATIONS, QUESTION, REMEDIES, TOWARDS_ADAM, ProblemCosts
from rmsprop.lab.compare.survey.tables import LOSS, METRIC, kinds

_BY = {LOSS: "loss", METRIC: "test metric", EVALUATIONS: "gradient evaluations to the target"}
_OUTCOMES: tuple[Outcome, ...] = ("better", "worse", "not distinguishable")


def asked(problems: Sequence[ProblemCosts]) -> tuple[str, ...]:
    """Return the optimizers that the question is about: all that were compared, those on the way to Adam aside.

    Args:
        problems: What was found.
    """
    compared = [name for name in problems[0].labels if name not in TOWARDS_ADAM]
    return tuple(sorted(compared, key=lambda name: QUESTION.index(name) if name in QUESTION else len(QUESTION)))


def on_the_way(problems: Sequence[ProblemCosts]) -> tuple[str, ...]:
    """Return the optimizers of the ablation; none if it takes one that wasn't compared.

    Args:
        problems: What was found.
    """
    compared = problems[0].labels
    names = tuple(name for name in (REFERENCE, *REMEDIES, ADAM) if name in compared)
    return names if {REFERENCE, ADAM} < set(names) else ()


def reference(problems: Sequence[ProblemCosts]) -> str:
    """Return the optimizer that the others are told from: RMSProp, or what is compared first.

    Args:
        problems: What was found.
    """
    names = asked(problems)
    return REFERENCE if REFERENCE in names or not names else names[0]


def headline(problems: Sequence[ProblemCosts], track: Track) -> str:
    """Say on how many problems each optimizer is told from the reference by loss.

    Args:
        problems: What was found.
        track: Which runs.

    Returns:
        The sentence.
    """
    own, many = reference(problems), len(problems)
    spent = "with default settings" if track == "defaults" else "equally tuned"
    parts = []
    for name in asked(problems):
        if name != own:
            found = _outcomes(problems, track, LOSS, asked(problems), name, own)
            better, worse = len(found["better"]), len(found["worse"])
            parts.append(f"{problems[0].labels[name]} is better on {better} and worse on {worse}")
    where = f"Of {many} problems, {spent}, by loss against {problems[0].labels[own]}"
    return f"{where}: {'; '.join(parts)}. On the others they can't be told apart." if parts else f"{where}: nobody."


def answers(problems: Sequence[ProblemCosts], track: Track) -> tuple[str, ...]:
    """Say where each optimizer is told from the reference, by every kind of measure.

    Args:
        problems: What was found.
        track: Which runs.

    Returns:
        A sentence per optimizer.
    """
    own, names = reference(problems), asked(problems)
    said = []
    for name in names:
        if name != own:
            parts: dict[str, list[str]] = {}  # what is told -> the measures by which it is
            for kind in kinds(problems):
                told = _told(_outcomes(problems, track, kind, names, name, own))
                parts.setdefault(told, []).append(_BY[kind])
            words = "; ".join(f"by {_listed(by)} {told}" for told, by in parts.items())
            said.append(f"{problems[0].labels[name]}, against {problems[0].labels[own]}: {words}.")
    return tuple(said)


def speeds(problems: Sequence[ProblemCosts]) -> list[int | str]:
    """Return what shows whether one optimizer is slower than another: how far it comes, and how soon it is there.

    Args:
        problems: What was found.
    """
    return [kind for kind in kinds(problems) if kind != METRIC]


def gap(problems: Sequence[ProblemCosts], track: Track) -> tuple[str, ...]:
    """Say on which problems RMSProp is behind Adam, and which of the differences between the two closes the gap.

    Args:
        problems: What was found.
        track: Which runs.

    Returns:
        A paragraph per problem and kind of measure with a gap, or one that there is none; nothing without an ablation.
    """
    names = on_the_way(problems)
    if not names:
        return ()
    said = [
        _closing(problem, track, kind, names)
        for kind in speeds(problems)
        for problem in problems
        if _outcomes([problem], track, kind, names, ADAM, REFERENCE)["better"]
    ]
    if said:
        return tuple(said)
    by = _listed([_BY[kind] for kind in speeds(problems)])
    return (f"By {by} Adam is told to be better than RMSProp on none of {len(problems)} problems.",)


def _closing(problem: ProblemCosts, track: Track, kind: int | str, names: Sequence[str]) -> str:
    against_own = problem.judged(track, kind, names, REFERENCE)
    against_adam = problem.judged(track, kind, names, ADAM)
    assert against_own is not None, "there is a gap by this measure"
    assert against_adam is not None, "it is one of both"
    difference = against_own.of(ADAM).difference
    assert difference is not None, "Adam isn't the reference"
    parts: dict[str, list[str]] = {}
    for name in names:
        if name not in (REFERENCE, ADAM):
            what = _what_it_does(against_own.of(name), against_adam.of(name))
            parts.setdefault(what, []).append(problem.labels[name])
    interval = tables.interval(against_own, difference, sign=True)
    told = "; ".join(f"{_listed(labels)}: {what}" for what, labels in parts.items())
    by = against_own.measure.name
    return f"{problem.problem}, by {by}: Adam is better than RMSProp (difference {interval}). {told}."


def _what_it_does(against_own: Standing, against_adam: Standing) -> str:
    if against_own.outcome == "better":
        return {
            "better": "closes the gap, and is better than Adam",
            "worse": "better than RMSProp, but worse than Adam",
        }.get(str(against_adam.outcome), "closes the gap: better than RMSProp, and not told from Adam")
    if against_own.outcome == "worse":
        return "worse than RMSProp"
    return {
        "better": "not told from RMSProp, but better than Adam",
        "worse": "not told from RMSProp, and worse than Adam",
    }.get(str(against_adam.outcome), "told neither from RMSProp nor from Adam")


def _outcomes(
    problems: Sequence[ProblemCosts], track: Track, kind: int | str, names: Sequence[str], name: str, own: str
) -> dict[Outcome, list[str]]:
    """Return the problems on which an optimizer is better, worse, and neither."""
    found: dict[Outcome, list[str]] = {outcome: [] for outcome in _OUTCOMES}
    for problem in problems:
        ranking = problem.judged(track, kind, names, own)
        outcome = None if ranking is None else ranking.of(name).outcome
        if outcome is not None:
            found[outcome].append(problem.problem)
    return found


def _told(found: dict[Outcome, list[str]]) -> str:
    told = [f"{outcome} on {_listed(found[outcome])}" for outcome in _OUTCOMES[:2] if found[outcome]]
    rest = len(found["not distinguishable"])
    if not told:
        return f"not distinguishable on all {rest}" if rest > 1 else "not distinguishable"
    return ", ".join([*told, *([f"not distinguishable on {rest}"] if rest else [])])


def method(problems: Sequence[ProblemCosts]) -> tuple[str, ...]:
    """Say how the numbers were made and how far they go, in sentences.

    Args:
        problems: What was found.

    Returns:
        The sentences.
    """
    budget, many = problems[0].budget, len(problems)
    several = [f"{problems[0].labels[n]} {count}" for n, count in problems[0].evaluations.items() if count > 1]
    cost = f" A step takes one gradient evaluation, but {_listed(several)}." if several else ""
    return (
        f"Every problem is a comparison of its own, as `rmsprop compare PROBLEM` makes it: {budget.trials} trials in "
        f"each of {budget.studies} studies for every optimizer, and {budget.seeds} seeds that weren't tuned on.",
        "Loss is the validation loss, or the distance of the training loss from its least value where that is known. "
        "Numbers are interquartile means; of gradient evaluations, that after which half of the runs had reached the "
        f"target.{cost}",
        "A plus is better and a minus worse than the reference, where the interval of the paired difference stays "
        "clear of 0. The intervals of one problem, measure and track hold together at 95 %, those of "
        f"{many} problems don't: some verdict of so many may be by chance.",
        "Where there is no sign, so few runs can't tell, which isn't “equal”.",
    )


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
