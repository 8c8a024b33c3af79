"""Ray Train: two workers under DDP, a checkpoint reported to Ray, and training that goes on from it.

``prepare_model`` wraps the model in DistributedDataParallel; the optimizer gets the model's parameters as ever.
"""

from __future__ import annotations

import os

os.environ["RAY_TRAIN_V2_ENABLED"] = "1"

import dataclasses
import tempfile
from pathlib import Path

import ray
import torch
from ray.train import Checkpoint, RunConfig, ScalingConfig, get_checkpoint, get_context, report
from ray.train.torch import TorchConfig, TorchTrainer, prepare_model

from examples.measuring import Measured, Run, digits, measured
from rmsprop.torch import RMSprop

WORKERS, STEPS, SAVED, BATCH = 2, 8, 4, 32


def train(optimizer_class: type[torch.optim.Optimizer], start: Checkpoint | None = None, *, saves: bool = False) -> Run:
    """Train on a worker.

    Args:
        optimizer_class: What trains.
        start: The checkpoint to go on from. Default: start anew.
        saves: Report a checkpoint half-way. Default False.
    """
    torch.manual_seed(0)
    model = prepare_model(torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)))
    optimizer = optimizer_class(model.parameters(), lr=1e-3, momentum=0.5)
    if start is not None:
        with start.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt")
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    rank = get_context().get_world_rank()
    pixels, labels = map(torch.from_numpy, digits())
    losses = []
    for step in range(SAVED if start else 0, STEPS):
        first = (WORKERS * step + rank) % 8 * BATCH
        batch = slice(first, first + BATCH)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if saves and step + 1 == SAVED:
            with tempfile.TemporaryDirectory() as folder:
                state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(state, Path(folder) / "state.pt")
                report({"loss": losses[-1]}, checkpoint=None if rank else Checkpoint.from_directory(folder))
    return Run.of_torch(losses, optimizer)


def loop() -> None:
    """Train with this package's optimizer, with torch's, and on from what the first saved: on each worker."""
    ours, theirs = train(RMSprop, saves=True), train(torch.optim.RMSprop)
    resumed = train(RMSprop, get_checkpoint())
    report(dataclasses.asdict(measured("ray", ours, theirs, resumed.losses)))


def main() -> Measured:
    """Let two workers train; what the first measured."""
    ray.init(num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = TorchTrainer(
            loop,
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=WORKERS),
            run_config=RunConfig(storage_path=folder),
        )
        found = trainer.fit().metrics
    ray.shutdown()
    return Measured(**found)


if __name__ == "__main__":
    print(main())
