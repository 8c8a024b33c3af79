"""A small loop to record."""

import torch
from torch import nn
from torch.nn import functional as F


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def loop(model, optimizer, steps, recorder=None):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, y = torch.randn(4, 6, generator=generator), torch.randint(3, (4,), generator=generator)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if recorder:
            recorder.loss(loss)
        loss.backward()
        optimizer.step()
