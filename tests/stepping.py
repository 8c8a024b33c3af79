"""Optimizers of `rmsprop.torch` over parameters of many layouts, and steps on equal gradients."""

import torch

from rmsprop.torch import RMSprop
from rmsprop.torch.groups import KEYS


def options_of(rule):
    return {key: getattr(rule, field) for field, key in KEYS.items()}


def random(shape, seed, dtype):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def in_channels_last(values):
    return values.to(memory_format=torch.channels_last) if values.dim() == 4 else values


def with_gaps(values):
    return torch.stack([values, values], dim=-1)[..., 0]


def cut(values):
    """The same numbers from an address that no vector begins at."""
    return torch.cat([values.new_zeros(1), values.flatten()])[1:].view(values.shape)


LAYOUTS = {"plain": torch.clone, "channels last": in_channels_last, "gaps": with_gaps, "cut": cut}
SHAPES = ((5,), (2, 3, 4, 5), (300, 7), (), (0,), (1031,))


def optimizer_of(dtype, layout=torch.clone, shapes=SHAPES, **options):
    values = [layout(random(shape, i, dtype)) for i, shape in enumerate(shapes)]
    return RMSprop([value.requires_grad_() for value in values], **options)


def params_of(optimizer):
    return [param for group in optimizer.param_groups for param in group["params"]]


def step(optimizer, nth, present=lambda i: True):
    for i, param in enumerate(params_of(optimizer)):
        param.grad = random(param.shape, 100 * nth + i, param.dtype) if present(i) else None
    optimizer.step()


def assert_equal(one, other):
    """Parameters and everything that is held of their state are the same, bit by bit."""
    for mine, its in zip(params_of(one), params_of(other), strict=True):
        assert torch.equal(mine, its)
        assert one.state[mine].keys() == other.state[its].keys()
        for name, value in one.state[mine].items():
            assert value.dtype == other.state[its][name].dtype
            assert torch.equal(value, other.state[its][name]), name
