"""What becomes of a run when its batches grow: `Rule.scaled` beside other ways to choose learning rate and decay.

    python -m benchmarks.batch_size > benchmarks/results/<date>-<machine>/batch_size.txt

Each run takes as many samples as the one with the smallest batches; what is printed is its loss at the end as a
multiple of that run's, of ten seeds the middle one. docs/batch-size.md quotes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from rmsprop.lab.batched import Job, train_together
from rmsprop.lab.problems import load
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.tune.trials import Setting
from rmsprop.lab.verdict.levels import tail
from rmsprop.reference import init, update
from rmsprop.rule import Rule

Way = Callable[[Rule, float, int], tuple[Rule, float]]
FACTORS = (1, 4, 16, 64)
SEEDS = range(10)
RULE = Rule(decay=0.99)
WITH_MOMENTUM = Rule(decay=0.99, momentum=0.9)


def _power(rule: Rule, lr: float, factor: int) -> tuple[Rule, float]:
    return rule.scaled(factor), rule.scaled_lr(lr, factor)


def _first_order(rule: Rule, lr: float, factor: int) -> tuple[Rule, float]:
    """Scale 1 − ρ and 1 − μ by κ, as far as there is such a decay."""
    decay, momentum = (max(0.0, 1.0 - factor * (1.0 - x)) if x else 0.0 for x in (rule.decay, rule.momentum))
    return replace(rule.scaled(factor), decay=decay, momentum=momentum), rule.scaled_lr(lr, factor)


def _root(rule: Rule, lr: float, factor: int) -> tuple[Rule, float]:
    return rule, lr * factor**0.5


def _linear(rule: Rule, lr: float, factor: int) -> tuple[Rule, float]:
    return rule, lr * factor


def _same(rule: Rule, lr: float, factor: int) -> tuple[Rule, float]:
    return rule, lr


WAYS: Mapping[str, Way] = {
    "Rule.scaled: lr·√κ, ρ^κ": _power,
    "lr·√κ, 1 − κ(1 − ρ)": _first_order,
    "lr·√κ, ρ as it is": _root,
    "lr·κ, ρ as it is": _linear,
    "nothing changed": _same,
}


def quadratic(rule: Rule, lr: float, factor: int) -> list[float]:
    """Return the ends of runs on a bowl whose gradient is mostly noise: 6,400 samples, in batches of 1 to 64."""
    ends = []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        param = np.ones(1000)
        state = init(rule, param)
        for step in range(1, 6400 // factor + 1):
            grad = param + 8.0 / factor**0.5 * random.normal(size=param.shape)
            param, state = update(rule, lr, step, param, grad, state)
        ends.append(float(np.mean(param**2)))
    return ends


def trained(name: str, batch_size: int, epochs: int) -> Callable[[Rule, float, int], list[float]]:
    """Return what gives the training losses at the ends of runs of a problem of the lab."""

    def ends(rule: Rule, lr: float, factor: int) -> list[float]:
        choice = Setting(dialect="torch", rule=rule, lr=lr).choice
        jobs = [Job(choice=choice, seed=seed) for seed in SEEDS]
        curves = train_together(load(name), jobs, epochs=epochs, batch_size=batch_size * factor)
        return [tail(list(curve.train)) for curve in curves]

    return ends


def table(name: str, ends: Callable[[Rule, float, int], list[float]], rule: Rule, lr: float) -> Sequence[str]:
    """Return the lines of a problem."""
    first = median(ends(rule, lr, 1))
    lines = [f"{name}, ρ {rule.decay:g}, μ {rule.momentum:g}, lr {lr:g}: loss at the end {first:.4g}"]
    lines.append(f"  {'κ':<24}" + "".join(f"{factor:>8}" for factor in FACTORS[1:]))
    for way, scale in WAYS.items():
        found = [median(ends(*scale(rule, lr, factor), factor)) / first for factor in FACTORS[1:]]
        lines.append(f"  {way:<24}" + "".join(f"{ratio:8.2f}" for ratio in found))
    return lines


def main() -> None:
    """Print a table per problem."""
    cases = (
        ("noisy bowl", quadratic, RULE, 1e-3),
        ("noisy bowl", quadratic, WITH_MOMENTUM, 1e-4),
        ("digits, batches of 1", trained("digits", 1, 4), RULE, 1e-4),
        ("digits, batches of 1", trained("digits", 1, 4), WITH_MOMENTUM, 1e-5),
        ("english, batches of 4", trained("english", 4, 1), RULE, 3e-4),
    )
    for case in cases:
        print("\n".join(table(*case)), flush=True)


if __name__ == "__main__":
    with one_thread():
        main()
