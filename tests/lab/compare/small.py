"""A problem that trains in milliseconds, for the tests of the protocol."""

import torch
from torch import nn
from torch.nn import functional

from rmsprop.lab.problems import Data, Metric, Problem


def line(scale=1.0, width=1, **changes):
    """Three numbers to one: least squares with a little noise; small inputs need a large learning rate."""
    random = torch.Generator().manual_seed(0)
    x = scale * torch.randn(60, 3, generator=random)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) / scale + 0.1 * torch.randn(60, 1, generator=random)
    parts = [Data(x[a:b], y[a:b].repeat(1, width)) for a, b in ((0, 36), (36, 48), (48, 60))]
    values = {
        "name": "line",
        "make_model": lambda: nn.Linear(3, width),
        "loss": functional.mse_loss,
        "loss_name": "squared error",
        "metric": Metric("worst error", "", False, lambda outputs, targets: (outputs - targets).abs().max()),
        "train": parts[0],
        "validation": parts[1],
        "test": parts[2],
        "epochs": 3,
        "batch_size": 12,
    }
    return Problem(**values | changes)
