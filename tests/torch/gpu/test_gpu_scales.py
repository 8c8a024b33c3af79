"""What scales updates of whole tensors on a GPU: adaptive clipping, the limit of an update, caution; the CPU's bits."""

import math

import numpy as np
import pytest
import torch

from rmsprop import clipping
from rmsprop.torch import RMSprop
from rmsprop.torch import device as devices
from rmsprop.torch.clipping.exact_sum import norms_of_rows, update_scales

SHAPES = ((40, 33), (3, 5, 2), (2500,), (), (0,))


def steps(where, dtype=torch.float32, count=3, bad=None, **options):
    """Parameters and state after some steps, and what updates each."""
    random = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=random).to(where, dtype)) for shape in SHAPES]
    optimizer = RMSprop(params, **options)
    for step in range(count):
        for i, param in enumerate(params):
            param.grad = torch.randn(param.shape, generator=random).to(where, dtype)
            if (step, i) == (1, 2):
                param.grad = None
        if step == bad:
            params[0].grad[1, 2] = math.nan
        optimizer.step()
    state = [value.cpu() for param in params for value in optimizer.state[param].values()]
    return [*(param.detach().cpu() for param in params), *state], optimizer.paths()


OPTIONS = {
    "an update": {"max_update_rms": 0.5},
    "an update, centered with momentum": {"max_update_rms": 0.5, "centered": True, "momentum": 0.9},
    "an update and caution": {"max_update_rms": 0.5, "caution": True, "momentum": 0.9},
    "units": {"max_grad_ratio": 0.1},
    "units of ascent": {"max_grad_ratio": 0.1, "maximize": True, "weight_decay": 0.1},
    "all": {"max_grad_ratio": 0.1, "max_update_rms": 0.5, "caution": True, "momentum": 0.9, "max_grad_value": 0.1},
    "all but caution, with the norm": {"max_grad_ratio": 0.1, "max_update_rms": 0.5, "max_grad_norm": 1.5},
    "a step that is skipped": {"max_grad_ratio": 0.1, "max_update_rms": 0.5, "max_grad_norm": 1.5, "bad": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_scaled_updates_have_the_bits_of_the_cpu(dtype, options, device, monkeypatch):
    found, paths = steps(device, dtype, fused=True, **options)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "DEVICE_TYPES", set())
        expected, _ = steps("cpu", dtype, **options)
    assert set(paths.values()) == {"kernel (triton)"}
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("options", [{"max_update_rms": 0.5}, {"max_grad_ratio": 0.1}], ids=["update", "units"])
@pytest.mark.parametrize("state_dtype", [torch.bfloat16, "8bit"], ids=str)
def test_packed_state_is_read(state_dtype, options, device, monkeypatch):
    options = {"state_dtype": state_dtype, "seed": 3, "centered": True, **options}
    found, _ = steps(device, fused=True, **options)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "DEVICE_TYPES", set())
        expected, _ = steps("cpu", fused=False, **options)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=0, atol=0)


@pytest.mark.parametrize("spread", [0, 40, 300])
def test_norms_by_tensor_operations_are_those_of_the_specification(spread):
    random = np.random.default_rng(0)
    rows = random.standard_normal((30, 50)) * 10.0 ** (spread * (random.random((30, 1)) - 0.5))
    rows[1], rows[2, 3], rows[3, 4], rows[4, 5] = 0.0, np.inf, np.nan, 1e300
    words = clipping.row_squares(rows)
    assert np.array_equal(norms_of_rows(torch.from_numpy(rows)).numpy(), clipping.norms(words), equal_nan=True)
    scales = update_scales(torch.from_numpy(words), torch.full((30,), 50.0).double(), torch.ones(30).double())
    assert scales.tolist() == clipping.update_scales(words, 50, 1.0).tolist()


def test_rows_of_no_numbers_have_norms_too():
    assert norms_of_rows(torch.ones(0, 3)).tolist() == []
    assert norms_of_rows(torch.ones(2, 0)).tolist() == [0.0, 0.0]
