"""The models that `find_lr` is tried on."""

import torch
from torch import nn
from torch.utils.data import TensorDataset


class Bowl(nn.Module):
    """½ Σ aᵢ wᵢ²: gradient descent on it is stable below 2 / max a."""

    def __init__(self, *curvatures):
        super().__init__()
        self.register_buffer("curvatures", torch.tensor(curvatures))
        self.w = nn.Parameter(torch.ones(len(curvatures)))

    def loss(self, _):
        return 0.5 * (self.curvatures * self.w.square()).sum()


def bowl_loss(model, batch):
    return model.loss(batch)


def data(rows=96, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 5, generator=generator)
    return TensorDataset(x, (x @ torch.arange(1.0, 6.0))[:, None] + 0.1 * torch.randn(rows, 1, generator=generator))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 1))
