"""`rmsprop compare all`: one question over several problems, and what happens between the options and the lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.cli.kept import interrupted, taken
from rmsprop.lab.errors import InputError, LostWorkerError
from rmsprop.lab.folders import SURVEY, check_folder, claim_folder
from rmsprop.lab.options import option
from rmsprop.lab.problems.defaults import PROBLEMS, short_name
from rmsprop.lab.problems.table.options import ABOUT_PROBLEM

if TYPE_CHECKING:
    from rmsprop.lab.compare.analysis import Analysis
    from rmsprop.lab.compare.survey.costs import ProblemCosts
    from rmsprop.lab.problems.problem import Problem

ALL = "all"


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Return the problems that a person named, each once.

    Args:
        value: Their names with commas between them, or None.
    """
    if value is None:
        return None
    found = tuple(name.strip() for name in value.split(","))
    for place, name in enumerate(found):
        if name not in PROBLEMS:
            raise click.BadParameter(f"there is no problem {name!r}: choose from {', '.join(PROBLEMS)}.")
        if name in found[:place]:
            raise click.BadParameter(f"the problem {name} is given twice: name it once.")
    return found


def compare_all(
    ctx: click.Context,
    given: Mapping[str, Any],
    problems: Sequence[str] | None,
    out: Path | None,
    chosen: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Compare optimizers on several problems, and leave one page.

    Args:
        ctx: The command's context, which is exited.
        given: The options that shape a problem, of which those of a table aren't for these.
        problems: The problems. Default: those of the question.
        out: Where to. Default: runs/compare-all.
        chosen: Arguments of `rmsprop.lab.compare.compare`, of which ``optimizers`` may be missing.
        as_json: Print JSON instead of a table and words.
    """
    from rmsprop.lab.compare.survey import report
    from rmsprop.lab.compare.survey.costs import PROBLEMS as ASKED
    from rmsprop.lab.compare.survey.costs import QUESTION, TOWARDS_ADAM, costs_of
    from rmsprop.lab.embeddings import check_optimizers

    for name in ABOUT_PROBLEM:
        if given[name] not in (None, (), []):
            raise InputError(f"{option(name)} is for one problem: leave it out, or name one in the place of {ALL}")
    folder = Path("runs", f"compare-{ALL}") if out is None else out
    check_folder(folder, SURVEY)
    loaded = [_loaded(name, given) for name in problems or ASKED]
    chosen = {"optimizers": (*QUESTION, *TOWARDS_ADAM), **chosen}
    for problem in loaded:  # all of them, before the first takes its minutes
        check_optimizers(problem, chosen["optimizers"])
    with claim_folder(folder, SURVEY):
        analyses = [_one(ctx, problem, place, len(loaded), chosen, as_json) for place, problem in enumerate(loaded, 1)]
        if not as_json:
            click.echo("writing the report", err=True)
        report.write(analyses, folder)
    found = [costs_of(analysis) for analysis in analyses]
    _print_json(found, folder) if as_json else _print(found, folder)
    ended = (run.curve.diverged_at is None for analysis in analyses for run in analysis.comparison.runs)
    ctx.exit(0 if any(ended) else 1)


def _loaded(name: str, given: Mapping[str, Any]) -> Problem:
    from rmsprop.lab.problems import load

    changes = {what: given[what] for what in ("epochs", "batch_size") if given[what] is not None}
    return replace(load(name), **changes)


def _one(
    ctx: click.Context, problem: Problem, place: int, of: int, chosen: Mapping[str, Any], as_json: bool
) -> Analysis:
    """Compare on one problem, and tell how it goes; end the command if it can't go on."""
    from rmsprop.cli import standings
    from rmsprop.lab.compare import compare
    from rmsprop.lab.compare.analysis import analyse

    if not as_json:
        click.echo(f"{short_name(problem.name)}, problem {place} of {of}", err=True)
    try:
        with standings.shown(quiet=as_json) as show:
            steps = standings.Counted(show)
            comparison = compare(problem, on_progress=steps, **chosen)
    except KeyboardInterrupt:
        click.echo(interrupted(chosen["cache"], fresh=chosen["fresh"]), err=True)
        ctx.exit(130)
    except LostWorkerError as error:
        click.echo(f"error: {error}", err=True)
        ctx.exit(1)
    if not as_json:
        for note in taken(steps.cached, steps.runs, chosen["cache"]):
            click.echo(f"note: {note}", err=True)
    return analyse(comparison)


def _print(problems: Sequence[ProblemCosts], folder: Path) -> None:
    from rmsprop.cli import output
    from rmsprop.cli.compared import print_compared
    from rmsprop.lab.compare.analysis import TRACK_TITLES
    from rmsprop.lab.compare.survey import report, sentences

    out, first = output.page(), problems[0].tracks[0]
    table, *_ = report.summaries(problems, first)
    out.print(f"{TRACK_TITLES[first]}, {table.title}")
    print_compared(out, table)
    own = problems[0].labels[sentences.reference(problems)]
    out.print(f"+ better than {own}, − worse; no sign: not distinguishable\n")
    for sentence in (*sentences.answers(problems, first), *sentences.gap(problems, first)):
        out.print(sentence)
    out.print()
    out.print(sentences.headline(problems, first))
    out.print(f"Files: {folder}", soft_wrap=True)


def _print_json(problems: Sequence[ProblemCosts], folder: Path) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.compare.survey import sentences, tables

    names, own = sentences.asked(problems), sentences.reference(problems)
    output.print_json(
        {
            "out": str(folder),
            "headline": sentences.headline(problems, problems[0].tracks[0]),
            "answers": {track: list(sentences.answers(problems, track)) for track in problems[0].tracks},
            "gap_to_adam": {track: list(sentences.gap(problems, track)) for track in problems[0].tracks},
            "outcomes": {
                track: {
                    problem.problem: {
                        ranking.measure.key: {s.optimizer: s.outcome for s in ranking.standings}
                        for kind in tables.kinds([problem])
                        if (ranking := problem.judged(track, kind, names, own))
                    }
                    for problem in problems
                }
                for track in problems[0].tracks
            },
        }
    )
