"""What `ScheduleFreeRMSprop` keeps: two sets of weights, in checkpoints, copies, few bits and after skipped steps."""

import pickle
from copy import deepcopy

import pytest
import torch
from schedule_free import all_params, assert_same, optimizer_of, params, take
from torch import nn

from rmsprop.averaging import x_of, y_of
from rmsprop.torch import ScheduleFreeRMSprop

STORED = {
    "float64": (torch.float64, {}),
    "float32": (torch.float32, {}),
    "bfloat16, kahan": (torch.bfloat16, {"rounding": "kahan"}),
    "bfloat16, stochastic": (torch.bfloat16, {"rounding": "stochastic", "seed": 3}),
    "float16, kahan": (torch.float16, {"rounding": "kahan"}),
    "complex": (torch.complex64, {}),
}


@pytest.fixture(params=STORED)
def make(request):
    """Returns optimizers over equal parameters of a dtype."""
    dtype, options = STORED[request.param]

    def made():
        torch.manual_seed(0)
        return optimizer_of(params(dtype), weight_decay=0.1, warmup_steps=5, **options)

    return made


def test_evaluating_changes_no_bit_of_training(make):
    one, other = make(), make()
    for seed in range(5):
        take(one, 3, seed)
        take(other, 3, seed)
        points = [param.detach().clone() for param in all_params(other)]
        with other.evaluating():
            assert not other.training
            assert not any(map(torch.equal, points[:2], all_params(other)[:2]))
            other.eval()  # once more changes nothing
        assert other.training
        assert_same(one, other)


def test_a_lost_weight_moves_no_other_when_it_is_evaluated():
    optimizer = optimizer_of(beta=0.7)
    take(optimizer, 30)  # after which y is not what x and z would make of it
    for param in all_params(optimizer):
        param.grad = torch.randn_like(param)
    all_params(optimizer)[0].grad[0, 0] = torch.nan
    optimizer.step()
    before = [param.detach().clone() for param in all_params(optimizer)]
    with optimizer.evaluating():
        pass
    for param, value in zip(all_params(optimizer), before, strict=True):
        torch.testing.assert_close(param.detach(), value, rtol=0, atol=0, equal_nan=True)


def saved_and_loaded(optimizer):
    """Return an optimizer over a copy of the model, loaded from a checkpoint on disk, as it were."""
    model, state = pickle.loads(pickle.dumps(([p.detach() for p in all_params(optimizer)], optimizer.state_dict())))
    group = optimizer.param_groups[0]
    fresh = ScheduleFreeRMSprop(
        [value.requires_grad_() for value in model], lr=9.0, beta=0.2, rounding=group["rounding"], seed=group["seed"]
    )
    fresh.load_state_dict(state)
    return fresh


@pytest.mark.parametrize("evaluated", [False, True], ids=["train mode", "eval mode"])
@pytest.mark.parametrize("copied", [saved_and_loaded, deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=str)
def test_a_checkpoint_of_either_mode_goes_on_with_the_same_bits(make, copied, evaluated):
    one = make()
    take(one, 7)
    if evaluated:
        one.eval()
    assert one.state_dict()["param_groups"][0]["train_mode"] is not evaluated
    other = copied(one)
    assert other.training is not evaluated
    assert_same(one, other)
    for optimizer in (one, other):
        optimizer.train()
        take(optimizer, 5, seed=1)
    assert_same(one, other)
    one.eval()
    other.eval()
    assert_same(one, other)
    assert one.param_groups[0]["k"] == other.param_groups[0]["k"] == 12


def test_weights_saved_in_train_mode_fit_state_saved_in_eval_mode(make):
    one, other = make(), make()
    take(one, 6)
    with torch.no_grad():
        for mine, its in zip(all_params(other), all_params(one), strict=True):
            mine.copy_(its)
    with one.evaluating():
        other.load_state_dict(one.state_dict())
    other.train()
    assert_same(one, other)


def test_weights_loaded_in_eval_mode_are_a_new_average():
    torch.manual_seed(0)
    optimizer = optimizer_of(beta=0.5)
    take(optimizer, 4)
    optimizer.eval()
    loaded = [torch.full_like(param, 0.25) for param in all_params(optimizer)]
    for param, value in zip(all_params(optimizer), loaded, strict=True):
        param.data.copy_(value)
    optimizer.train()
    for param, x in zip(all_params(optimizer), loaded, strict=True):
        assert torch.equal(param, x + 0.5 * (optimizer.state[param]["z"] - x))
    optimizer.eval()
    for param, x in zip(all_params(optimizer), loaded, strict=True):
        torch.testing.assert_close(param.detach(), x, rtol=2.0**-51, atol=2.0**-53)  # two roundings there, two back


def test_what_kahan_keeps_is_in_the_average_and_in_what_is_made_of_a_new_one():
    torch.manual_seed(0)
    optimizer = optimizer_of([torch.rand(1000).bfloat16().requires_grad_()], rounding="kahan", beta=0.5)
    take(optimizer, 20)
    (param,) = all_params(optimizer)
    state = optimizer.state[param]
    z, y = state["z"], param.detach().float() + state["compensation"].float()
    optimizer.eval()
    assert torch.equal(param, x_of(0.5, y, z).bfloat16())
    assert not torch.equal(param, x_of(0.5, state["y"].float(), z).bfloat16())
    param.data.fill_(0.3)
    optimizer.train()
    y = param.detach().float() + state["compensation"].float()
    # The rest is rounded to 8 bits of its own: 2⁻⁹ of what is at most 2⁻⁹ of a number below 1.
    torch.testing.assert_close(y, y_of(0.5, torch.tensor(0.3).bfloat16().float(), z), rtol=0, atol=2.0**-18)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bits_to_the_nearest_are_refused(dtype, implementation):
    optimizer = optimizer_of(params(dtype), **implementation)
    with pytest.raises(RuntimeError, match=r"dtype torch.*rounding='nearest' loses an average.*use rounding='kahan'"):
        take(optimizer, 1)
    assert not optimizer.state


@pytest.mark.parametrize("rounding", ["kahan", "stochastic"])
def test_an_average_in_sixteen_bits_follows_that_in_thirty_two(rounding):
    start = torch.linspace(0.5, 1.0, 1000).bfloat16()
    narrow = optimizer_of([start.clone().requires_grad_()], rounding=rounding)
    wide = optimizer_of([start.float().requires_grad_()])
    random = torch.Generator().manual_seed(0)
    for _ in range(300):
        grad = (torch.randn(1000, generator=random) + 0.5).bfloat16()
        for optimizer in (narrow, wide):
            (param,) = all_params(optimizer)
            param.grad = grad.to(param.dtype)
            optimizer.step()
    assert torch.equal(narrow.state[all_params(narrow)[0]]["z"], wide.state[all_params(wide)[0]]["z"])
    narrow.eval()
    wide.eval()
    moved = (all_params(wide)[0] - start.float()).mean().item()
    off = (all_params(narrow)[0].float() - all_params(wide)[0]).detach()
    assert moved < -0.01  # several units in the last place, 2⁻⁸ here
    # Kahan's rest leaves y 16 bits below 1, rounded 300 times, and the model shows 8 of them. At random each step is
    # off by half of 2⁻⁸ at most, on average by nothing: the mean of 1000 is within five standard deviations.
    if rounding == "kahan":
        assert off.abs().max() <= 2.0**-9 + 300 * 2.0**-17
    else:
        assert off.mean().abs() <= 5 * 2.0**-9 * (300 / 1000) ** 0.5


def test_what_grad_scaler_skips_is_in_no_average(implementation):
    torch.manual_seed(0)
    one, other = (optimizer_of([torch.zeros(3, requires_grad=True)], warmup_steps=9, **implementation) for _ in "12")
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1000)
    for step in range(6):
        grad = torch.randn(3)
        if step in (0, 3):
            grad[1] = torch.inf
        else:
            all_params(other)[0].grad = grad.clone()
            other.step()
        one.zero_grad()
        scaler.scale((all_params(one)[0] * grad).sum()).backward()
        scaler.step(one)
        scaler.update()
    assert one.param_groups[0]["k"] == 4
    assert_same(one, other)


def test_what_clipping_skips_is_in_no_average():
    optimizer = optimizer_of([torch.zeros(3, requires_grad=True)], max_grad_norm=1.0)
    all_params(optimizer)[0].grad = torch.full((3,), torch.inf)
    optimizer.step()
    assert (optimizer.param_groups[0]["k"], optimizer.skipped_steps) == (0, 1)
    all_params(optimizer)[0].grad = torch.ones(3)
    optimizer.step()
    assert (optimizer.param_groups[0]["k"], optimizer.skipped_steps) == (1, 1)


def test_a_failed_step_counts_as_none():
    optimizer = optimizer_of([torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)])
    for param in all_params(optimizer):
        param.grad = torch.ones_like(param)
    optimizer.step()
    before = deepcopy(optimizer.state_dict())
    all_params(optimizer)[1].grad = torch.ones(2).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for state, its in zip(after["state"].values(), before["state"].values(), strict=True):
        assert all(torch.equal(value, its[name]) for name, value in state.items())


def test_a_watched_model_refuses_the_wrong_weights():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = ScheduleFreeRMSprop(model.parameters())
    handle = optimizer.watch(model)
    rows = torch.randn(4, 2)
    with pytest.raises(RuntimeError, match=r"train mode, but .*call optimizer\.train\(\)"):
        model(rows)
    with torch.no_grad():
        model(rows)  # as BatchNorm is recomputed
    optimizer.train()
    model(rows)
    model.eval()
    with pytest.raises(RuntimeError, match=r"eval mode, but .*call optimizer\.eval\(\)"):
        model(rows)
    with optimizer.evaluating():
        model(rows)
    handle.remove()
    model(rows)
