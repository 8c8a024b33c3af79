"""How much is tried, as rows of data. This module imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class TuningBudget:
    """How much is tried.

    Args:
        sweeps: Seeds of the range test.
        short: Length of the runs before the last comparison, as a share of the problem's epochs.
        seeds: Seeds of these runs where learning rates are verified.
        map_seeds: Seeds of each cell of a map and of each sample.
        reach: Learning rates of a map on either side of the verified one, each three times the next.
        decays: Decays of the map.
        epsilons: Epsilons of the map, for each of its two places.
        samples: Points of the joint search.
        final_seeds: Seeds of the last comparison, none of them used before.
    """

    sweeps: int
    short: float
    seeds: int
    map_seeds: int
    reach: int
    decays: tuple[float, ...]
    epsilons: tuple[float, ...]
    samples: int
    final_seeds: int


# Processor time for digits, one thread (measured): quick 15 s, standard 30 s; full takes eight times as many epochs.
BUDGETS: Mapping[str, TuningBudget] = MappingProxyType(
    {
        "quick": TuningBudget(
            sweeps=3,
            short=1 / 3,
            seeds=3,
            map_seeds=1,
            reach=2,
            decays=(0.5, 0.9, 0.99, 0.999),
            epsilons=(1e-8, 1e-5, 1e-2, 1.0),
            samples=12,
            final_seeds=5,
        ),
        "standard": TuningBudget(
            sweeps=5,
            short=1 / 3,
            seeds=5,
            map_seeds=3,
            reach=3,
            decays=(0.0, 0.5, 0.9, 0.97, 0.99, 0.997, 0.999),
            epsilons=(1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0),
            samples=32,
            final_seeds=10,
        ),
        "full": TuningBudget(
            sweeps=10,
            short=1.0,
            seeds=10,
            map_seeds=5,
            reach=4,
            decays=(0.0, 0.3, 0.5, 0.8, 0.9, 0.97, 0.99, 0.997, 0.999, 0.9997),
            epsilons=(1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0),
            samples=128,
            final_seeds=20,
        ),
    }
)
