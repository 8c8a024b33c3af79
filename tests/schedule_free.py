"""`ScheduleFreeRMSprop` over parameters of several shapes, and steps on equal gradients."""

import torch

from rmsprop.torch import ScheduleFreeRMSprop


def params(dtype=torch.float64, shapes=((7, 5), (13,), (), (301,))):
    return [(torch.rand(shape, dtype=torch.float64) / 5 - 0.1).to(dtype).requires_grad_() for shape in shapes]


def optimizer_of(values=None, **options):
    optimizer = ScheduleFreeRMSprop(params() if values is None else values, lr=1e-3, alpha=0.99, **options)
    optimizer.train()
    return optimizer


def all_params(optimizer):
    return [param for group in optimizer.param_groups for param in group["params"]]


def take(optimizer, steps, seed=0):
    """Take steps on random gradients, which go on from one call to the next with another seed."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for param in all_params(optimizer):
            param.grad = torch.randn(param.shape, generator=random, dtype=torch.float64).to(param.dtype)
        optimizer.step()


def assert_same(one, other):
    for mine, its in zip(all_params(one), all_params(other), strict=True):
        assert torch.equal(mine, its)
        assert one.state[mine].keys() == other.state[its].keys()
        assert all(torch.equal(value, other.state[its][name]) for name, value in one.state[mine].items())
