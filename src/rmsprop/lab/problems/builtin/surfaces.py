"""Functions of two variables: what the classical pictures of optimizers are drawn on.

Each is written in plain arithmetic, so that the same lines serve NumPy, PyTorch and complex or symbolic numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A function of two variables, and what one wants to know of it.

    Args:
        about: What it is known for, in a few words.
        formula: What it computes, as a person and JavaScript would both write it: ``x``, ``y`` and ``**``.
        f: The function of x and y.
        start: Where descents begin.
        minima: Where it is lowest.
        least: Its value there.
        window: What a picture shows: the least and greatest x, then y.
        source: Where it comes from.
        lr: The learning rate of its source's example, which all optimizers have there. Default: none.
        steps: How many steps show what there is to see. Default 50.
    """

    about: str
    formula: str
    f: Callable[[Any, Any], Any]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    least: float
    window: tuple[float, float, float, float]
    source: str
    lr: float | None = None
    steps: int = 50


SURFACES: Mapping[str, Surface] = MappingProxyType(
    {
        "bowl": Surface(
            about="the elongated bowl of Dive into Deep Learning",
            formula="0.1*x**2 + 2*y**2",
            f=lambda x, y: 0.1 * x**2 + 2 * y**2,
            start=(-5.0, -2.0),
            minima=((0.0, 0.0),),
            least=0.0,
            window=(-5.6, 5.6, -2.8, 2.8),
            source="Zhang, Lipton, Li, Smola, Dive into Deep Learning, sections 12.7 and 12.8",
            lr=0.4,
            steps=20,
        ),
        "bowl-rotated": Surface(
            about="the same turned by 45 degrees and scaled, where no coordinate can be scaled alone",
            formula="0.1*(x + y)**2 + 2*(x - y)**2",
            f=lambda x, y: 0.1 * (x + y) ** 2 + 2 * (x - y) ** 2,
            start=(-5.0, -2.0),
            minima=((0.0, 0.0),),
            least=0.0,
            window=(-5.6, 5.6, -5.6, 5.6),
            source="Zhang, Lipton, Li, Smola, Dive into Deep Learning, exercises of section 12.7",
        ),
        "bowl-steep": Surface(
            about="an ill-conditioned bowl, a thousand times as steep across as along",
            formula="0.01*x**2 + 10*y**2",
            f=lambda x, y: 0.01 * x**2 + 10 * y**2,
            start=(-5.0, -2.0),
            minima=((0.0, 0.0),),
            least=0.0,
            window=(-5.6, 5.6, -2.8, 2.8),
            source="the bowl of Dive into Deep Learning with condition number 1000 instead of 20",
        ),
        "rosenbrock": Surface(
            about="a curved, flat valley between steep walls",
            formula="(1 - x)**2 + 100*(y - x**2)**2",
            f=lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
            start=(-1.2, 1.0),
            minima=((1.0, 1.0),),
            least=0.0,
            window=(-2.0, 2.0, -1.0, 3.0),
            source="Rosenbrock, The Computer Journal 3 (1960), p. 175",
        ),
        "beale": Surface(
            about="a flat plain with a narrow valley and steep corners",
            formula="(1.5 - x + x*y)**2 + (2.25 - x + x*y**2)**2 + (2.625 - x + x*y**3)**2",
            f=lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
            start=(1.0, 1.0),
            minima=((3.0, 0.5),),
            least=0.0,
            window=(-0.5, 4.5, -1.5, 1.6),
            source="Beale 1958; start of Moré, Garbow, Hillstrom, ACM TOMS 7 (1981), problem 5",
        ),
        "saddle": Surface(
            about="a saddle at the origin, x² − y² near it, between two minima",
            formula="x**2 + (y**2/2 - 1)**2",
            f=lambda x, y: x**2 + (y**2 / 2 - 1) ** 2,
            start=(-1.5, 0.001),
            minima=((0.0, -(2.0**0.5)), (0.0, 2.0**0.5)),
            least=0.0,
            window=(-2.0, 2.0, -2.0, 2.0),
            source="x² − y² with a floor: the quartic term keeps it from falling without end",
        ),
    }
)
