"""Unscaling, skipping and clipping are decided on the device: no step waits for a number to arrive."""

import sys
from contextlib import contextmanager

import pytest
import torch

from rmsprop.torch import RMSprop, plan
from rmsprop.torch.state.counter import can_count, pinned

# What torch says on a GPU when a capturable step is not captured.
pytestmark = pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True:UserWarning")

OPTIONS = {"lr": 0.1, "momentum": 0.9, "centered": True, "weight_decay": 0.1}


@contextmanager
def nobody_waits(device):
    """Within this, reading a number from the device is an error."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return

    def refused(name):
        read = getattr(torch.Tensor, name)

        def refuse(*arguments, **keywords):
            # The interpreter itself copies what it is given. A counter that is on the CPU, as all are there, is read.
            caller = sys._getframe(1)
            on_the_cpu = (can_count.__code__, pinned.__code__)
            if caller.f_globals["__name__"].startswith("triton.") or caller.f_code in on_the_cpu:
                return read(*arguments, **keywords)
            raise AssertionError(f"a number was read, by Tensor.{name}")

        return refuse

    with pytest.MonkeyPatch.context() as patch:
        for name in ("item", "tolist", "cpu", "numpy", "__array__", *(f"__{kind}__" for kind in READ_BY)):
            patch.setattr(torch.Tensor, name, refused(name))
        patch.setattr(torch.Tensor, "to", never_waiting(torch.Tensor.to))
        yield


READ_BY = ("float", "int", "bool", "index", "complex")


def never_waiting(to):
    """`torch.Tensor.to`, where rmsprop may only name a device with ``non_blocking``."""

    def checked(tensor, *arguments, **keywords):
        named = [*arguments, *keywords.values()]
        ours = sys._getframe(1).f_globals["__name__"].startswith("rmsprop.")
        if ours and any(isinstance(value, torch.device | str) for value in named):
            assert keywords.get("non_blocking"), f"a copy to {named} waits"
        return to(tensor, *arguments, **keywords)

    return checked


@pytest.fixture
def new(device):
    """Makes a parameter and its optimizer."""

    def make(**options):
        param = torch.ones(5, device=device, requires_grad=True)
        return param, RMSprop([param], fused=True, **{**OPTIONS, **options})

    return make


def state_of(optimizer, param):
    return {name: value.clone() for name, value in optimizer.state[param].items()}


def scaled_step(scaler, optimizer, param, grad):
    optimizer.zero_grad()
    scaler.scale((param * grad).sum()).backward()
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("capturable", [False, True])
def test_scaled_steps_are_the_plain_ones_without_those_of_infinite_gradients(device, new, bias_correction, capturable):
    options = {"bias_correction": bias_correction, "capturable": capturable}
    (param, optimizer), (plain, unscaled) = new(**options), new(bias_correction=bias_correction)
    scaler = torch.amp.GradScaler(device, init_scale=1024.0, growth_interval=3)
    for step in range(8):
        grad = torch.randn(5, device=device)
        infinite = step in (0, 4)
        scaled_step(scaler, optimizer, param, torch.full_like(grad, torch.inf) if infinite else grad)
        if not infinite:
            plain.grad = grad
            unscaled.step()
    if bias_correction:  # the gain comes from a count on the device, and may be rounded the other way
        torch.testing.assert_close(param, plain, rtol=1e-6, atol=0)
    else:
        assert torch.equal(param, plain)
    assert optimizer.state[param]["step"] == unscaled.state[plain]["step"] == 6


@pytest.mark.parametrize("found", [1.0, 2.0], ids=["on one device", "on two"])
def test_a_skipped_step_leaves_all_as_it_was_and_does_not_count(device, new, found):
    param, optimizer = new(bias_correction=True)
    param.grad = torch.ones_like(param)
    optimizer.step()
    before, state = param.detach().clone(), state_of(optimizer, param)
    optimizer.grad_scale = torch.tensor(4.0, device=device)
    optimizer.found_inf = torch.tensor(found, device=device)
    optimizer.step()
    assert torch.equal(param, before)
    torch.testing.assert_close(state_of(optimizer, param), state, rtol=0, atol=0)


def test_a_first_step_that_is_skipped_leaves_a_count_of_zero(device, new):
    param, optimizer = new()
    scaled_step(torch.amp.GradScaler(device), optimizer, param, torch.full((5,), torch.inf, device=device))
    assert torch.equal(param, torch.ones_like(param))
    assert all((value == 0).all() for value in optimizer.state[param].values())


@pytest.mark.parametrize("bias_correction", [False, True])
def test_a_step_waits_for_nothing(device, new, bias_correction):
    lr = torch.tensor(0.1, device=device) if device == "cuda" else 0.1  # one on the CPU is read, and checked
    param, optimizer = new(lr=lr, bias_correction=bias_correction, capturable=True)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0, device=device), torch.zeros((), device=device)
    param.grad = torch.ones_like(param)
    optimizer.step()
    optimizer.add_param_group({"params": [torch.ones(3, device=device)]})
    optimizer.param_groups[1]["params"][0].grad = torch.ones(3, device=device)
    with nobody_waits(device):
        param.grad = torch.ones_like(param)
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.5
        optimizer.step()
    assert optimizer.state[param]["step"] == 3


def test_gradients_are_multiplied_with_the_inverse_of_the_scale(device, new):
    # As on the CPU, where the inverse is rounded once; dividing by 3 would give other bits.
    (param, optimizer), (plain, unscaled) = new(), new()
    optimizer.grad_scale = torch.tensor(3.0, device=device)
    for _ in range(2):
        grad = torch.randn(5, device=device)
        param.grad, plain.grad = grad, grad * torch.tensor(1.0 / 3.0, device=device)
        optimizer.step()
        unscaled.step()
    assert torch.equal(param, plain)


def test_clipping_by_the_global_norm(device, new):
    (param, optimizer), (plain, clipped) = new(), new()
    for factor in (0.01, 10.0):
        grad = factor * torch.randn(5, device=device)
        param.grad, plain.grad = grad.clone(), grad.clone()
        with nobody_waits(device):
            norm = torch.nn.utils.get_total_norm([param.grad])
            optimizer.grad_scale = torch.clamp(norm / 1.0, min=1.0)
        optimizer.step()
        assert torch.equal(param.grad, grad)
        torch.nn.utils.clip_grad_norm_([plain], 1.0)
        clipped.step()
    torch.testing.assert_close(param, plain, rtol=1e-5, atol=1e-6)  # torch adds 1e-6 to the norm


def test_clipping_under_a_scaler(device, new):
    (param, optimizer), (plain, clipped) = new(), new()
    scalers = [torch.amp.GradScaler(device, init_scale=256.0) for _ in range(2)]
    for _ in range(3):
        grad = 10.0 * torch.randn(5, device=device)
        for scaler, p, o in zip(scalers, (param, plain), (optimizer, clipped), strict=True):
            o.zero_grad()
            scaler.scale((p * grad).sum()).backward()
        scale = scalers[0].scale(torch.ones((), device=device))
        norm = torch.nn.utils.get_total_norm([param.grad])
        optimizer.grad_scale = torch.clamp(norm / (scale * 1.0), min=1.0)
        scalers[1].unscale_(clipped)
        torch.nn.utils.clip_grad_norm_([plain], 1.0)
        for scaler, o in zip(scalers, (optimizer, clipped), strict=True):
            scaler.step(o)
            scaler.update()
    torch.testing.assert_close(param, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("infinite", [False, True])
def test_parameters_that_the_kernel_does_not_update_wait_and_agree(device, infinite):
    # Tensor operations must know whether there is a step.
    params = [torch.ones(4, device=device) for _ in range(2)]
    optimizer = RMSprop([{"params": params[:1]}, {"params": params[1:], "fused": False}])
    optimizer.grad_scale, optimizer.found_inf = (torch.tensor(n, device=device) for n in (2.0, float(infinite)))
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    for param in params:
        assert (param == 1).all() == infinite
        assert optimizer.state[param]["step"] == 1 - infinite
    torch.testing.assert_close(*params, rtol=1e-6, atol=0)


def test_counters_part_without_being_read(device):
    params = [torch.ones(3, device=device) for _ in range(2)]
    optimizer = RMSprop(params, fused=True, capturable=True, bias_correction=True)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    params[1].grad = None
    with nobody_waits(device):
        optimizer.step()
    assert [optimizer.state[param]["step"].item() for param in params] == [2, 1]


def test_without_its_scaler_a_step_still_does_not_wait_for_its_counter(device, new, monkeypatch):
    param, optimizer = new(bias_correction=True)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(2.0, device=device), torch.zeros((), device=device)
    param.grad = torch.ones_like(param)
    optimizer.step()
    del optimizer.grad_scale, optimizer.found_inf
    counter = optimizer.state[param]["step"]
    if device == "cpu":  # in the interpreter everything is; this counter was made to be on the device
        monkeypatch.setattr(plan, "_are_counted_there", lambda group, states: states[param]["step"] is counter)
    optimizer.param_groups[0]["alpha"] = 0.95  # makes a new plan
    with nobody_waits(device):
        optimizer.step()
        optimizer.step()
    assert optimizer.state[param]["step"] is counter
    assert counter == 3


@pytest.mark.parametrize(("place", "is_there"), [("cpu", False), ("meta", True)])
def test_a_counter_that_went_to_a_device_stays_there_unread(place, is_there):
    param, counter = torch.ones(2, device=place), torch.ones((), device=place)  # reading a meta tensor raises
    assert plan._are_counted_there({"params": [param]}, {param: {"step": counter}}) is is_there
    assert not plan._are_counted_there({"params": [param]}, {})
    assert can_count(counter, param, on_device=True)


@pytest.mark.parametrize("scaled", [False, True])
def test_clipping_waits_for_nothing(scaled, device):
    param = torch.nn.Parameter(torch.ones(5, device=device))
    optimizer = RMSprop([param], max_grad_norm=1.0, fused=True, lr=0.1)
    for _ in range(3):
        param.grad = torch.full((5,), 2.0, device=device)
        if scaled:
            optimizer.grad_scale = torch.full((), 4.0, device=device)
            optimizer.found_inf = torch.zeros((), device=device)
        with nobody_waits(device):
            optimizer.step()
    assert optimizer.grad_norm.item() == pytest.approx(20**0.5 / (4 if scaled else 1))
