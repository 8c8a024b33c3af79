"""Ray Train: two workers under DistributedDataParallel, a checkpoint reported to Ray, and a run that goes on from it.

``prepare_model`` wraps the model; the optimizer gets its parameters as ever. A second trainer resumes from what the
first has reported: each of its workers gets the checkpoint by its configuration, and loads the state dicts.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import Checkpoint, Result, RunConfig, ScalingConfig, get_context, report
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
    pixels, labels = map(torch.from_numpy, digits())
    losses = []
    for step in range(SAVED if start else 0, STEPS):
        first = (WORKERS * step + get_context().get_world_rank()) % 8 * BATCH
        batch = slice(first, first + BATCH)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if saves and step + 1 == SAVED:
            tell({"step": step + 1}, {"model": model.module.state_dict(), "optimizer": optimizer.state_dict()})
    return Run.of_torch(losses, optimizer)


def tell(metrics: dict[str, Any], state: dict[str, Any]) -> None:
    """Report metrics with what the first worker has to save: Ray keeps none without a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, Path(folder) / "state.pt")
        is_first = get_context().get_world_rank() == 0
        report(metrics, checkpoint=Checkpoint.from_directory(folder) if is_first else None)


def begin() -> None:
    """Train with this package's optimizer on a worker, and save half-way."""
    train(RMSprop, saves=True)


def go_on(config: dict[str, Any]) -> None:
    """Go on from what was saved, and train with both optimizers from the beginning, on a worker.

    Args:
        config: The checkpoint, under ``"start"``.
    """
    resumed = train(RMSprop, config["start"])
    ours, theirs = train(RMSprop), train(torch.optim.RMSprop)
    tell(dataclasses.asdict(measured("ray", ours, theirs, resumed.losses)), {})


def fit(loop: Any, folder: str, config: dict[str, Any] | None = None) -> Result:
    """Run a loop on two workers."""
    return TorchTrainer(
        loop,
        train_loop_config=config,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=WORKERS, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(name=loop.__name__, storage_path=folder),
    ).fit()


def main() -> Measured:
    """Let two workers train, and two others go on; what the first of these measured."""
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return Measured(**fit(go_on, folder, {"start": fit(begin, folder).checkpoint}).metrics)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    print(main())
