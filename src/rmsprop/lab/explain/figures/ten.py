"""Figure 3, Hinton's ten minibatches: gradients that cancel, and what normalised steps make of them."""

from __future__ import annotations

import numpy as np

from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, Points, points
from rmsprop.lab.explain.controls import Figure, Slider
from rmsprop.lab.surfaces.paths import Move, by_reference
from rmsprop.rule import Rule

GRADIENTS = (*[0.1] * 9, -0.9)
BATCHES = 50


def settled(rho: float) -> float:
    """Return the average of squares at the start of ten minibatches, when it has been through many of them.

    Args:
        rho: ρ, the share that the average keeps, below 1.

    Returns:
        The value to which ten minibatches bring it back.

    Examples:
        >>> round(settled(0.9), 3)
        0.133
    """
    fresh, kept = 0.0, 1.0
    for g in GRADIENTS:
        fresh, kept = fresh + (1.0 - rho) * (g * g - fresh), rho * kept
    return fresh / (1.0 - kept)


def weights(move: Move) -> np.ndarray:
    """Return a weight over the minibatches, from 0, in learning rates.

    Args:
        move: Takes the steps of an optimizer of one coordinate.

    Returns:
        The weight before the first minibatch and after each.
    """
    found = [np.zeros(1)]
    for step in range(1, BATCHES + 1):
        found.append(move(step, found[-1], np.array([GRADIENTS[(step - 1) % 10]])))
    return np.concatenate(found)


def _content(rho: float) -> FigureContent:
    batches = np.arange(BATCHES + 1)
    rmsprop = weights(by_reference(Rule(decay=rho, initial_square_avg=settled(rho)), 1.0, size=1))
    sign = weights(lambda step, weight, g: weight - np.sign(g))
    gradients: Points = [(step, GRADIENTS[(step - 1) % 10]) for step in range(1, BATCHES + 1)]
    given = Line(name="gradient", points=gradients, style=5, given=True, dots=True, joined=False)
    lines = (
        Line(name="sign", points=points(batches, sign), style=2),
        Line(name="rmsprop", points=points(batches, rmsprop), style=0),
    )
    across = Axis(name="minibatch", low=0.0, high=float(BATCHES))
    return FigureContent(
        plots=(
            Plot(x=across, y=Axis(name="gradient", low=-1.0, high=0.4), lines=(given,)),
            Plot(x=across, y=Axis(name="weight", low=-42.0, high=4.0), lines=lines),
        ),
        readouts={"sign": float(sign[10]), "rmsprop": float(rmsprop[10])},
    )


FIGURE = Figure(
    name="ten",
    controls=(
        Slider(name="rho", values=(0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999), start=0.9),
    ),
    answer=1,
    content=_content,
)
