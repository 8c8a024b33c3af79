"""How often intervals hold the true value when tuning is noisy: studies drawn, and studies taken for given.

`python -m benchmarks.intervals` prints the table that docs/compare.md and `rmsprop.lab.compare.statistics` quote.
"""

import numpy as np

from rmsprop.lab.compare import statistics

REPETITIONS, COMPARISONS = 1000, 7


def missed(seeds, studies, tuning_noise, *, fixed, level=statistics.CONFIDENCE):
    """Return how often an interval misses the true value."""
    rng = np.random.default_rng(0)
    study = np.arange(seeds) % studies
    drawn = _fixed(study) if fixed else statistics.resamples(study.tolist())
    shifts = tuning_noise * rng.normal(size=(REPETITIONS, studies))
    samples = shifts[:, study] + rng.normal(size=(REPETITIONS, seeds))
    return sum(statistics.estimate(sample, drawn, level=level).decided for sample in samples) / REPETITIONS


def _fixed(study):
    """Draw runs within each study: the stratified bootstrap of Agarwal et al. (2021)."""
    rng = np.random.default_rng(0)
    columns = [rng.choice(np.flatnonzero(study == one), size=statistics.DRAWS) for one in study]
    return statistics.Draws(np.stack(columns, axis=1), len(study))


def main():
    print(f"the difference is 0; {COMPARISONS} comparisons; standard deviation of seeds 1, of tuning as told")
    print("seeds  studies  tuning   95 %: held with studies given   held with studies drawn   wrong verdicts, drawn")
    level = statistics.simultaneous(COMPARISONS)
    for seeds, studies in ((6, 1), (20, 1), (6, 2), (20, 3), (50, 5)):
        for noise in (0.0, 0.5, 1.0) if studies > 1 else (0.0,):
            given, drawn = (1.0 - missed(seeds, studies, noise, fixed=fixed) for fixed in (True, False))
            wrong = missed(seeds, studies, noise, fixed=False, level=level)
            print(f"{seeds:5}  {studies:7}  {noise:6g}  {given:30.1%}  {drawn:24.1%}  {wrong:22.1%}", flush=True)


if __name__ == "__main__":
    main()
