"""The verdict of a comparison in words, with its uncertainty. Every sentence can be quoted by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rmsprop.lab.compare import tables
from rmsprop.lab.compare.analysis import TRACK_TITLES, Analysis, Reached
from rmsprop.lab.compare.differences import why_infinite
from rmsprop.lab.compare.ranking import Outcome, Ranking, Standing
from rmsprop.lab.compare.results import Track
from rmsprop.lab.compare.statistics import DRAWS
from rmsprop.lab.compare.targets import SETTERS
from rmsprop.lab.format import percent, short

# More names than this are said in one word if they are all there are.
_MANY = 3
# Studies -> the shares of comparisons in which equals are called better or worse, if the noise of tuning is as large as
# that of seeds, and if it is five times as large (`python -m benchmarks.intervals`).
_MISCALLED = {2: (0.12, 0.38), 3: (0.04, 0.18), 5: (0.02, 0.06)}


@dataclass(frozen=True)
class TrackVerdict:
    """What can be said of one track.

    Args:
        title: The track, and what was done in it.
        paragraphs: A sentence or two per measure.
    """

    title: str
    paragraphs: tuple[str, ...]


def verdicts(analysis: Analysis) -> tuple[TrackVerdict, ...]:
    """Say how the optimizers compare, track by track and measure by measure.

    Args:
        analysis: The analysis.

    Returns:
        One verdict per track.
    """
    return tuple(_verdict(analysis, track) for track in analysis.tracks)


def headline(analysis: Analysis) -> str:
    """Say the most important thing in one sentence: the reference against all others by the first measure, tuned.

    Args:
        analysis: The analysis.

    Returns:
        The sentence.
    """
    ranking = analysis.rankings[0]
    spent = "with default settings, " * (ranking.track == "defaults") + how(analysis, ranking.track)
    where = f"On {analysis.comparison.facts.problem} ({spent})"
    if len(ranking.standings) == 1:
        name = ranking.measure.name
        return f"{where}: by {name}, {analysis.reference} reaches {_value(ranking, ranking.standings[0])}."
    groups = _groups(ranking)
    parts = [f"{word} {_names(analysis, groups[o])}" for o, word in _RELATIONS.items() if groups[o]]
    limit = _limit(analysis, ranking)
    sentence = f"{where}: by {ranking.measure.name}, {analysis.reference} is {_listed(parts)}."
    differs = bool(groups["better"] or groups["worse"])
    few = ranking.track == "tuned" and analysis.comparison.budget.studies <= min(_MISCALLED)
    return " ".join([sentence, *([limit] if limit else []), *([_doubt()] if differs and few else [])])


def _miscalled(column: int) -> str:
    return _listed([f"{percent(shares[column])} with {studies}" for studies, shares in _MISCALLED.items()])


def _doubt() -> str:
    """Say how far few studies are to be believed."""
    few, more = sorted(_MISCALLED)[:2]
    low, high = _MISCALLED[few]
    then = " to ".join(percent(share) for share in _MISCALLED[more])
    return (
        f"Beware: with {few} studies, {percent(low)} to {percent(high)} of comparisons between equals call one of them "
        f"better, with {more} (--budget standard) {then}."
    )


_STEPS = (
    "“Steps” are those after which half of the runs had reached it; the median that stands beside averages lies "
    "half-way between the two runs in the middle."
)
# From the reference's side: whoever is better than it is what it is worse than.
_RELATIONS: dict[Outcome, str] = {
    "worse": "better than",
    "better": "worse than",
    "not distinguishable": "not distinguishable from",
}


def _verdict(analysis: Analysis, track: Track) -> TrackVerdict:
    paragraphs = [" ".join(_by_measure(analysis, ranking)) for ranking in analysis.by(track)]
    title = f"{TRACK_TITLES[track]}: {how(analysis, track)}"
    return TrackVerdict(title, (*paragraphs, *_losses(analysis, track), *_without_noise(analysis, track)))


def how(analysis: Analysis, track: Track) -> str:
    """Say how much was spent on a track.

    Args:
        analysis: The analysis.
        track: The track.

    Returns:
        Such as "tuned with 5 trials in each of 3 studies, 20 seeds".
    """
    budget, runs = analysis.comparison.budget, len(analysis.runs(track, analysis.comparison.reference))
    seeds = _counted(runs, "seed")
    if track == "defaults":
        return seeds
    return f"tuned with {_counted(budget.trials, 'trial')} in each of {_counted(budget.studies, 'study')}, {seeds}"


def _by_measure(analysis: Analysis, ranking: Ranking) -> list[str]:
    if ranking.measure.key == "steps":
        return _by_target(analysis, ranking)
    leader = ranking.leader
    if leader is None:
        return [f"By {ranking.measure.name} nothing can be said: over a quarter of everyone's runs diverged."]
    best = "highest" if ranking.measure.higher_is_better else "lowest"
    equals = _equals(ranking, leader)
    if len(equals) > 1:
        who = f"all {len(equals)}" if len(equals) == len(ranking.standings) else _names(analysis, equals)
        sentence = f"By {ranking.measure.name}, the {best}, {tables.value(ranking, leader)}, is shared by {who}."
    else:
        name = analysis.labels[leader.optimizer]
        sentence = f"By {ranking.measure.name}, {name} is {best} with {_value(ranking, leader)}."
    return [sentence, *_compared(analysis, ranking)]


def _equals(ranking: Ranking, leader: Standing) -> list[Standing]:
    """The standings whose values read like the leader's: digits that aren't shown rank nobody."""
    shown = tables.value(ranking, leader)
    return [standing for standing in ranking.standings if tables.value(ranking, standing) == shown]


def _compared(analysis: Analysis, ranking: Ranking) -> list[str]:
    if len(ranking.standings) == 1:
        return []
    reference = ranking.of(analysis.comparison.reference)
    groups = _groups(ranking)
    parts = [
        f"{_names(analysis, found)} {'is' if len(found) == 1 else 'are'} {outcome}"
        for outcome, found in groups.items()
        if found
    ]
    leader = ranking.leader
    said = ranking.measure.key == "steps" or (leader is not None and reference in _equals(ranking, leader))
    own = "" if said else f", which has {_value(ranking, reference)},"
    limit = _limit(analysis, ranking)
    return [f"Against {analysis.reference}{own} on the same seeds, {_listed(parts)}.", *([limit] if limit else [])]


def _limit(analysis: Analysis, ranking: Ranking) -> str:
    """Say in a sentence how large a difference may be that so few runs can't tell; empty if all are told, or exact."""
    found = [s.difference for s in ranking.standings if s.difference and s.outcome == "not distinguishable"]
    widths = [(difference.high - difference.low) / 2 for difference in found if difference.high > difference.low]
    if not widths:
        return ""
    runs, studies = len(ranking.standings[0].costs), analysis.comparison.budget.studies
    worth = _counted(runs, "seed") + (f" in {_counted(studies, 'study')}" if ranking.track == "tuned" else "")
    usual = sorted(widths)[len(widths) // 2]
    if math.isinf(usual):
        return f"{worth} can't settle how large a difference is where runs {why_infinite(ranking.measure)}."
    return f"{worth} can't settle differences below about {short(float(f'{usual:.1g}'), 6)}."


def _names(analysis: Analysis, standings: Sequence[Standing]) -> str:
    others = len(analysis.comparison.optimizers) - 1
    if len(standings) == others > _MANY:
        return f"all {others} others"
    return _listed([analysis.labels[standing.optimizer] for standing in standings])


def _by_target(analysis: Analysis, ranking: Ranking) -> list[str]:
    assert analysis.target is not None
    name = tables.target_name(analysis, analysis.target)
    reached = [r for r in analysis.reached(ranking.track, analysis.target) if math.isfinite(r.half)]
    if not reached:
        return [f"No optimizer reaches the target ({name}) in half of its runs.", *_compared(analysis, ranking)]
    first = min(reached, key=lambda found: found.half)
    label, own = analysis.labels[first.optimizer], analysis.comparison.reference
    sentence = (
        f"The target, {name}, is reached in the fewest steps by {label}: half of its runs had it after {_time(first)}"
    )
    if own != first.optimizer:
        mine = next((found for found in reached if found.optimizer == own), None)
        sentence += f", half of {analysis.reference}'s {f'after {_time(mine)}' if mine else 'never'}"
    return [f"{sentence}.", *_compared(analysis, ranking)]


def _time(reached: Reached) -> str:
    steps = f"{reached.half:.0f} steps"
    return f"{steps} (about {tables.seconds(reached.seconds)} s)" if math.isfinite(reached.seconds) else steps


def _losses(analysis: Analysis, track: Track) -> list[str]:
    names = analysis.comparison.optimizers
    lost = {analysis.labels[name]: tables.lost(analysis, track, name) for name in names}
    parts = [f"{count.replace('/', ' of ')} runs of {label}" for label, count in lost.items() if count]
    return [f"{_listed(parts)} diverged and count as infinitely bad."] if parts else []


def _without_noise(analysis: Analysis, track: Track) -> list[str]:
    if track not in analysis.alike:
        return []
    runs = len(analysis.runs(track, analysis.comparison.reference))
    if track == "defaults":
        return [
            f"All {runs} seeds give the same run, because neither the start nor the batches are random: intervals have "
            "no width, and “better” and “worse” hold exactly, for this start alone."
        ]
    studies = analysis.comparison.budget.studies
    return [
        f"All seeds of a study give the same run, because neither the start nor the batches are random: {runs} runs "
        f"are worth {_counted(studies, 'tuning study')}, one value each. “Better” and “worse” take Student's t of "
        "these values, and so few can hardly tell anything apart."
    ]


def method(analysis: Analysis) -> tuple[str, ...]:
    """Say how the numbers were made, in sentences.

    Args:
        analysis: The analysis.

    Returns:
        The sentences.
    """
    comparison = analysis.comparison
    others = len(comparison.optimizers) - 1
    sentences = [
        "Within a seed, every optimizer starts from the same weights and sees the same batches; no seed that is "
        "reported was used for tuning. The test rows are read once, at the end of a reported run.",
        "Tuning tries the points of one quasi-random sequence, the same for every optimizer, and keeps the least "
        "validation loss; each study repeats this with a sequence and seeds of its own, and the reported seeds are "
        "spread over the studies.",
        f"{_about_loss(analysis)} IQM is the interquartile mean, the mean of the middle half of the "
        "runs. A run that diverged counts as infinitely bad and is never left out; in a paired difference it loses "
        "against a run that didn't, and is even with one that did.",
        f"Intervals come from {DRAWS} bootstrap draws, first of studies and then of runs within them, so they hold "
        "the noise of tuning and of seeds. Few studies say little about the first: if it is as large as the second, "
        f"equals are called better or worse in {_miscalled(0)} studies; if it is five times as large, in "
        f"{_miscalled(1)}.",
    ]
    if others > 0:
        sentences.append(
            f"“Better” and “worse” mean that the paired difference from {analysis.reference} is away from 0 at "
            f"{100 * analysis.level:.3g} % each ({_counted(others, 'comparison')}, Bonferroni), so that all of one "
            "measure hold together at 95 %; everything else is “not distinguishable”, which isn't “equal”. Who of the "
            "others is best among themselves isn't tested."
        )
    return (*sentences, _about_target(analysis))


def _about_loss(analysis: Analysis) -> str:
    if analysis.comparison.facts.optimum is None:
        return "Validation loss is the best of all epochs."
    return "The distance to the least loss, f − f*, is that of the training loss after the last epoch."


def _about_target(analysis: Analysis) -> str:
    if analysis.target is None:
        names = _listed([f"{name}" for name in SETTERS], "or")
        return f"There is no target: it is set by {names}, and none of them was compared and ended well."
    if analysis.target.gap is not None:
        return f"Targets are distances of the training loss from its least value, which is known. {_STEPS}"
    return (
        "The target is the median best validation loss of the best of SGD, momentum, Nesterov and Adam; RMSProp has "
        f"no say in it. Time is counted in whole epochs. {_STEPS}"
    )


def _groups(ranking: Ranking) -> dict[Outcome, list[Standing]]:
    groups: dict[Outcome, list[Standing]] = {"better": [], "worse": [], "not distinguishable": []}
    for standing in sorted(ranking.standings, key=lambda standing: standing.center.value):
        if standing.outcome is not None:
            groups[standing.outcome].append(standing)
    return groups


def _value(ranking: Ranking, standing: Standing) -> str:
    value, interval = tables.value(ranking, standing), tables.interval(ranking, standing.center)
    return f"{value} (95 % interval {'without width' if interval == tables.NO_WIDTH else interval})"


def _counted(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def _listed(parts: Sequence[str], last: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"
