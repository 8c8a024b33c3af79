"""The time of a log's rows: a column, an epoch with a batch of it, or the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rmsprop.lab.diagnose.history import Unit
from rmsprop.lab.diagnose.readers.log import Log, Numbers, whole
from rmsprop.lab.diagnose.readers.names import EPOCHS, STEPS, clocks

# No run has more steps, and NumPy's integers end soon after.
_LARGEST_TIME = 2**62
Times = list[int | None]


@dataclass(frozen=True)
class Clock:
    """The time of each row.

    Args:
        label: What was taken as time.
        unit: What it is counted in.
        times: It; None where it isn't known.
    """

    label: str
    unit: Unit
    times: Times


def clock_of(log: Log, curves: Sequence[Numbers]) -> Clock | None:
    """Return the time of a log's rows.

    Args:
        log: The log.
        curves: The losses, which must not have two numbers at one time.

    Returns:
        The time; None if all that is there repeats.
    """
    columns = list(_columns(log))
    if not columns:
        return in_order(log)
    both = _combined(log, curves)
    return next((clock for clock in [*columns, *both] if _tells_apart(clock.times, curves)), None)


def in_order(log: Log) -> Clock:
    """Return the order of a log's rows as their time."""
    label = "the order of the rows, counted"
    return Clock(label, "epoch" if log.by_epoch else "step", list(range(1, len(log.rows) + 1)))


def coarsest(log: Log) -> Clock | None:
    """Return the time that tells best where a log begins anew: the epochs, or the steps; None if there is neither."""
    columns = list(_columns(log))
    return next((clock for clock in columns if clock.unit == "epoch"), columns[0] if columns else None)


def _columns(log: Log) -> Iterator[Clock]:
    """Return the columns that count something, the likeliest first."""
    units: tuple[tuple[Unit, tuple[str, ...]], ...] = (("step", STEPS), ("epoch", EPOCHS))
    for unit, of in units:
        for name in clocks(list(log.columns), of):
            times = _counted(log, name)
            if times is not None:
                yield Clock(name, unit, _filled(times))


def _counted(log: Log, name: str) -> Times | None:
    try:
        return whole(log.numbers(name), _LARGEST_TIME)
    except ValueError:
        return None


def _filled(times: Times) -> Times:
    """Give a row without a time that of the row before it, as a log is written in order."""
    filled, last = [], None
    for time in times:
        last = last if time is None else time
        filled.append(last)
    return filled


def _combined(log: Log, curves: Sequence[Numbers]) -> Iterator[Clock]:
    """Return the steps of epochs whose batches are counted from the beginning each time."""
    names = list(log.columns)
    for outer in clocks(names, EPOCHS):
        for inner in clocks(names, STEPS):
            epochs, batches = _counted(log, outer), _counted(log, inner)
            if epochs is not None and batches is not None:
                yield _steps(f"{outer} and {inner}", _filled(epochs), _filled(batches), curves[0])


def _steps(label: str, epochs: Times, batches: Times, train: Numbers) -> Clock:
    """Return the steps of epochs and their batches, where the training loss tells how many there are."""
    trained = sorted({b for b, loss in zip(batches, train, strict=True) if b is not None and loss is not None})
    stride = min((b - a for a, b in pairwise(trained)), default=1)
    start, end = (trained[0], trained[-1]) if trained else (0, 0)
    length = end - start + stride
    first = min(epoch for epoch in epochs if epoch is not None)
    times: Times = []
    last = None
    for epoch, batch, loss in zip(epochs, batches, train, strict=True):
        time = None if epoch is None or batch is None else (epoch - first) * length + batch - start + stride
        if loss is None and time is not None and last is not None:
            time = max(time, last)  # a validation counts its own batches
        last = time if time is not None else last
        times.append(time)
    return Clock(f"{label}, {length} step{'s' * (length != 1)} per epoch", "step", times)


def _tells_apart(times: Times, curves: Sequence[Numbers]) -> bool:
    """Tell whether most numbers have a time, and no curve has two different ones at the same."""
    for curve in curves:
        known = [(time, value) for time, value in zip(times, curve, strict=True) if value is not None]
        points = {(time, str(value)) for time, value in known if time is not None}
        if len({time for time, _ in points}) < len(points) or 2 * sum(time is None for time, _ in known) > len(known):
            return False
    return True
