"""Runs whose checkpoints go from one number of ranks to another: what is trained, and on which gradients."""

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions
from torch.distributed.fsdp import fully_shard

from rmsprop.torch import RMSprop
from sharding.support import TORCHS, a_model, noise, spread

FORMS = {"nested": StateDictOptions(), "flattened": StateDictOptions(flatten_optimizer_state_dict=True)}
STEPS = 3
# The optimizer that saves, the one that loads, their options, and the dtype of the model.
RUNS = {
    "plain": (RMSprop, RMSprop, {}, torch.float32),
    "tensorflow1": (RMSprop, RMSprop, {"dialect": "tensorflow1", "lr": 0.01, "momentum": 0.9}, torch.float32),
    "rounded": (RMSprop, RMSprop, {"rounding": "stochastic", "state_dtype": torch.bfloat16, "seed": 5}, torch.bfloat16),
    "kahan": (RMSprop, RMSprop, {"rounding": "kahan", "momentum": 0.9}, torch.bfloat16),
    "8 bits": (RMSprop, RMSprop, {"momentum": 0.9, "state_dtype": "8bit", "seed": 5}, torch.float32),
    "from torch": (TORCHS, RMSprop, {"momentum": 0.9}, torch.float32),
    "to torch": (RMSprop, TORCHS, {"momentum": 0.9}, torch.float32),
}


def model_of(run, mesh=None):
    """Return a model with equal numbers everywhere, in shards if there is a mesh.

    In 8 bits its rows are blocks, so that shards begin at the borders of blocks on any number of ranks.
    """
    model = a_model() if run != "8 bits" else torch.nn.Linear(128, 6, bias=False)
    with torch.no_grad():
        for i, param in enumerate(model.parameters()):
            param.copy_(noise(param.shape, 500 + i))
    model = model.to(RUNS[run][-1])
    return model if mesh is None else fully_shard(model, mesh=mesh)


def take_step(model, optimizer, step):
    """Take a step on gradients that depend on its number alone."""
    for i, param in enumerate(model.parameters()):
        grad = noise(param.shape, 10 * step + i, param.dtype)
        param.grad = spread(grad, param.device_mesh, param.placements) if hasattr(param, "device_mesh") else grad
    optimizer.step()
    optimizer.zero_grad()


def whole(run, which):
    """Return a model and its optimizer, trained by one process, and what it becomes in the steps that follow."""
    model = model_of(run)
    optimizer = RUNS[run][which](model.parameters(), **RUNS[run][2])
    for step in range(STEPS):
        take_step(model, optimizer, step)
    return model, optimizer
