"""Figure 10, build Adam: RMSProp, with the average of gradients and bias correction switched on one by one."""

from __future__ import annotations

import numpy as np
import torch

from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, points
from rmsprop.lab.explain.controls import Figure, Switch
from rmsprop.lab.explain.figures.averages import sizes
from rmsprop.lab.explain.figures.memory import gradients
from rmsprop.lab.surfaces.paths import by_torch

BETA1, BETA2, EPS, STEADY = 0.9, 0.999, 1e-8, 50


def steps(found: np.ndarray, average: bool, correction: bool) -> np.ndarray:
    """Return the steps of what is built, in learning rates.

    Args:
        found: One gradient per step.
        average: Whether the average of gradients is divided in the place of the gradient.
        correction: Whether both averages are divided by the share of them that has been filled.

    Returns:
        What each step subtracts from a weight.
    """
    mean = spread = 0.0
    moved = np.empty(len(found))
    for t, g in enumerate(found.tolist(), start=1):
        mean = mean + (1.0 - BETA1) * (g - mean) if average else g
        spread = BETA2 * spread + (1.0 - BETA2) * g * g
        first, second = (1.0 - BETA1**t, 1.0 - BETA2**t) if correction else (1.0, 1.0)
        first = first if average else 1.0
        moved[t - 1] = (1.0 / first) * (mean / (np.sqrt(spread) / np.sqrt(second) + EPS))
    return moved


def _content(average: bool, correction: bool) -> FigureContent:
    steady, real = np.ones(STEADY), gradients()["middling"]
    adam = [sizes(by_torch(lambda params: torch.optim.Adam(params, lr=1.0), size=1), of) for of in (steady, real)]
    built = [steps(of, average, correction) for of in (steady, real)]
    paths = [-np.cumsum(of) for of in (built[1], adam[1])]
    first = np.arange(1, STEADY + 1)
    along, later = Axis(name="step", low=0.0, high=float(STEADY)), np.arange(1, len(real) + 1)
    apart = float(np.abs(paths[0] - paths[1]).max())
    least, most = min(float(of.min()) for of in paths), max(float(of.max()) for of in paths)
    return FigureContent(
        plots=(
            Plot(
                x=along,
                y=Axis(name="length", low=0.5, high=50.0, log=True),
                lines=(
                    Line(name="adam", points=points(first, adam[0]), style=1),
                    Line(name="built", points=points(first, built[0]), style=0),
                ),
            ),
            Plot(
                x=Axis(name="step", low=0.0, high=float(len(real))),
                y=Axis(name="weight", low=least, high=most),
                lines=(
                    Line(name="adam", points=points(later, paths[1]), style=1),
                    Line(name="built", points=points(later, paths[0]), style=0),
                ),
            ),
        ),
        # Below the rounding of 150 steps, two paths are the same.
        readouts={"first": float(built[0][0]), "tenth": float(built[0][9]), "apart": apart if apart > 1e-9 else 0.0},
    )


FIGURE = Figure(
    name="adam",
    controls=(Switch(name="average", start=False), Switch(name="correction", start=False)),
    answer=1,
    content=_content,
)
