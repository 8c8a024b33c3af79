"""The eleven figures, in the order of the page."""

from rmsprop.lab.explain.controls import Figure
from rmsprop.lab.explain.figures import adam, averages, memory, preconditioner, ravine, signs, ten, variants

FIGURES: tuple[Figure, ...] = (
    ravine.FIGURE,
    signs.FIGURE,
    ten.FIGURE,
    averages.FIGURE,
    memory.FIGURE,
    preconditioner.FIGURE,
    variants.FIGURE,
    adam.FIGURE,
)
