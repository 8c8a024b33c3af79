"""Figure 6, the preconditioner: v stretches the space along its axes, and a bowl that is turned has others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, ellipses, points
from rmsprop.lab.explain.controls import Figure, Slider
from rmsprop.lab.explain.figures.ravine import descend, path_line, start_line
from rmsprop.lab.surfaces.paths import by_reference, by_torch
from rmsprop.reference import init, update
from rmsprop.rule import Rule

KAPPA, STEPS, REACH = 100.0, 120, 1.0
START = (-6.0, 1.5)
# SGD has 0.95 of its largest stable rate.
LR, SGD_LR = 0.1, 0.019
HEIGHTS = (2.0, 10.0, 30.0, 70.0, 130.0)
ANGLES = tuple(range(0, 50, 5))
RULE = Rule(decay=0.99)


def data() -> Mapping[str, Any]:
    """Return cosine and sine of each angle, because libraries round them differently."""
    return {"turns": [[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in ANGLES]}


def _content(angle: int, step: int) -> FigureContent:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    a, b, c = cos * cos + KAPPA * (sin * sin), (1.0 - KAPPA) * (cos * sin), sin * sin + KAPPA * (cos * cos)
    start = (cos * START[0] - sin * START[1], sin * START[0] + cos * START[1])

    def gradient(x: float, y: float) -> tuple[float, float]:
        return a * x + b * y, b * x + c * y

    rmsprop = descend(by_reference(RULE, LR), gradient, start, STEPS)
    sgd = descend(by_torch(lambda params: torch.optim.SGD(params, lr=SGD_LR)), gradient, start, STEPS)
    heights = {
        name: [0.5 * (a * x * x + 2.0 * (b * x * y) + c * y * y) for x, y in path.tolist()]
        for name, path in (("rmsprop", rmsprop), ("sgd", sgd))
    }
    reach = _reach(gradient, rmsprop, step)
    turn = np.arange(73) * (2.0 * np.pi / 72)
    at = rmsprop[step]
    ellipse = points(at[0] + reach[0] * np.cos(turn), at[1] + reach[1] * np.sin(turn))
    plot = Plot(
        x=Axis(name="first", low=-7.0, high=1.5),
        y=Axis(name="second", low=-4.0, high=2.5),
        lines=(
            start_line(start),
            path_line("sgd", sgd, 1, dots=False),
            path_line("rmsprop", rmsprop, 0),
            Line(name="ellipse", points=ellipse, style=3),
        ),
        contours=ellipses((a, b, c), HEIGHTS),
        equal=True,
    )
    return FigureContent(
        plots=(plot,),
        readouts={
            "condition": _condition((a, b, c), reach.tolist()),
            **{name: _steps_down(of) for name, of in heights.items()},
        },
    )


def _reach(gradient: Any, path: np.ndarray, step: int) -> np.ndarray:
    """Return 1/√v of both coordinates after some steps, so that the larger one is 1."""
    state, still = init(RULE, np.zeros(2)), np.zeros(2)
    for t in range(1, max(step, 1) + 1):
        slopes = np.array(gradient(*path[t - 1].tolist()))
        _, state = update(RULE, LR, t, still, slopes, state)
    reach = 1.0 / np.sqrt(state["square_avg"])
    return np.asarray(REACH * reach / reach.max())


def _condition(curvature: tuple[float, float, float], reach: list[float]) -> float:
    """Return how elongated the bowl is in the stretched space: its largest eigenvalue over its smallest."""
    (a, b, c), (p, q) = curvature, reach
    middle, difference = 0.5 * (a * p + c * q), 0.5 * (a * p - c * q)
    largest = middle + math.sqrt(difference * difference + b * b * p * q)
    return largest * largest / ((a * c - b * b) * (p * q))


def _steps_down(heights: list[float]) -> int | None:
    """Return after how many steps the height is at most a hundredth of what it was."""
    return next((step for step, height in enumerate(heights) if height <= 0.01 * heights[0]), None)


FIGURE = Figure(
    name="preconditioner",
    controls=(
        Slider(name="angle", values=ANGLES, start=0),
        Slider(name="step", values=tuple(range(STEPS + 1)), start=10),
    ),
    answer=1,
    content=_content,
    data=data,
)
