"""What a row of `CASES` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

Shapes = tuple[tuple[int, ...], ...]
LIBRARIES = {
    "torch": "PyTorch",
    "numpy": "NumPy",
    "jax": "JAX",
    "keras-torch": "Keras on torch",
    "keras-tensorflow": "Keras on TensorFlow",
}


@dataclass(frozen=True)
class Limit:
    """The most processor time that a step may take.

    Args:
        most: As a multiple of another contender's step, or in microseconds.
        of: The other contender. Default None: ``most`` is in microseconds.
        who: Whose step is limited. Default: that of rmsprop.
    """

    most: float
    of: str | None = None
    who: str = "rmsprop"

    @property
    def text(self) -> str:
        """What is measured, in few words."""
        return f"{self.who} / {self.of}, processor" if self.of else "µs, processor"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Arrays to update, options of the optimizer, how often to measure and what to reach.

    Args:
        name: A short key.
        title: What a reader sees.
        library: Whose arrays they are: a key of `LIBRARIES`. Default ``"torch"``.
        contenders: The names of those who take part.
        situation: What parameters are like and what happens between steps: a key of `situations.SITUATIONS`, or on
            Keras what a step is, a key of `on_keras.STEPS`. Default "": nothing out of the ordinary.
        shapes: The parameters' shapes.
        options: Options of RMSprop beside the learning rate.
        adam_options: What makes Adam move as many bytes as it can be made to, beside the learning rate.
        arrays: Arrays per parameter, gradient included; all but the gradient are read and written. Default 3.
        steps: Steps per round, timed together. Default 1.
        rounds: Rounds per placement in memory. Default 25.
        placements: How often all arrays move to fresh memory, lest one lucky set of pages decide. Default 5.
        at_least: The contender to be faster than -> how many times, by the wall clock.
        limits: The most processor time that steps may take.
        floor: The fraction of the memory's speed to reach; None for cases too small to be bound by it. Default None.
    """

    name: str
    title: str
    library: str = "torch"
    contenders: tuple[str, ...]
    situation: str = ""
    shapes: Shapes
    options: Mapping[str, Any] = field(default_factory=dict)
    adam_options: Mapping[str, Any] = field(default_factory=dict)
    arrays: int = 3
    steps: int = 1
    rounds: int = 25
    placements: int = 5
    at_least: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    floor: float | None = None

    @property
    def heading(self) -> str:
        """The title with its library."""
        return f"{LIBRARIES[self.library]}: {self.title}"

    @property
    def backend(self) -> str | None:
        """The backend of Keras, which must be chosen before Keras is loaded; None for other libraries."""
        return self.library.removeprefix("keras-") if self.library.startswith("keras-") else None

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(map(prod, self.shapes))

    @property
    def largest_bytes(self) -> int:
        """The size of the largest parameter, in bytes."""
        return 4 * max(map(prod, self.shapes))

    @property
    def bytes_per_step(self) -> int:
        """What one step of RMSprop must read and write, in bytes."""
        return 4 * self.parameters * (2 * self.arrays - 1)

    def quick(self) -> Case:
        """Return the case in a size that takes no time, to see that the benchmarks run."""
        smaller = tuple(tuple(min(size, 64) for size in shape) for shape in self.shapes[:12])
        return replace(self, shapes=smaller, steps=min(self.steps, 2), rounds=3, placements=2)
