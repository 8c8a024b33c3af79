"""Every verdict on a curve of its kind, made by a real run."""

import dataclasses
import math
import re
from statistics import median

import numpy as np
import polars as pl
import pytest

from rmsprop.lab.problems.datasets import prepare
from rmsprop.lab.problems.defaults import PROBLEMS
from rmsprop.lab.problems.tabular import from_dataset
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.verdict import Record, judge, words_of

# What was run, how it is judged, since when, a word of the remedy.
RUNS = {
    "diverged at once": ({"problem": "linear", "lr": 3.0}, "diverged at step 2", "--lr 0.01"),
    "diverged to infinity": ({"problem": "linear", "lr": 1e30}, "diverged at step 2", "--lr 0.01"),
    "few epochs": ({"problem": "linear", "epochs": 5}, "still falling", "--epochs 10"),
    "one epoch": ({"problem": "digits", "epochs": 1}, "still falling", "--epochs 2"),
    "hardly begun": ({"problem": "linear", "epochs": 1, "batch_size": 120}, "still falling", "--epochs 2"),
    "cut short": ({"problem": "digits", "lr": 1e-4, "epochs": 10}, "still falling", "--lr 0.0003"),
    "steps too small": ({"problem": "wine", "lr": 1e-6}, "stalled", "--lr 1e-05"),
    "steps too small on a line": ({"problem": "linear", "lr": 1e-5}, "stalled", "--lr 0.0001"),
    "lost again": ({"problem": "digits", "lr": 0.08, "warmup": 29.0}, "stalled since epoch 15", "--lr 0.008"),
    "up and down": ({"problem": "linear", "lr": 0.7, "warmup": 90.0}, "stalled", "--lr 0.07"),
    "overfitting": (
        {"problem": "diabetes", "model": "mlp", "hidden": (64,)},
        "overfitting since epoch 9",
        "--epochs 9",
    ),
}


@pytest.mark.parametrize(("given", "headline", "remedy"), RUNS.values(), ids=RUNS)
def test_a_sick_run_is_named_with_evidence_and_remedy(record, given, headline, remedy):
    verdict = judge(record(**given))[0]
    assert verdict.headline == headline
    assert remedy in verdict.remedy
    assert len(re.findall(r"\d", verdict.evidence)) >= 2


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_built_in_problems_are_healthy_with_another_seed(record, problem):  # that of seed 0 is test_cli_train's
    verdicts = judge(record(problem, seed=1))
    assert [verdict.kind for verdict in verdicts] == ["converged"]
    assert verdicts[0].remedy == ""


def test_a_short_run_is_not_called_converged_while_its_loss_falls():
    losses = (0.7, 0.5, 0.48)  # the last of three epochs took 4 %
    epochs = [Epoch(n, n, 0.1, loss, loss, 1.0, 1.0, loss, {}) for n, loss in enumerate(losses, 1)]
    assert judge(Record(0.1, 1.0, 1.0, 0.9, 1, epochs))[0].kind == "still falling"


def test_spikes_are_told_besides_the_verdict(record):
    settings = {"lr": 0.01, "momentum": 0.9, "schedule": "constant", "weight_decay": 0.0, "epochs": 20}
    spiky = record("digits", **settings)
    verdict = judge(spiky)[1]
    # Which epoch it is depends on the last bits of the run.
    assert verdict.headline == f"spikes in epoch {verdict.since}"
    before, spike = spiky.epochs[verdict.since - 6 : verdict.since - 1], spiky.epochs[verdict.since - 1]
    assert spike.worst_step_loss > 4 * median(epoch.worst_step_loss for epoch in before)
    assert re.search(r"^\d+ of 20 epochs", verdict.evidence)
    calm = record("digits", **settings | {"lr": 0.001})
    assert len(judge(calm)) == 1


@pytest.mark.parametrize(
    "given", [RUNS["diverged at once"][0], RUNS["diverged to infinity"][0], {"problem": "digits", "lr": 10.0}]
)
def test_the_learning_rate_to_try_after_a_divergence_does_not_diverge(record, given):
    remedy = judge(record(**given))[0].remedy
    smaller = float(re.search(r"--lr (\S+?);", remedy)[1])
    assert judge(record(**given | {"lr": smaller}))[0].kind != "diverged"


def test_a_target_that_is_noise_is_stalled(record):
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"x": random.normal(size=2000), "y": random.normal(size=2000)})
    noise = from_dataset(prepare("noise", frame, "y", None), ())
    verdict = judge(record(noise))[0]
    assert verdict.kind == "stalled"
    assert "may not tell the target" in verdict.remedy


def curve(train, validation, lr=None):
    """A record of made-up losses, the first of which is before the first step."""
    lr = lr or [0.01] * (len(train) - 1)
    epochs = [
        Epoch(n, n, rate, a, b, 0.0, 0.0, a, {})
        for n, (a, b, rate) in enumerate(zip(train[1:], validation[1:], lr, strict=True), start=1)
    ]
    return Record(0.01, train[0], validation[0], 1.0, 1, epochs)


def test_a_schedule_that_lowers_noise_is_not_taken_for_one_that_cut_the_run_short():
    noisy = [0.50 + 0.01 * (-1) ** n for n in range(20)]
    calm = [0.40] * 10
    run = curve([2.0, *noisy, *calm], [2.0, *noisy, *calm], lr=[0.01] * 20 + [0.001] * 10)
    assert judge(run)[0].kind == "converged"


def test_one_bad_epoch_does_not_hide_that_the_schedule_cut_the_run_short():
    lively = [1.0, 0.6, 0.45, 0.35, 0.28, 0.22, 0.18, 0.15, 0.14, 0.126, 0.118, 0.092, 0.09, 0.088, 0.108, 0.078]
    losses = [*lively, *(0.0655 + 0.0007 * n for n in reversed(range(15)))]
    lr = [0.005 * (1 + math.cos(math.pi * n / 30)) for n in range(30)]
    assert judge(curve(losses, losses, lr))[0].kind == "still falling"
    level = [*lively[:8], *[0.1] * 23]
    verdict = judge(curve(level, level, lr))[0]
    assert verdict.kind == "converged"
    assert "level at the end of the schedule: 0.1" in verdict.evidence
    assert "level: 0.1" in judge(curve(level, level))[0].evidence


@pytest.mark.parametrize(
    ("schedule", "remedy"), [("cosine", "--epochs 10 --force"), ("constant", "Train longer: --resume --epochs 10.")]
)
def test_a_run_is_made_longer_as_its_schedule_allows(record, schedule, remedy):
    run = dataclasses.replace(record("linear", epochs=5, schedule=schedule), words=words_of(schedule))
    assert remedy in judge(run)[0].remedy


def test_one_lucky_epoch_is_not_the_lowest_point():
    level = [2.0, 1.0, *[0.5] * 40]
    lucky = [*level[:10], 0.3, *level[11:]]
    falling = [2.0, *(1 / n for n in range(1, 42))]
    assert judge(curve(falling, lucky))[0].kind == "converged"


def test_overfitting_begins_where_a_level_curve_rises():
    falling, rising = [0.9 - 0.08 * n for n in range(8)], [0.30 + 0.01 * n for n in range(1, 13)]
    validation = [*falling, *[0.30] * 11, *rising]  # level from 8 to 18
    verdict = judge(curve([1.0 / (1 + n) for n in range(len(validation))], validation))[0]
    assert verdict.headline == "overfitting since epoch 18"
    assert "--epochs 18" in verdict.remedy


def test_overfitting_from_the_start_has_no_epoch_to_stop_at():
    verdict = judge(curve([2.0, 1.0, 0.5, 0.2], [2.0, 3.0, 4.0, 5.0]))[0]
    assert verdict.headline == "overfitting since epoch 0"
    assert verdict.remedy == "Shrink the model, or raise --weight-decay."


def test_a_run_without_a_whole_epoch_is_judged():
    run = dataclasses.replace(curve([2.0], [2.0]), lost_at=1, lost_loss=float("nan"))
    assert judge(run)[0].headline == "diverged at step 1"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"problem": "bowl"}, "converged"),
        ({"problem": "bowl", "lr": 1e-5}, "stalled"),
        ({"problem": "bowl", "lr": 0.01}, "still falling"),
        ({"problem": "bowl-noisy", "lr": 0.6, "schedule": "constant"}, "stalled"),
        ({"problem": "rosenbrock", "lr": 3.0}, "diverged"),
    ],
)
def test_where_nothing_is_held_out_no_verdict_speaks_of_what_there_is_not(record, given, kind):
    verdict = judge(record(**given))[0]
    assert verdict.kind == kind
    assert not re.search("validation|columns|constant|overfit", verdict.evidence + verdict.remedy)


def test_what_has_nothing_held_out_is_never_called_overfitting():
    train, validation = [2.0, 1.0, 0.5, 0.2, 0.1], [2.0, 3.0, 4.0, 5.0, 6.0]
    assert judge(curve(train, validation))[0].kind == "overfitting"
    assert judge(dataclasses.replace(curve(train, validation), holds_out=False))[0].kind != "overfitting"


def test_a_loss_below_zero_is_judged_by_its_size():
    falling = [1.0, *(-0.1 * n for n in range(1, 31))]
    level = [1.0, *[-3.0] * 30]
    assert judge(curve(falling, falling))[0].kind == "still falling"
    assert judge(curve(level, level))[0].kind == "converged"
