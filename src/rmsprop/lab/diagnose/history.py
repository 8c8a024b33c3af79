"""What can be known of a run, whoever wrote it down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from rmsprop.lab.diagnose.reading import Reading
from rmsprop.lab.verdict.curves import Lost
from rmsprop.lab.wording import Terms

# Fewer validations than these don't make a curve.
FEWEST_VALIDATIONS = 4
# Fields of a rule that make up for a v that begins at 0.
MAKE_UP = ("bias_correction", "init_from_gradient", "delayed")
Unit = Literal["step", "epoch"]
Layers = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Series:
    """Numbers over time.

    Args:
        times: Steps or epochs, rising.
        values: The numbers, perhaps not finite.
    """

    times: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.times)

    @classmethod
    def of(cls, points: Mapping[int, float]) -> Series:
        """Return the curve of some points.

        Args:
            points: Time -> number, in any order.

        Returns:
            The curve.

        Examples:
            >>> Series.of({2: 0.5, 1: 1.0})
            Series(times=(1, 2), values=(1.0, 0.5))
        """
        return cls(tuple(sorted(points)), tuple(points[time] for time in sorted(points)))


@dataclass(frozen=True)
class Statistics:
    """What was measured of the layers.

    Args:
        steps: When.
        layers: Name, size, dtype of the parameters and of the averages, for each layer.
        values: For each statistic of `rmsprop.lab.recorder.measure.STATISTICS` that there is, a matrix with a row per
            measurement and a column per layer; NaN where it can't be told.
    """

    steps: tuple[int, ...]
    layers: Layers
    values: Mapping[str, np.ndarray]

    def of(self, name: str) -> np.ndarray | None:
        """Return the matrix of a statistic, or None if nothing is known of it.

        Args:
            name: The statistic.

        Returns:
            The matrix.
        """
        matrix = self.values.get(name)
        return None if matrix is None or np.isnan(matrix).all() else matrix

    def until(self, end: int) -> Statistics:
        """Return what was measured before a time.

        Args:
            end: The time, a step or an epoch.

        Returns:
            The statistics, perhaps none.
        """
        kept = sum(step < end for step in self.steps)
        return Statistics(self.steps[:kept], self.layers, {name: rows[:kept] for name, rows in self.values.items()})

    @property
    def sizes(self) -> np.ndarray:
        """The number of parameters of each layer."""
        return np.array([layer["size"] for layer in self.layers], dtype=float)


@dataclass(frozen=True, kw_only=True)
class History:
    """A run's history.

    Args:
        name: What to call the run.
        source: What it was read from, in a few words.
        unit: What times are counted in.
        train: The training loss.
        worst: The largest batch loss of the same times; empty if it isn't known.
        validation: The validation loss; empty if it isn't known.
        lr: The learning rate; empty if it isn't known.
        initial: Training and validation loss before the first step, where they are known.
        constant_loss: The training loss of the best constant answer. Default infinity: not known.
        constant_validation_loss: Its validation loss. Default infinity: not known.
        holds_out: Whether validation looks at other data than training. Default True.
        optimizer: The optimizer's class, without its module; empty if it isn't known.
        group: What the optimizer computes with, under the names of a `Rule`: that of its first parameter group.
        statistics: What was measured of the layers; None if nothing was.
        given_up: How `rmsprop train` gave the run up after the last epoch of these curves. Default None.
        patience: The epochs without a lower validation loss after which `rmsprop train` stopped it. Default None.
        loss_name: What the loss is, for an axis. Default only that it is one.
        reading: What a reader took for what, and how many rows it read; None if no reader did.
        terms: How to speak of it. Default: as of anybody's loop.
    """

    name: str
    source: str
    unit: Unit
    train: Series
    worst: Series = field(default_factory=Series)
    validation: Series = field(default_factory=Series)
    lr: Series = field(default_factory=Series)
    initial: tuple[float, float] | None = None
    constant_loss: float = math.inf
    constant_validation_loss: float = math.inf
    holds_out: bool = True
    optimizer: str = ""
    group: Mapping[str, Any] = field(default_factory=dict)
    statistics: Statistics | None = None
    given_up: Lost | None = None
    patience: int | None = None
    loss_name: str = "loss"
    reading: Reading | None = None
    terms: Terms | None = None

    @property
    def is_validated(self) -> bool:
        """Whether there are enough finite validation losses to judge by."""
        return sum(map(math.isfinite, self.validation.values)) >= FEWEST_VALIDATIONS

    @property
    def begins_at_zero(self) -> bool:
        """Whether v begins at 0 and nothing makes up for it, as far as the optimizer is known."""
        return not any(self.group.get(name) for name in ("initial_square_avg", *MAKE_UP))

    @property
    def end(self) -> int:
        """The last time of which anything is known."""
        curves = (self.train.times, self.validation.times, self.statistics.steps if self.statistics else ())
        return max((times[-1] for times in curves if times), default=0)


def median(values: Sequence[float] | np.ndarray) -> float:
    """Return the median of the numbers that are known, NaN if none is.

    Args:
        values: The numbers, NaN for what isn't known.

    Returns:
        The median.

    Examples:
        >>> median([1.0, float("nan"), 3.0])
        2.0
    """
    known = [value for value in np.ravel(values) if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan
