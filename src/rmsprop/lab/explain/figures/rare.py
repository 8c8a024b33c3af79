"""Figure 7, rare classes: where frequencies follow Zipf's law, gradient descent hardly learns the rare ones.

A thousand classes, and an input of its own for each: a softmax over a square matrix of weights, which starts at 0. One
label in ten is wrong, any of the others, so that weights have an optimum. By symmetry a class has two different
weights, that of itself and that of every other, so two numbers stand for a row of the matrix.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, points
from rmsprop.lab.explain.controls import Figure, Slider
from rmsprop.lab.surfaces.paths import Move, by_reference, by_torch
from rmsprop.rule import Rule

CLASSES, STEPS, RIGHT = 1000, 100, 0.9
RULE = Rule()
# Ranks, of which lines are drawn.
COMMON, MIDDLING, RARE = 1, 30, 1000


def frequencies(classes: int) -> np.ndarray:
    """Return how often each class comes up: in proportion to 1/k.

    Args:
        classes: How many there are.

    Returns:
        Their shares, which sum to 1.

    Examples:
        >>> frequencies(2).round(3).tolist()
        [0.667, 0.333]
    """
    total = 0.0
    for k in range(1, classes + 1):
        total += 1.0 / k
    return np.asarray(1.0 / np.arange(1, classes + 1) / total)


def losses(move: Move, classes: int, steps: int) -> np.ndarray:
    """Return the loss on each class, above the least there is.

    Args:
        move: Takes the steps of an optimizer of two weights per class: first those of the classes themselves.
        classes: How many classes.
        steps: How many steps.

    Returns:
        A row before the first step and one after each.
    """
    share, theta, found = frequencies(classes), np.zeros(2 * classes), []
    odds = (1.0 - RIGHT) / RIGHT
    least = math.log1p(odds) + (1.0 - RIGHT) * math.log((classes - 1) / odds)
    for step in range(steps + 1):
        ahead = theta[:classes] - theta[classes:]
        others = (classes - 1) * np.exp(-ahead)
        found.append(np.log1p(others) + (1.0 - RIGHT) * ahead - least)
        missed = RIGHT - 1.0 / (1.0 + others)
        slopes = np.concatenate([-(share * missed), share * missed / (classes - 1)])
        theta = move(step + 1, theta, slopes) if step < steps else theta
    return np.array(found)


def _content(gd_lr: float, lr: float) -> FigureContent:
    gd = losses(by_torch(lambda params: torch.optim.SGD(params, lr=gd_lr), size=2 * CLASSES), CLASSES, STEPS)
    rmsprop = losses(by_reference(RULE, lr, size=2 * CLASSES), CLASSES, STEPS)
    steps, share = np.arange(STEPS + 1), frequencies(CLASSES)
    drawn = (
        ("gd_common", gd, COMMON, 1),
        ("gd_middling", gd, MIDDLING, 2),
        ("gd_rare", gd, RARE, 3),
        ("rms_common", rmsprop, COMMON, 0),
        ("rms_rare", rmsprop, RARE, 4),
    )
    plot = Plot(
        x=Axis(name="step", low=0.0, high=float(STEPS)),
        y=Axis(name="loss", low=1e-6, high=10.0, log=True),
        lines=tuple(
            Line(name=name, points=points(steps, of[:, rank - 1]), style=style) for name, of, rank, style in drawn
        ),
    )
    ends = {name: float(of[-1, rank - 1]) for name, of, rank, _ in drawn}
    return FigureContent(
        plots=(plot,), readouts={**ends, "gd_all": float(gd[-1] @ share), "rms_all": float(rmsprop[-1] @ share)}
    )


FIGURE = Figure(
    name="rare",
    controls=(
        Slider(name="gd_lr", values=(3.0, 10.0, 30.0, 100.0, 200.0), start=30.0),
        Slider(name="lr", values=(0.003, 0.01, 0.03, 0.05, 0.1), start=0.05),
    ),
    answer=2,
    content=_content,
)
