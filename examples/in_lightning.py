"""Lightning: `fit` in bf16-mixed with clipped gradients, a checkpoint, and going on from it.

What a module's ``configure_optimizers`` returns takes the place of ``torch.optim.RMSprop``; nothing else changes.
Lightning refuses ``gradient_clip_val`` for optimizers that unscale gradients themselves, as torch's fused ones do. This
one does so only where ``fused=True`` asks for it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from examples.measuring import Measured, Run, digits, measured
from rmsprop.torch import RMSprop

EPOCHS, BATCH = 3, 32


class Classifier(lightning.LightningModule):
    """A network that reads digits.

    Args:
        optimizer_class: What trains it.
    """

    def __init__(self, optimizer_class: type[torch.optim.Optimizer]) -> None:
        super().__init__()
        self.optimizer_class = optimizer_class
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        self.losses: list[float] = []

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch."""
        pixels, labels = batch
        loss = torch.nn.functional.cross_entropy(self.layers(pixels), labels)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer, with a schedule by epochs."""
        optimizer = self.optimizer_class(self.parameters(), lr=1e-3, alpha=0.9, momentum=0.5)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)}


def fit(optimizer_class: type[torch.optim.Optimizer], folder: Path, resume_from: Path | None = None) -> Run:
    """Train, with a checkpoint after every epoch.

    Args:
        optimizer_class: What trains.
        folder: Where checkpoints go.
        resume_from: The checkpoint to go on from. Default: start anew.
    """
    lightning.seed_everything(0, verbose=False)
    pixels, labels = map(torch.from_numpy, digits())
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pixels, labels), BATCH)
    module = Classifier(optimizer_class)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        precision="bf16-mixed",
        gradient_clip_val=0.5,
        accelerator="cpu",
        callbacks=[ModelCheckpoint(folder, "{epoch}", save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches, ckpt_path=resume_from)
    return Run.of_torch(module.losses, module.optimizers(use_pl_optimizer=False))


def main() -> Measured:
    """Train with this package's optimizer, with torch's, and on from a checkpoint of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = fit(RMSprop, folder / "ours")
        theirs = fit(torch.optim.RMSprop, folder / "theirs")
        resumed = fit(RMSprop, folder / "resumed", resume_from=folder / "ours" / "epoch=0.ckpt")
    return measured("lightning", ours, theirs, resumed.losses)


if __name__ == "__main__":
    print(main())
