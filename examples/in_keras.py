"""Keras' `fit` with `BackupAndRestore`: a run that breaks off, and that a second `fit` takes up where it was.

On Keras' torch backend the compiled kernel updates all variables at once.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras

from examples.measuring import Measured, Run, digits, measured
from rmsprop.keras import RMSprop

EPOCHS, BATCH, BREAKS_IN = 4, 32, 2


class Losses(keras.callbacks.Callback):
    """The loss of every epoch.

    Args:
        breaks_in: The epoch that raises an error. Default: none.
    """

    def __init__(self, breaks_in: int | None = None) -> None:
        super().__init__()
        self.found: list[float] = []
        self.breaks_in = breaks_in

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Break off in the middle of an epoch."""
        if len(self.found) == self.breaks_in and batch == 3:
            raise ConnectionAbortedError("the machine went away")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the loss."""
        self.found.append(logs["loss"])


def fit(optimizer: keras.optimizers.Optimizer, folder: Path, losses: Losses) -> keras.Model:
    """Train, with a backup after every epoch.

    Args:
        optimizer: What trains.
        folder: Where the backup is; a run goes on from one that is there.
        losses: Where losses are noted.
    """
    keras.utils.set_random_seed(0)
    pixels, labels = digits()
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)])
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    backup = keras.callbacks.BackupAndRestore(str(folder))
    model.fit(pixels, labels, BATCH, EPOCHS, shuffle=False, verbose=0, callbacks=[backup, losses])
    return model


def run_of(losses: Losses, model: keras.Model) -> Run:
    """Return what was measured of a run."""
    import torch

    grads = [torch.full_like(variable.value, 1e-3) for variable in model.trainable_variables]
    paths = ["kernel"] if isinstance(model.optimizer, RMSprop) else []
    return Run(losses=losses.found, step=lambda: model.optimizer.apply(grads, model.trainable_variables), paths=paths)


def main() -> Measured:
    """Train with this package's optimizer, with Keras' own, and in two parts."""
    warnings.filterwarnings("error", message="rmsprop updates variable")  # by anything but the kernel
    mine, their, broken, resumed = Losses(), Losses(), Losses(BREAKS_IN), Losses()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = run_of(mine, fit(RMSprop(1e-3, momentum=0.5), folder / "ours", mine))
        theirs = run_of(their, fit(keras.optimizers.RMSprop(1e-3, momentum=0.5), folder / "theirs", their))
        try:
            fit(RMSprop(1e-3, momentum=0.5), folder / "broken", broken)
        except ConnectionAbortedError:
            fit(RMSprop(1e-3, momentum=0.5), folder / "broken", resumed)
    return measured("keras", ours, theirs, resumed.found)


if __name__ == "__main__":
    print(main())
