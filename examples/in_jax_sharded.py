"""JAX on a mesh of eight devices: a sharded model, donated buffers, and a sharded checkpoint by Orbax.

State is laid out as its parameters are, and ``count`` stands on all their devices. So a fresh ``init`` serves Orbax as
the form of what it restores, and a compiled step goes on from that. Here the devices are eight parts of the CPU.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint
from jax.sharding import NamedSharding, PartitionSpec

from examples.measuring import Measured, Run, digits, measured
from rmsprop.jax import rmsprop

STEPS, SAVED = 16, 8
MESH = jax.make_mesh((4, 2), ("data", "model"), axis_types=2 * (jax.sharding.AxisType.Auto,))


def placed(tree: Any, **axes: PartitionSpec) -> Any:
    """Return the arrays of a dictionary on the mesh, laid out by name."""
    return {name: jax.device_put(array, NamedSharding(MESH, axes[name])) for name, array in tree.items()}


def parameters() -> dict[str, jax.Array]:
    """Return the weights to start from: the hidden layer is split between devices."""
    first, second = jax.random.split(jax.random.key(0))
    weights = {
        "in": jax.random.normal(first, (64, 64)) / 8,
        "bias": jnp.zeros(64),
        "out": jax.random.normal(second, (64, 10)) / 8,
    }
    split = PartitionSpec("model")
    return placed(weights, **{"in": PartitionSpec(None, "model"), "bias": split, "out": PartitionSpec("model", None)})


def loss_of(params: dict[str, jax.Array], pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the loss of a batch."""
    hidden = jax.nn.relu(jnp.dot(pixels, params["in"]) + params["bias"])
    logits = jnp.dot(hidden, params["out"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def train(optimizer: optax.GradientTransformation, folder: Path, *, resume: bool = False) -> Run:
    """Train, and save half-way.

    Args:
        optimizer: What trains.
        folder: Where the checkpoint is.
        resume: Go on from it instead. Default False.
    """

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any, jax.Array]:
        loss, grads = jax.value_and_grad(loss_of)(params, batch["pixels"], batch["labels"])
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    pixels, labels = digits()
    data = {"pixels": PartitionSpec("data"), "labels": PartitionSpec("data")}
    batch = placed({"pixels": jnp.asarray(pixels), "labels": jnp.asarray(labels)}, **data)
    params = parameters()
    state = optimizer.init(params)
    losses, first = [], 0
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        if resume:
            params, state = checkpointer.restore(folder / "half", (params, state))
            first = SAVED
        for number in range(first, STEPS):
            if number == SAVED and not resume:
                checkpointer.save(folder / "half", (params, state))
                checkpointer.wait_until_finished()
            params, state, loss = step(params, state, batch)
            losses.append(float(loss))

    update = jax.jit(optimizer.update)
    grads = jax.tree.map(jnp.ones_like, params)
    return Run(losses=losses, step=lambda: jax.block_until_ready(update(grads, state, params)), paths=["XLA"])


def main() -> Measured:
    """Train with this package's transformation, with Optax's, and on from what the first saved."""
    with tempfile.TemporaryDirectory() as name, jax.set_mesh(MESH):
        folder = Path(name)
        ours = train(rmsprop(1e-3, momentum=0.5), folder / "ours")
        theirs = train(optax.rmsprop(1e-3, momentum=0.5), folder / "theirs")
        resumed = train(rmsprop(1e-3, momentum=0.5), folder / "ours", resume=True)
    return measured("jax", ours, theirs, resumed.losses)


if __name__ == "__main__":
    print(main())
