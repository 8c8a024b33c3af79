"""The files of a comparison: a report to look at, the same in Markdown, and the numbers as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rmsprop.files import write_atomically
from rmsprop.lab.compare import differences, figures, sentences, tables
from rmsprop.lab.compare.analysis import TRACK_TITLES, Analysis
from rmsprop.lab.compare.methods import length, methods
from rmsprop.lab.compare.results import Facts, Run, best_validation
from rmsprop.lab.compare.tables import Table
from rmsprop.lab.compare.targets import LossTarget
from rmsprop.lab.drawing import draw_figure, single
from rmsprop.lab.folders import COMPARISON
from rmsprop.lab.page import Picture, render

HTML, MARKDOWN, RUNS, TRIALS, JSON, LOSS, DIFFERENCES = COMPARISON.files


def write(analysis: Analysis, folder: Path) -> None:
    """Write all files of a comparison, each of them whole or not at all.

    Args:
        analysis: The analysis.
        folder: Where to; it is made if it isn't there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        JSON: json.dumps(analysis.comparison.as_dict(), indent=1),
        RUNS: runs_csv(analysis),
        TRIALS: trials_csv(analysis),
        MARKDOWN: markdown(analysis),
        HTML: html(analysis),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    _write_pictures(analysis, folder)


def _write_pictures(analysis: Analysis, folder: Path) -> None:
    shown = {picture.name: picture for picture in pictures(analysis)}
    title = f"{analysis.comparison.facts.problem}, {sentences.how(analysis, analysis.tracks[0])}"
    wanted = {
        LOSS: (f"loss-{analysis.tracks[0]}", f"{title}; line: median, band: interquartile range"),
        DIFFERENCES: (f"difference-{analysis.rankings[0].measure.key}", f"{title}\n{_marks(analysis)}"),
    }
    for file, (name, line) in wanted.items():
        if picture := shown.get(name):
            write_atomically(folder / file, draw_figure(picture.paint, "png", line, picture.size))


def html(analysis: Analysis) -> str:
    """Return the report as one page that loads nothing.

    Args:
        analysis: The analysis.

    Returns:
        The page.
    """
    comparison = analysis.comparison
    return render(
        "rmsprop.lab.compare",
        "report.html.j2",
        facts=comparison.facts,
        about=_about(comparison.facts),
        headline=sentences.headline(analysis),
        verdicts=sentences.verdicts(analysis),
        summaries=[tables.summary(analysis, track) for track in analysis.tracks],
        pictures=pictures(analysis),
        tables=_tables(analysis),
        method=sentences.method(analysis),
        notes=comparison.notes,
        methods=methods(analysis),
        choices=tables.choices(analysis),
        versions=comparison.versions,
    )


def markdown(analysis: Analysis) -> str:
    """Return the words and tables of the report as Markdown that reads well raw.

    Args:
        analysis: The analysis.

    Returns:
        The text.
    """
    comparison = analysis.comparison
    parts = [f"# {comparison.facts.problem}: optimizers compared", _about(comparison.facts)]
    parts.append(f"**{sentences.headline(analysis)}**")
    for verdict, track in zip(sentences.verdicts(analysis), analysis.tracks, strict=True):
        parts += [f"## {verdict.title}", bullets(verdict.paragraphs), grid(tables.summary(analysis, track))]
    parts.append("## In numbers")
    for table in _tables(analysis):
        parts += [f"### {table.title}", grid(table)]
    parts += ["## How it was done", bullets((*sentences.method(analysis), *comparison.notes))]
    parts += ["## For a paper", methods(analysis)]
    parts += ["## Settings", grid(tables.choices(analysis))]
    parts.append(f"{', '.join(f'{name} {version}' for name, version in comparison.versions.items())}.")
    return "\n\n".join(parts) + "\n"


def runs_csv(analysis: Analysis) -> str:
    """Return a row per reported run: what defines it and what came of it; ``inf`` is a divergence or never.

    Args:
        analysis: The analysis.

    Returns:
        The table.
    """
    comparison = analysis.comparison
    runs = [run for track in analysis.tracks for name in comparison.optimizers for run in analysis.runs(track, name)]
    options = sorted({option for run in runs for option, _ in run.choice.options})
    results = ["best_validation", "final_validation", "final_train", "test", f"test_{comparison.facts.metric}"]
    steps = [_column(target) for target in analysis.targets]
    heading = ["track", "optimizer", "study", "seed", "lr", *options, *results, *steps, "diverged_at"]
    return _csv(heading, (_run_row(run, options, analysis.targets) for run in runs))


def _run_row(run: Run, options: list[str], targets: tuple[LossTarget, ...]) -> list[object]:
    curve, given = run.curve, dict(run.choice.options)
    test, metric = (math.inf, math.inf) if curve.diverged_at is not None else (curve.test, curve.test_metric)
    results = [best_validation(curve), float(curve.validation[-1]), float(curve.train[-1]), test, metric]
    identity = [run.track, run.optimizer, run.study, run.seed, run.choice.lr, *(given.get(name) for name in options)]
    return [*identity, *results, *(target.steps(run) for target in targets), curve.diverged_at]


def _column(target: LossTarget) -> str:
    return "steps_to_target" if target.gap is None else f"steps_to_{target.gap:.0e}".replace("e-0", "e-")


def trials_csv(analysis: Analysis) -> str:
    """Return a row per trial of the tuning; a score of ``inf`` is a divergence.

    Args:
        analysis: The analysis.

    Returns:
        The table.
    """
    trials = analysis.comparison.trials
    options = sorted({option for trial in trials for option, _ in trial.choice.options})
    heading = ["optimizer", "study", "seed", "lr", *options, "best_validation", "widened"]
    rows = (
        [t.optimizer, t.study, t.seed, t.choice.lr, *map(dict(t.choice.options).get, options), t.score, t.widened]
        for t in trials
    )
    return _csv(heading, rows)


def _csv(heading: list[str], rows: Iterable[list[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return text.getvalue()


def pictures(analysis: Analysis) -> list[Picture]:
    """Return the figures of the report.

    Args:
        analysis: The analysis.

    Returns:
        The figures, those of the tuned runs first.
    """
    count = len(analysis.comparison.optimizers)
    size = figures.multiples_size(count)
    found = []
    for track in analysis.tracks:
        title = TRACK_TITLES[track].lower()
        who = f"Line: median of {len(analysis.runs(track, analysis.comparison.reference))} seeds; band: interquartile "
        who += f"range, the middle half of the runs; dashed: the median of {analysis.reference}. {_setup(analysis)}"
        if analysis.comparison.facts.optimum is None:
            paint, what = partial(figures.loss_bands, analysis, track), "Validation loss"
        else:
            paint, what = partial(figures.suboptimality, analysis, track), "Distance to the least loss"
        found.append(Picture(f"loss-{track}", f"{what}, {title}", who, paint, size))
        if several := len(figures.changing(analysis)):
            paint = partial(figures.learning_rates, analysis, track)
            band = f"Learning rate after each epoch. Line: median; band: interquartile range. {_setup(analysis)}"
            own = figures.multiples_size(several)
            found.append(Picture(f"lr-{track}", f"Learning rate, {title}", band, paint, own))
    return found + _target_pictures(analysis) + _difference_pictures(analysis) + _tuning_pictures(analysis)


def _target_pictures(analysis: Analysis) -> list[Picture]:
    if not analysis.targets:
        return []
    names = ", ".join(tables.target_name(analysis, target) for target in analysis.targets)
    caption = "Share of the runs that have reached the target after so many steps, the dot at the last. Of lines that "
    caption += f"lie on each other the upper ones are thinner. Target: {names}. {_setup(analysis)}"
    legend = 0.2 * math.ceil(len(analysis.comparison.optimizers) / 2)
    size = (figures.WIDTH, 0.9 + legend + 2.2 * len(analysis.targets))
    return [Picture("target", "Time to target", caption, partial(figures.time_to_target, analysis), size)]


def _difference_pictures(analysis: Analysis) -> list[Picture]:
    others = len(analysis.comparison.optimizers) - 1
    if not others:
        return []
    found = []
    for measure in {ranking.measure.key: ranking.measure for ranking in analysis.rankings}.values():
        rankings = [ranking for ranking in analysis.rankings if ranking.measure.key == measure.key]
        if measure.key == "steps" and all(ranking.leader is None for ranking in rankings):
            continue  # nobody reached it, or too few for an average: every difference would be a point at 0
        caption = (
            f"Interquartile mean of the differences seed by seed, with intervals at {100 * analysis.level:.3g} % each, "
            f"which hold together at 95 %. {_marks(analysis)}. An arrow is an interval without end, and what stands at "
            f"∞ has no number: runs {differences.why_infinite(measure)}. An axis that is logarithmic away from 0 "
            "says so below it."
        )
        paint = partial(differences.paired_differences, rankings, analysis)
        title = f"Paired differences, {measure.name}"
        found.append(Picture(f"difference-{measure.key}", title, caption, paint, (figures.WIDTH, 1.7 + 0.3 * others)))
    return found


def _marks(analysis: Analysis) -> str:
    return f"Blue plus: better than {analysis.reference}; orange cross: worse; grey dot: not distinguishable"


def _tuning_pictures(analysis: Analysis) -> list[Picture]:
    comparison = analysis.comparison
    if not comparison.trials:
        return []
    lr = (
        "Best validation loss of every trial. ✗: diverged; ring: the best of a study; dotted line: the default "
        f"learning rate. {_setup(analysis)}"
    )
    best = (
        "What to expect after k trials: k are drawn at random from all of the optimizer's trials, the best of them is "
        "kept, and the line is the median of that. It is missing where that median is a run that diverged. The lower "
        "and the flatter the line, the easier to tune."
    )
    return [
        Picture(
            "sensitivity",
            "Sensitivity to the learning rate",
            lr,
            partial(figures.sensitivity, analysis),
            figures.multiples_size(len(comparison.optimizers)),
        ),
        Picture(
            "best-of-k", "Best of k trials", best, single(partial(figures.best_of_k, analysis)), (figures.WIDTH, 4.6)
        ),
    ]


def _setup(analysis: Analysis) -> str:
    facts = analysis.comparison.facts
    return f"{facts.problem}, batch size {facts.batch_size}, {length(facts)}."


def _tables(analysis: Analysis) -> list[Table]:
    found = [tables.ranking_table(analysis, ranking) for ranking in analysis.rankings]
    targets = [(track, target) for track in analysis.tracks for target in analysis.targets]
    return found + [tables.target_table(analysis, track, target) for track, target in targets]


def _about(facts: Facts) -> str:
    train, validation, test = facts.rows
    what = f"{facts.about[0].upper()}{facts.about[1:]}. " if facts.about else ""
    return (
        f"{what}{train} training, {validation} validation and {test} test rows; {facts.parameters} parameters; loss: "
        f"{facts.loss_name}; {length(facts)}, {facts.batch_size} rows each."
    )


def bullets(sentences: Iterable[str]) -> str:
    """Return sentences as a list in Markdown.

    Args:
        sentences: The sentences.
    """
    return "\n".join(f"- {sentence}" for sentence in sentences)


def grid(table: Table) -> str:
    """Return a table in Markdown that reads well raw.

    Args:
        table: The table.
    """
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (table.headings, *table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_markdown_row(row, widths, table.words) for row in rows]
    rule = [("-" * width if c in table.words else "-" * (width - 1) + ":") for c, width in enumerate(widths)]
    return "\n".join([lines[0], f"| {' | '.join(rule)} |", *lines[1:]])


def _markdown_row(row: list[str], widths: list[int], words: tuple[int, ...]) -> str:
    cells = (
        cell.ljust(width) if c in words else cell.rjust(width)
        for c, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return f"| {' | '.join(cells)} |"
