"""Where the Triton kernel runs, and that nobody who has no use for it notices it."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import torch._dynamo  # an optimizer loads it, and it must not meet a pretended Triton

from rmsprop import native
from rmsprop.torch import RMSprop
from rmsprop.torch import device as devices
from rmsprop.torch.obstacles import unfit


def forget():
    for answer in (devices._obstacle, devices._is_too_old):
        answer.cache_clear()


@pytest.fixture(autouse=True)
def forgotten():
    yield
    forget()


def pretend_triton(monkeypatch, active):
    runtime = SimpleNamespace(driver=SimpleNamespace(active=active))
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "triton.runtime", runtime)


def on_a_gpu(monkeypatch, has_triton):
    """A parameter that claims to be on a GPU, with or without Triton there."""
    forget()
    monkeypatch.setattr(devices, "find_spec", lambda _: "found" if has_triton else None)
    working = SimpleNamespace(get_current_target=lambda: None)
    pretend_triton(monkeypatch, working)
    param = torch.nn.Parameter(torch.ones(3, device="meta"))
    param.grad = torch.ones(3, device="meta")
    return param


def test_without_triton_the_kernel_is_not_chosen_and_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(devices, "DEVICE_TYPES", {"meta"})
    reason = "is on device meta, where the kernel needs Triton: pip install 'rmsprop[gpu]'"
    assert unfit(on_a_gpu(monkeypatch, has_triton=False)) == reason
    assert unfit(on_a_gpu(monkeypatch, has_triton=True)) is None


def test_without_the_compiled_library_nothing_looks_at_tensors_on_a_gpu(monkeypatch):
    param = on_a_gpu(monkeypatch, has_triton=True)
    monkeypatch.setattr(devices, "DEVICE_TYPES", {"meta"})
    monkeypatch.setattr(native, "missing", lambda: "the library is missing")
    assert unfit(param) == "is on device meta, where the library is missing"
    with pytest.raises(RuntimeError, match="parameter 0 is on device meta, where the library is missing: use fused"):
        RMSprop([param], fused=True).step()


def test_other_devices_are_updated_by_tensor_operations(monkeypatch):
    param = on_a_gpu(monkeypatch, has_triton=True)
    assert unfit(param) == "is on device meta; the kernels take tensors on cpu and cuda"
    RMSprop([param]).step()
    with pytest.raises(
        RuntimeError, match="parameter 0 is on device meta; the kernels take tensors on cpu and cuda: use fused"
    ):
        RMSprop([param], fused=True).step()


def test_without_a_compiler_triton_is_not_used_and_says_what_it_needs(monkeypatch):
    def build():
        raise RuntimeError("Failed to find C compiler.")

    param = on_a_gpu(monkeypatch, has_triton=True)
    monkeypatch.setattr(devices, "DEVICE_TYPES", {"meta"})
    pretend_triton(monkeypatch, SimpleNamespace(get_current_target=build))
    assert unfit(param) == "is on device meta, where Triton does not work: Failed to find C compiler."
    RMSprop([param]).step()


@pytest.mark.parametrize(("capability", "serves"), [((6, 1), False), ((7, 0), True), ((9, 0), True)])
def test_gpus_that_triton_does_not_compile_for_are_told_apart(capability, serves, monkeypatch):
    on_a_gpu(monkeypatch, has_triton=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    reason = "is on device cuda:0, which is older than what Triton compiles for, compute capability 7.0"
    assert devices.missing(torch.device("cuda:0")) == (None if serves else reason)


def test_steps_on_the_cpu_load_no_triton():
    script = """
import sys, torch
from rmsprop import native
from rmsprop.torch import RMSprop
param = torch.ones(3, requires_grad=True)
optimizer = RMSprop([param])  # in it torch loads its compiler, which loads Triton
before = "triton" in sys.modules
param.sum().backward()
optimizer.step()
assert before == ("triton" in sys.modules)
assert "rmsprop.torch.triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
