"""Tables whose rows are prepared before each step, and steps on gradients of some rows, or the same ones dense."""

import torch

from rmsprop.torch import RMSprop

DECOUPLED = {"weight_decay": 0.1, "weight_decay_mode": "decoupled"}
RULES = {
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True, "centered": True},
    "tensorflow": {"dialect": "tensorflow1", "momentum": 0.9, "eps": 1e-3, "lr": 0.01},
    "averaged": {"momentum": 0.9, "averaged_momentum": True, "bias_correction": True},
    "decay": DECOUPLED,
    "both": {"momentum": 0.5, **DECOUPLED},
}


def gradient(nth, shape=(30, 6), count=5, dtype=torch.float32, sparse_dim=1):
    """An uncoalesced gradient of some rows."""
    random = torch.Generator().manual_seed(nth)
    indices = torch.stack([torch.randint(0, n, (count,), generator=random) for n in shape[:sparse_dim]])
    values = torch.randn(count, *shape[sparse_dim:], generator=random).to(dtype)
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=True)


def made(shape=(30, 6), dtype=torch.float32, **options):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return RMSprop([start.requires_grad_()], **options)


def param_of(optimizer):
    return optimizer.param_groups[0]["params"][0]


def taken(optimizer, grad):
    """Prepare the rows of a gradient, and take its step."""
    optimizer.prepare(grad._indices()[0])
    param_of(optimizer).grad = grad
    optimizer.step()
    return optimizer


def taken_densely(optimizer, grad):
    param_of(optimizer).grad = grad.to_dense()
    optimizer.step()
    return optimizer
