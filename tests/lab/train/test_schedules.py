import json
import math
from typing import get_args

import pytest
import torch

from rmsprop.lab.problems.defaults import Schedule
from rmsprop.lab.train.schedules import LearningRate
from rmsprop.lab.train.settings import SCHEDULE_FREE, TUNED_SCHEDULES, resolve
from rmsprop.torch import RMSprop

PER_EPOCH, EPOCHS = 4, 6
OURS = [name for name in get_args(Schedule) if name not in (*TUNED_SCHEDULES, SCHEDULE_FREE)]
STEPS = PER_EPOCH * EPOCHS


def make(schedule, **given):
    settings = resolve({"problem": "linear", "lr": 1.0, "epochs": EPOCHS, "schedule": schedule, **given})
    optimizer = RMSprop([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    return LearningRate(settings, optimizer, PER_EPOCH), optimizer


def rates(schedule, losses=None, **given):
    """Return the learning rate of every step."""
    rate, optimizer = make(schedule, **given)
    seen = []
    for epoch in range(EPOCHS):
        for _ in range(PER_EPOCH):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            rate.after_step()
        rate.after_epoch(losses[epoch] if losses else 1.0)
    return seen


@pytest.mark.parametrize(
    ("schedule", "given", "expected"),
    [
        ("constant", {}, lambda t: 1.0),
        ("step", {}, lambda t: 0.1 ** (t // (2 * PER_EPOCH))),
        ("step", {"step_size": 3, "gamma": 0.5}, lambda t: 0.5 ** (t // (3 * PER_EPOCH))),
        ("exponential", {}, lambda t: 0.01 ** (t / STEPS)),
        ("exponential", {"gamma": 0.5}, lambda t: 0.5 ** (t / PER_EPOCH)),
        ("cosine", {}, lambda t: (1 + math.cos(math.pi * t / STEPS)) / 2),
        ("linear", {}, lambda t: 1 - t / STEPS),
        ("inverse-sqrt", {}, lambda t: math.sqrt(PER_EPOCH / (PER_EPOCH + t))),
        ("plateau", {}, lambda t: 1.0),
    ],
)
@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0, 2.5])
def test_the_curve_is_the_one_of_its_name_after_a_linear_warmup(schedule, given, expected, warmup):
    warm = round(warmup * PER_EPOCH)
    scale = 1.0  # of the time after the warm-up
    if schedule in ("cosine", "linear"):
        scale = STEPS / (STEPS - warm)
    elif schedule == "inverse-sqrt" and warm:
        scale = PER_EPOCH / warm
    wanted = [(t + 1) / warm if t < warm else expected((t - warm) * scale) for t in range(STEPS)]
    assert rates(schedule, warmup=warmup, **given) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("schedule", OURS)
def test_a_warmup_may_take_every_step(schedule):
    assert rates(schedule, warmup=STEPS / PER_EPOCH - 1e-9)[-1] == pytest.approx(1.0)


def test_plateau_waits_for_ten_epochs_without_progress_then_lowers():
    rate, optimizer = make("plateau", gamma=0.5)
    lowered = []
    for _ in range(24):
        rate.after_epoch(1.0)
        lowered.append(optimizer.param_groups[0]["lr"])
    assert lowered == [1.0] * 11 + [0.5] * 11 + [0.25] * 2


def test_plateau_does_not_look_before_the_warmup_is_over():
    rate, optimizer = make("plateau", warmup=5.0)
    for _ in range(40):
        rate.after_epoch(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1 / (5 * PER_EPOCH))


@pytest.mark.parametrize("schedule", OURS)
@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_the_state_survives_json_bit_for_bit(schedule, warmup):
    whole = rates(schedule, losses=[1.0, 0.5, 0.6, 0.6, 0.6, 0.6], warmup=warmup)
    rate, optimizer = make(schedule, warmup=warmup)
    seen = []
    for epoch, loss in enumerate([1.0, 0.5, 0.6, 0.6, 0.6, 0.6]):
        for _ in range(PER_EPOCH):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            rate.after_step()
        rate.after_epoch(loss)
        if epoch == 1:
            state, lr = json.loads(json.dumps(rate.state_dict())), optimizer.param_groups[0]["lr"]
            rate, optimizer = make(schedule, warmup=warmup)
            rate.load_state_dict(state)
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()  # torch's schedulers want to see one before they step
    assert seen == whole
