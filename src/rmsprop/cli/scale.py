"""`rmsprop scale`: the same rule for another batch size."""

from __future__ import annotations

from typing import Any

import click

from rmsprop.cli.choices import chosen_lr, rule_options
from rmsprop.dialects import get_dialect
from rmsprop.lab.errors import InputError
from rmsprop.lab.format import short
from rmsprop.lab.options import rule_of_options
from rmsprop.recipes import get_recipe

_SIZE = click.IntRange(min=1)


@click.command()
@click.option(
    "--from", "before", type=_SIZE, required=True, metavar="N", help="The batch size that the settings are for."
)
@click.option("--to", "after", type=_SIZE, required=True, metavar="N", help="The batch size that is wanted.")
@click.option("--recipe", metavar="NAME", help="Start from a published setting: rmsprop recipes lists them.")
@click.option("--dialect", metavar="NAME", help="Whose RMSProp it is.  [default: torch, or the recipe's]")
@rule_options
@click.option("--lr", type=float, help="Learning rate for batches of --from.  [default: the dialect's or recipe's]")
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="Tokens of a sample: tell half-lives in them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def scale(
    before: int,
    after: int,
    recipe: str | None,
    dialect: str | None,
    lr: float | None,
    tokens: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Scale a rule with the batch size.

    A batch that is κ times as large has a gradient with less noise, and makes fewer steps of the same samples. Says
    which learning rate, decay, ε, v₀ and momentum then come as far per sample, and what that takes for granted.
    """
    if recipe is not None and dialect is not None:
        raise InputError("--recipe has a dialect of its own: leave out --dialect")
    chosen_lr(lr)
    name, settings = dialect or "torch", {}
    if recipe is not None:
        try:
            published = get_recipe(recipe)
        except ValueError as error:
            raise InputError(str(error)) from error
        name, settings = published.dialect, dict(published.settings)
        lr = published.lr if lr is None else lr
    rule = rule_of_options(name, settings | {key: value for key, value in given.items() if value is not None})
    from rmsprop.lab.dialects.scaling import scaled

    found = scaled(name, rule, get_dialect(name).lr if lr is None else lr, before, after)
    from rmsprop.cli import output

    content = found.as_dict(tokens)
    output.print_json(content) if as_json else _print(content)


def _print(content: dict[str, Any]) -> None:
    from rmsprop.cli import output

    out = output.page()
    out.print(
        f"{content['dialect']}, from batches of {content['from']:,} to {content['to']:,}: κ = {content['factor']:.6g}"
    )
    table = output.table("setting", f"batch {content['from']:,}", f"batch {content['to']:,}", "formula")
    for row in content["settings"]:
        table.add_row(row["setting"], short(row["before"], 4), short(row["after"], 4), row["formula"])
    out.print(table)
    for row in content["half_lives"]:
        steps, also = row["steps"], f", {row['tokens']:,.0f} tokens" if "tokens" in row else ""
        before, after = short(steps["before"], 4), short(steps["after"], 4)
        unit = "step" if before == "1" else "steps"
        out.print(
            f"half-life of {row['average']}: {row['samples']:,.0f} samples{also}, which are "
            f"{before} {unit}, and then {after}"
        )
    out.print()
    for line in output.aligned(content["calls"]):
        out.print(line, soft_wrap=True)
    out.print()
    for remark in content["remarks"]:
        out.print(remark)
