"""Figure 2, only the sign: Rprop, whose path does not depend on the size of gradients."""

from __future__ import annotations

import math

import torch

from rmsprop.lab.explain.content import Axis, FigureContent, Plot
from rmsprop.lab.explain.controls import Figure, Slider
from rmsprop.lab.explain.figures.ravine import START, bowl, descend, ground, path_line, start_line
from rmsprop.lab.surfaces.paths import by_torch

# SGD has 0.95 of its largest stable rate at κ = 20; Rprop's first step has the size 0.1.
SGD_LR, RPROP_LR, STEPS = 0.095, 0.1, 40


def _content(kappa: float, scale: float) -> FigureContent:
    gradient = bowl(kappa, scale)
    sgd = descend(by_torch(lambda params: torch.optim.SGD(params, lr=SGD_LR)), gradient, START, STEPS)
    rprop = descend(by_torch(lambda params: torch.optim.Rprop(params, lr=RPROP_LR)), gradient, START, STEPS)
    plot = Plot(
        x=Axis(name="x", low=-11.0, high=3.0),
        y=Axis(name="y", low=-1.5, high=1.5),
        lines=(start_line(START), path_line("sgd", sgd, 1), path_line("rprop", rprop, 2)),
        contours=ground(kappa),
    )
    ends = {name: math.hypot(*path[-1]) for name, path in (("sgd", sgd), ("rprop", rprop))}
    return FigureContent(plots=(plot,), readouts=ends)


FIGURE = Figure(
    name="signs",
    controls=(
        Slider(name="scale", values=(0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0), start=1.0),
        Slider(name="kappa", values=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000), start=20),
    ),
    answer=2,
    content=_content,
)
