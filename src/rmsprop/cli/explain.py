"""`rmsprop explain` and `rmsprop diff`: one rule in full, and two side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.cli.choices import chosen_lr, out_option, rule_options
from rmsprop.cli.completion import one_of
from rmsprop.dialects import DIALECTS
from rmsprop.lab.errors import InputError
from rmsprop.lab.explain import LANGUAGES, Language
from rmsprop.lab.format import short
from rmsprop.lab.options import option, rule_of_options

if TYPE_CHECKING:
    from rich.console import Console

    from rmsprop.rule import Rule

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
_DIALECT = one_of(lambda: DIALECTS)


@click.command()
@click.argument("dialect", required=False, shell_complete=_DIALECT)
@rule_options
@click.option("--lr", type=float, help="Learning rate.  [default: the dialect's, in formulas a symbol]")
@_JSON
@click.option("--latex", is_flag=True, help="Print an algorithm box for a paper, and nothing else.")
@out_option((".html",), "Write the page that explains RMSProp, in figures to play with.", name="--html")
@click.option("--language", type=click.Choice(LANGUAGES), help="The page's language.  [default: en]")
def explain(
    dialect: str | None,
    lr: float | None,
    as_json: bool,
    latex: bool,
    html: Path | None,
    language: Language | None,
    **given: Any,
) -> None:
    """Write out what a dialect computes.

    As formulas and as NumPy code, with the memory of its decay, the size of its first steps, and its call in each front
    end. DIALECT is a name that `rmsprop dialects` lists; an option wins over the dialect's default. --latex prints the
    formulas as an algorithm for LaTeX's packages amsmath, algorithm and algpseudocode.

    Without DIALECT, --html FILE writes a page that explains where RMSProp comes from and what it does. It is one file
    that loads nothing.
    """
    if html is not None:
        flags = {"json": as_json or None, "latex": latex or None}
        _write_page(html, language or "en", {"DIALECT": dialect, "lr": lr, **flags, **given})
        return
    if language is not None:
        raise InputError("--language is for the page: add --html FILE")
    if dialect is None:
        raise InputError("there is nothing to explain: name a dialect, such as torch, or write a page with --html FILE")
    if as_json and latex:
        raise InputError("--json and --latex each print nothing else: leave one of them out")
    rule, lr = rule_of_options(dialect, given), chosen_lr(lr)
    if latex:
        from rmsprop.lab.dialects.latex import algorithm

        click.echo(algorithm(dialect, rule, lr))
        return
    _print_explanation(dialect, rule, lr, as_json=as_json)


def _print_explanation(dialect: str, rule: Rule, lr: float | None, *, as_json: bool) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.dialects.explanation import explanation

    content = explanation(dialect, rule, lr)
    if as_json:
        output.print_json(content)
        return
    out = output.page()
    _section(out, f"{dialect} at step t, with the gradient g", content["formulas"])
    _section(out, "The same in NumPy", content["pseudocode"].splitlines())
    _section(out, "Memory", [_memory(rule.decay, content["memory"])])
    out.print("First steps under a gradient that stays the same, in units of lr")
    _print_first_steps(out, {"": content["first_steps"]}, {"": content["remarks"]})
    _section(out, "Calls", output.aligned(content["calls"]))
    default = "none" if content["default_lr"] is None else f"{content['default_lr']:g}"
    facts = {"default lr": default, "source": content["source"], "notes": content["notes"]}
    out.print(output.labelled(facts))


@click.command()
@click.argument("first", shell_complete=_DIALECT)
@click.argument("second", shell_complete=_DIALECT)
@rule_options
@click.option("--lr", type=float, help="Learning rate of the small run.  [default: 0.05]")
@_JSON
def diff(first: str, second: str, lr: float | None, as_json: bool, **given: Any) -> None:
    """Say how two dialects differ.

    Choice by choice in words and numbers, with their first steps, and the step at which a small run parts. FIRST and
    SECOND are names that `rmsprop dialects` lists. An option wins over the default of both: with --decay 0.9 --eps 1e-8
    only the rest is compared.
    """
    rules, lr = [rule_of_options(name, given) for name in (first, second)], chosen_lr(lr)
    from rmsprop.cli import output
    from rmsprop.lab.dialects.differences import Side
    from rmsprop.lab.dialects.explanation import comparison

    a, b = (Side(name=name, rule=rule) for name, rule in zip((first, second), rules, strict=True))
    content = comparison(a, b, lr)
    if as_json:
        output.print_json(content)
        return
    out = output.page()
    _print_differences(out, content)
    if content["same"]:
        return
    out.print("First steps under a gradient that stays the same, in units of lr")
    _print_first_steps(out, content["first_steps"], content["remarks"])
    _print_small_run(out, content)


def _write_page(file: Path, language: Language, others: dict[str, Any]) -> None:
    for name, value in others.items():
        if value is not None:
            what = name if name.isupper() else option(name)
            raise InputError(f"{what} is for one dialect, and --html is for all: leave one of them out")
    from rmsprop.files import write_atomically
    from rmsprop.lab.explain.page import page

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, page(language).encode())
    click.echo(f"File: {file}")


def _section(out: Console, title: str, lines: list[str]) -> None:
    out.print(title)
    for line in lines:
        out.print(f"  {line}", soft_wrap=True)  # a line of code must stay one
    out.print()


def _memory(decay: float, memory: dict[str, float] | None) -> str:
    if memory is None:
        return "decay 1: the average never changes" if decay else "decay 0: only the last gradient counts"
    return (
        f"decay {decay:g}: half-life {short(memory['half_life'])} steps, window {short(memory['window'])}, "
        f"95\u00a0% of the weight in the last {short(memory['mass_window_95'])}"
    )


def _print_first_steps(out: Console, of: dict[str, list[dict[str, Any]]], remarks: dict[str, list[str]]) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.dialects.first_steps import SHOWN

    names = any(of)
    heading = "gradient", *(f"step {step}" for step in SHOWN), "settles, within 5\u00a0%"
    table = output.table(*(["dialect"] if names else []), *heading)
    for name, rows in of.items():
        for row in rows:
            sizes = [f"{short(row['sizes'][step])}" for step in SHOWN]
            table.add_row(*([name] if names else []), f"{short(row['gradient'], 6)}", *sizes, _settled(row))
    out.print(table)
    for name, sentences in remarks.items():
        for sentence in sentences:
            out.print(f"{name}: {sentence}" if name else sentence)
    out.print()


def _settled(row: dict[str, Any]) -> str:
    from rmsprop.lab.dialects.first_steps import MOST_STEPS

    if not math.isfinite(row["final"]):
        return "never: grows without end"
    when = f"after step {MOST_STEPS}" if row["settled"] is None else f"from step {row['settled']}"
    return f"at {short(row['final'])} {when}"


def _print_differences(out: Console, content: dict[str, Any]) -> None:
    from rich.padding import Padding

    a, b = content["names"]
    if not content["differences"]:
        out.print(f"{a} and {b} are the same rule at these settings.")
        return
    if content["same"]:
        out.print(f"{a} and {b} compute the same update at these settings.")
    width = max(len(found["choice"]) for found in content["differences"])
    for found in content["differences"]:
        x, y = found["values"]
        out.print(f"{found['choice']:{width}}  {a}: {x}, {b}: {y}")
        out.print(Padding(found["meaning"], (0, 0, 0, 2)))
    out.print()


def _print_small_run(out: Console, content: dict[str, Any]) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.dialects.small_run import DROP_AT, STEPS

    run, (a, b) = content["small_run"], content["names"]
    name = ("slope", "offset")[run["parameter"]]
    what = f"a line through eight points, lr {run['lr']:g}, a tenth of it after step {DROP_AT}"
    if run["parts_at_step"] is None:
        out.print(f"A small run ({what}) doesn't part within {STEPS} steps.")
        return
    if run["gradients_times"] != 1.0:
        what += f", every gradient × {run['gradients_times']:g}, without which it doesn't part"
    out.print(f"A small run ({what}) parts at step {run['parts_at_step']}:")
    table = output.table("step", f"{name}, {a}", f"{name}, {b}", f"loss, {a}", f"loss, {b}")
    for row in run["rows"]:
        mark = "*" if row["step"] == run["parts_at_step"] else ""
        table.add_row(f"{mark}{row['step']}", *(f"{x:.9g}" for x in row["theta"]), *(short(x, 4) for x in row["loss"]))
    out.print(table)
    for side, who in enumerate((a, b)):
        lost = [row["step"] for row in run["rows"] if not math.isfinite(row["theta"][side] + row["loss"][side])]
        if lost:
            out.print(f"{who} diverged: by step {lost[0]} its run has left the finite numbers.")
