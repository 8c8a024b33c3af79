"""Clipping on GPU tensors: the bits of the CPU's, and nothing waits for the norm."""

import math

import pytest
import torch

from rmsprop import Rule, clipping
from rmsprop.torch import RMSprop, gpu, gpu_norm, obstacles
from rmsprop.torch import device as devices
from rmsprop.torch.clipping.exact_sum import squares_of
from rmsprop.torch.state.rounding import TO_NEAREST

SHAPES = ((2500,), (3, 5), (), (0,))


def steps(where, count=3, bad=None, scale=1.0, dtype=torch.float32, shapes=SHAPES, **options):
    random = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=random).to(where, dtype)) for shape in shapes]
    optimizer, norms = RMSprop(params, max_grad_norm=1.5, **options), []
    for step in range(count):
        for param in params:
            param.grad = (scale * torch.randn(param.shape, generator=random)).to(where, dtype)
        if step == bad:
            params[1].grad[1, 2] = math.nan
        optimizer.step()
        norms.append(optimizer.grad_norm.cpu())
    state = [value.cpu() for param in params for value in optimizer.state[param].values()]
    return [param.detach().cpu() for param in params], state, norms, optimizer.skipped_steps


def on_the_host(monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(devices, "DEVICE_TYPES", set())
        return steps("cpu", **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("bad", [None, 1])
def test_steps_have_the_bits_of_the_cpu(dtype, bad, device, monkeypatch):
    options = {"dtype": dtype, "momentum": 0.9, "max_grad_value": 0.01, "bad": bad}
    found, expected = steps(device, fused=True, **options), on_the_host(monkeypatch, **options)
    for a, b in zip((*found[0], *found[1], *found[2]), (*expected[0], *expected[1], *expected[2]), strict=True):
        torch.testing.assert_close(a, b.to(a.dtype), rtol=0, atol=0, equal_nan=True)
    assert found[3] == expected[3] == (bad is not None)


@pytest.mark.parametrize("state_dtype", [torch.bfloat16, "8bit"], ids=str)
def test_packed_state_does_not_notice_a_skipped_step(state_dtype, device, monkeypatch):
    options = {"momentum": 0.9, "centered": True, "bad": 1, "state_dtype": state_dtype, "seed": 3}
    found, expected = steps(device, fused=True, **options), on_the_host(monkeypatch, **options)
    for a, b in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(a, b.to(a.dtype), rtol=0, atol=0)
    assert found[3] == expected[3] == 1


@pytest.mark.parametrize("span", [1, 3])
@pytest.mark.parametrize("spread", [0, 12, 40])
def test_the_sum_is_that_of_the_specification(span, spread, device, monkeypatch):
    monkeypatch.setattr(gpu_norm, "_LEAST_SPAN", span)
    values = torch.randn(5000) * 10.0 ** (spread * (torch.rand(5000) - 0.5))
    values[:1024] *= 1e-12  # so that limbs rise within a program, by one and by more
    values[1024:2048] *= 1e-6
    param = torch.nn.Parameter(torch.zeros(5000, device=device))
    param.grad = values.to(device)
    optimizer = RMSprop([param], max_grad_norm=1.0, fused=True)
    optimizer.step()
    assert optimizer.grad_norm.item() == clipping.norm(squares_of(values).numpy())


@pytest.mark.parametrize(
    ("unfit", "options"),
    [
        (
            lambda param: obstacles.unfit_caution(param, Rule(caution=True, momentum=0.9)),
            {"caution": True, "momentum": 0.9},
        ),
        (lambda param: obstacles.unfit_limit(param, True, TO_NEAREST), {"max_update_rms": 1.0}),
    ],
    ids=["caution", "max_update_rms"],
)
def test_measures_of_processes_are_left_to_tensor_operations(unfit, options, device, monkeypatch):
    param = torch.nn.Parameter(torch.ones(5, device=device))
    assert RMSprop([param], **options).paths() == {"0": "kernel (triton)"}
    monkeypatch.setattr(obstacles, "is_shard", lambda _: True)
    assert f"has {next(iter(options))} and is a DTensor" in unfit(param)


def test_launches_share_the_options_of_the_update():
    assert gpu.block_size() == gpu.block_options(torch.device("cpu"))["BLOCK"]
