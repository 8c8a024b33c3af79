"""A learning rate that a schedule takes to zero and beyond: the step is taken, as torch takes it."""

import pytest
import torch
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate

from rmsprop.reference import init, update
from rmsprop.rule import Rule
from rmsprop.torch import RMSprop

TORCHS = torch.optim.RMSprop
OPTIONS = [{}, {"momentum": 0.9}, {"centered": True, "weight_decay": 0.1}]


def past_the_end_of_a_lambda(optimizer, lr):
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / 5)
    return lambda step: scheduler.step()


def by_subtraction(optimizer, lr):
    # 0.1 − 5·0.02 is −6.9e-18; what follows is below zero beyond any rounding.
    def advance(step):
        for group in optimizer.param_groups:
            group["lr"] -= lr / 5

    return advance


def as_stable_baselines_does(optimizer, lr):
    # Its progress_remaining is 1 − steps/total, and the last rollout goes beyond the total.
    schedule = FloatSchedule(lambda progress_remaining: progress_remaining * lr)
    return lambda step: update_learning_rate(optimizer, schedule(1.0 - step / 5))


def of_linear_lr(optimizer, lr):
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.7, 0.0, total_iters=3)
    return lambda step: scheduler.step()


def in_place(optimizer, lr):
    return lambda step: optimizer.param_groups[0]["lr"].sub_(lr / 5)


def params_of(optimizer):
    return optimizer.param_groups[0]["params"]


def take_steps(*optimizers, steps, schedules=(), seed=0):
    random = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        for same in zip(*map(params_of, optimizers), strict=True):
            grad = torch.randn(same[0].shape, dtype=same[0].dtype, generator=random)
            for param in same:
                param.grad = grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        for advance in schedules:
            advance(step)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("schedule", "as_tensor"),
    [
        (past_the_end_of_a_lambda, False),
        (by_subtraction, False),
        (by_subtraction, True),
        (as_stable_baselines_does, False),
        (of_linear_lr, False),
        (in_place, True),
    ],
)
def test_training_goes_on_below_zero_as_in_torch(schedule, as_tensor, options, implementation, twins):
    ours, theirs = twins()

    def lr():
        return torch.tensor(0.1) if as_tensor else 0.1

    optimizers = RMSprop(ours, lr=lr(), **options, **implementation), TORCHS(theirs, lr=lr(), **options)
    take_steps(*optimizers, steps=8, schedules=[schedule(optimizer, 0.1) for optimizer in optimizers])
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert float(optimizers[0].param_groups[0]["lr"]) < 1e-15
    assert all(optimizers[0].state[param]["step"] == 8 for param in ours)


@pytest.mark.parametrize("lr", [-1e-18, -0.1, -3.0, torch.tensor(-0.1), torch.tensor([-0.1])], ids=str)
@pytest.mark.parametrize(
    "rule",
    [
        Rule(momentum=0.9, lr_in_momentum=True),
        Rule(momentum=0.9, nesterov=True, bias_correction=True),
        Rule(weight_decay=0.1, weight_decay_mode="decoupled"),
        Rule(centered=True, eps=1e-3, eps_inside_sqrt=True, initial_square_avg=1.0),
    ],
    ids=str,
)
def test_every_rule_means_the_same_below_zero(rule, lr, implementation, keywords):
    param = torch.linspace(-1.0, 1.0, 33, dtype=torch.float64)
    expected, state = param.numpy().copy(), init(rule, param.numpy())
    optimizer = RMSprop([param], lr=0.1, **keywords(rule), **implementation)
    for step, rate in enumerate((0.1, lr, lr, 0.1), 1):
        optimizer.param_groups[0]["lr"] = rate
        param.grad = torch.linspace(2.0, -1.0, 33, dtype=torch.float64) * step
        optimizer.step()
        expected, state = update(rule, float(rate), step, expected, param.grad.numpy(), state)
    torch.testing.assert_close(param, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lr", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_what_is_no_number_to_step_by_is_refused(lr, as_tensor, implementation, twins):
    (ours,) = twins(1)
    optimizer = RMSprop(ours, **implementation)
    take_steps(optimizer, steps=2)
    before = [param.detach().clone() for param in ours]
    optimizer.param_groups[0]["lr"] = torch.tensor(lr) if as_tensor else lr
    with pytest.raises(ValueError, match=f"Invalid learning rate: {lr}"):
        take_steps(optimizer, steps=1)
    assert all(map(torch.equal, ours, before))
    assert all(optimizer.state[param]["step"] == 2 for param in ours)


@pytest.mark.parametrize("lr", [-0.05, torch.tensor(-0.05)], ids=["number", "tensor"])
def test_it_is_saved_and_loaded(lr, implementation, twins):
    ours, theirs, loaded_ours, loaded_theirs = twins(4)
    pairs = [
        (RMSprop(ours, **implementation), RMSprop(loaded_ours, **implementation)),
        (TORCHS(theirs), TORCHS(loaded_theirs)),
    ]
    for before, after in pairs:
        take_steps(before, steps=2)
        before.param_groups[0]["lr"] = lr
        after.load_state_dict(before.state_dict())
        assert after.param_groups[0]["lr"] == lr
        with torch.no_grad():
            for param, copy in zip(params_of(before), params_of(after), strict=True):
                copy.copy_(param)
    take_steps(*(after for _, after in pairs), steps=2, seed=1)
    torch.testing.assert_close(loaded_ours, loaded_theirs, rtol=1e-12, atol=1e-12)


def test_training_does_not_begin_there(twins):
    (params,) = twins(1)
    for cls in (TORCHS, RMSprop):
        with pytest.raises(ValueError, match=r"Invalid learning rate: -0\.1"):
            cls(params, lr=-0.1)
