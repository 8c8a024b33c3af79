"""`rmsprop dialects` and `rmsprop recipes`: what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

import click

from rmsprop.cli.completion import one_of
from rmsprop.dialects import DIALECTS, Dialect
from rmsprop.lab.errors import InputError
from rmsprop.recipes import RECIPES, Recipe, get_recipe

# Headings of more letters stand in two lines.
_HEADING = 9
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")


@click.command()
@_JSON
def dialects(as_json: bool) -> None:
    """List the RMSProp of every framework."""
    from rmsprop.cli import output

    if as_json:
        output.print_json({name: _dialect(dialect) for name, dialect in DIALECTS.items()})
        return
    from rmsprop.lab.dialects.table import COLUMNS, short_rows, stars

    out = output.page()
    shown = len(COLUMNS) - (out.width < output.WIDTH)  # at 80 columns all but the last have room
    table = output.table(*("\n".join(wrap(heading, _HEADING)) for heading in COLUMNS))
    table.columns = table.columns[:shown]
    for row in short_rows():
        table.add_row(*row[:shown])
    for column in table.columns:  # a word broken in two can't be read
        column.no_wrap = True
    out.print(table)
    out.print("\n".join([*stars(), *_left_out(list(COLUMNS)[shown:])]) + "\n")
    out.print(output.labelled({name: dialect.source for name, dialect in DIALECTS.items()}))
    out.print("\nMore about one: rmsprop explain NAME. How two differ: rmsprop diff NAME NAME.")


def _left_out(headings: Sequence[str]) -> list[str]:
    """Return what the columns that have no room say, which are alike for most dialects."""
    from rmsprop.lab.dialects.table import COLUMNS, short_rows

    said = []
    for heading in headings:
        cells = {row[0]: row[list(COLUMNS).index(heading)] for row in short_rows()}
        usual = max(cells.values(), key=list(cells.values()).count)
        others = "".join(f", but {cell} in {name}" for name, cell in cells.items() if cell != usual)
        said.append(f"{heading}: {usual}{others}")
    return said


@click.command()
@click.argument("name", required=False, shell_complete=one_of(lambda: RECIPES))
@_JSON
def recipes(name: str | None, as_json: bool) -> None:
    """List published settings, or show one in full."""
    try:
        chosen = RECIPES if name is None else {name: get_recipe(name)}
    except ValueError as error:
        raise InputError(str(error)) from error
    from rmsprop.cli import output

    if as_json:
        output.print_json({key: _recipe(key, recipe) for key, recipe in chosen.items()})
    elif name is None:
        _print_recipes()
    else:
        _print_recipe(name, chosen[name])


def _dialect(dialect: Dialect) -> dict[str, Any]:
    return {
        "rule": asdict(dialect.rule),
        "lr": dialect.lr,
        "when": {switch: dict(defaults) for switch, defaults in dialect.when.items()},
        "source": dialect.source,
        "notes": dialect.notes,
    }


def _recipe(name: str, recipe: Recipe) -> dict[str, Any]:
    from rmsprop.lab.dialects.calls import recipe_calls

    return {
        "dialect": recipe.dialect,
        "lr": recipe.lr,
        "settings": dict(recipe.settings),
        "rule": asdict(recipe.rule),
        "schedule": recipe.schedule,
        "around": recipe.around,
        "source": recipe.source,
        "calls": recipe_calls(name),
    }


def _settings(recipe: Recipe) -> str:
    from rmsprop.lab.dialects.formulas import number

    said = {True: "", False: " off"}
    settings: Mapping[str, Any] = recipe.settings
    return ", ".join(
        field + said[value] if isinstance(value, bool) else f"{field} {number(value)}"
        for field, value in settings.items()
    )


def _print_recipes() -> None:
    from rmsprop.cli import output
    from rmsprop.lab.dialects.formulas import number

    out, table = output.page(), output.table("name", "dialect", "lr", "settings")
    for name, recipe in RECIPES.items():
        table.add_row(name, recipe.dialect, number(recipe.lr), _settings(recipe))
    out.print(table)
    out.print("\nOne in full, with its schedule, its source and its calls: rmsprop recipes NAME.")


def _print_recipe(name: str, recipe: Recipe) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.dialects.calls import recipe_calls
    from rmsprop.lab.dialects.formulas import formulas, number

    out = output.page()
    out.print(f"{name}: {recipe.dialect} with lr {number(recipe.lr)}, {_settings(recipe)}")
    facts = {"schedule": recipe.schedule, "around": recipe.around, "source": recipe.source}
    out.print(output.labelled(facts))
    out.print()
    for line in (*formulas(recipe.rule), "", *output.aligned(recipe_calls(name))):
        out.print(f"  {line}", soft_wrap=True)
