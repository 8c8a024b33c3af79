"""The page of a survey, the same in Markdown, and the files beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rmsprop.files import write_atomically
from rmsprop.lab.compare import report
from rmsprop.lab.compare.analysis import TRACK_TITLES, Analysis
from rmsprop.lab.compare.protocol import REFERENCE
from rmsprop.lab.compare.results import Track
from rmsprop.lab.compare.survey import files, sentences, tables
from rmsprop.lab.compare.survey.costs import ADAM, ProblemCosts, costs_of
from rmsprop.lab.compare.tables import Table
from rmsprop.lab.folders import SURVEY
from rmsprop.lab.page import Picture, render

TITLE = "Adam, SGD, RMSProp, SWA or AdaTune?"
HTML, MARKDOWN, RUNS, TRIALS, FACTS = SURVEY.files
# Of the figures of a comparison, those that a survey shows for each problem: so many would be a page per problem.
_SHOWN = ("loss-tuned", "lr-tuned", "difference-loss", "difference-gap")


def write(analyses: Sequence[Analysis], folder: Path) -> None:
    """Write all files of a survey, each of them whole or not at all.

    Args:
        analyses: A comparison per problem.
        folder: Where to; it is made if it isn't there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problems = [costs_of(analysis) for analysis in analyses]
    contents = {
        FACTS: files.facts_json(problems),
        RUNS: files.runs_csv(problems),
        TRIALS: trials_csv(analyses),
        MARKDOWN: f"# {TITLE}\n\n{markdown(problems)}",
        HTML: html(analyses),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())


def html(analyses: Sequence[Analysis]) -> str:
    """Return the report as one page that loads nothing.

    Args:
        analyses: A comparison per problem.

    Returns:
        The page.
    """
    problems = [costs_of(analysis) for analysis in analyses]
    tracks = problems[0].tracks
    return render(
        "rmsprop.lab.compare.survey",
        "survey.html.j2",
        title=TITLE,
        headline=sentences.headline(problems, tracks[0]),
        tracks=[
            (TRACK_TITLES[track], sentences.answers(problems, track), summaries(problems, track)) for track in tracks
        ],
        ablation=[
            (TRACK_TITLES[track], sentences.gap(problems, track), ablations(problems, track))
            for track in tracks
            if sentences.on_the_way(problems)
        ],
        pictures=[(analysis.comparison.facts.problem, pictures(analysis)) for analysis in analyses],
        tables=intervals(problems),
        method=sentences.method(problems),
        notes=[f"{problem.problem}: {note}" for problem in problems for note in problem.notes],
        versions=analyses[0].comparison.versions,
    )


def markdown(problems: Sequence[ProblemCosts]) -> str:
    """Return the words and tables of the report as Markdown, without a title.

    Args:
        problems: What was found.

    Returns:
        The text.
    """
    tracks = problems[0].tracks
    parts = [f"**{sentences.headline(problems, tracks[0])}**"]
    for track in tracks:
        parts += [f"## {TRACK_TITLES[track]}", report.bullets(sentences.answers(problems, track))]
        parts += _markdown_tables(summaries(problems, track))
    if sentences.on_the_way(problems):
        parts.append("## What closes the gap to Adam")
        for track in tracks:
            parts += [f"### {TRACK_TITLES[track]}", report.bullets(sentences.gap(problems, track))]
            parts += _markdown_tables(ablations(problems, track))
    notes = [f"{problem.problem}: {note}" for problem in problems for note in problem.notes]
    parts += ["## How it was done", report.bullets((*sentences.method(problems), *notes))]
    return "\n\n".join(parts) + "\n"


def _markdown_tables(some: Sequence[Table]) -> list[str]:
    return [part for table in some for part in (f"{table.title[0].upper()}{table.title[1:]}:", report.grid(table))]


def summaries(problems: Sequence[ProblemCosts], track: Track) -> list[Table]:
    """Return the tables that answer the question, one per kind of measure.

    Args:
        problems: What was found.
        track: Which runs.
    """
    names, own = sentences.asked(problems), sentences.reference(problems)
    return [tables.standings(problems, track, kind, names, own) for kind in tables.kinds(problems)]


def ablations(problems: Sequence[ProblemCosts], track: Track) -> list[Table]:
    """Return the tables of what is between RMSProp and Adam: told from the one, then from the other.

    Args:
        problems: What was found.
        track: Which runs.
    """
    names, found = sentences.on_the_way(problems), []
    for kind in sentences.speeds(problems):
        for own in (REFERENCE, ADAM):
            table = tables.standings(problems, track, kind, names, own)
            found.append(replace(table, title=f"{table.title}, told from {problems[0].labels[own]}"))
    return found


def intervals(problems: Sequence[ProblemCosts]) -> list[Table]:
    """Return a table of intervals for every problem, measure and track.

    Args:
        problems: What was found.
    """
    names = (*sentences.asked(problems), *(n for n in problems[0].labels if n not in sentences.asked(problems)))
    found = []
    for track in problems[0].tracks:
        for problem in problems:
            for kind in tables.kinds([problem]):
                table = tables.intervals(problem, track, kind, names, sentences.reference(problems))
                found.append(replace(table, title=f"{TRACK_TITLES[track]}: {table.title}"))
    return found


def pictures(analysis: Analysis) -> list[Picture]:
    """Return the figures of one problem: losses, learning rates that change, and paired differences.

    Args:
        analysis: The comparison.
    """
    problem = analysis.comparison.facts.problem
    shown = (picture for picture in report.pictures(analysis) if picture.name in _SHOWN)
    return [replace(p, name=f"{problem}-{p.name}", title=f"{problem}: {p.title}") for p in shown]


def trials_csv(analyses: Sequence[Analysis]) -> str:
    """Return a row per trial of the tuning; a score of ``inf`` is a divergence.

    Args:
        analyses: A comparison per problem.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["problem", "optimizer", "study", "seed", "lr", "options", "best_validation", "widened"])
    for analysis in analyses:
        problem = analysis.comparison.facts.problem
        for t in analysis.comparison.trials:
            options = " ".join(f"{name}={value}" for name, value in t.choice.options)
            writer.writerow([problem, t.optimizer, t.study, t.seed, t.choice.lr, options, t.score, t.widened])
    return text.getvalue()
