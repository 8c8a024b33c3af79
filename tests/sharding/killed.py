"""Runs of two ranks of which one is killed: while it saves, or in the middle of a step."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from rmsprop.torch import RMSprop
from sharding.support import a_model, noise

OPTIONS = {"momentum": 0.9, "rounding": "stochastic", "seed": 5}
ROWS = 4


def a_run(mesh=None):
    model = a_model().to(torch.bfloat16)
    model = model if mesh is None else fully_shard(model, mesh=mesh)
    return model, RMSprop(model.parameters(), **OPTIONS)


def take_step(model, optimizer, step):
    """Take a step whose gradient has the same bits on any number of ranks: all see the same rows."""
    model(noise((ROWS, 4), step, torch.bfloat16)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def content(model, optimizer):
    return {"model": get_model_state_dict(model), "optimizer": get_optimizer_state_dict(model, optimizer)}


def resume(model, optimizer, folder):
    """Load the newest checkpoint that is whole: ``.metadata`` is written last."""
    newest = max(Path(folder).glob("step-*/.metadata")).parent
    found = content(model, optimizer)
    dcp.load(found, checkpoint_id=newest)
    set_model_state_dict(model, found["model"])
    set_optimizer_state_dict(model, optimizer, found["optimizer"])
    return int(newest.name.removeprefix("step-"))


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class Torn(dcp.FileSystemWriter):
    """A writer that is killed with half of its file written."""

    def write_data(self, plan, planner):
        with open(Path(self.path) / "__1_0.distcp", "wb") as file:
            file.write(b"PK\x03\x04 half of it")
        die()


def train(rank, folder, name, fate):
    """Train from the newest checkpoint to where the second rank is killed.

    Args:
        rank: This process's number.
        folder: Where checkpoints are.
        name: A name for this group of processes.
        fate: What it is doing then: ``"saving"`` or ``"stepping"``.
    """
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store {name}", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=100))
    model, optimizer = a_run(init_device_mesh("cpu", (2,)))
    step = resume(model, optimizer, folder) if list(Path(folder).glob("step-*/.metadata")) else 0
    while step < 2:
        take_step(model, optimizer, step)
        step += 1
    if fate == "saving":
        dcp.save(content(model, optimizer), checkpoint_id=f"{folder}/step-{step}")
        take_step(model, optimizer, step)
        writer = Torn(f"{folder}/step-3") if rank == 1 else None
        dcp.save(content(model, optimizer), checkpoint_id=f"{folder}/step-3", storage_writer=writer)
    if rank == 1:  # in backward, before its gradients have been summed
        next(iter(model.children())).register_full_backward_hook(die)
    take_step(model, optimizer, step)
