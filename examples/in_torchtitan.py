"""A loop like torchtitan's, on two processes: FSDP2, compiled blocks, clipping, and a distributed checkpoint.

`fully_shard` leaves each process a part of every parameter, which the kernel updates where it lies. The checkpoint is
saved and loaded by `torch.distributed.checkpoint`, with `get_state_dict` and `set_state_dict`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard

from examples.measuring import Measured, Run, digits, measured
from rmsprop.torch import RMSprop

RANKS, STEPS, SAVED, BATCH = 2, 10, 5, 32


def build() -> torch.nn.Sequential:
    """Return the sharded model, each block compiled before it is sharded."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU()), torch.nn.Linear(64, 10))
    model[0].compile(backend="aot_eager")  # the default, inductor, takes longer to compile than this to train
    for block in model:
        fully_shard(block)
    return fully_shard(model)


def train(optimizer_class: type[torch.optim.Optimizer], folder: Path, *, resume: bool = False) -> Run:
    """Train, and save half-way.

    Args:
        optimizer_class: What trains.
        folder: Where the checkpoint is.
        resume: Go on from it instead. Default False.
    """
    model = build()
    optimizer = optimizer_class(model.parameters(), lr=1e-3, momentum=0.5)
    if resume:
        weights, state = get_state_dict(model, optimizer)
        dcp.load({"model": weights, "optimizer": state}, checkpoint_id=folder)
        set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=state)
    pixels, labels = map(torch.from_numpy, digits())
    losses = []
    for step in range(SAVED if resume else 0, STEPS):
        if step == SAVED and not resume:
            weights, state = get_state_dict(model, optimizer)
            dcp.save({"model": weights, "optimizer": state}, checkpoint_id=folder)
        start = (RANKS * step + dist.get_rank()) % 8 * BATCH
        optimizer.zero_grad()
        batch = slice(start, start + BATCH)
        loss = torch.nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return Run.of_torch(losses, optimizer)


def on_a_rank(rank: int, folder: str, results: Any) -> None:
    """Train with this package's optimizer, with torch's, and on from what the first saved; tell what came of it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", RANKS), rank=rank, world_size=RANKS)
    ours = train(RMSprop, Path(folder) / "ours")
    theirs = train(torch.optim.RMSprop, Path(folder) / "theirs")
    resumed = train(RMSprop, Path(folder) / "ours", resume=True)
    found = measured("torch", ours, theirs, resumed.losses)
    if rank == 0:
        results.put(found)
    dist.destroy_process_group()


def main() -> Measured:
    """Let two processes train; what the first measured."""
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(on_a_rank, (folder, results), nprocs=RANKS)
        return results.get()


if __name__ == "__main__":
    print(main())
