"""Logs that hold more than a curve per column: long formats, and several runs in one file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rmsprop.lab.diagnose.readers.log import Log, number
from rmsprop.lab.diagnose.readers.names import EPOCHS, HELD_OUT, STEPS, TRAINED, clocks, last_word, words

_PHASES = {"phase", "split", "stage", "mode", "set", "subset", "dataset", "part", "partition", "kind", "data", "type"}
_METRICS, _VALUES = {"metric", "tag", "name", "variable", "key", "measure"}, {"value", "val"}
# Whose rows are runs of their own, whatever the times are.
_RUNS = {
    *("fold", "folds", "seed", "run", "run_id", "run_name", "runid", "run_uuid", "trial", "trial_id", "trial_name"),
    *("experiment", "experiment_id", "exp", "repeat", "repetition", "replicate", "restart"),
}
# Whose rows are told apart where times repeat and nothing else says why.
_PROCESSES = {"rank", "local_rank", "worker", "process", "gpu", "device", "version"}
_LIMITS = ("__MIN", "__MAX")  # as Weights & Biases exports them beside a curve
_OF_A_RUN = " - "


def widened(log: Log) -> Log:
    """Return a log with a column per curve.

    Args:
        log: One that may have a row per metric, or rows of training beside rows of validation.

    Returns:
        The log, in which the rows stay as they are and have empty cells where others have numbers.
    """
    log = _without_limits(log)
    metric, value = _one_of(log, _METRICS), _one_of(log, _VALUES)
    if metric and value and metric != value:
        kept = [name for name in log.columns if name not in (metric, value)]
        log = _pivot(log, metric, [value], kept, f"column {metric} says what column {value} is", whole=True)
    phase = next((name for name in log.columns if last_word(name) in _PHASES and _are_phases(log.columns[name])), None)
    if phase is None:
        return log
    kept = [*clocks(list(log.columns), STEPS), *clocks(list(log.columns), EPOCHS), *_runs_of(log)]
    spread = [name for name in log.columns if name not in kept and name != phase]
    note = f"column {phase} says which rows are of training and which of validation"
    return _pivot(log, phase, spread, kept, note, whole=False)


def _one_of(log: Log, names: set[str]) -> str | None:
    return next((name for name in log.columns if last_word(name) in names), None)


def _without_limits(log: Log) -> Log:
    """Leave out the columns of limits whose curve is there."""
    columns = {
        name: cells
        for name, cells in log.columns.items()
        if not (name.endswith(_LIMITS) and name.rpartition("__")[0] in log.columns)
    }
    return replace(log, columns=columns)


def _are_phases(cells: Sequence[Any]) -> bool:
    phases = {str(cell).strip().lower() for cell in cells if cell not in (None, "")}
    named = all(words(phase) & (TRAINED | HELD_OUT) for phase in phases)
    return named and any(words(p) & TRAINED for p in phases) and any(words(p) & HELD_OUT for p in phases)


def _pivot(log: Log, by: str, spread: Sequence[str], kept: Sequence[str], note: str, *, whole: bool) -> Log:
    labels = [str(cell).strip() if cell not in (None, "") else "" for cell in log.columns[by]]
    columns: dict[str, Sequence[Any]] = {name: log.columns[name] for name in kept}
    for label in dict.fromkeys(filter(None, labels)):
        for name in spread:
            cells = log.columns[name]
            column = [cell if own == label else None for cell, own in zip(cells, labels, strict=True)]
            if any(cell not in (None, "") for cell in column):
                columns[label if whole else f"{label}/{name}"] = column
    return replace(log, columns=columns, notes=(*log.notes, note))


def _runs_of(log: Log) -> list[str]:
    return [name for name in log.columns if last_word(name) in _RUNS]


def runs_in(log: Log) -> list[Log]:
    """Return the runs of a log, each as a log of its own.

    Args:
        log: The log.

    Returns:
        The runs; the log alone if it doesn't say that there are several.
    """
    return _exported(log) or split(log, _runs_of(log))


def split(log: Log, by: Sequence[str]) -> list[Log]:
    """Return the rows with each value of some columns as a log of its own.

    Args:
        log: The log.
        by: The columns.

    Returns:
        The logs; the log alone if the columns have one value, or as many as there are rows.
    """
    by = [name for name in by if len(_different(log.columns[name])) > 1]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i in range(len(log.rows)):
        groups.setdefault(tuple(_label(log.columns[name][i]) for name in by), []).append(i)
    told = {label: kept for label, kept in groups.items() if all(label)}
    if len(told) < 2 or 2 * len(told) > len(log.rows):
        return [log]
    without = sum(map(len, groups.values())) - sum(map(len, told.values()))
    note = f"column {' and '.join(by)} tells {len(told)} runs apart: each is a history of its own"
    parted: list[Log] = []
    for label, kept in told.items():
        suffix = "-".join(f"{last_word(name)}-{value}" for name, value in zip(by, label, strict=True))
        part = log.where_rows(kept, f"{log.name}-{_as_name(suffix)}")
        parted.append(replace(part, notes=(*log.notes, note), dropped=0 if parted else log.dropped + without))
    return parted


def groupings(log: Log) -> Iterator[list[Log]]:
    """Return the ways to split a log by one column, of words or of processes.

    Args:
        log: The log.

    Yields:
        The logs of each way.
    """
    for name, cells in log.columns.items():
        if last_word(name) in _PROCESSES or any(map(_is_word, cells)):
            parted = split(log, [name])
            if len(parted) > 1:
                yield parted


def _exported(log: Log) -> list[Log]:
    """Return the runs of an export of Weights & Biases, whose columns are called 'run - metric'."""
    times = {*clocks(list(log.columns), STEPS), *clocks(list(log.columns), EPOCHS)}
    named = [name for name in log.columns if _OF_A_RUN in name]
    if not named or any(name not in times and name not in named for name in log.columns):
        return []
    runs = dict.fromkeys(name.rpartition(_OF_A_RUN)[0] for name in named)
    return [_of_run(log, run, [name for name in times if name not in named], len(runs)) for run in runs]


def _of_run(log: Log, run: str, times: Sequence[str], runs: int) -> Log:
    own = {
        name.rpartition(_OF_A_RUN)[2]: cells
        for name, cells in log.columns.items()
        if name.rpartition(_OF_A_RUN)[0] == run and _OF_A_RUN in name
    }
    kept = [i for i in range(len(log.rows)) if any(cells[i] not in (None, "") for cells in own.values())]
    columns = {name: log.columns[name] for name in times} | own
    notes = (*log.notes, f"the columns are of {runs} runs: each is a history of its own") if runs > 1 else log.notes
    return replace(log, columns=columns, notes=notes).where_rows(kept, _as_name(run))


def _different(cells: Sequence[Any]) -> set[str]:
    return {_label(cell) for cell in cells} - {""}


def _label(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _as_name(text: str) -> str:
    """Return a text as the name of a folder may be."""
    return re.sub(r"[^\w.+=-]+", "_", text).strip("_") or "unnamed"


def _is_word(cell: Any) -> bool:
    if not isinstance(cell, str):
        return False
    try:
        number(cell)
    except ValueError:
        return True
    return False
