"""Figure 5, memory: what ρ remembers of the gradients of a real run, and where v starts from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from rmsprop.horizon import half_life, window
from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, points
from rmsprop.lab.explain.controls import Figure, Menu, Slider, Switch
from rmsprop.lab.window.gradients import SHOWN, record
from rmsprop.reference import init, update
from rmsprop.rule import Rule

PROBLEM, STEPS = "digits", 150
EPS = 1e-8


@cache
def gradients() -> Mapping[str, np.ndarray]:
    """Return the gradients of three weights over the first steps of a training run on handwritten digits.

    Returns:
        A word for their size -> one gradient per step, to six digits.
    """
    found = record(PROBLEM, STEPS).shown()
    return {name: np.array([float(f"{g:.6g}") for g in of]) for name, of in found.items()}


def data() -> Mapping[str, Any]:
    """Return what the scripts of this figure and of the one on Adam need.

    Returns:
        The gradients as lists.
    """
    return {name: of.tolist() for name, of in gradients().items()}


def _content(weight: str, rho: float, start: str, correction: bool) -> FigureContent:
    found = gradients()[weight]
    rule = Rule(decay=rho, eps=EPS, initial_square_avg=float(start), bias_correction=correction)
    state, still = init(rule, np.zeros(1)), np.zeros(1)
    roots, lengths = np.empty(STEPS), np.empty(STEPS)
    for step, g in enumerate(found, start=1):
        moved, state = update(rule, 1.0, step, still, np.array([g]), state)
        roots[step - 1], lengths[step - 1] = np.sqrt(state["square_avg"][0]), abs(moved[0])
    steps, most = np.arange(1, STEPS + 1), float(np.abs(found).max())
    across = Axis(name="step", low=0.0, high=float(STEPS))
    given = Line(name="size", points=_above_zero(steps, np.abs(found)), style=5, given=True, dots=True, joined=False)
    return FigureContent(
        plots=(
            Plot(
                x=across,
                y=Axis(name="size", low=most * 1e-3, high=2.0, log=True),
                lines=(given, Line(name="root", points=points(steps, roots), style=0)),
            ),
            Plot(
                x=across,
                y=Axis(name="length", low=0.003, high=100.0, log=True),
                lines=(Line(name="steps", points=_above_zero(steps, lengths), style=3, dots=True, joined=False),),
            ),
        ),
        readouts={"first": float(lengths[0]), "half_life": half_life(rho), "window": window(rho)},
    )


def _above_zero(steps: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
    """Return the points that a logarithmic axis has a place for."""
    return points(steps[values > 0], values[values > 0])


FIGURE = Figure(
    name="memory",
    controls=(
        Slider(name="rho", values=(0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999), start=0.99),
        Menu(name="start", options=("0", "1"), start="0"),
        Switch(name="correction", start=False),
        Menu(name="weight", options=tuple(SHOWN), start="middling"),
    ),
    answer=2,
    content=_content,
    data=data,
)
