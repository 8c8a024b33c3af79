"""`rmsprop trajectory`: paths on a surface, as numbers, a picture, a film or a page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmsprop.cli.choices import out_option
from rmsprop.cli.completion import one_of, several_of
from rmsprop.lab.format import short
from rmsprop.lab.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from rmsprop.lab.surfaces.picture import Scene

_KINDS = (".png", ".svg", ".gif", ".mp4", ".html")
_VALUES = "VALUE|NAME=VALUE"


def _point(_: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """Return the point that was given as ``-5,-2``."""
    if value is None:
        return None
    try:
        x, y = (float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a point such as -5,-2.", param=param) from error
    return x, y


def _surfaces() -> Iterable[str]:
    from rmsprop.lab.problems.builtin.surfaces import SURFACES

    return SURFACES


@click.command()
@click.argument("surface", shell_complete=one_of(_surfaces))
@click.option(
    "--optimizers",
    shell_complete=several_of(lambda: OPTIMIZERS),
    metavar="NAMES",
    help="Which, such as rmsprop,rmsprop-keras,adam.  [default: sgd,adagrad,adam,rmsprop-d2l]",
)
@click.option("--lr", multiple=True, metavar=_VALUES, help="Learning rate.  [default: see below]")
@click.option("--decay", multiple=True, metavar=_VALUES, help="Share of the old value that the average keeps.")
@click.option("--eps", multiple=True, metavar=_VALUES, help="Epsilon in the denominator.")
@click.option("--momentum", multiple=True, metavar=_VALUES, help="Share of the buffer that is kept.")
@click.option("--steps", type=int, help="How many steps.  [default: 50, on the bowl 20]")
@click.option("--start", metavar="X,Y", callback=_point, help="Where they begin.  [default: the surface's start]")
@out_option(
    _KINDS, "Draw the paths: .png or .svg a picture, .gif or .mp4 a film, .html a page with sliders for RMSProp alone."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every point, and nothing else.")
def trajectory(
    surface: str,
    optimizers: str | None,
    steps: int | None,
    start: tuple[float, float] | None,
    out: Path | None,
    as_json: bool,
    **given: tuple[str, ...],
) -> None:
    """Show how optimizers descend on a surface.

    SURFACE is bowl, bowl-rotated, bowl-steep, rosenbrock, beale or saddle. A VALUE alone is a learning rate for all,
    but a --decay, --eps or --momentum for RMSProp in every dialect; NAME=VALUE is for one optimizer, as in
    --lr 0.1,adam=0.5. Without --lr, each optimizer has the one of 16 learning rates with which it ends lowest; but
    `rmsprop trajectory bowl` alone is the example of Dive into Deep Learning, in which all have 0.4.
    """
    from rmsprop.cli.output import bar
    from rmsprop.lab.surfaces.choices import DEFAULT_OPTIMIZERS, Values, parse, surface_named, walks
    from rmsprop.lab.surfaces.picture import Scene

    names = DEFAULT_OPTIMIZERS if optimizers is None else tuple(name.strip() for name in optimizers.split(","))
    settings = {option: parse(option, texts) for option, texts in given.items()}
    found = surface_named(surface)
    is_example = found.lr is not None and optimizers is None and not given["lr"]
    if is_example:
        settings["lr"] = Values(plain=found.lr)
    steps = found.steps if steps is None else steps
    with bar("walking", len(names), quiet=as_json) as advance:
        paths, searched = walks(found, names, **settings, steps=steps, start=start, on_walk=advance)
    scene = Scene(name=surface, surface=found, walks=paths, searched=searched)
    if out:
        _draw(scene, out, quiet=as_json)
    if as_json:
        from rmsprop.cli import output

        output.print_json(_content(scene, out))
    else:
        _print(scene, out, is_example=is_example)


def _draw(scene: Scene, out: Path, *, quiet: bool) -> None:
    from rmsprop.files import write_atomically

    out.parent.mkdir(parents=True, exist_ok=True)
    kind = out.suffix.lower()
    if kind in (".gif", ".mp4"):
        from rmsprop.cli.output import bar
        from rmsprop.lab.surfaces.film import film, frames

        with bar("drawing", len(frames(scene)), quiet=quiet) as advance:
            film(scene, out, advance)
    elif kind == ".html":
        from rmsprop.lab.surfaces.page import page

        write_atomically(out, page(scene).encode())
    else:
        from rmsprop.lab.surfaces.picture import draw

        write_atomically(out, draw(scene, kind.removeprefix(".")))


def _content(scene: Scene, out: Path | None) -> dict[str, Any]:
    surface, first = scene.surface, scene.walks[0]
    return {
        "surface": {
            "name": scene.name,
            "formula": surface.formula,
            "minima": surface.minima,
            "least": surface.least,
            "source": surface.source,
        },
        "steps": first.steps,
        "start": first.points[0].tolist(),
        "out": None if out is None else str(out),
        "walks": [
            {
                "optimizer": walk.choice.name,
                "label": walk.choice.label,
                "lr": walk.choice.lr,
                "lr_searched": walk.choice.name in scene.searched,
                "options": dict(walk.choice.options),
                "end": walk.points[-1].tolist(),
                "loss": float(walk.losses[-1]),
                "last_step": walk.last_step,
                "left_at_step": walk.left_at,
                "points": walk.points.tolist(),
                "losses": walk.losses.tolist(),
            }
            for walk in scene.walks
        ],
    }


def _print(scene: Scene, out: Path | None, *, is_example: bool) -> None:
    from rmsprop.cli import output
    from rmsprop.lab.surfaces.picture import dialects, outcome, settings_of, unforgetting

    first, page = scene.walks[0], output.page()
    page.print(f"{scene.name}, {scene.surface.about}: f = {scene.surface.formula}")
    x, y = first.points[0]
    page.print(f"{first.steps} step{'s' * (first.steps > 1)} from ({short(x, 6)}, {short(y, 6)})\n")
    table = output.table("optimizer", "settings", "x", "y", "f", "last step")
    for column in table.columns[2:]:
        column.justify = "right"
    for walk in scene.walks:
        numbers = [*walk.points[-1], walk.losses[-1], walk.last_step]
        cells = ["", "", "", ""] if walk.left_at is not None else [short(number, 5) for number in numbers]
        table.add_row(walk.choice.label, settings_of(scene, walk), *cells)
    page.print(table)
    for walk in scene.walks:
        if walk.left_at is not None:
            page.print(
                f"{walk.choice.label} {outcome(walk, walk.steps)}: a smaller --lr {walk.choice.name}=VALUE may help."
            )
    if said := dialects(scene.walks):
        page.print(said)
    for sentence in unforgetting(scene.walks):
        page.print(sentence)
    if is_example:
        page.print(f"one learning rate for all, as in {scene.surface.source}")
        page.print("with --optimizers NAMES, each gets the best of 16")
    if scene.searched:
        page.print("* the learning rate with the lowest end, of 16 from 0.001 to 100; --lr sets one")
    if (
        out
        and out.suffix.lower() == ".html"
        and not all(walk.choice.name.startswith("rmsprop") for walk in scene.walks)
    ):
        page.print("the page shows RMSProp alone; the others are in .png, .svg, .gif and .mp4")
    page.print(
        f"File: {out}" if out else "A picture, a film or a page with sliders: --out FILE.png, .gif, .html",
        soft_wrap=True,
    )
