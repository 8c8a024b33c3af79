"""Flax NNX with Orbax: an `nnx.Optimizer` over this package's transformation, saved and restored whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint
from flax import nnx

from examples.measuring import Measured, Run, digits, measured
from rmsprop.jax import rmsprop

STEPS, SAVED = 16, 8


class Classifier(nnx.Module):
    """A network that reads digits."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(64, 64, rngs=rngs)
        self.last = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Return a score for each digit."""
        return self.last(nnx.relu(self.first(pixels)))


@nnx.jit
def train_step(model: Classifier, optimizer: nnx.Optimizer, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the loss of a batch, and learn from it."""

    def loss_of(model: Classifier) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(pixels), labels).mean()

    loss, grads = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, grads)
    return loss


def train(transformation: optax.GradientTransformation, folder: Path, *, resume: bool = False) -> Run:
    """Train, and save half-way.

    Args:
        transformation: What trains.
        folder: Where the checkpoint is.
        resume: Go on from it instead. Default False.
    """
    model = Classifier(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, transformation, wrt=nnx.Param)
    pixels, labels = map(jnp.asarray, digits())
    losses, first = [], 0
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        if resume:
            form = {"model": nnx.state(model), "optimizer": nnx.state(optimizer)}
            found = checkpointer.restore(folder / "half", form)
            nnx.update(model, found["model"])
            nnx.update(optimizer, found["optimizer"])
            first = SAVED
        for number in range(first, STEPS):
            if number == SAVED and not resume:
                checkpointer.save(folder / "half", {"model": nnx.state(model), "optimizer": nnx.state(optimizer)})
                checkpointer.wait_until_finished()
            losses.append(float(train_step(model, optimizer, pixels, labels)))

    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    update, state = jax.jit(transformation.update), transformation.init(params)
    return Run(losses=losses, step=lambda: jax.block_until_ready(update(params, state, params)), paths=["XLA"])


def main() -> Measured:
    """Train with this package's transformation, with Optax's, and on from what the first saved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = train(rmsprop(1e-3, momentum=0.5), folder / "ours")
        theirs = train(optax.rmsprop(1e-3, momentum=0.5), folder / "theirs")
        resumed = train(rmsprop(1e-3, momentum=0.5), folder / "ours", resume=True)
    return measured("flax", ours, theirs, resumed.losses)


if __name__ == "__main__":
    print(main())
