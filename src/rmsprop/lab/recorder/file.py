"""The recorder's file: lines of JSON, each whole as soon as it is written, so that a kill loses none of them.

The first line says what is recorded; each one after it is what became known at a step: losses, statistics per layer, or
validation values. Numbers that aren't finite are strings, and what can't be told is null, so that any reader of JSON
lines can take the file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Literal, TypeGuard

from filelock import BaseFileLock, FileLock, Timeout
from torch import Tensor
from torch.optim import Optimizer

from rmsprop.keywords import TORCH
from rmsprop.lab.errors import InputError
from rmsprop.lab.recorder import fields
from rmsprop.lab.recorder.layers import Sampling, members
from rmsprop.lab.recorder.moments import moments
from rmsprop.rule import Rule

VERSION = 1
_BEGINNING = b'{"record":%d,"from":' % VERSION
_LONGEST_HEADER = 2**26
Existing = Literal["refuse", "continue", "replace"]


def opened(path: Path, existing: Existing) -> tuple[FileIO, BaseFileLock]:
    """Open a recorder's file to append lines, and make its folder if there is none.

    Args:
        path: The file.
        existing: What to do with one that is there.

    Returns:
        The file, unbuffered: a line is in the system's hands when it is written; and the lock that keeps others out.

    Raises:
        InputError: If it is there and to be refused, if it isn't a recorder's, if another recorder writes it, or if it
            can't be written.
    """
    if existing not in ("refuse", "continue", "replace"):
        raise ValueError(f"existing is {existing!r}: choose 'refuse', 'continue' or 'replace'")
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if existing == "refuse" and path.exists():
            raise FileExistsError
        lock.acquire()
        return _opened(path, existing), lock
    except Timeout:
        raise InputError(f"another recorder is writing {path}: give another path, or close that one") from None
    except FileExistsError:
        lock.release()
        raise InputError(
            f"{path} exists already: give another path, or existing='continue' or existing='replace'"
        ) from None
    except OSError as error:
        lock.release()
        raise InputError(f"can't write {path}: {error.strerror or error}: give another path") from error
    except InputError:
        lock.release()
        raise


def _opened(path: Path, existing: Existing) -> FileIO:
    if path.exists() and not _is_torn_at_once(path):
        lines(path)  # nobody else's file is replaced or continued
    file = FileIO(path, {"refuse": "x", "continue": "a", "replace": "w"}[existing])
    _end_torn_line(path, file)
    return file


def _is_torn_at_once(path: Path) -> bool:
    """Tell whether a file is empty, or the beginning of a first line, whose writer was killed."""
    with path.open("rb") as file:
        start = file.readline(_LONGEST_HEADER)
    return not start.endswith(b"\n") and (_BEGINNING.startswith(start) or start.startswith(_BEGINNING))


def _end_torn_line(path: Path, file: FileIO) -> None:
    """Cut off what a killed process had not finished writing."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(file.fileno(), content.rfind(b"\n") + 1)


def line(content: Mapping[str, Any]) -> bytes:
    r"""Return a line of the file.

    Args:
        content: What it says.

    Returns:
        The line, with its end.

    Examples:
        >>> line({"step": 3, "loss": float("inf")})
        b'{"step":3,"loss":"inf"}\n'
    """
    return json.dumps(_plain(content), separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Losses:
    """The losses of some steps: the last of them, their mean, the largest, and a learning rate of about that time."""

    step: int
    mean: float
    largest: float
    lr: float


@dataclass(frozen=True)
class StepStatistics:
    """What was measured at a step: per statistic of `rmsprop.lab.recorder.measure.STATISTICS` a number per layer."""

    step: int
    lr: float
    values: Mapping[str, tuple[float, ...]]


@dataclass
class Recording:
    """What a recorder's file holds.

    Args:
        optimizer: The optimizer's class.
        groups: What the optimizer computes with, for each parameter group.
        layers: Name, size, dtype of the parameters and of the averages, for each layer.
        losses: The losses, in the order of the steps.
        statistics: The statistics.
        validation: Step and values of each validation.
    """

    optimizer: str
    groups: list[dict[str, Any]]
    layers: list[dict[str, Any]]
    losses: list[Losses] = field(default_factory=list)
    statistics: list[StepStatistics] = field(default_factory=list)
    validation: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    @property
    def last_step(self) -> int:
        """The last step of which anything is known."""
        rows = (self.losses[-1:], self.statistics[-1:])
        return max((row.step for found in rows for row in found), default=0)


def lines(path: Path, content: bytes | None = None) -> Iterator[Any]:
    """Return the lines of a recorder's file, without one that a killed process left unfinished.

    Args:
        path: The file.
        content: What it holds. Default: it is read.

    Returns:
        The content of each.

    Raises:
        InputError: If it isn't a recorder's file, or a line in the middle is damaged.
    """
    whole = (path.read_bytes() if content is None else content).split(b"\n")[:-1]
    try:
        rows = [json.loads(each) for each in whole]
    except (ValueError, RecursionError) as error:  # of brackets in brackets in brackets
        raise InputError(f"{path} is not a recorder's file, or is damaged: a line isn't JSON") from error
    if not rows:
        raise InputError(f"{path} holds nothing: no step was recorded")
    if not (isinstance(rows[0], dict) and "record" in rows[0]):
        raise InputError(f"{path} is not a recorder's file: its first line doesn't say what is recorded")
    if rows[0]["record"] != VERSION:
        raise InputError(f"{path} was written by another version of rmsprop: read it with that one")
    return iter(rows)


def read(path: Path, content: bytes | None = None) -> Recording:
    """Read a recorder's file.

    Args:
        path: The file.
        content: What it holds, where it was unpacked or comes from elsewhere. Default: it is read.

    Returns:
        What it holds. Where a run was taken up at an earlier step, what it had done since then is left out; where the
        model changed, the statistics are those of the last one.

    Raises:
        InputError: If it isn't a recorder's file, or damaged.
    """
    recording = Recording("", [], [])
    rows = lines(path, content)
    try:
        for row in rows:
            _take(recording, fields.entries(row, "a line"))
        _check(recording)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    except KeyError as error:
        raise InputError(f"{path} is damaged: a line lacks {error}") from error
    return recording


def _check(recording: Recording) -> None:
    """See that each measurement has a number per layer, of what the first has numbers of."""
    for row in recording.statistics:
        if any(len(numbers) != len(recording.layers) for numbers in row.values.values()):
            raise ValueError(f"step {row.step} doesn't have a number for each layer")
        if row.values.keys() != recording.statistics[0].values.keys():
            raise ValueError(f"step {row.step} doesn't have the statistics that others have")


def _take(recording: Recording, row: Mapping[str, Any]) -> None:
    if "record" in row:
        _begin(recording, row)
    elif "validation" in row:
        named = fields.entries(row["validation"], "a validation")
        values = {name: fields.number(value) for name, value in named.items()}
        recording.validation.append((fields.whole(row["step"], "a step"), values))
    elif "layers" in row:
        recording.statistics.append(_measured(row))
    else:
        lr = fields.number(row["lr"])
        columns = (fields.items(row[name], name) for name in ("steps", "loss", "largest"))
        for step, mean, largest in zip(*columns, strict=True):
            losses = Losses(fields.whole(step, "a step"), fields.number(mean), fields.number(largest), lr)
            recording.losses.append(losses)


def _measured(row: Mapping[str, Any]) -> StepStatistics:
    named = fields.entries(row["layers"], "what was measured")
    values = {name: tuple(map(fields.number, fields.items(each, name))) for name, each in named.items()}
    return StepStatistics(fields.whole(row["step"], "a step"), fields.number(row["lr"]), values)


def _begin(recording: Recording, row: Mapping[str, Any]) -> None:
    start = fields.whole(row["from"], "the step to begin from")
    layers = [fields.layer(each) for each in fields.items(row["layers"], "layers")]
    if [layer["name"] for layer in layers] != [layer["name"] for layer in recording.layers]:
        recording.statistics.clear()
    recording.optimizer, recording.layers = str(row["optimizer"]), layers
    groups = [fields.entries(group, "a parameter group") for group in fields.items(row["groups"], "groups")]
    recording.groups = [{name: fields.option(value) for name, value in group.items()} for group in groups]
    recording.losses[:] = [kept for kept in recording.losses if kept.step <= start]
    recording.statistics[:] = [kept for kept in recording.statistics if kept.step <= start]
    recording.validation[:] = [kept for kept in recording.validation if kept[0] <= start]


# Options of a parameter group that say what it computes -> their names in a `Rule`.
_OPTIONS = {TORCH.get(name, name): name for name in ("lr", *(field.name for field in dataclasses.fields(Rule)))}


def header(optimizer: Optimizer, sampling: Sampling, step: int) -> dict[str, Any]:
    """Return what the first line says.

    Args:
        optimizer: The optimizer.
        sampling: Its layers.
        step: The steps that were taken before; what the file knows of later ones doesn't count any more.

    Returns:
        Plain values for JSON.
    """
    kind = type(optimizer)
    return {
        "record": VERSION,
        "from": step,
        "optimizer": f"{kind.__module__}.{kind.__qualname__}",
        "groups": [_options(group) for group in optimizer.param_groups],
        "layers": _layers(optimizer, sampling),
    }


def steps_taken(optimizer: Optimizer) -> int:
    """Return how many steps an optimizer has taken, as it counts them itself; 0 if it doesn't."""
    counts = [state.get("step") for state in optimizer.state.values() if isinstance(state, Mapping)]
    return max((int(count) for count in counts if _is_count(count)), default=0)


def _is_count(value: object) -> TypeGuard[int | float | Tensor]:
    """Tell whether something that an optimizer calls its step, which may be anything, is a number of steps."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and bool(value.isfinite())
    return isinstance(value, int | float) and math.isfinite(value)


def _options(group: Mapping[str, Any]) -> dict[str, float | bool]:
    options: dict[str, float | bool] = {}
    for key, name in _OPTIONS.items():
        if isinstance(value := group.get(key), bool | int | float | Tensor):
            options[name] = value.item() if isinstance(value, Tensor) else value
    return options | ({"decay": group["betas"][1]} if len(group.get("betas") or ()) == 2 else {})


def _layers(optimizer: Optimizer, sampling: Sampling) -> list[dict[str, Any]]:
    kinds: Sequence[list[str]] = [[] for _ in sampling.layers]
    for (group, parameter), layer in zip(members(optimizer), sampling.layer_of, strict=True):
        second = moments(optimizer, group, parameter).second
        if second is not None:
            # Rounded at random, averages follow the gradients however few digits they have.
            at_random = ", rounded at random" if group.get("state_dtype") is not None else ""
            kinds[layer].append(str(second.dtype).removeprefix("torch.") + at_random)
    return [
        asdict(layer) | {"averages": kind[0] if kind else None}
        for layer, kind in zip(sampling.layers, kinds, strict=True)
    ]
