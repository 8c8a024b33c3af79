"""`ScheduleFreeRMSprop`: the numbers of the package schedulefree, on every path, and what it refuses."""

from copy import deepcopy

import pytest
import schedulefree
import torch
import torch.optim.lr_scheduler as schedulers
from schedule_free import all_params, assert_same, optimizer_of, params, take

from rmsprop.torch import RMSprop, ScheduleFreeRMSprop, step_in_backward

SETTINGS = [
    {},
    {"weight_decay": 0.1},
    {"warmup_steps": 50, "r": 0.5, "weight_decay": 0.1},
    {"weight_lr_power": 0.0, "beta": 0.98},
]


def theirs(values, cls=schedulefree.AdamWScheduleFree, beta=0.9, **options):
    optimizer = cls(values, lr=1e-3, betas=(beta, 0.99), **options)
    optimizer.train()
    return optimizer


# Weights stay below 1/8, half a unit in whose last place is 2⁻⁵⁷. Either rounds y and z some three times a step; what
# is left of 200 steps is a random walk of which the average forgets two thirds: 10⁻¹⁵ is ten standard deviations.
@pytest.mark.parametrize("foreach", [True, False], ids=["foreach", "for-loop"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_is_adamw_schedule_free_without_a_decay_inside(settings, foreach, implementation):
    torch.manual_seed(0)
    ours = optimizer_of(**settings, **implementation)
    other = theirs([param.detach().clone().requires_grad_() for param in all_params(ours)], **settings, foreach=foreach)
    for seed in range(10):
        take(ours, 20, seed)
        take(other, 20, seed)
        for optimizer in (ours, other):
            optimizer.eval() if seed % 2 else optimizer.train()
        for mine, its in zip(all_params(ours), all_params(other), strict=True):
            torch.testing.assert_close(mine, its, rtol=0, atol=1e-15)
        for optimizer in (ours, other):
            optimizer.train()


def test_it_is_what_the_reference_of_the_paper_computes():
    # It keeps x itself, so that y is rounded apart: no random walk of the difference, but one more of 200 steps.
    torch.manual_seed(0)
    ours = optimizer_of(weight_decay=0.1)
    copies = [param.detach().clone().requires_grad_() for param in all_params(ours)]
    other = theirs(copies, schedulefree.AdamWScheduleFreeReference, weight_decay=0.1)
    take(ours, 200)
    take(other, 200)
    ours.eval()
    other.eval()
    for mine, its in zip(all_params(ours), all_params(other), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-14)


def test_the_packages_own_wrapper_can_not_do_it():
    weight = torch.ones(3, requires_grad=True)
    wrapped = schedulefree.ScheduleFreeWrapper(torch.optim.RMSprop([weight]), momentum=0.9)
    wrapped.train()
    weight.grad = torch.ones(3)
    with pytest.raises(KeyError):  # torch makes no state where the wrapper has put its z
        wrapped.step()


def test_the_kernel_and_tensor_operations_have_the_same_bits():
    for dtype, settings in ((torch.float32, SETTINGS[2]), (torch.float64, {"maximize": True})):
        torch.manual_seed(0)
        values = params(dtype)
        one, other = (
            optimizer_of([v.detach().clone().requires_grad_() for v in values], fused=fused, **settings)
            for fused in (True, False)
        )
        take(one, 20)
        take(other, 20)
        assert_same(one, other)


def test_a_complex_parameter_is_two_real_ones():
    torch.manual_seed(0)
    pairs = torch.randn(9, 2)
    one = optimizer_of([torch.view_as_complex(pairs.clone()).requires_grad_()], weight_decay=0.1)
    other = optimizer_of([pairs.clone().requires_grad_()], weight_decay=0.1)
    for seed in range(5):
        grad = torch.randn(9, 2, generator=torch.Generator().manual_seed(seed))
        all_params(one)[0].grad, all_params(other)[0].grad = torch.view_as_complex(grad), grad
        one.step()
        other.step()
    one.eval()
    other.eval()
    assert torch.equal(torch.view_as_real(all_params(one)[0].detach()), all_params(other)[0])


@pytest.mark.parametrize(
    ("limit", "grad", "moves"),
    [
        ({"max_grad_value": 1.0}, 5.0, 1.0),
        ({"max_grad_norm": 1.0}, 5.0, 1.0),
        ({"max_update_rms": 0.5}, 5.0, None),
    ],
    ids=str,
)
def test_limits_act_before_the_average(limit, grad, moves):
    limited, other = (optimizer_of([torch.zeros(1, requires_grad=True)], **o) for o in (limit, {}))
    for optimizer, value in ((limited, grad), (other, moves or grad)):
        all_params(optimizer)[0].grad = torch.full((1,), value)
        optimizer.step()
    (mine,), (its,) = all_params(limited), all_params(other)
    # The clipped norm is off by the 1e-6 that torch's clipping adds; the first step is lr·g/√g² = lr without a limit.
    factor = 1.0 if moves else 0.5
    torch.testing.assert_close(mine, factor * its, rtol=2e-6, atol=0)
    torch.testing.assert_close(limited.state[mine]["square_avg"], other.state[its]["square_avg"], rtol=4e-6, atol=0)


def test_a_step_without_train_is_refused(implementation):
    optimizer = ScheduleFreeRMSprop(params(), **implementation)
    before = deepcopy(optimizer.state_dict())
    for param in all_params(optimizer):
        param.grad = torch.ones_like(param)
    with pytest.raises(RuntimeError, match=r"step\(\) was called in eval mode.*call optimizer\.train\(\)"):
        optimizer.step()
    assert optimizer.state_dict() == before
    optimizer.train()
    optimizer.step()
    optimizer.eval()
    with pytest.raises(RuntimeError, match="eval mode"):
        optimizer.step()


CONSTANT = {
    "lambda": lambda o: schedulers.LambdaLR(o, lambda _: 1.0),  # what Hugging Face's Trainer makes of "constant"
    "constant": lambda o: schedulers.ConstantLR(o, factor=1.0),
    "step, never": lambda o: schedulers.StepLR(o, 1000),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1000),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_scheduler_that_keeps_the_rate_changes_no_bit(name):
    torch.manual_seed(0)
    alone, scheduled = optimizer_of(warmup_steps=3), optimizer_of(warmup_steps=3)
    for param, its in zip(all_params(alone), all_params(scheduled), strict=True):
        its.data.copy_(param)
    scheduler = CONSTANT[name](scheduled)
    for seed in range(8):
        for optimizer in (alone, scheduled):
            take(optimizer, 1, seed)
        scheduler.step(*([1.0] if name == "plateau" else []))
    assert all(map(torch.equal, all_params(alone), all_params(scheduled)))


# What a scheduler is, and after how many steps it has changed the rate.
CHANGING = {
    "cosine": (lambda o: schedulers.CosineAnnealingLR(o, 10), 1),
    "step": (lambda o: schedulers.StepLR(o, 2), 2),
    "linear, as by default in the Trainer": (lambda o: schedulers.LambdaLR(o, lambda step: 1 - step / 10), 1),
    "warm-up": (lambda o: schedulers.LambdaLR(o, lambda step: (step + 1) / 10), 0),
    "constant, a third": (lambda o: schedulers.ConstantLR(o), 0),
    "one cycle": (lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=10, cycle_momentum=False), 1),
    "sequential": (lambda o: schedulers.SequentialLR(o, [CONSTANT["lambda"](o), schedulers.StepLR(o, 1)], [1]), 2),
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_scheduler_that_changes_the_rate_is_refused_when_it_has(name):
    optimizer = optimizer_of()
    make, steps = CHANGING[name]
    scheduler = make(optimizer)
    for _ in range(steps):
        take(optimizer, 1)
        scheduler.step()
    before = [param.detach().clone() for param in all_params(optimizer)]
    with pytest.raises(RuntimeError, match=r"rate (was changed|is) .*can't serve ScheduleFreeRMSprop"):
        take(optimizer, 1)
    assert all(map(torch.equal, before, all_params(optimizer)))


def test_a_scheduler_that_hides_is_refused_when_it_acts():
    optimizer = optimizer_of(warmup_steps=3)
    plateau = schedulers.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(5):
        take(optimizer, 1)
    for loss in (1.0, 1.0):
        plateau.step(loss)
    weights = [param.detach().clone() for param in all_params(optimizer)]
    with pytest.raises(RuntimeError, match=r"the learning rate was changed to 0.0001 after step 5, whose was 0.001"):
        take(optimizer, 1)
    assert all(map(torch.equal, weights, all_params(optimizer)))


REFUSED = {
    "momentum": ({"momentum": 0.9}, ValueError, "Invalid momentum value: 0.9 .*beta takes the place of momentum"),
    "centered": ({"centered": True}, ValueError, "centered=True can't be averaged"),
    "beta": ({"beta": 0.0}, ValueError, "Invalid beta: 0.0"),
    "warm-up": ({"warmup_steps": -3}, ValueError, "Invalid warmup_steps: -3"),
    "lr": ({"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
    "alpha": ({"alpha": 1.0}, ValueError, "bias_correction=True needs a decay below 1"),
    "weight decay": ({"weight_decay": -1.0}, ValueError, "Invalid weight_decay value: -1.0"),
    "unknown": ({"dialect": "torch"}, TypeError, "dialect"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_is_refused_with_the_reason(case):
    options, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        ScheduleFreeRMSprop(params(), **options)


SET_LATER = {
    "momentum": ({"momentum": 0.9}, ValueError, "beta takes the place of momentum"),
    "centered": ({"centered": True}, ValueError, "can't be averaged"),
    "capturable": ({"capturable": True}, RuntimeError, "capturable=True can't serve ScheduleFreeRMSprop"),
    "differentiable": ({"differentiable": True}, RuntimeError, "differentiable=True can't serve ScheduleFreeRMSprop"),
    "state_dtype": ({"state_dtype": "8bit"}, RuntimeError, "state_dtype can't serve ScheduleFreeRMSprop"),
    "decay": ({"weight_decay_mode": "decoupled"}, ValueError, "ScheduleFreeRMSprop has one way"),
    "beta": ({"beta": 2.0}, ValueError, "Invalid beta: 2.0"),
    "no beta": ({"beta": None}, ValueError, "no beta"),
}


@pytest.mark.parametrize("case", SET_LATER)
def test_a_group_is_checked_when_it_is_added_and_when_it_changes(case):
    options, error, message = SET_LATER[case]
    optimizer = optimizer_of()
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": [torch.zeros(2, requires_grad=True)], **options})
    if case != "no beta":
        optimizer.param_groups[0].update(options)
        with pytest.raises(error, match=message):
            take(optimizer, 1)


def test_an_optimizer_of_the_other_kind_is_refused():
    optimizer, plain = optimizer_of(), RMSprop(params())
    take(optimizer, 1)
    take(plain, 1)
    with pytest.raises(ValueError, match=r"use rmsprop\.torch\.ScheduleFreeRMSprop"):
        plain.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="a parameter group has no beta"):
        optimizer.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match=r"use rmsprop\.torch\.ScheduleFreeRMSprop"):
        plain.add_param_group({"params": [torch.zeros(2, requires_grad=True)], "beta": 0.9})
    with pytest.raises(ValueError, match=r"no beta.* leave the state dict of another optimizer out"):
        optimizer.load_state_dict(theirs(params()).state_dict())
    for call in (
        lambda: step_in_backward(optimizer),
        optimizer.share_memory,
        lambda: ScheduleFreeRMSprop.from_recipe(params(), "efficientnet"),
    ):
        with pytest.raises((RuntimeError, TypeError), match="ScheduleFreeRMSprop"):
            call()


def test_sparse_gradients_are_refused():
    optimizer = optimizer_of([torch.zeros(3, requires_grad=True)])
    all_params(optimizer)[0].grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()


def test_groups_have_averages_of_their_own():
    torch.manual_seed(0)
    values = params(shapes=((3,), (4,)))
    together = ScheduleFreeRMSprop(
        [{"params": values[:1], "beta": 0.5}, {"params": values[1:], "warmup_steps": 4, "lr": 0.1}], lr=1e-3
    )
    apart = [
        ScheduleFreeRMSprop([values[0].detach().clone().requires_grad_()], lr=1e-3, beta=0.5),
        ScheduleFreeRMSprop([values[1].detach().clone().requires_grad_()], lr=0.1, warmup_steps=4),
    ]
    for optimizer in (together, *apart):
        optimizer.train()
    for _ in range(6):
        grads = [torch.randn_like(value) for value in values]
        for param, one, grad in zip(values, apart, grads, strict=True):
            param.grad = all_params(one)[0].grad = grad
        for optimizer in (together, *apart):
            optimizer.step()
    for optimizer in (together, *apart):
        optimizer.eval()
    for param, one in zip(values, apart, strict=True):
        assert torch.equal(param, all_params(one)[0])


def test_a_group_added_in_training_trains():
    optimizer = optimizer_of()
    take(optimizer, 3)
    optimizer.add_param_group({"params": [torch.ones(2, dtype=torch.float64, requires_grad=True)]})
    take(optimizer, 1)
    assert [group["k"] for group in optimizer.param_groups] == [4, 1]


def test_a_closure_and_a_tensor_as_learning_rate():
    torch.manual_seed(0)
    one, other = optimizer_of(), optimizer_of()
    other.load_state_dict(one.state_dict())
    for mine, its in zip(all_params(one), all_params(other), strict=True):
        its.data.copy_(mine.detach())
    other.param_groups[0]["lr"] = torch.tensor(1e-3, dtype=torch.float64)

    def closure():
        for param in all_params(other):
            param.grad = torch.ones_like(param)
        return 7.0

    for param in all_params(one):
        param.grad = torch.ones_like(param)
    for _ in range(3):
        one.step()
        assert other.step(closure) == 7.0
    assert_same(one, other)


def test_a_compiled_step_is_the_same_step():
    torch.manual_seed(0)
    one, other = optimizer_of(), optimizer_of()
    for mine, its in zip(all_params(one), all_params(other), strict=True):
        its.data.copy_(mine.detach())
    step = torch.compile(other.step, backend="eager")
    for seed in range(3):
        take(one, 1, seed)
        for mine, its in zip(all_params(one), all_params(other), strict=True):
            its.grad = mine.grad.clone()
        step()
    assert_same(one, other)
