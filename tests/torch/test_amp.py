"""GradScaler: the kernel unscales as it reads; a step with infinite gradients does not happen at all."""

from copy import deepcopy

import pytest
import torch

from rmsprop.torch import RMSprop

FLAGS = [{"fused": True}, {"fused": False}, {"fused": False, "capturable": True}]
IDS = ["kernel", "composite", "capturable"]


def scaled_step(scaler, optimizer, param, grad, unscale=False, clip=None):
    optimizer.zero_grad()
    scaler.scale((param * grad).sum()).backward()
    if unscale:
        scaler.unscale_(optimizer)
    if clip:
        torch.nn.utils.clip_grad_norm_([param], clip)
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("unscale", [False, True], ids=["in the kernel", "before"])
@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
def test_scaled_steps_are_those_of_torch(flags, unscale):
    params = [torch.zeros(7, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    options = {"momentum": 0.9, "weight_decay": 0.1, "centered": True}
    optimizers = [torch.optim.RMSprop(params[:1], **options), RMSprop(params[1:], **options, **flags)]
    scalers = [torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3) for _ in params]
    for step in range(8):
        grad = torch.randn(7, dtype=torch.float64)
        if step == 4:
            grad[3] = torch.inf
        for scaler, optimizer, param in zip(scalers, optimizers, params, strict=True):
            scaled_step(scaler, optimizer, param, grad, unscale)
    assert scalers[0].get_scale() == scalers[1].get_scale()
    torch.testing.assert_close(params[1], params[0], rtol=1e-12, atol=1e-12)
    assert optimizers[1].state[params[1]]["step"] == optimizers[0].state[params[0]]["step"] == 7


@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
def test_clipping_between_unscaling_and_step(flags):
    params = [torch.zeros(7, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizers = [torch.optim.RMSprop(params[:1]), RMSprop(params[1:], **flags)]
    scalers = [torch.amp.GradScaler("cpu", init_scale=3.0) for _ in params]
    for _ in range(4):
        grad = torch.randn(7, dtype=torch.float64)
        for scaler, optimizer, param in zip(scalers, optimizers, params, strict=True):
            scaled_step(scaler, optimizer, param, grad, unscale=True, clip=0.5)
    torch.testing.assert_close(params[1], params[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_an_infinite_gradient_leaves_all_as_it_was(bad, flags):
    param, idle = (torch.zeros(5, requires_grad=True) for _ in range(2))
    optimizer = RMSprop([param, idle], bias_correction=True, momentum=0.9, **flags)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for first in (True, False):
        before = param.detach().clone(), deepcopy(optimizer.state_dict())
        scaled_step(scaler, optimizer, param, torch.tensor([1.0, 2.0, bad, 0.0, 1.0]))
        assert torch.equal(param, before[0])
        torch.testing.assert_close(optimizer.state_dict()["state"], before[1]["state"], rtol=0, atol=0)
        assert (param in optimizer.state) != first
        scaled_step(scaler, optimizer, param, torch.ones(5))
        assert optimizer.state[param]["step"] == 2 - first
    assert scaler.get_scale() == 2.0


@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
def test_a_scale_of_its_own_divides_gradients(flags):
    plain, scaled = (torch.zeros(5, requires_grad=True) for _ in range(2))
    optimizers = [RMSprop([plain], **flags), RMSprop([scaled], **flags)]
    optimizers[1].grad_scale = torch.tensor(64.0)
    for _ in range(3):
        plain.grad = torch.randn(5)
        scaled.grad = plain.grad * 64
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(plain, scaled)


def test_half_precision_gradients_may_be_scaled_where_the_kernel_unscales():
    # torch's scaler refuses to unscale float16 gradients in place; here they are unscaled in float32, and don't vanish.
    param = torch.zeros(4, dtype=torch.float16, requires_grad=True)
    optimizer = RMSprop([param], lr=0.125, eps=0.0, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    param.grad = torch.full((4,), 1e-9 * 2**16).half()
    scaler.scale(torch.zeros(()))  # starts the scaler
    scaler.step(optimizer)
    assert optimizer.state[param]["square_avg"].min() > 0
    assert (param < -1.0).all()


def test_the_scaler_leaves_nothing_behind():
    param = torch.zeros(3, requires_grad=True)
    optimizer = RMSprop([param])
    scaler = torch.amp.GradScaler("cpu")
    scaled_step(scaler, optimizer, param, torch.ones(3))
    assert not hasattr(optimizer, "grad_scale")
    assert not hasattr(optimizer, "found_inf")


def test_autocast_training_is_that_of_torch(implementation):
    losses = []
    for cls, flags in ((torch.optim.RMSprop, {}), (RMSprop, implementation)):
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        optimizer, scaler = cls(model.parameters(), lr=1e-3, **flags), torch.amp.GradScaler("cpu", init_scale=256.0)
        inputs = torch.randn(32, 8)
        for _ in range(5):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = (model(inputs).float() - inputs.sum(1, keepdim=True)).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
    assert losses[5:] == pytest.approx(losses[:5], rel=1e-2)  # bfloat16 activations may round the other way
