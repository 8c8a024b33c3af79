"""Figure 8, the race: five optimizers on six surfaces, with one learning rate for all or each one's best of 16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, points
from rmsprop.lab.explain.controls import Figure, Menu, Slider
from rmsprop.lab.explain.figures.ravine import path_line, start_line
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.choices import GRID, Values, walks

STEPS, PLACES = 60, 40
# Name of an optimizer in the lab -> its name on the page, and its style.
RACERS = {
    "sgd": ("sgd", 1),
    "momentum": ("momentum", 2),
    "adagrad": ("adagrad", 3),
    "rmsprop-d2l": ("rmsprop", 0),
    "adam": ("adam", 4),
}


def data() -> Mapping[str, Any]:
    """Return the learning rates that are tried."""
    return {"grid": list(GRID)}


def _content(surface: str, rate: str, lr: float, across: int, up: int) -> FigureContent:
    found = SURFACES[surface]
    low_x, high_x, low_y, high_y = found.window
    start = (low_x + (across + 0.5) * (high_x - low_x) / PLACES, low_y + (up + 0.5) * (high_y - low_y) / PLACES)
    given = Values(plain=lr) if rate == "common" else None
    paths, _ = walks(found, list(RACERS), lr=given, steps=STEPS, start=start)
    most = 2.0 * float(max(paths[0].losses[0] - found.least, 1e-3))
    names = {walk.choice.name: RACERS[walk.choice.name] for walk in paths}
    on_surface = [path_line(names[w.choice.name][0], w.points, names[w.choice.name][1], dots=False) for w in paths]
    heights = [
        Line(name=names[w.choice.name][0], points=_heights(w.losses - found.least), style=names[w.choice.name][1])
        for w in paths
    ]
    return FigureContent(
        plots=(
            Plot(
                x=Axis(name="first", low=low_x, high=high_x),
                y=Axis(name="second", low=low_y, high=high_y),
                lines=(start_line(start), *on_surface),
                surface=surface,
                equal=True,
            ),
            Plot(
                x=Axis(name="step", low=0.0, high=float(STEPS)),
                y=Axis(name="height", low=most * 1e-10, high=most, log=True),
                lines=tuple(heights),
            ),
        ),
        readouts={
            **{f"lr_{RACERS[w.choice.name][0]}": w.choice.lr for w in paths},
            **{f"f_{RACERS[w.choice.name][0]}": float(w.losses[-1] - found.least) for w in paths},
        },
    )


def _heights(above: np.ndarray) -> list[tuple[float, float]]:
    steps = np.arange(len(above))
    return points(steps[above > 0], above[above > 0])


FIGURE = Figure(
    name="race",
    controls=(
        Menu(name="surface", options=tuple(SURFACES), start="bowl"),
        Menu(name="rate", options=("common", "best"), start="common"),
        Slider(name="lr", values=GRID, start=0.046),
        Slider(name="across", values=tuple(range(PLACES)), start=2),
        Slider(name="up", values=tuple(range(PLACES)), start=5),
    ),
    answer=2,
    content=_content,
    data=data,
)
