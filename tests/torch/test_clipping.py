"""Clipping in the step: torch's clipping and then a step, without a write to a gradient."""

import gc
import math
import pickle
import re
import weakref
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from rmsprop import clipping
from rmsprop.torch import RMSprop

OPTIONS = [{}, {"momentum": 0.9, "maximize": True}, {"weight_decay": 0.1}]


def grads_for(params, seed, scale=1.0):
    random = torch.Generator().manual_seed(seed)
    for param in params:
        grad = scale * torch.randn(param.shape, generator=random, dtype=torch.float64)
        param.grad = grad.to(param.dtype)


def params_of(optimizer):
    return [param for group in optimizer.param_groups for param in group["params"]]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("max_norm", [0.5, 10, 1e9, math.inf])
def test_clipping_by_norm_is_torchs(max_norm, options, twins, implementation):
    ours, theirs = twins()
    optimizer = RMSprop(
        [{"params": ours[:3]}, {"params": ours[3:], "lr": 0.1}], max_grad_norm=max_norm, **options, **implementation
    )
    reference = torch.optim.RMSprop([{"params": theirs[:3]}, {"params": theirs[3:], "lr": 0.1}], **options)
    for step in range(4):
        grads_for(ours, step, 3.0)
        grads_for(theirs, step, 3.0)
        before = [param.grad.clone() for param in ours]
        norm = (
            clip_grad_norm_(theirs, max_norm)
            if max_norm < math.inf
            else torch.nn.utils.get_total_norm([p.grad for p in theirs])
        )
        optimizer.step()
        reference.step()
        assert all(torch.equal(param.grad, grad) for param, grad in zip(ours, before, strict=True))
        torch.testing.assert_close(optimizer.grad_norm, norm, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert optimizer.skipped_steps == 0


@pytest.mark.parametrize("options", OPTIONS)
def test_clipping_by_value_is_torchs(options, twins, implementation):
    ours, theirs = twins()
    optimizer = RMSprop(ours, max_grad_value=0.25, **options, **implementation)
    reference = torch.optim.RMSprop(theirs, **options)
    for step in range(4):
        grads_for(ours, step)
        grads_for(theirs, step)
        clip_grad_value_(theirs, 0.25)
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_limit_to_values_leaves_nan_and_holds_infinity(implementation):
    param = torch.zeros(3, requires_grad=True)
    optimizer = RMSprop([param], lr=0.1, max_grad_value=1.0, **implementation)
    param.grad = torch.tensor([math.nan, -math.inf, 2.0])
    optimizer.step()
    assert param[0].isnan()
    torch.testing.assert_close(param[1:].detach(), torch.tensor([1.0, -1.0]))


def adafactors(optimizer, grads, limit, alpha=0.99, eps=1e-8, lr=0.01):
    """The update with U/max(1, RMS(U)/d), in NumPy and float64."""
    new = []
    for param, grad, v in grads:
        v = v + (1 - alpha) * (grad * grad - v)
        u = grad / (np.sqrt(v) + eps)
        rms = math.sqrt((u * u).mean()) if u.size else 0.0
        new.append((param - lr * u / max(1.0, rms / limit), v))
    return new


@pytest.mark.parametrize("limit", [1.0, 50.0])
def test_the_rms_of_an_update_is_limited_tensor_by_tensor(limit, twins, implementation):
    (ours,) = twins(1)
    optimizer = RMSprop(ours, max_update_rms=limit, **implementation)
    expected = [(param.detach().numpy().copy(), np.zeros(param.shape)) for param in ours]
    for step in range(4):
        grads_for(ours, step, 10.0**-step)
        triples = [(p, param.grad.numpy(), v) for (p, v), param in zip(expected, ours, strict=True)]
        expected = adafactors(optimizer, triples, limit)
        optimizer.step()
        for param, (p, _) in zip(ours, expected, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), p, rtol=1e-10, atol=1e-12)


ALL = {"max_grad_norm": 2.0, "max_grad_value": 0.3, "max_update_rms": 0.5}


@pytest.mark.parametrize("limits", [*({key: value} for key, value in ALL.items()), ALL], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"centered": True, "momentum": 0.9, "weight_decay": 0.1},
        {"caution": True, "momentum": 0.9, "nesterov": True},
    ],
    ids=["plain", "full", "caution"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.complex64], ids=str)
def test_the_kernel_and_tensor_operations_have_equal_bits(dtype, options, limits):
    shapes = ((40_000,), (17, 3), (), (0,))
    found = []
    for fused in (True, False):
        random = torch.Generator().manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(shape, generator=random).to(dtype)) for shape in shapes]
        optimizer = RMSprop(params, fused=fused, **limits, **options)
        for _ in range(3):
            for param in params:
                param.grad = torch.randn(param.shape, generator=random).to(dtype)
            optimizer.step()
        found.append(([*params, *(t for p in params for t in optimizer.state[p].values())], optimizer.grad_norm))
    assert all(map(torch.equal, found[0][0], found[1][0]))
    assert found[0][1] == found[1][1]


LAYOUTS = {
    "transposed": lambda grad: grad.t().contiguous().t(),
    "with gaps": lambda grad: torch.stack([grad, grad], -1)[..., 0],
    "offset": lambda grad: torch.cat([grad.flatten(), grad.flatten()])[24:].view(grad.shape),
}


@pytest.mark.parametrize("lay_out", LAYOUTS.values(), ids=LAYOUTS)
def test_the_norm_is_the_same_in_any_layout(lay_out):
    grad = torch.randn(6, 4) * 10.0 ** torch.randn(6, 4)
    expected = clipping.norm(clipping.squares(grad.numpy()))
    for param in (torch.zeros(6, 4), lay_out(torch.zeros(6, 4))):
        param.grad = lay_out(grad)
        optimizer = RMSprop([param], max_grad_norm=1.0)
        optimizer.step()
        assert optimizer.grad_norm.item() == expected


def test_parameters_that_share_memory_count_with_the_gradients_they_have():
    whole = torch.zeros(4)
    params = [whole[:3], whole[1:]]
    for value, param in enumerate(params, 1):
        param.grad = torch.full((3,), float(value))
    optimizer = RMSprop(params, max_grad_norm=1.0)
    optimizer.step()
    assert optimizer.grad_norm.item() == math.sqrt(15)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_skips_the_step_and_counts_it(bad, implementation):
    params = [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]
    optimizer = RMSprop(params, max_grad_norm=1.0, momentum=0.9, **implementation)
    grads_for(params, 0)
    optimizer.step()
    before = deepcopy((params, optimizer.state_dict()["state"]))
    grads_for(params, 1)
    params[1].grad[0] = bad
    optimizer.step()
    torch.testing.assert_close((params, optimizer.state_dict()["state"]), before, rtol=0, atol=0)
    assert optimizer.skipped_steps == 1
    assert not optimizer.grad_norm.isfinite()
    grads_for(params, 2)
    optimizer.step()
    assert optimizer.skipped_steps == 1
    assert not torch.equal(params[0], before[0][0])


def test_parameters_without_gradients_add_nothing(implementation):
    params = [torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)]
    optimizer = RMSprop(params, max_grad_norm=1.0, **implementation)
    assert optimizer.grad_norm is None
    optimizer.step()
    assert optimizer.grad_norm == 0
    params[0].grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    params[1].grad = torch.tensor([0.0, 12.0])
    optimizer.step()
    assert optimizer.grad_norm == 13
    params[0].grad = None
    optimizer.step()
    assert optimizer.grad_norm == 12


def test_a_plan_that_is_of_no_use_any_more_is_not_kept_for_the_norm():
    param = torch.ones(2, requires_grad=True)
    optimizer = RMSprop([param], max_grad_norm=1.0)
    param.grad = torch.ones(2)
    optimizer.step()
    plan = weakref.ref(optimizer._stepper.plan)
    optimizer.add_param_group({"params": [torch.ones(1)]})
    gc.collect()
    assert plan() is None


def test_a_closure_is_evaluated_before_the_norm(implementation):
    param = torch.tensor([1.0], requires_grad=True)
    optimizer = RMSprop([param], max_grad_norm=0.5, **implementation)

    def closure():
        optimizer.zero_grad()
        loss = (7 * param).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 7
    assert optimizer.grad_norm == 7


@pytest.mark.parametrize("unscale", [False, True], ids=["in the kernel", "before"])
@pytest.mark.parametrize("flags", [{"fused": True}, {"fused": False}], ids=["kernel", "composite"])
def test_gradients_are_unscaled_first(flags, unscale):
    ours, theirs = (torch.zeros(7, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer, reference = RMSprop([ours], max_grad_norm=0.5, **flags), torch.optim.RMSprop([theirs])
    scalers = [torch.amp.GradScaler("cpu", init_scale=1024.0) for _ in range(2)]
    for step in range(5):
        grad = torch.randn(7, dtype=torch.float64)
        grad[0] = math.inf if step == 2 else grad[0]
        for scaler, chosen, param in zip(scalers, (optimizer, reference), (ours, theirs), strict=True):
            chosen.zero_grad()
            scaler.scale((param * grad).sum()).backward()
            if unscale or param is theirs:
                scaler.unscale_(chosen)
            if param is theirs:
                norm = clip_grad_norm_([theirs], 0.5)
            scaler.step(chosen)
            scaler.update()
        if step != 2:
            torch.testing.assert_close(optimizer.grad_norm, norm)
    torch.testing.assert_close(ours, theirs)
    assert optimizer.state[ours]["step"] == 4


def test_the_limit_may_be_changed_between_steps_and_travels_with_copies():
    param = torch.zeros(1, requires_grad=True)
    optimizer = RMSprop([param], max_grad_norm=1.0, max_grad_value=2.0, max_update_rms=3.0)
    copies = [deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    assert [copy.max_grad_norm for copy in copies] == [1.0, 1.0]
    optimizer.max_grad_norm = None
    param.grad = torch.full((1,), math.nan)
    optimizer.step()
    assert param.isnan()
    with pytest.raises(ValueError, match="Invalid max_grad_norm: -1"):
        optimizer.max_grad_norm = -1
    optimizer.param_groups[0]["max_grad_value"] = 0
    with pytest.raises(ValueError, match="Invalid max_grad_value: 0"):
        optimizer.step()


def test_state_dicts_go_both_ways():
    param = torch.ones(3, requires_grad=True)
    param.grad = torch.ones(3)
    limited = RMSprop([param], max_grad_norm=1.0, max_grad_value=2.0, max_update_rms=3.0)
    limited.step()
    theirs = torch.optim.RMSprop([torch.ones(3, requires_grad=True)])
    theirs.load_state_dict(limited.state_dict())
    back = RMSprop([torch.ones(3, requires_grad=True)])
    back.load_state_dict(theirs.state_dict())
    assert (back.param_groups[0]["max_grad_value"], back.param_groups[0]["max_update_rms"]) == (2.0, 3.0)
    assert back.max_grad_norm is None  # not a group's
    torchs = torch.optim.RMSprop([param]).state_dict()["param_groups"][0]
    assert set(RMSprop([param], max_grad_norm=1.0).state_dict()["param_groups"][0]) == set(torchs)


REFUSED = [
    *(
        ({name: value}, ValueError, f"Invalid {name}: {value} (allowed: a number above 0, or None for no limit)")
        for name in ALL
        for value in (0, -1.0, math.nan, -math.inf)
    ),
    ({"max_update_rms": "1"}, TypeError, "Invalid max_update_rms: '1' is a str"),
    ({"max_grad_norm": 1, "differentiable": True}, RuntimeError, "`max_grad_norm` does not support `differentiable`"),
    ({"max_grad_value": 1, "differentiable": True}, RuntimeError, "`max_grad_value` does not support `differentiable`"),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_bad_settings_are_one_sentence(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        RMSprop([torch.zeros(1)], **options)


@pytest.mark.parametrize("value", [0, -1.0, math.nan])
def test_a_bad_norm_is_refused_later_too(value):
    optimizer = RMSprop([torch.zeros(1)], max_grad_norm=1.0)
    with pytest.raises(ValueError, match=f"Invalid max_grad_norm: {value} "):
        optimizer.max_grad_norm = value
    assert optimizer.max_grad_norm == 1.0


def test_a_group_has_no_norm_of_its_own():
    with pytest.raises(ValueError, match="limits the norm over all groups"):
        RMSprop([{"params": [torch.zeros(1)], "max_grad_norm": 1.0}])


def test_under_a_compiler_a_step_clips_as_it_does_otherwise():
    found = []
    for compiled in (False, True):
        param = torch.ones(3, requires_grad=True)
        optimizer = RMSprop([param], max_grad_norm=0.5, max_update_rms=0.5, fused=False)
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for _ in range(2):
            param.grad = torch.tensor([1.0, 2.0, 2.0])
            step()
        found.append((param.detach().clone(), optimizer.grad_norm))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1] == 3
