"""Runs that were made sick on purpose, one row each: how to make them, and what has to be found."""

import math
from itertools import pairwise
from pathlib import Path

import torch
from lab.diagnose.loops import digits, labelled_noise, perceptron, same, train
from torch import nn
from torch.nn import functional as F

from rmsprop.lab.diagnose.finding import Diagnosis
from rmsprop.torch import RMSprop


def lr_far_too_high(folder: Path) -> Diagnosis:
    model = perceptron()
    return train(folder, model, RMSprop(model.parameters(), lr=10.0), digits(32), 300)


def lr_too_low(folder: Path) -> Diagnosis:
    model = perceptron()
    return train(folder, model, RMSprop(model.parameters(), lr=1e-7), digits(32), 300)


def eps_one(folder: Path) -> Diagnosis:
    model = perceptron()
    return train(folder, model, RMSprop(model.parameters(), lr=1e-3, eps=1.0), digits(32), 300)


def eps_one_inside(folder: Path) -> Diagnosis:
    model = perceptron()
    return train(folder, model, RMSprop(model.parameters(), 1e-3, dialect="tensorflow1", eps=1.0), digits(32), 300)


def eps_one_of_torch(folder: Path) -> Diagnosis:
    model = perceptron()
    return train(folder, model, torch.optim.RMSprop(model.parameters(), lr=1e-3, eps=1.0), digits(32), 300)


def short_memory(folder: Path) -> Diagnosis:
    model = perceptron()
    return train(folder, model, RMSprop(model.parameters(), lr=1e-3, alpha=0.5), digits(1), 300)


def half_precision_eps(folder: Path) -> Diagnosis:
    model = perceptron().half()
    batches = ((x.half(), y) for x, y in digits(32))
    return train(folder, model, torch.optim.RMSprop(model.parameters(), lr=1e-3), batches, 60)


def half_precision_squares(folder: Path) -> Diagnosis:
    model = perceptron().half()
    batches = ((x.half(), y) for x, y in digits(32))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, eps=1e-3)
    return train(folder, model, optimizer, batches, 100, loss_of=lambda out, y: 1e-2 * F.cross_entropy(out, y))


def brain_float_averages(folder: Path) -> Diagnosis:
    model = perceptron().bfloat16()
    batches = ((x.bfloat16(), y) for x, y in digits(32))
    return train(folder, model, torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.999), batches, 100)


def brain_float_weights(folder: Path) -> Diagnosis:
    model = perceptron().bfloat16()
    batches = ((x.bfloat16(), y) for x, y in digits(32))
    return train(folder, model, RMSprop(model.parameters(), lr=1e-4), batches, 200)


def half_precision_weights(folder: Path) -> Diagnosis:
    model = perceptron().half()
    batches = ((x.half(), y) for x, y in digits(32))
    return train(folder, model, torch.optim.Adam(model.parameters(), lr=1e-5, eps=1e-4), batches, 100)


def dead_relu(folder: Path) -> Diagnosis:
    model = perceptron()
    with torch.no_grad():
        model[0].bias.fill_(-20.0)
    return train(folder, model, RMSprop(model.parameters(), lr=1e-3), digits(32), 200)


def few_rows(folder: Path) -> Diagnosis:
    model = perceptron(hidden=128)
    x, y = next(digits(500, seed=1))
    batches = labelled_noise(digits(20, rows=60), 0.5)
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    return train(folder, model, optimizer, batches, 500, validate=lambda: F.cross_entropy(model(x), y).item())


def hot_start(folder: Path) -> Diagnosis:
    model = perceptron()
    return train(folder, model, RMSprop(model.parameters(), lr=0.02, alpha=0.999), digits(32), 600, every=1)


def collapsed(folder: Path) -> Diagnosis:
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    x = torch.rand(16, 8)
    optimizer = RMSprop(model.parameters(), lr=1e-5, alpha=0.9, centered=True)
    return train(folder, model, optimizer, same(x, 1e4 + x.sum(1, keepdim=True)), 300, loss_of=F.l1_loss)


def collapsed_of_torch(folder: Path) -> Diagnosis:
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    x = torch.rand(16, 8)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-5, alpha=0.9, centered=True)
    return train(folder, model, optimizer, same(x, 1e4 + x.sum(1, keepdim=True)), 300, loss_of=F.l1_loss)


def root_of_zero(folder: Path) -> Diagnosis:
    """A root whose argument becomes 0: the loss is finite, and its gradient isn't."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    x = torch.ones(8, 4)
    batches = ((x, torch.full((8, 1), 10.0) if step != 100 else model(x).detach()) for step in range(1, 10_000))
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    return train(folder, model, optimizer, batches, 120, loss_of=lambda out, y: F.mse_loss(out, y).sqrt())


def exploding(folder: Path) -> Diagnosis:
    """A linear layer applied twenty times: a little too much of it is very much too much of its power."""
    torch.manual_seed(0)
    first, again, last = nn.Linear(4, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 1)
    nn.init.orthogonal_(again.weight, gain=0.8)
    model = nn.Sequential(first, *[again] * 20, last)
    x = torch.randn(64, 4)
    optimizer = RMSprop(model.parameters(), lr=0.03)
    return train(folder, model, optimizer, same(x, x.sum(1, keepdim=True)), 60, loss_of=F.mse_loss, every=1)


def not_a_number(folder: Path) -> Diagnosis:
    model = perceptron()
    batches = ((x if step < 150 else x * math.nan, y) for step, (x, y) in enumerate(digits(32), start=1))
    return train(folder, model, RMSprop(model.parameters(), lr=1e-3), batches, 200)


def outliers(folder: Path) -> Diagnosis:
    model = perceptron()
    batches = ((x * (20.0 if step % 150 == 149 else 1.0), y) for step, (x, y) in enumerate(digits(32)))
    return train(folder, model, RMSprop(model.parameters(), lr=3e-3), batches, 500)


def jumpy(folder: Path) -> Diagnosis:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    x = torch.randn(64, 4)
    return train(
        folder, model, RMSprop(model.parameters(), lr=0.5), same(x, x.sum(1, keepdim=True)), 300, loss_of=F.mse_loss
    )


def unlearnable(folder: Path) -> Diagnosis:
    torch.manual_seed(0)
    model = nn.Linear(64, 10)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    batches = ((x, torch.randint(10, (len(x),))) for x, _ in digits(200))
    return train(folder, model, RMSprop(model.parameters(), lr=1e-4), batches, 400)


def unclipped_critic(folder: Path) -> Diagnosis:
    """A critic as of Arjovsky et al., arXiv 1701.07875, whose weights nobody clips: nothing bounds its loss."""
    torch.manual_seed(0)
    widths = [64, *[16] * 8]
    hidden = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(16, 1))
    sign = torch.cat([-torch.ones(16, 1), torch.ones(16, 1)])
    batches = ((torch.cat([x, torch.rand_like(x)]), sign) for x, _ in digits(16) if len(x) == 16)
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    return train(folder, model, optimizer, batches, 300, loss_of=lambda out, sign: (out * sign).mean())


# What is found, the severity, since when (a range of steps, or None for "all along"), a word of evidence or remedy.
ROWS = {
    lr_far_too_high: ("learning rate too high", "warning", None, "lr=1"),
    lr_too_low: ("learning rate too low", "warning", None, "larger learning rate"),
    eps_one: ("ε too large to adapt", "warning", None, "ε = 1 outweighs v in √v + ε for 100 %"),
    eps_one_inside: ("ε too large to adapt", "warning", None, "ε = 1 outweighs v in √(v + ε) for 100 %"),
    eps_one_of_torch: ("ε too large to adapt", "warning", None, "ε = 1 outweighs v in √v + ε for 100 %"),
    short_memory: ("decay too small for the batch", "warning", None, "0.95 instead of 0.5"),
    half_precision_eps: ("ε too small for the dtype", "bad", None, "ε = 1e-08 is 0 in float16"),
    half_precision_squares: ("squared gradients underflow", "warning", (1, 20), "GradScaler"),
    brain_float_averages: ("averages frozen", "warning", None, "At decay 0.999 an average in bfloat16"),
    brain_float_weights: ("weights held still by rounding", "warning", (1, 60), "rounding='stochastic'"),
    half_precision_weights: ("weights held still by rounding", "warning", (1, 20), "under torch.autocast"),
    dead_relu: ("dead layer", "bad", (1, 10), "LeakyReLU"),
    few_rows: ("overfitting", "warning", (20, 160), "Stop earlier"),
    hot_start: ("warm-up too hot", "warning", (2, 20), "which is longer than the run"),
    collapsed: ("centered variance collapsed", "bad", (20, 120), "turn centered off"),
    collapsed_of_torch: ("centered variance collapsed", "bad", (20, 120), "turn centered off"),
    root_of_zero: ("gradient not finite", "bad", (100, 100), "a division or a logarithm of 0"),
    unclipped_critic: ("exploding gradients", "bad", (60, 200), "The norm of the gradient grew"),
    exploding: ("exploding gradients", "bad", (2, 10), "Lower the learning rate (to 0.003)"),
    not_a_number: ("diverged", "bad", (150, 150), "became nan"),
    outliers: ("spikes", "warning", (150, 170), "clip the norm of the gradient"),
    jumpy: ("learning rate too high", "warning", None, "smaller learning rate"),
    unlearnable: ("plateau", "warning", None, "at the end"),
}
