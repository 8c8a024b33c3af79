"""What the tests of the PyTorch front end share: the two implementations, equal parameters, equal gradients."""

import pytest
import torch

from rmsprop.torch.groups import KEYS

SHAPES = ((10, 5), (10,), (), (1,), (0,), (3, 1, 4))


@pytest.fixture(params=[{"fused": True}, {"fused": False}], ids=["kernel", "composite"])
def implementation(request):
    """What to pass to the constructor to get one implementation or the other."""
    return request.param


@pytest.fixture(autouse=True)
def same_numbers_in_every_run():
    torch.manual_seed(0)


@pytest.fixture
def keywords():
    """Returns a `Rule` as the constructor's keywords."""
    return lambda rule: {key: getattr(rule, field) for field, key in KEYS.items()}


@pytest.fixture
def twins():
    """Returns as many lists of equal parameters as asked for."""

    def make(count=2, shapes=SHAPES, dtype=torch.float64):
        values = [torch.randn(shape, dtype=dtype) for shape in shapes]
        return [[value.clone().requires_grad_() for value in values] for _ in range(count)]

    return make


@pytest.fixture
def train():
    """Takes steps with several optimizers, on equal random gradients, some of which are missing now and then."""

    def run(*optimizers, steps=10, seed=1, gaps=False):
        random = torch.Generator().manual_seed(seed)
        params = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer in optimizers]
        for _ in range(steps):
            for same in zip(*params, strict=True):
                first = same[0]
                grad = torch.randn(first.shape, dtype=first.dtype, generator=random)
                missing = gaps and torch.rand((), generator=random) < 0.3
                for param in same:
                    param.grad = None if missing else grad.to(param.dtype)
            for optimizer in optimizers:
                optimizer.step()

    return run
