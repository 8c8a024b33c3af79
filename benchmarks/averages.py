"""What an average of the weights brings: EMA and SWA beside the raw weights, at a falling and a constant learning rate.

    python -m benchmarks.averages >> benchmarks/results/<date>-<machine>-averages/averages.txt
    python -m benchmarks.averages english >> benchmarks/results/<date>-<machine>-averages/averages.txt

Every run is one of `rmsprop train` with the problem's own settings and a seed of its own; those on text are trained
together, as by `rmsprop compare`, with the same settings and a constant learning rate. All averages of a line are
compared with the raw weights of the same seed: printed is the mean of the difference and its 95 % interval (Student's
t). docs/averaging.md quotes it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import t
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rmsprop.horizon import decay_from_half_life
from rmsprop.lab.batched import Job, train_together
from rmsprop.lab.optimizers import choose
from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.problems.defaults import PROBLEMS as PROBLEM_DEFAULTS
from rmsprop.lab.train.average import averaging
from rmsprop.lab.train.best import keeping
from rmsprop.lab.train.settings import resolve
from rmsprop.lab.train.training import Training

# Problem -> seeds.
PROBLEMS = {"digits": 20, "digits-cnn": 10}
SCHEDULES = ("cosine", "constant")
# What takes minutes per run is trained together, which has constant learning rates alone; its seeds.
TEXT, TEXT_SEEDS = "english", 10
# Half-lives of an EMA as shares of the run.
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass
class Ends:
    """How the runs of some weights ended, a number per seed.

    Args:
        last: The validation loss after the last epoch.
        kept: The test loss of the weights that `rmsprop train` keeps, those with the lowest validation loss.
    """

    last: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)

    def add(self, other: Ends) -> None:
        """Take in how another run ended."""
        self.last += other.last
        self.kept += other.kept


def trained(problem: Problem, given: Mapping[str, Any]) -> tuple[Ends, Ends, dict[float, float]]:
    """Train to the end with an average.

    Returns:
        How it ended for the raw weights and for the average, and the last validation loss of EMAs of other half-lives.
    """
    settings = averaging(keeping(resolve(given), problem), problem)
    training, raw, averaged = Training(problem, settings), Ends(), Ends()
    steps = settings.epochs * training.steps_per_epoch
    emas = {
        share: AveragedModel(training.model, multi_avg_fn=get_ema_multi_avg_fn(decay_from_half_life(share * steps)))
        for share in SHARES
        if settings.average == "ema"
    }
    training.optimizer.register_step_post_hook(
        lambda *_: [ema.update_parameters(training.model) for ema in emas.values()]
    )
    lowest, epoch = math.inf, None
    for _ in range(settings.epochs):
        epoch = training.run_epoch()
        if epoch.validation_loss < lowest:
            lowest, raw.kept = epoch.validation_loss, [problem.evaluate(training.model, problem.test)[0]]
    assert epoch is not None
    raw.last, averaged.last = [epoch.validation_loss], [epoch.kept_loss]
    averaged.kept = [kept_test_loss(training, problem)]
    return raw, averaged, {share: problem.evaluate(ema.module, problem.validation)[0] for share, ema in emas.items()}


def kept_test_loss(training: Training, problem: Problem) -> float:
    """Return the test loss of the weights that are kept."""
    kept = training.kept_epoch(None)
    assert kept is not None
    training.take(kept)
    return problem.evaluate(training.model, problem.test)[0]


def ends_of(name: str, schedule: str, seeds: int) -> tuple[dict[str, Ends], dict[float, list[float]]]:
    """Return how runs ended with each kind of average, and with EMAs of each half-life."""
    problem = load(name)
    ends = {average: Ends() for average in ("none", "ema", "swa")}
    by_share: dict[float, list[float]] = {share: [] for share in SHARES}
    for seed in range(seeds):
        for average in ("ema", "swa"):
            given = {"problem": name, "schedule": schedule, "seed": seed, "average": average}
            raw, averaged, emas = trained(problem, given)
            ends[average].add(averaged)
            for share, loss in emas.items():
                by_share[share].append(loss)
            if average == "ema":  # which leaves the learning rate alone
                ends["none"].add(raw)
        print(f"{name}, {schedule}: seed {seed} done", file=sys.stderr)
    return ends, by_share


def text() -> None:
    """Train on text with all averages and seeds at once, and print how it ended."""
    problem, lr = load(TEXT), PROBLEM_DEFAULTS[TEXT].lr
    names = {"none": "rmsprop", "ema": "ema", "swa": "swa"}
    jobs = [Job(choice=choose(name, lr=lr), seed=seed) for name in names.values() for seed in range(TEXT_SEEDS)]
    curves = train_together(problem, jobs, on_epoch=lambda epoch: print(f"{TEXT}: {epoch}", file=sys.stderr))
    losses = {
        average: [curve.validation[-1] for curve in curves[place * TEXT_SEEDS : (place + 1) * TEXT_SEEDS]]
        for place, average in enumerate(names)
    }
    print(f"{TEXT}, constant learning rate, {TEXT_SEEDS} seeds")
    for average, found in losses.items():
        print(f"  {average:5}  last validation loss {np.mean(found):.4f}")
        if average != "none":
            print(f"         last validation loss less none: {difference(found, losses['none'])}")


def difference(losses: Sequence[float], raw: Sequence[float]) -> str:
    """Return the mean of a paired difference, its 95 % interval, and in how many pairs the first is lower."""
    paired = np.subtract(losses, raw)
    half = t.ppf(0.975, len(paired) - 1) * paired.std(ddof=1) / len(paired) ** 0.5
    return f"{paired.mean():+.4f} ± {half:.4f}, lower in {(paired < 0).sum()} of {len(paired)}"


def main() -> None:
    """Run the problems that are named, by default all, and print how they ended."""
    named = set(sys.argv[1:])
    with one_thread():
        if TEXT in named or not named:
            text()
        for name in [name for name in PROBLEMS if name in named or not named]:
            for schedule in SCHEDULES:
                ends, by_share = ends_of(name, schedule, PROBLEMS[name])
                print(f"{name}, {schedule} learning rate, {PROBLEMS[name]} seeds")
                raw = ends["none"]
                for average, found in ends.items():
                    line = f"  {average:5}  last validation loss {np.mean(found.last):.4f}"
                    line += f"   test loss of what is kept {np.mean(found.kept):.4f}"
                    print(line)
                    if found is not raw:
                        print(f"         last validation loss less none: {difference(found.last, raw.last)}")
                        print(f"         test loss of what is kept less none: {difference(found.kept, raw.kept)}")
                for share, losses in by_share.items():
                    print(f"  EMA, half-life {share:g} of the run: {difference(losses, raw.last)}", flush=True)


if __name__ == "__main__":
    main()
