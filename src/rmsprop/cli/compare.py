"""`rmsprop compare`: the options, and what happens between them and the lab."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.cli.choices import chosen_problem, cluster_option, problem_or
from rmsprop.cli.compare_all import ALL, compare_all
from rmsprop.cli.compare_all import names as problem_names
from rmsprop.cli.completion import several_of
from rmsprop.cli.kept import fresh_option, interrupted, taken
from rmsprop.lab.errors import InputError, LostWorkerError
from rmsprop.lab.folders import COMPARISON, check_folder, claim_folder
from rmsprop.lab.optimizers import OPTIMIZERS, SHORT, row
from rmsprop.lab.problems.defaults import PROBLEMS, short_name

if TYPE_CHECKING:
    from rmsprop.lab.compare.analysis import Analysis
    from rmsprop.lab.compare.ranking import Ranking, Standing
    from rmsprop.lab.compare.statistics import Estimate

BUDGETS = ("quick", "standard", "full")


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        row(name)
    return names


def _optimizers() -> str:
    """Return what the help lists; the backspace keeps click from filling the lines."""
    lines = textwrap.wrap(", ".join(OPTIMIZERS), 96, break_on_hyphens=False)
    averaged = "Optimizers, each also with averaged weights as NAME+swa or NAME+ema (swa and ema: RMSProp's):"
    return f"\b\n{averaged}\n" + "\n".join(lines)


@click.command(epilog=_optimizers())
@problem_or(ALL)
@click.option(
    "--problems",
    metavar="A,B,...",
    callback=problem_names,
    shell_complete=several_of(lambda: PROBLEMS),
    help="With all: what to compare on.  [default: seven]",
)
@click.option(
    "--budget", type=click.Choice(BUDGETS), default="standard", show_default=True, help="How much to spend on tuning."
)
@click.option(
    "--optimizers",
    metavar="A,B,...",
    callback=_names,
    shell_complete=several_of(lambda: (*OPTIMIZERS, *SHORT)),
    help="What to compare.  [default: eight]",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Runs to report of each.  [default: the budget's]")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@cluster_option
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to.  [default: runs/compare-PROBLEM]"
)
@fresh_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object, and nothing else.")
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    *,
    problems: tuple[str, ...] | None,
    budget: str,
    optimizers: tuple[str, ...] | None,
    seeds: int | None,
    jobs: int,
    cluster: str | None,
    out: Path | None,
    fresh: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare RMSProp with other optimizers, fairly.

    PROBLEM is as in `rmsprop train`, or all: the question "Adam, SGD, RMSProp, SWA or AdaTune?" over several, with one
    page for it. Every optimizer is tuned with equally many trials (once more as many where the
    best lies at an end of its range), then run with seeds that weren't tuned on, beside its default settings. DIR
    receives report.html, report.md, loss.png, differences.png, runs.csv, trials.csv and result.json (of all: all.html,
    all.md, all-runs.csv, all-trials.csv and all-facts.json). Runs are kept in a
    cache ($RMSPROP_CACHE), and never done twice.

    Exit codes: 0 done, 1 everything diverged or failed, 2 bad input, 130 interrupted (the same command goes on).
    """
    from rmsprop.cli import output, standings
    from rmsprop.lab.compare import compare as run
    from rmsprop.lab.compare import report
    from rmsprop.lab.compare.analysis import analyse
    from rmsprop.lab.compare.cache import default_folder

    cache = default_folder()
    chosen: dict[str, Any] = {"budget": budget, "seeds": seeds, "cache": cache, "fresh": fresh}
    chosen |= {"jobs": jobs, "cluster": cluster}
    chosen |= {} if optimizers is None else {"optimizers": optimizers}
    if given["problem"] == ALL:
        compare_all(ctx, given, problems, out, chosen, as_json=as_json)
    if problems is not None:
        raise InputError(f"--problems is for rmsprop compare {ALL}: leave it out, or {given['problem']}")
    folder = Path("runs", f"compare-{short_name(given['problem'])}") if out is None else out
    check_folder(folder, COMPARISON)
    problem = chosen_problem(given)
    with claim_folder(folder, COMPARISON):
        try:
            with standings.shown(quiet=as_json) as show:
                steps = standings.Counted(show)
                comparison = run(problem, on_progress=steps, **chosen)
        except KeyboardInterrupt:
            click.echo(interrupted(cache, fresh=fresh), err=True)
            ctx.exit(130)
        except LostWorkerError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)
        if not as_json:
            for note in taken(steps.cached, steps.runs, cache):
                click.echo(f"note: {note}", err=True)
            click.echo("writing the report", err=True)  # drawing takes seconds, and the progress above has ended
        analysis = analyse(comparison)
        report.write(analysis, folder)
    if as_json:
        output.print_json(_content(analysis, folder))
    else:
        _print(analysis, folder)
    ctx.exit(0 if any(run.curve.diverged_at is None for run in comparison.runs) else 1)


def _print(analysis: Analysis, folder: Path) -> None:
    from rmsprop.cli import output
    from rmsprop.cli.compared import print_compared
    from rmsprop.lab.compare import sentences, tables

    out = output.page()
    for verdict, track in zip(sentences.verdicts(analysis), analysis.tracks, strict=True):
        out.print(verdict.title)
        print_compared(out, tables.summary(analysis, track))
        out.print()
        for paragraph in verdict.paragraphs:
            out.print(paragraph)
        out.print()
    for note in analysis.comparison.notes:
        out.print(f"Note: {note}")
    out.print(sentences.headline(analysis))
    out.print(f"Files: {folder}", soft_wrap=True)


def _content(analysis: Analysis, folder: Path) -> dict[str, Any]:
    from rmsprop.lab.compare import sentences, tables

    comparison = analysis.comparison
    return {
        "problem": comparison.facts.problem,
        "out": str(folder),
        "headline": sentences.headline(analysis),
        "verdicts": {
            track: list(verdict.paragraphs)
            for track, verdict in zip(analysis.tracks, sentences.verdicts(analysis), strict=True)
        },
        "reference": comparison.reference,
        "target": None if analysis.target is None else tables.target_name(analysis, analysis.target),
        "rankings": [
            {
                "track": ranking.track,
                "measure": ranking.measure.name,
                "optimizers": {s.optimizer: _standing(ranking, s) for s in ranking.standings},
            }
            for ranking in analysis.rankings
        ],
        "notes": list(comparison.notes),
        "versions": dict(comparison.versions),
    }


def _standing(ranking: Ranking, standing: Standing) -> dict[str, Any]:
    shown = ranking.measure.shown
    difference, improvement = standing.difference, standing.improvement
    return {
        "iqm": _estimate(ranking, standing.center),
        "quartiles": sorted(shown(value) for value in standing.quartiles),
        "difference": None if difference is None else _estimate(ranking, difference),
        "probability_of_improvement": None if improvement is None else improvement.value,
        "outcome": standing.outcome,
    }


def _estimate(ranking: Ranking, estimate: Estimate) -> dict[str, float]:
    shown = ranking.measure.shown
    low, high = sorted((shown(estimate.low), shown(estimate.high)))
    return {"value": shown(estimate.value), "low": low, "high": high, "level": estimate.level}
