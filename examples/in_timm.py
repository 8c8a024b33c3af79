"""timm: the optimizer by its factory with layer-wise learning rates, beside timm's own, under timm's scheduler.

A registered class is made by ``create_optimizer_v2`` as any other. ``dialect="timm"`` stands for ``rmsproptf``: ε
inside the root, averages that start from 1, the learning rate in the momentum buffer.
"""

from __future__ import annotations

import io

import timm
import torch
from timm.optim import OptimInfo, create_optimizer_v2
from timm.optim._optim_factory import default_registry
from timm.scheduler import create_scheduler_v2

from examples.measuring import Measured, Run, digits, measured
from rmsprop.torch import RMSprop

EPOCHS, BATCH, SAVED = 4, 32, 1
DIALECT = OptimInfo(
    name="rmspropkernel", opt_class=RMSprop, has_momentum=True, defaults={"dialect": "timm", "alpha": 0.9}
)
default_registry.register(DIALECT)


def train(name: str, saved: io.BytesIO, *, resume: bool = False) -> Run:
    """Train a small vision transformer.

    Args:
        name: The optimizer, by timm's name.
        saved: Where the second epoch ends, what is needed to go on.
        resume: Go on from there. Default False.
    """
    torch.manual_seed(0)
    pixels, labels = map(torch.from_numpy, digits())
    images = pixels.reshape(-1, 1, 8, 8)
    model = timm.models.VisionTransformer(
        img_size=8, patch_size=4, in_chans=1, num_classes=10, embed_dim=32, depth=2, num_heads=2
    )
    optimizer = create_optimizer_v2(model, name, lr=2e-3, weight_decay=1e-5, eps=1e-3, layer_decay=0.9)
    scheduler, _ = create_scheduler_v2(
        optimizer, "step", num_epochs=EPOCHS, decay_epochs=1, decay_rate=0.97, warmup_epochs=1, warmup_lr=1e-4
    )
    first = 0
    if resume:
        saved.seek(0)
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = SAVED + 1
        scheduler.step(first)
    losses = []
    for epoch in range(first, EPOCHS):
        for inputs, targets in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch == SAVED and not resume:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, saved)
        scheduler.step(epoch + 1)
    return Run.of_torch(losses, optimizer)


def main() -> Measured:
    """Train with this package's optimizer, with timm's, and on from what the first saved."""
    saved = io.BytesIO()
    ours = train("rmspropkernel", saved)
    theirs = train("rmsproptf", io.BytesIO())
    return measured("timm", ours, theirs, train("rmspropkernel", saved, resume=True).losses)


if __name__ == "__main__":
    print(main())
