"""The recorder's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rmsprop.lab.diagnose.history import History, Series, Statistics
from rmsprop.lab.diagnose.readers import objects
from rmsprop.lab.diagnose.reading import Reading
from rmsprop.lab.recorder import file
from rmsprop.lab.recorder.measure import STATISTICS
from rmsprop.lab.recorder.moments import fixed_choices


def is_one(content: bytes) -> bool:
    """Tell whether a file is a recorder's, by its first line."""
    first = objects.first_of(content)
    return isinstance(first, dict) and "record" in first


def read(path: Path, content: bytes, name: str) -> History:
    """Read a recorder's file.

    Args:
        path: The file.
        content: What it holds.
        name: What to call the run.

    Returns:
        The history.

    Raises:
        InputError: If it isn't one, or is damaged.
    """
    recording = file.read(path, content)
    losses = recording.losses
    steps = tuple(row.step for row in losses)
    optimizer = recording.optimizer.rpartition(".")[2]
    # That of a measurement is the step's own; that of a loss is as of when it was written.
    points = {row.step: row.lr for row in losses} | {row.step: row.lr for row in recording.statistics}
    validation = Series.of({step: values["loss"] for step, values in recording.validation if "loss" in values})
    return History(
        name=name,
        source=f"a recorder's file of {optimizer}, {recording.last_step} step{'s' * (recording.last_step != 1)}",
        unit="step",
        train=Series(steps, tuple(row.mean for row in losses)),
        worst=Series(steps, tuple(row.largest for row in losses)),
        validation=validation,
        lr=Series.of(points),
        optimizer=optimizer,
        group={**(recording.groups[0] if recording.groups else {}), **fixed_choices(optimizer)},
        statistics=_statistics(recording),
        reading=Reading(time="step", loss="loss", validation="loss" if validation else None, lr="lr", rows=len(losses)),
    )


def _statistics(recording: file.Recording) -> Statistics | None:
    rows = recording.statistics
    if not rows:
        return None
    values = {name: np.array([row.values[name] for row in rows]) for name in STATISTICS if name in rows[0].values}
    return Statistics(tuple(row.step for row in rows), tuple(recording.layers), values)
