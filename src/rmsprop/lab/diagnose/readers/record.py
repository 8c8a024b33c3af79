"""The recorder's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rmsprop.lab.diagnose.history import History, Series, Statistics
from rmsprop.lab.recorder import file
from rmsprop.lab.recorder.measure import STATISTICS


def read(path: Path) -> History:
    """Read a recorder's file.

    Args:
        path: The file.

    Returns:
        The history.

    Raises:
        InputError: If it isn't one, or is damaged.
    """
    recording = file.read(path)
    losses = recording.losses
    steps = tuple(row.step for row in losses)
    points = {row.step: row.lr for row in recording.statistics} | {row.step: row.lr for row in losses}
    return History(
        name=path.stem if path.stem != "record" else path.resolve().parent.name,
        source=f"a recorder's file of {recording.optimizer.rpartition('.')[2]}, {recording.last_step} steps",
        unit="step",
        train=Series(steps, tuple(row.mean for row in losses)),
        worst=Series(steps, tuple(row.largest for row in losses)),
        validation=Series.of({step: values["loss"] for step, values in recording.validation if "loss" in values}),
        lr=Series.of(points),
        group=recording.groups[0] if recording.groups else {},
        statistics=_statistics(recording),
    )


def _statistics(recording: file.Recording) -> Statistics | None:
    rows = recording.statistics
    if not rows:
        return None
    values = {name: np.array([row.values[name] for row in rows]) for name in STATISTICS if name in rows[0].values}
    return Statistics(tuple(row.step for row in rows), tuple(recording.layers), values)
