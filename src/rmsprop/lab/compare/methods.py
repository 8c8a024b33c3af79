"""The paragraph for a paper that says how optimizers were compared, from the comparison's own settings."""

from __future__ import annotations

from rmsprop.lab.compare import sentences, tables
from rmsprop.lab.compare.analysis import TRACK_TITLES, Analysis
from rmsprop.lab.compare.results import Facts


def methods(analysis: Analysis) -> str:
    """Return a comparison's methods, ready to be pasted into a paper.

    Args:
        analysis: The analysis.

    Returns:
        The paragraph.
    """
    comparison, facts = analysis.comparison, analysis.comparison.facts
    names = ", ".join(analysis.labels[name] for name in comparison.optimizers)
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    train, validation, test = facts.rows
    how = "; ".join(f"{TRACK_TITLES[track].lower()}: {sentences.how(analysis, track)}" for track in analysis.tracks)
    return (
        f"We trained {facts.problem} ({train} training, {validation} validation and {test} test rows, "
        f"{facts.parameters} parameters) with {names} for {length(facts)} at "
        f"batch size {facts.batch_size} ({how}). Settings of {analysis.reference}: {_settings(analysis)}."
        f"{f' Versions: {versions}.' if versions else ''}"
    )


def length(facts: Facts) -> str:
    """Return how long a run is: ``"1 epoch of 141 steps"``.

    Args:
        facts: Of the problem.

    Returns:
        The words.
    """
    counted = ((facts.epochs, "epoch"), (facts.steps_per_epoch, "step"))
    return " of ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counted)


def _settings(analysis: Analysis) -> str:
    rows = (row for row in tables.choices(analysis).rows if row[0] == analysis.reference)
    return "; ".join(
        f"{call} ({track}{f', study {study}' if study else ''}, seeds {seeds})" for _, track, study, call, seeds in rows
    )
