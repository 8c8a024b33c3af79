"""Comparisons whose outcome is known, because their curves are made up."""

import math

import numpy as np

from rmsprop.lab.batched import Curve
from rmsprop.lab.compare.results import Budget, Comparison, Facts, Run, Trial
from rmsprop.lab.optimizers import choose

EPOCHS, STEPS, STUDIES = 10, 5, 3


def curve(end, *, lost_at=None, optimum=0.0, metric=None):
    """A loss that falls exponentially from 2 to ``end`` in the last epoch."""
    train = optimum + 2.0 * (end / 2.0) ** (np.arange(EPOCHS + 1) / EPOCHS)
    if lost_at is not None:
        train[lost_at // STEPS :] = math.inf
    accuracy = 1.0 - train / 10 if metric is None else np.full(EPOCHS + 1, metric)
    return Curve(
        train=train,
        validation=train.copy(),
        metric=accuracy,
        lr=0.001 * 1.5 ** np.arange(EPOCHS + 1),
        test=math.inf if lost_at is not None else float(train[-1]),
        test_metric=-math.inf if lost_at is not None else float(accuracy[-1]),
        diverged_at=lost_at,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
    )


def comparison(ends, *, seeds=20, lost=(), tracks=("tuned", "defaults"), optimum=None, noise=0.02, **more):
    """Compare optimizers whose losses end around given values, a little noise from seed to seed.

    Args:
        ends: Optimizer -> the loss at its end.
        lost: Pairs of optimizer and seed: runs that diverge.
        tracks: The tracks.
        optimum: The least loss.
        noise: The standard deviation of the logarithm of the losses, of which seeds share half.
    """
    rng = np.random.default_rng(0)
    shared = rng.normal(scale=noise, size=seeds)
    runs = [
        Run(
            track=track,
            optimizer=name,
            study=seed % STUDIES if track == "tuned" else None,
            seed=seed,
            choice=choose(name),
            curve=curve(
                end * math.exp(shared[seed] + rng.normal(scale=noise)),
                lost_at=17 if (name, seed) in lost else None,
                optimum=optimum or 0.0,
            ),
        )
        for track in tracks
        for name, end in ends.items()
        for seed in range(seeds)
    ]
    trials = [
        Trial(
            optimizer=name,
            study=study,
            choice=choose(name, lr=lr),
            seed=1_000_000 + study,
            score=math.inf if lr > 1 else end * (1 + abs(math.log(lr / 0.01))),
            widened=False,
        )
        for name, end in ends.items()
        for study in range(STUDIES)
        for lr in (0.0001, 0.01, 10.0)
    ]
    facts = Facts(
        problem="made-up",
        about="losses that fall as told",
        loss_name="squared error",
        metric="accuracy",
        metric_unit="",
        higher_is_better=True,
        optimum=optimum,
        rows=(60, 20, 20),
        epochs=EPOCHS,
        batch_size=12,
        steps_per_epoch=STEPS,
        parameters=7,
    )
    given = {
        "facts": facts,
        "budget": Budget(name="quick", trials=3, studies=STUDIES, seeds=seeds),
        "optimizers": tuple(ends),
        "trials": tuple(trials),
        "runs": tuple(runs),
        "seconds_per_step": dict.fromkeys(ends, 0.001),
        "evaluations": dict.fromkeys(ends, 1),
        "reference": "rmsprop",
        "notes": ("SGD: the learning rate was widened <once>.",),
        "versions": {"rmsprop": "0.1.0"},
    }
    return Comparison(**given | more)
