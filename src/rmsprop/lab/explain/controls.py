"""The controls of a figure. Each takes one of a few values, so that a link says exactly what is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rmsprop.lab.explain.content import FigureContent


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A slider over some numbers.

    Args:
        name: Its key in the figure's text.
        values: The numbers, in rising order.
        start: The one that the figure opens with.
    """

    name: str
    values: tuple[float, ...]
    start: float


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A box to tick.

    Args:
        name: Its key in the figure's text.
        start: Whether it is ticked when the figure opens.
    """

    name: str
    start: bool


@dataclass(frozen=True, kw_only=True)
class Menu:
    """A choice among words.

    Args:
        name: Its key in the figure's text.
        options: The words.
        start: The one that the figure opens with.
    """

    name: str
    options: tuple[str, ...]
    start: str


Control = Slider | Switch | Menu


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One of the page's figures.

    Args:
        name: Its name in links, in the texts, and of its script.
        controls: What can be set.
        answer: Which of the choices of its question is right, counted from 0.
        content: Makes what is seen from the settings, by their names.
        data: What its script needs to know. Default: nothing.
    """

    name: str
    controls: tuple[Control, ...]
    answer: int
    content: Callable[..., FigureContent]
    data: Callable[[], Mapping[str, Any]] = field(default=dict)

    @property
    def settings(self) -> dict[str, float | bool | str]:
        """The settings that it opens with."""
        return {control.name: control.start for control in self.controls}
