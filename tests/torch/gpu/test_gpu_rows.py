"""Rows on GPU tensors: the bits of the CPU's kernel, whatever is stored and however often a row occurs."""

import pytest
import torch

from rmsprop.torch import RMSprop
from rmsprop.torch import device as devices
from rmsprop.torch.rows.clock import ROWS, as_held


def gradient(shape, nth, count, where, dtype):
    """An uncoalesced gradient of some rows, some of which occur several times, and one that always does."""
    random = torch.Generator().manual_seed(nth)
    rows = torch.cat([torch.randint(0, shape[0], (count,), generator=random), torch.tensor([3, 3, 3])])
    values = torch.randn(len(rows), *shape[1:], generator=random).to(dtype)
    values[0] = -0.0
    return torch.sparse_coo_tensor(rows[None], values, shape, check_invariants=True).to(where)


def steps(where, shape=(40, 6), dtype=torch.float32, count=5, changes=None, **options):
    """A parameter and its state after some steps, and what updated it."""
    start = torch.randn(shape, generator=torch.Generator().manual_seed(9))
    start[..., :1] = -0.0  # which a gradient of −0 changes, but one of 0 doesn't
    param = start.to(where, dtype).requires_grad_()
    optimizer = RMSprop([param], lr=0.03, **options)
    for nth in range(count):
        optimizer.param_groups[0] |= (changes or {}).get(nth, {})
        param.grad = gradient(shape, nth, 0 if nth == 2 else 7, where, dtype)
        optimizer.step()
    path, held = optimizer.paths()["0"], as_held(optimizer.state[param])
    assert ROWS in held  # so that reading the state brings it up to date
    state = optimizer.state_dict()["state"][0]
    return [param.detach().cpu(), *(torch.as_tensor(state[name]).cpu() for name in sorted(state))], path


def assert_equal(device, monkeypatch, **options):
    found, path = steps(device, **options)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "DEVICE_TYPES", set())
        expected, _ = steps("cpu", **options)
    assert path.startswith("kernel on rows")
    assert path.endswith("(triton)")
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(torch.signbit(ours), torch.signbit(theirs)) or ours.dtype == torch.uint8


RULES = {
    "plain": {},
    "centered": {"centered": True},
    "corrected": {"bias_correction": True, "centered": True},
    "tensorflow": {"dialect": "tensorflow1", "eps": 1e-3},
    "delayed": {"delayed": True, "init_from_gradient": True},
    "ascent within limits": {"maximize": True, "max_grad_value": 0.5},
    "other decays on the way": {"changes": {1: {"alpha": 0.9}, 3: {"alpha": 0.5}}, "centered": True},
    "other corrected decays on the way": {"changes": {1: {"alpha": 0.9}, 3: {"alpha": 0.4}}, "bias_correction": True},
    "lazy": {"sparse": "lazy", "momentum": 0.9, "weight_decay": 0.1, "centered": True},
}


@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rows_have_the_bits_of_the_cpu(dtype, options, device, monkeypatch):
    assert_equal(device, monkeypatch, dtype=dtype, **options)


STORED = {
    "bfloat16": {"dtype": torch.bfloat16},
    "float16": {"dtype": torch.float16, "centered": True},
    "by chance": {"dtype": torch.bfloat16, "rounding": "stochastic", "seed": 5},
    "kahan": {"dtype": torch.bfloat16, "rounding": "kahan"},
    "state in bfloat16": {"state_dtype": torch.bfloat16, "centered": True, "seed": 5},
    "state in 8 bits": {"state_dtype": "8bit", "centered": True, "shape": (20, 128)},
    "rows that share scales": {"state_dtype": "8bit", "centered": True, "shape": (21, 48)},
}


@pytest.mark.parametrize("options", STORED.values(), ids=STORED)
def test_whatever_is_stored(options, device, monkeypatch):
    assert_equal(device, monkeypatch, **options)


@pytest.mark.parametrize("shape", [(10,), (10, 1), (7, 1500), (9, 3, 5), (5, 0)], ids=str)
def test_rows_of_any_width(shape, device, monkeypatch):
    assert_equal(device, monkeypatch, shape=shape, centered=True)


NOT_BY_ROWS = {
    "momentum": ({"momentum": 0.9}, "momentum moves rows that have no gradient"),
    "asked": ({"fused": False}, "fused=False was asked for"),
}


@pytest.mark.parametrize(("options", "reason"), NOT_BY_ROWS.values(), ids=NOT_BY_ROWS)
def test_what_moves_all_rows_is_a_dense_copy(options, reason, device):
    param = torch.ones(10, 2, device=device, requires_grad=True)
    param.grad = gradient((10, 2), 0, 4, device, torch.float32)
    optimizer = RMSprop([param], **options)
    with pytest.warns(UserWarning, match=f"dense at every step, as .*{reason}"):
        optimizer.step()
    assert "kernel on rows" not in optimizer.paths()["0"]


def test_one_average_per_row_is_for_the_cpu(device):
    param = torch.ones(10, 2, device=device, requires_grad=True)
    param.grad = gradient((10, 2), 0, 4, device, torch.float32)
    with pytest.raises(RuntimeError, match="whose kernel doesn't know sparse='rowwise'"):
        RMSprop([param], sparse="rowwise").step()


def test_a_row_that_does_not_exist_is_an_error_before_anything_changed(device):
    param = torch.ones(4, 2, device=device, requires_grad=True)
    param.grad = torch.sparse_coo_tensor(
        torch.tensor([[1, 9]]), torch.ones(2, 2), (4, 2), device=device, check_invariants=False
    )
    with pytest.raises(RuntimeError, match="index 9 in dimension 0"):
        RMSprop([param]).step()
    assert torch.equal(param, torch.ones_like(param))
