"""The report of a tuning: one HTML file, and the numbers as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmsprop.files import write_atomically
from rmsprop.lab.dialects.formulas import number
from rmsprop.lab.drawing import SIZE, draw_figure, single
from rmsprop.lab.folders import TUNING
from rmsprop.lab.format import finite, short
from rmsprop.lab.page import Picture, render
from rmsprop.lab.tune import figures
from rmsprop.lab.tune.comparison import Contender
from rmsprop.lab.tune.maps import Map
from rmsprop.lab.tune.range_curve import range_curve
from rmsprop.lab.tune.results import Tuning
from rmsprop.lab.tune.sentences import signed, summary

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

# Not the difference of the two rows' losses, which are interquartile means themselves.
DIFFERENCE = "interquartile mean of the differences from the first row, seed by seed"
REPORT, FIGURE, RESULT = TUNING.files


def write_report(found: Tuning, folder: Path) -> None:
    """Write the report, its pictures side by side, and the numbers.

    Args:
        found: The tuning.
        folder: Where to; it is made if it isn't there. Files of an earlier report are replaced.
    """
    pictures = _pictures(found)
    contents = {
        REPORT: _html(found, pictures).encode(),
        FIGURE: _side_by_side(found, pictures),
        RESULT: json.dumps(finite(content(found)), indent=1).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, written in contents.items():
        write_atomically(folder / name, written)


def content(found: Tuning) -> dict[str, Any]:
    """Return everything as numbers, lists and strings, for JSON.

    Args:
        found: The tuning.

    Returns:
        `Tuning.as_dict`, and ``"words"``: what was found, in sentences.
    """
    return found.as_dict() | {"words": list(summary(found))}


def rows(found: Tuning) -> list[dict[str, Any]]:
    """Return the last comparison as text, row by row.

    Args:
        found: The tuning.

    Returns:
        Rows with ``role``, ``lr``, ``decay``, ``eps``, ``loss``, ``difference``, ``interval``, ``diverged``; ``chosen``
        tells the recommended one.
    """
    return [_row(found, one) for one in found.contenders]


def _row(found: Tuning, one: Contender) -> dict[str, Any]:
    setting, apart = one.tried.setting, one.difference
    return {
        "role": one.role,
        "lr": number(setting.lr),
        "decay": number(setting.rule.decay),
        "eps": f"{number(setting.rule.eps)}{' in √' if setting.rule.eps_inside_sqrt else ''}",
        "loss": short(one.tried.typical) if math.isfinite(one.tried.typical) else "∞",
        "difference": signed(apart.value) if apart else "",
        "interval": f"{signed(apart.low)} to {signed(apart.high)}" if apart else "",
        "diverged": f"{one.tried.diverged} of {len(found.seeds)}",
        "chosen": found.works and one is found.recommended,
    }


def _pictures(found: Tuning) -> list[Picture]:
    problem, test = found.problem, found.range_test
    pictures = [
        Picture(
            "range",
            "Range test",
            f"The loss of each batch while the learning rate rises from {short(test.lrs[0])} to {short(test.lrs[-1])} "
            f"in {len(test.lrs)} steps of {problem.batch_size} rows; {len(test.losses)} seeds. The suggestion is where "
            f"30\u00a0% of the fall is done. What lies far above the first loss is cut off.",
            single(partial(range_curve, test, problem.loss_name)),
        ),
        Picture(
            "rates",
            "Learning rates",
            f"Where runs at a constant learning rate end; lines: interquartile mean, dots: seeds "
            f"({len(found.verification.tried[0].losses)} of the short runs, {len(found.seeds)} of full length).",
            single(partial(figures.learning_rates, found)),
        ),
    ]
    pictures += [_map_picture(found, one) for one in found.maps]
    return [*pictures, *_search_picture(found)]


def _search_picture(found: Tuning) -> list[Picture]:
    if not found.samples:
        return []
    seeds = len(found.samples[0].losses)
    caption = (
        f"Where runs of {found.short_epochs} epochs end, at {len(found.samples)} points of a Halton sequence over the "
        f"learning rate, the decay and ε; {seeds} seed{'s' * (seeds > 1)} each. The best is marked."
    )
    return [Picture("search", "Joint search", caption, partial(figures.samples, found.samples, figures.outcome(found)))]


def _map_picture(found: Tuning, one: Map) -> Picture:
    seeds = len(one.cells[0][0].losses)
    return Picture(
        one.name,
        f"Learning rate × {one.title}",
        f"Where runs of {found.short_epochs} epochs end, {seeds} seed{'s' * (seeds > 1)} per cell; the rest as given. "
        f"A cross: at least one run diverged.",
        partial(figures.heat_map, one, figures.outcome(found), found.verification.best.setting),
    )


def _side_by_side(found: Tuning, pictures: Sequence[Picture]) -> bytes:
    """Draw the pictures in two columns, under the recommendation."""
    width, height = SIZE
    lines = math.ceil(len(pictures) / 2)

    about = f"{found.problem.name}: RMSProp ({found.dialect}) at a constant learning rate, batches of"
    title = f"{about} {found.problem.batch_size} rows, budget {found.budget}\n{summary(found)[0]}"

    def paint(figure: Figure) -> None:
        figure.suptitle(title, fontsize=13, parse_math=False)
        places = figure.subfigures(lines, 2, squeeze=False)
        for picture, place in zip(pictures, places.flat, strict=False):
            picture.paint(place)
            place.suptitle(picture.title, fontsize=12)

    return draw_figure(paint, "png", size=(2 * width, lines * height))


def _lead(found: Tuning) -> str:
    problem = found.problem
    about = f"{problem.about[0].upper()}{problem.about[1:]}. " if problem.about else ""
    return (
        f"{about}Loss: {problem.loss_name}. RMSProp in the {found.dialect} dialect at a constant learning rate, "
        f"batches of {problem.batch_size} rows. The test rows had no part in it."
    )


def _whole(sentence: str) -> Markup:
    """Keep lines from breaking inside 1e-8, after its hyphen."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"\S*\de-\d\S*", r'<span class="whole">\g<0></span>', str(escape(sentence))))


def _html(found: Tuning, pictures: Sequence[Picture]) -> str:
    problem = found.problem
    given = ", ".join(f"{name}={value!r}" for name, value in found.choices.items())
    return render(
        "rmsprop.lab.tune",
        "report.html.j2",
        found=found,
        said=[_whole(sentence) for sentence in summary(found)],
        lr=number(found.recommended.tried.setting.lr),
        rows=rows(found),
        expected=short(found.fresh.typical) if math.isfinite(found.fresh.typical) else "∞",
        difference=DIFFERENCE,
        pictures=pictures,
        lead=_lead(found),
        settings={
            "problem": problem.name,
            "dialect": found.dialect,
            "fixed": given or "nothing",
            "budget": found.budget,
            "epochs": f"{found.short_epochs} in short runs, {found.epochs} in full length",
            "seeds of the last comparison": f"{found.seeds[0]} to {found.seeds[-1]}",
            "fresh seeds": f"{found.fresh_seeds[0]} to {found.fresh_seeds[-1]}",
            "joint search": f"{len(found.samples)} points of a Halton sequence",
        },
        versions=found.versions,
    )
