"""`find_lr` leaves everything as it was: after a test, an error, and Ctrl-C."""

import os
import pickle
import random
import signal

import numpy as np
import pytest
import torch
from lab.tune.models import data, network
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler

from rmsprop.lab import find_lr
from rmsprop.torch import RMSprop

OPTIMIZERS = {
    "rmsprop": lambda params: RMSprop(params, lr=1e-3, momentum=0.9),
    "centered": lambda params: RMSprop(params, lr=1e-3, centered=True, dialect="tensorflow1"),
    "composite": lambda params: RMSprop(params, lr=1e-3, fused=False),
    "tensor lr": lambda params: RMSprop(params, lr=torch.tensor(1e-3)),
    "adam": lambda params: torch.optim.Adam(params, lr=1e-3, amsgrad=True),
    "momentum": lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.9, nesterov=True),
    "adagrad": lambda params: torch.optim.Adagrad(params),
    "adadelta": lambda params: torch.optim.Adadelta(params),
}


def trained(make):
    """A model in the middle of training, with an optimizer, a scheduler, gradients and a loader that shuffles."""
    torch.manual_seed(2)
    model = network()
    model[0].bias.requires_grad_(False)
    model[1].eval()  # frozen statistics inside a model that trains
    optimizer = make([{"params": model[0].parameters()}, {"params": model[4].parameters(), "lr": 3e-3}])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    rows = data()
    loader = DataLoader(rows, 16, sampler=RandomSampler(rows, generator=torch.Generator().manual_seed(5)))
    for _, (x, y) in zip(range(4), loader, strict=False):
        optimizer.zero_grad()
        functional.mse_loss(model(x), y).backward()
        optimizer.step()
        schedule.step()
    return model, optimizer, schedule, loader


def everything(model, optimizer, schedule, loader):
    """The bytes of all there is to change, and the identities of what must stay the same object."""

    def of(value):
        if isinstance(value, torch.Tensor):
            return value.dtype, value.requires_grad, value.detach().numpy().tobytes()
        if isinstance(value, dict):
            return {str(key): of(item) for key, item in value.items() if not isinstance(key, torch.Tensor)}
        return [of(item) for item in value] if isinstance(value, list | tuple) else repr(value)

    parameters = list(model.parameters())
    values = {
        "model": of(model.state_dict()),
        "grads": [of(p.grad) if p.grad is not None else None for p in parameters],
        "requires_grad": [p.requires_grad for p in parameters],
        "modes": [module.training for module in model.modules()],
        "state": [of(optimizer.state[p]) if p in optimizer.state else None for p in parameters],
        "groups": of([{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]),
        "scheduler": of(schedule.state_dict()),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),
        "python": random.getstate(),
        "sampler": loader.sampler.generator.get_state().numpy().tobytes(),
    }
    objects = [*parameters, *(p.grad for p in parameters), *model.buffers(), optimizer.state, *optimizer.param_groups]
    objects += [tensor for p in parameters for tensor in optimizer.state.get(p, {}).values()]
    return values, [id(one) for one in objects]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_everything_is_afterwards_what_it_was_to_the_last_bit(make):
    parts = trained(make)
    before = everything(*parts)
    model, optimizer, _, loader = parts

    def loss(outputs, targets):
        return functional.mse_loss(outputs, targets) * (1 + 0 * np.random.random() + 0 * random.random())

    found = find_lr(model, loss, loader, optimizer=optimizer, steps=30, repeats=2)
    assert np.isfinite(found.losses[:, :5]).all()
    assert everything(*parts) == before


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_goes_on_as_if_it_had_never_been_interrupted(make):
    def go_on(with_test):
        model, optimizer, schedule, loader = trained(make)
        torch.manual_seed(3)
        if with_test:
            find_lr(model, functional.mse_loss, loader, optimizer=optimizer, steps=30, repeats=2)
        for x, y in loader:
            optimizer.zero_grad()
            functional.mse_loss(model(x), y).backward()
            optimizer.step()
            schedule.step()
        return [parameter.detach().numpy().tobytes() for parameter in model.parameters()]

    assert go_on(True) == go_on(False)


class Stop(Exception):
    """Something in a person's loss."""


def raise_stop():
    raise Stop


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError("the signal should have been raised")


@pytest.mark.parametrize(("fail", "error"), [(raise_stop, Stop), (interrupt, KeyboardInterrupt)])
@pytest.mark.parametrize("at", [0, 17, 45])
def test_everything_is_restored_after_an_error_and_after_ctrl_c(fail, error, at):
    parts = trained(OPTIMIZERS["rmsprop"])
    before = everything(*parts)
    model, optimizer, _, loader = parts
    calls = iter(range(1000))

    def loss(outputs, targets):
        if next(calls) == at:
            fail()
        return functional.mse_loss(outputs, targets)

    with pytest.raises(error):
        find_lr(model, loss, loader, optimizer=optimizer, steps=30, repeats=2)
    assert everything(*parts) == before


def test_a_ctrl_c_while_everything_is_put_back_waits_until_it_is():
    model, sent = network(), []
    before = [p.detach().clone() for p in model.parameters()]
    original = torch.set_rng_state

    def put(state):
        os.kill(os.getpid(), signal.SIGINT)
        sent.append(True)
        original(state)

    state = random.getstate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_rng_state", put)
        with pytest.raises(KeyboardInterrupt):
            find_lr(model, functional.mse_loss, DataLoader(data(), 16), steps=20, repeats=1)
    assert sent
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert random.getstate() == state  # put back after torch's
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_model_in_evaluation_mode_is_tested_in_training_mode_and_put_back():
    model, modes = network().eval(), set()
    model.register_forward_pre_hook(lambda module, _: modes.add(module.training))
    find_lr(model, functional.mse_loss, DataLoader(data(), 16), steps=20, repeats=2)
    assert modes == {True}
    assert not any(module.training for module in model.modules())


def test_what_modules_reassign_and_the_loss_learns_is_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.calls = nn.Linear(5, 1), 0
            self.register_buffer("mean", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            self.mean = self.mean + x.mean().detach()  # a new tensor each time
            self.seen = x
            return self.linear(x)

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, outputs, targets):
            return ((outputs - targets).square() / self.scale.exp() + self.scale).mean()

    model, loss = Counting(), Scaled()
    mean = model.mean
    optimizer = RMSprop([*model.parameters(), *loss.parameters()])
    find_lr(model, loss, DataLoader(data(), 16), optimizer=optimizer, steps=20, repeats=2)
    assert (model.calls, float(model.mean), loss.scale.item()) == (0, 0.0, 1.0)
    assert model.mean is mean
    assert not hasattr(model, "seen")
    assert not optimizer.state
