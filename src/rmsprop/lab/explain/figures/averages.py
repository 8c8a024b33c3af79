"""Figure 4, sum, mean or leak: three ways to remember squared gradients, when they shrink halfway."""

from __future__ import annotations

import numpy as np
import torch

from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, points
from rmsprop.lab.explain.controls import Figure, Slider
from rmsprop.lab.surfaces.paths import Move, by_reference, by_torch
from rmsprop.rule import Rule

STEPS, HALF, SMALL = 1000, 500, 0.01


def sizes(move: Move, gradients: np.ndarray) -> np.ndarray:
    """Return how far an optimizer of one coordinate steps on given gradients.

    Args:
        move: Takes its steps.
        gradients: One per step.

    Returns:
        What each step subtracts from the coordinate, from 0 again each time, so that no rounding of a sum gets in.
    """
    return -np.concatenate([move(step, np.zeros(1), np.array([g])) for step, g in enumerate(gradients, start=1)])


def _content(rho: float) -> FigureContent:
    gradients = np.where(np.arange(STEPS) < HALF, 1.0, SMALL)
    steps = np.arange(1, STEPS + 1)
    found = {
        "sum": sizes(by_torch(lambda params: torch.optim.Adagrad(params, lr=1.0), size=1), gradients),
        "mean": gradients / np.sqrt(np.cumsum(gradients * gradients) / steps),
        "leak": sizes(by_reference(Rule(decay=rho), 1.0, size=1), gradients),
    }
    given = Line(name="size", points=points(steps, gradients), style=5, given=True)
    lines = [
        Line(name=name, points=points(steps, of), style=style)
        for (name, of), style in zip(found.items(), (1, 2, 0), strict=True)
    ]
    across = Axis(name="step", low=0.0, high=float(STEPS))
    back = np.flatnonzero(found["leak"][HALF:] >= 0.9)
    return FigureContent(
        plots=(
            Plot(x=across, y=Axis(name="size", low=0.003, high=3.0, log=True), lines=(given,)),
            Plot(x=across, y=Axis(name="length", low=0.0003, high=10.0, log=True), lines=tuple(lines)),
        ),
        readouts={
            "before": float(found["sum"][HALF - 1]),
            **{name: float(of[-1]) for name, of in found.items()},
            "back": int(back[0]) + 1 if back.size else None,
        },
    )


FIGURE = Figure(
    name="averages",
    controls=(Slider(name="rho", values=(0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999), start=0.9),),
    answer=2,
    content=_content,
)
