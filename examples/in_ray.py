"""Ray Train: two workers under DDP, checkpoints reported to Ray, and a second run that goes on from one."""

from __future__ import annotations

import os

os.environ["RAY_TRAIN_V2_ENABLED"] = "1"

import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import Checkpoint, RunConfig, ScalingConfig, get_checkpoint, get_context, report
from ray.train.torch import TorchConfig, TorchTrainer, prepare_model

from examples.measuring import Measured, Run, digits, measured
from rmsprop.torch import RMSprop

WORKERS, STEPS, SAVED, BATCH = 2, 8, 4, 32


def loop(config: dict[str, Any]) -> None:
    """Train on a worker: what Ray calls on each.

    Args:
        config: ``optimizer_class``, and ``steps`` where it ends.
    """
    torch.manual_seed(0)
    model = prepare_model(torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)))
    optimizer = config["optimizer_class"](model.parameters(), lr=1e-3, momentum=0.5)
    losses: list[float] = []
    if (checkpoint := config["from"] or get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt")
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        losses = state["losses"]
    pixels, labels = map(torch.from_numpy, digits())
    for step in range(len(losses), config["steps"]):
        start = (WORKERS * step + get_context().get_world_rank()) % 8 * BATCH
        batch = slice(start, start + BATCH)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with tempfile.TemporaryDirectory() as folder:
        state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
        torch.save(state, Path(folder) / "state.pt")
        run = Run.of_torch(losses, optimizer)
        first = get_context().get_world_rank() == 0
        report(
            {"losses": losses, "paths": list(run.paths)},
            checkpoint=Checkpoint.from_directory(folder) if first else None,
        )


def fit(optimizer_class: type[torch.optim.Optimizer], folder: Path, steps: int, start: Checkpoint | None = None) -> Any:
    """Train on two workers; what Ray kept.

    Args:
        optimizer_class: What trains.
        folder: Where Ray keeps the run.
        steps: How many steps, those of the checkpoint included.
        start: The checkpoint to go on from. Default: start anew.
    """
    trainer = TorchTrainer(
        loop,
        train_loop_config={"optimizer_class": optimizer_class, "steps": steps, "from": start},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=WORKERS),
        run_config=RunConfig(storage_path=str(folder)),
    )
    return trainer.fit()


def run_of(optimizer_class: type[torch.optim.Optimizer], result: Any) -> Run:
    """Return what was measured of a run, whose optimizer is taken up again here from its checkpoint."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = optimizer_class(model.parameters())
    with result.checkpoint.as_directory() as folder:
        optimizer.load_state_dict(torch.load(Path(folder) / "state.pt")["optimizer"])
    step = Run.of_torch([], optimizer).step
    return Run(losses=result.metrics["losses"], step=step, paths=result.metrics["paths"])


def main() -> Measured:
    """Train with this package's optimizer, with torch's, and in two runs of half the steps."""
    ray.init(num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = run_of(RMSprop, fit(RMSprop, folder / "ours", STEPS))
        theirs = run_of(torch.optim.RMSprop, fit(torch.optim.RMSprop, folder / "theirs", STEPS))
        half = fit(RMSprop, folder / "half", SAVED).checkpoint
        resumed = fit(RMSprop, folder / "rest", STEPS, start=half).metrics["losses"]
    ray.shutdown()
    return measured("ray", ours, theirs, resumed[SAVED:])


if __name__ == "__main__":
    print(main())
