"""Figure 1, a ravine: the steepest side limits the learning rate, and the flat floor pays for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, Points, ellipses, points
from rmsprop.lab.explain.controls import Figure, Slider
from rmsprop.lab.surfaces.paths import Move, by_torch

START, STEPS, MOST_STEPS = (-10.0, 1.0), 60, 20_000
HEIGHTS = (0.5, 2.0, 8.0, 20.0, 40.0)
Gradient = Callable[[float, float], tuple[float, float]]


def descend(move: Move, gradient: Gradient, start: tuple[float, float], steps: int) -> np.ndarray:
    """Return a path over two coordinates.

    Args:
        move: Takes the steps.
        gradient: Has the slopes at a point.
        start: The first point.
        steps: How many steps.

    Returns:
        A row before the first step and one after each.
    """
    path = [np.array(start)]
    for step in range(1, steps + 1):
        path.append(move(step, path[-1], np.array(gradient(*path[-1].tolist()))))
    return np.array(path)


def bowl(kappa: float, scale: float = 1.0) -> Gradient:
    """Return the gradient of scale·½(x² + κy²).

    Args:
        kappa: κ, how much steeper it is across than along.
        scale: What it is multiplied with. Default 1.

    Returns:
        The function of x and y.

    Examples:
        >>> bowl(20.0)(-10.0, 1.0)
        (-10.0, 20.0)
    """
    return lambda x, y: (scale * x, scale * (kappa * y))


def start_line(start: tuple[float, float]) -> Line:
    """Return the dot at which paths begin.

    Args:
        start: The point.

    Returns:
        A line of one point, which is seen before the answer.
    """
    return Line(name="start", points=[start], style=5, given=True, dots=True, joined=False)


def path_line(name: str, path: np.ndarray, style: int, *, dots: bool = True) -> Line:
    """Return a path as a line.

    Args:
        name: What it is called.
        path: Its points, a row each.
        style: Its style.
        dots: Whether each point has a dot. Default True.

    Returns:
        The line.
    """
    return Line(name=name, points=points(path[:, 0], path[:, 1]), style=style, dots=dots)


def ground(kappa: float) -> tuple[Points, ...]:
    """Return contours of ½(x² + κy²).

    Args:
        kappa: κ.

    Returns:
        The lines.
    """
    return ellipses((1.0, 0.0, kappa), HEIGHTS)


def _content(kappa: float, share: float) -> FigureContent:
    lr = share * (2.0 / kappa)
    path = descend(by_torch(lambda params: torch.optim.SGD(params, lr=lr)), bowl(kappa), START, STEPS)
    plot = Plot(
        x=Axis(name="x", low=-11.0, high=3.0),
        y=Axis(name="y", low=-1.5, high=1.5),
        lines=(start_line(START), path_line("sgd", path, 1)),
        contours=ground(kappa),
    )
    return FigureContent(plots=(plot,), readouts={"largest": 2.0 / kappa, "lr": lr, "steps": _steps(kappa, lr)})


def _steps(kappa: float, lr: float) -> int | None:
    """Return after how many steps the height is at most a hundredth of what it was."""
    x, y = START
    target = 0.01 * (x * x + kappa * y * y)
    for step in range(MOST_STEPS + 1):
        if x * x + kappa * y * y <= target:
            return step
        x, y = x - lr * x, y - lr * (kappa * y)
    return None


FIGURE = Figure(
    name="ravine",
    controls=(
        Slider(name="kappa", values=(1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000), start=20),
        Slider(
            name="share", values=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05), start=0.95
        ),
    ),
    answer=2,
    content=_content,
)
