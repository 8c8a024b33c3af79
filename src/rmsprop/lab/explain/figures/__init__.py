"""The eleven figures, in the order of the page."""

from rmsprop.lab.explain.controls import Figure
from rmsprop.lab.explain.figures import (
    adam,
    averages,
    memory,
    preconditioner,
    race,
    rare,
    ravine,
    signs,
    ten,
    use,
    variants,
)

FIGURES: tuple[Figure, ...] = (
    ravine.FIGURE,
    signs.FIGURE,
    ten.FIGURE,
    averages.FIGURE,
    memory.FIGURE,
    preconditioner.FIGURE,
    rare.FIGURE,
    race.FIGURE,
    variants.FIGURE,
    adam.FIGURE,
    use.FIGURE,
)
