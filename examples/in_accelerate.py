"""Accelerate: gradients accumulated over two batches and clipped, the whole state saved, and going on from it.

``accelerator.prepare`` wraps the optimizer as it would wrap torch's, and ``save_state`` saves it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from examples.measuring import Measured, Run, digits, measured
from rmsprop.torch import RMSprop

EPOCHS, BATCH = 4, 32


def train(optimizer_class: type[torch.optim.Optimizer], folder: Path, resume_from: Path | None = None) -> Run:
    """Train, and save everything after every epoch.

    Args:
        optimizer_class: What trains.
        folder: Where an epoch's state goes, by its number.
        resume_from: The epoch's folder to go on from. Default: start anew.
    """
    set_seed(0)
    pixels, labels = map(torch.from_numpy, digits())
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = optimizer_class(model.parameters(), lr=2e-3, momentum=0.5, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(pixels) // (2 * BATCH))
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pixels, labels), BATCH)

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer, batches, scheduler = accelerator.prepare(model, optimizer, batches, scheduler)
    if resume_from is not None:
        accelerator.load_state(str(resume_from))
    losses = []
    for epoch in range(0 if resume_from is None else int(resume_from.name) + 1, EPOCHS):
        for inputs, targets in batches:
            with accelerator.accumulate(model):
                loss = torch.nn.functional.cross_entropy(model(inputs), targets)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            losses.append(loss.item())
        accelerator.save_state(str(folder / str(epoch)))
    return Run.of_torch(losses, optimizer.optimizer)


def main() -> Measured:
    """Train with this package's optimizer, with torch's, and on from a folder of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = train(RMSprop, folder / "ours")
        theirs = train(torch.optim.RMSprop, folder / "theirs")
        resumed = train(RMSprop, folder / "resumed", resume_from=folder / "ours" / "1")
    return measured("accelerate", ours, theirs, resumed.losses)


if __name__ == "__main__":
    print(main())
