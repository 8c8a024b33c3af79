"""From a log to the histories that it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rmsprop.lab.diagnose.history import History, Series, Unit
from rmsprop.lab.diagnose.readers.clock import Clock, clock_of, coarsest, in_order
from rmsprop.lab.diagnose.readers.gaps import without_gaps
from rmsprop.lab.diagnose.readers.groups import groupings, runs_in, widened
from rmsprop.lab.diagnose.readers.log import Log, Numbers
from rmsprop.lab.diagnose.readers.names import Roles, guess
from rmsprop.lab.diagnose.readers.restarts import Curves, Stretch, joined
from rmsprop.lab.diagnose.readers.steps import on_steps
from rmsprop.lab.diagnose.reading import Reading
from rmsprop.lab.errors import InputError

# Stretches of a log that begins anew are longer than so many rows; shorter ones are no order at all.
_SHORTEST = 3


@dataclass(frozen=True)
class _LogWithRoles:
    """A log's rows with what the columns are and the numbers of these."""

    log: Log
    roles: Roles
    numbers: Mapping[str, Numbers]

    def between(self, start: int, end: int) -> _LogWithRoles:
        """Return some of the rows, one after the other."""
        log = self.log.where_rows(range(start, end), self.log.name)
        return replace(self, log=log, numbers={name: numbers[start:end] for name, numbers in self.numbers.items()})

    @property
    def losses(self) -> list[Numbers]:
        return [self.numbers[name] for name in (self.roles.loss, self.roles.validation) if name]


def of_log(log: Log, loss: str | None, validation: str | None) -> list[History]:
    """Return the histories that a log tells of.

    Args:
        log: The log.
        loss: The column of the training loss. Default: guessed from the names.
        validation: That of the validation loss. Default: guessed.

    Returns:
        The histories: several if there are several runs in the log.

    Raises:
        InputError: If it has no such column, or if times repeat and it can't be told why.
    """
    return [history for run in runs_in(widened(log)) for history in _of_run(run, loss, validation)]


def _of_run(log: Log, loss: str | None, validation: str | None) -> list[History]:
    rows = _rows(log, loss, validation)
    clock = clock_of(log, rows.losses)
    if clock is not None:
        return [_history(rows, clock, _stretch(rows, clock))]
    return _of_groups(log, loss, validation) or _of_batches(rows) or _of_restarts(rows)


def _of_batches(rows: _LogWithRoles) -> list[History]:
    """Return the history of a log that has several validation losses at a time, as those of its batches."""
    clock = clock_of(rows.log, rows.losses[:1])
    if clock is None:
        return []
    note = f"{rows.roles.validation} has several rows of one time: their mean is taken"
    rows = replace(rows, roles=replace(rows.roles, notes=(*rows.roles.notes, note)))
    return [_history(rows, clock, _stretch(rows, clock))]


def _of_groups(log: Log, loss: str | None, validation: str | None) -> list[History]:
    """Return the histories of the runs that a column tells apart; none if none does."""
    for parts in groupings(log):
        several = [_rows(part, loss, validation) for part in parts]
        clocks = [clock_of(rows.log, rows.losses) for rows in several]
        found = [(rows, clock) for rows, clock in zip(several, clocks, strict=True) if clock]
        if len(found) == len(parts):
            return [_history(rows, clock, _stretch(rows, clock)) for rows, clock in found]
    return []


def _of_restarts(rows: _LogWithRoles) -> list[History]:
    """Return the histories of a log whose times repeat, because it begins anew or writes no other time."""
    stretches = [(part, _clock_or_order(part)) for part in _between_restarts(rows)]
    found = [(part, clock) for part, clock in stretches if clock]
    if len(found) < len(stretches):
        raise _repeated(rows)
    runs = joined([_stretch(part, clock) for part, clock in found], rows.roles.loss)
    logs = [rows.log] if len(runs) == 1 else [_numbered(rows.log, n, len(runs)) for n in range(1, len(runs) + 1)]
    return [_history(replace(rows, log=log), found[0][1], run) for log, run in zip(logs, runs, strict=True)]


def _numbered(log: Log, number: int, runs: int) -> Log:
    note = f"time and loss begin again as at the beginning: there are {runs} runs, each a history of its own"
    dropped = log.dropped if number == 1 else 0
    return replace(log, name=f"{log.name}-{number}", notes=(*log.notes, note), dropped=dropped)


def _between_restarts(rows: _LogWithRoles) -> list[_LogWithRoles]:
    """Cut rows where their time goes back."""
    clock = coarsest(rows.log)
    times = clock.times if clock else []
    known = [i for i, time in enumerate(times) if time is not None]
    cuts = [b for a, b in pairwise(known) if times[b] < times[a]]  # type: ignore[operator]
    if _SHORTEST * len(cuts) > len(known):
        raise _repeated(rows)
    ends = [0, *cuts, len(rows.log.rows)]
    return [rows.between(a, b) for a, b in pairwise(ends)]


def _clock_or_order(rows: _LogWithRoles) -> Clock | None:
    """Return the time of rows; their order, where the only time stands at several rows one after the other."""
    clock = clock_of(rows.log, rows.losses)
    if clock is not None:
        return clock
    coarse = coarsest(rows.log)
    return (
        replace(in_order(rows.log), unit="step", label=f"the rows, counted: {coarse.label} stands at several")
        if coarse
        else None
    )


def _repeated(rows: _LogWithRoles) -> InputError:
    clock = coarsest(rows.log)
    label = clock.label if clock else "time"
    return InputError(
        f"{rows.log.where} has several rows with the same {label}, in no order, and no column tells why: "
        "give a file per run, or add a column step that counts on"
    )


def _rows(log: Log, loss: str | None, validation: str | None) -> _LogWithRoles:
    roles = guess(list(log.columns), log.where, loss, validation, log.counts())
    used = [name for name in (roles.loss, roles.validation, roles.lr) if name]
    numbers = {name: _sum([log.numbers(part) for part in roles.sums.get(name, (name,))]) for name in used}
    if roles.validation:
        pair = numbers[roles.loss], numbers[roles.validation]
        filled = {roles.loss: without_gaps(*pair), roles.validation: without_gaps(*reversed(pair))}
        if any(filled[name] is not numbers[name] for name in filled):
            roles = replace(roles, notes=(*roles.notes, "nan is read as an empty cell where it fills a gap"))
        numbers |= filled
    return _LogWithRoles(log, roles, numbers)


def _sum(columns: Sequence[Numbers]) -> Numbers:
    if len(columns) == 1:
        return columns[0]
    return [
        None if None in row else sum(cell for cell in row if cell is not None) for row in zip(*columns, strict=True)
    ]


def _stretch(rows: _LogWithRoles, clock: Clock) -> Stretch:
    curves = {name: _curve(clock, numbers) for name, numbers in rows.numbers.items()}
    told = [
        time
        for time, *cells in zip(clock.times, *rows.losses, strict=True)
        if time is not None and any(cell is not None for cell in cells)
    ]
    count = len(rows.log.rows)
    return Stretch(curves, count, dropped=count - len(told), combined=len(told) - len(set(told)))


def _curve(clock: Clock, numbers: Numbers) -> Series:
    """Return numbers over time, the mean of those of one time."""
    points: dict[int, list[float]] = {}
    for time, value in zip(clock.times, numbers, strict=True):
        if time is not None and value is not None:
            points.setdefault(time, []).append(value)
    return Series.of({time: _mean(values) for time, values in points.items()})


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(set(map(str, values))) == 1 else sum(values) / len(values)


def _history(rows: _LogWithRoles, clock: Clock, stretch: Stretch) -> History:
    log, roles = rows.log, rows.roles
    apart = clock.unit == "step" and not any(None not in cells for cells in zip(*rows.losses, strict=True))
    # Rows that hold both losses have one time; where none does, a validation may count in epochs.
    curves, notes = on_steps(stretch.curves, roles.loss) if apart else (stretch.curves, ())
    reading = Reading(
        time=clock.label,
        loss=roles.loss,
        validation=roles.validation,
        lr=roles.lr,
        scores=roles.scores,
        rows=stretch.rows + log.dropped,
        dropped=stretch.dropped + log.dropped,
        combined=stretch.combined,
        notes=(*log.notes, *roles.notes, *stretch.notes, *notes),
    )
    return history_of(log.name, f"{log.source}, {reading.count}", clock.unit, curves, reading)


def history_of(name: str, source: str, unit: Unit, curves: Curves, reading: Reading) -> History:
    """Return the history of curves whose roles are known.

    Args:
        name: What to call it.
        source: What it was read from, in a few words.
        unit: What times are counted in.
        curves: The curves by name.
        reading: Which of them is what.

    Returns:
        The history.
    """
    return History(
        name=name,
        source=source,
        unit=unit,
        train=curves[reading.loss],
        validation=curves[reading.validation] if reading.validation else Series(),
        lr=curves[reading.lr] if reading.lr else Series(),
        reading=reading,
    )
