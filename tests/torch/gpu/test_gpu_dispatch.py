"""Where the Triton kernel runs, and that nobody who has no use for it notices it."""

import subprocess
import sys

import pytest
import torch

from rmsprop.torch import RMSprop, fused, gpu


def on_a_gpu(monkeypatch, has_triton):
    """A parameter that claims to be on a GPU, with or without Triton there."""
    monkeypatch.setattr(gpu, "_has_triton", lambda: has_triton)
    param = torch.nn.Parameter(torch.ones(3, device="meta"))
    param.grad = torch.ones(3, device="meta")
    return param


def test_without_triton_the_kernel_is_not_chosen_and_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(gpu, "DEVICE_TYPES", {"meta"})
    reason = "is on device meta, where it needs Triton: pip install 'rmsprop[gpu]'"
    assert fused.unfit(on_a_gpu(monkeypatch, has_triton=False)) == reason
    assert fused.unfit(on_a_gpu(monkeypatch, has_triton=True)) is None


def test_other_devices_are_updated_by_tensor_operations(monkeypatch):
    param = on_a_gpu(monkeypatch, has_triton=True)
    assert fused.unfit(param) == "is on device meta; it takes tensors on cpu and cuda"
    RMSprop([param]).step()
    with pytest.raises(
        RuntimeError, match="parameter 0 is on device meta; it takes tensors on cpu and cuda: use fused"
    ):
        RMSprop([param], fused=True).step()


def test_steps_on_the_cpu_load_no_triton():
    script = """
import sys, torch
from rmsprop.torch import RMSprop
before = "triton" in sys.modules
param = torch.ones(3, requires_grad=True)
optimizer = RMSprop([param])
param.sum().backward()
optimizer.step()
assert before == ("triton" in sys.modules)
assert "rmsprop.torch.triton_kernel" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
