"""How often a verdict of `rmsprop tune` is wrong where nothing differs: the bootstrap alone, and what is used.

    python -m benchmarks.few_seeds > benchmarks/results/<date>-<machine>/few_seeds.txt

docs/tune.md and `rmsprop.lab.tune.comparison` quote what it prints. As there, the first is the best of five learning
rates on the seeds that it is compared on, and eight others are compared with it.
"""

from __future__ import annotations

import numpy as np

from rmsprop.lab.compare.statistics import Floats, differences, estimate, interquartile_mean, resamples, simultaneous
from rmsprop.lab.tune.comparison import apart

REPETITIONS, RATES, OTHERS = 500, 5, 4
LEVEL = simultaneous(RATES - 1 + OTHERS)


def wrong(losses: Floats) -> tuple[bool, bool]:
    """Return whether some verdict on equal settings is wrong: with the bootstrap alone, and with what is used."""
    first = int(interquartile_mean(losses[:RATES]).argmin())
    others = np.delete(losses, first, axis=0)
    drawn = resamples([0] * losses.shape[1])
    alone = any(estimate(differences(one, losses[first]), drawn, level=LEVEL).decided for one in others)
    return alone, any(apart(one, losses[first], LEVEL).decided for one in others)


def main() -> None:
    """Print a line per number of seeds."""
    print(f"equal settings, {RATES - 1 + OTHERS} verdicts: how often at least one is wrong ({REPETITIONS} repetitions)")
    print("seeds  bootstrap alone  as used")
    for seeds in (2, 3, 5, 8, 10, 20):
        rng = np.random.default_rng(0)
        found = [wrong(rng.normal(size=(RATES + OTHERS, seeds)) + rng.normal(size=seeds)) for _ in range(REPETITIONS)]
        alone, used = np.mean(found, axis=0)
        print(f"{seeds:5}  {alone:15.0%}  {used:7.0%}", flush=True)


if __name__ == "__main__":
    main()
