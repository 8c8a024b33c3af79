"""Maps of the losses over the learning rate and the decay, and over the learning rate and ε in both of its places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmsprop.lab.tune.budgets import TuningBudget
from rmsprop.lab.tune.trials import Setting, Trials, Tried, best, rounded
from rmsprop.lab.tune.verification import FACTOR


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """Losses over learning rates and another number.

    Args:
        field: The other number, a field of `rmsprop.Rule`: ``"decay"`` or ``"eps"``.
        inside: Whether ε is under the root in all of the map.
        values: Those of the field, rising: the rows.
        lrs: The learning rates, rising: the columns.
        cells: What came of each, row by row.
    """

    field: str
    inside: bool
    values: tuple[float, ...]
    lrs: tuple[float, ...]
    cells: tuple[tuple[Tried, ...], ...]

    @property
    def name(self) -> str:
        """A word for it: ``"decay"``, ``"eps-outside"`` or ``"eps-inside"``."""
        return self.field if self.field == "decay" else f"eps-{'inside' if self.inside else 'outside'}"

    @property
    def title(self) -> str:
        """What a heading calls the other number."""
        return "decay" if self.field == "decay" else "ε in √" if self.inside else "ε outside √"

    @property
    def losses(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The typical loss of each cell, infinite where the runs diverged."""
        return np.array([[cell.typical for cell in row] for row in self.cells])

    @property
    def best(self) -> Tried:
        """The cell with the lowest loss."""
        return best([cell for row in self.cells for cell in row])

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, lists and strings, for JSON."""
        return {
            "field": self.field,
            "eps_inside_sqrt": self.inside,
            "values": list(self.values),
            "lrs": list(self.lrs),
            "losses": self.losses.tolist(),
            "diverged": [[cell.diverged for cell in row] for row in self.cells],
        }


def draw_maps(
    trials: Trials, centre: Setting, budget: TuningBudget, fixed: Mapping[str, Any], seeds: Sequence[int], epochs: int
) -> tuple[Map, ...]:
    """Try a grid around a setting: of decays, then of ε outside and inside the root.

    Args:
        trials: Tries settings.
        centre: The setting in the middle; its own decay and ε are on the maps.
        budget: How large the maps are.
        fixed: Fields of the rule that a person has fixed: there is no map of them.
        seeds: The seeds of each cell.
        epochs: Epochs of each run.

    Returns:
        The maps.
    """
    lrs = tuple(rounded(centre.lr * FACTOR**shift) for shift in range(-budget.reach, budget.reach + 1))
    maps = []
    if "decay" not in fixed:
        values = tuple(sorted({*budget.decays, centre.rule.decay}))
        if centre.rule.bias_correction:
            values = tuple(value for value in values if value < 1.0)
        maps.append(_draw(trials, centre, "decay", values, lrs, centre.rule.eps_inside_sqrt, seeds, epochs))
    if "eps" not in fixed:
        for inside in (False, True):
            if fixed.get("eps_inside_sqrt", inside) == inside:
                values = tuple(sorted({*budget.epsilons, centre.rule.eps} - {0.0}))
                maps.append(_draw(trials, centre, "eps", values, lrs, inside, seeds, epochs))
    return tuple(maps)


def _draw(
    trials: Trials,
    centre: Setting,
    field: str,
    values: tuple[float, ...],
    lrs: tuple[float, ...],
    inside: bool,
    seeds: Sequence[int],
    epochs: int,
) -> Map:
    settings = [centre.with_(lr=lr, **{field: value, "eps_inside_sqrt": inside}) for value in values for lr in lrs]
    name = "decay" if field == "decay" else "ε in √" if inside else "ε outside √"
    tried = trials.run(f"lr × {name}", settings, seeds, epochs)
    cells = tuple(tuple(tried[row * len(lrs) : (row + 1) * len(lrs)]) for row in range(len(values)))
    return Map(field=field, inside=inside, values=values, lrs=lrs, cells=cells)
