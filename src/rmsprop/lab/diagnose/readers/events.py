"""TensorBoard's event files, and how runs lie in folders of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rmsprop.lab.diagnose.history import History, Series, Unit
from rmsprop.lab.diagnose.readers.folders import log_in
from rmsprop.lab.diagnose.readers.histories import history_of
from rmsprop.lab.diagnose.readers.names import HELD_OUT, TRAINED, Roles, guess
from rmsprop.lab.diagnose.readers.restarts import Stretch, joined
from rmsprop.lab.diagnose.readers.steps import by_position, on_steps
from rmsprop.lab.diagnose.reading import Reading
from rmsprop.lab.errors import InputError
from rmsprop.lab.tensorboard import without_tensorflow

_MARK = "tfevents"
Points = list[tuple[int, float]]


def is_one(path: Path) -> bool:
    """Tell whether a file is one of TensorBoard's."""
    return _MARK in path.name


def are_in(path: Path) -> bool:
    """Tell whether TensorBoard's files are in a folder itself, or in one for each part of the data."""
    parts = [entry for entry in path.iterdir() if _is_part(entry) and not log_in(entry)]
    return bool(_files(path)) or any(map(_files, parts))


def _files(path: Path) -> list[Path]:
    """Return the event files of a folder in the order in which they were begun."""
    files = [entry for entry in path.iterdir() if is_one(entry)] if path.is_dir() else []
    return sorted(files, key=lambda file: (*map(int, re.findall(rf"{_MARK}\.(\d+)", file.name)[:1]), file.name))


def _is_part(path: Path) -> bool:
    """Tell whether a folder is called as the training or the held-out part of the data."""
    return path.name.lower() in TRAINED | HELD_OUT


def read(path: Path, loss: str | None, validation: str | None) -> list[History]:
    """Read the scalars of TensorBoard's files.

    Args:
        path: The file or folder.
        loss: The tag of the training loss. Default: guessed from the names.
        validation: That of the validation loss. Default: guessed.

    Returns:
        The histories: several if several runs wrote to one folder.

    Raises:
        InputError: If TensorBoard isn't installed, or it can't be told which tag is meant.
    """
    stretches = _stretches(path)
    counts: dict[str, int] = {}
    for curves in stretches:
        counts |= {tag: counts.get(tag, 0) + len(points) for tag, points in curves.items()}
    if not counts:
        raise InputError(f"{path} holds no scalars: give the folder or file of a run that wrote some")
    roles = guess(list(counts), str(path), loss, validation, counts)
    runs = joined([_stretch(curves, roles) for curves in stretches], roles.loss)
    name = path.resolve().name if path.is_dir() else path.resolve().parent.name
    names = [name] if len(runs) == 1 else [f"{name}-{n}" for n in range(1, len(runs) + 1)]
    return [_history(each, run, roles, len(runs)) for each, run in zip(names, runs, strict=True)]


def _history(name: str, run: Stretch, roles: Roles, runs: int) -> History:
    if roles.loss not in run.curves:
        raise InputError(f"{name} has no points of {roles.loss} in one of its runs: name another by --loss")
    unit: Unit = "epoch" if "epoch" in roles.loss.lower() else "step"
    curves, notes = on_steps(run.curves, roles.loss) if unit == "step" else (dict(run.curves), ())
    several = (f"{runs} runs wrote to this folder: each is a history of its own",) if runs > 1 else ()
    reading = Reading(
        time=f"the {unit} of each event",
        loss=roles.loss,
        validation=roles.validation,
        lr=roles.lr,
        scores=roles.scores,
        rows=run.rows,
        dropped=run.dropped,
        counted="point",
        notes=(*several, *roles.notes, *run.notes, *notes),
    )
    named = {each: curves.get(each, Series()) for each in (roles.loss, roles.validation, roles.lr) if each}
    return history_of(name, f"TensorBoard's events, {len(named[roles.loss])} points", unit, named, reading)


def _stretch(points: Mapping[str, Points], roles: Roles) -> Stretch:
    """Return what one writer wrote without going back, as curves over time."""
    curves, notes = by_position(points)
    whole = {name: parts for name, parts in roles.sums.items() if set(parts) <= set(curves)}
    curves |= {name: _sum([curves[part] for part in parts]) for name, parts in whole.items()}
    used = {name: curves[name] for name in (roles.loss, roles.validation, roles.lr) if name in curves}
    losses = [len(curve) for name, curve in used.items() if name != roles.lr]
    return Stretch(used, sum(losses), notes=notes)


def _sum(parts: Sequence[Series]) -> Series:
    points = [dict(zip(part.times, part.values, strict=True)) for part in parts]
    shared = [time for time in points[0] if all(time in each for each in points)]
    return Series.of({time: sum(each[time] for each in points) for time in shared})


def _stretches(path: Path) -> list[dict[str, Points]]:
    """Return the scalars of a run's folder, in the stretches in which they were written."""
    if path.is_file():
        return list(_of_files([path]))
    places = [("", list(_of_files(_files(path))))]
    for entry in sorted(path.iterdir()):
        inside = list(_of_files(_files(entry)))
        if _is_part(entry) and not log_in(entry):
            places.append((f"{entry.name}/", inside))
        elif _is_of_several(entry.name, inside):
            places.append((entry.name, inside))
    return _side_by_side(places)


def _is_of_several(name: str, stretches: Sequence[Mapping[str, Points]]) -> bool:
    """Tell whether a folder was made by `add_scalars`: its name is the tag and the name of the curve."""
    tags = {tag for curves in stretches for tag in curves}
    return len(tags) == 1 and name.startswith(f"{next(iter(tags)).replace('/', '_')}_")


def _side_by_side(places: Sequence[tuple[str, Sequence[Mapping[str, Points]]]]) -> list[dict[str, Points]]:
    """Put together what several folders hold of the same time: the last stretch of each is of the last run."""
    count = max(len(stretches) for _, stretches in places)
    merged: list[dict[str, Points]] = [{} for _ in range(count)]
    for place, stretches in places:
        alone = place and not place.endswith("/")
        for curves, into in zip(reversed(stretches), reversed(merged), strict=False):
            into |= {(place if alone else f"{place}{tag}"): points for tag, points in curves.items()}
    return merged


def _of_files(files: Sequence[Path]) -> Iterator[dict[str, Points]]:
    """Return what files hold, as stretches in which no step comes before an earlier one."""
    stretch: dict[str, Points] = {}
    for file in files:
        for curves in _pieces(_scalars(file)):
            if stretch.keys() & curves.keys():
                yield stretch
                stretch = {}
            stretch |= curves
    if stretch:
        yield stretch


def _pieces(curves: Mapping[str, Points]) -> list[dict[str, Points]]:
    """Cut curves where their steps go back."""
    cut: list[dict[str, Points]] = []
    for tag, points in curves.items():
        number = 0
        for i, point in enumerate(points):
            number += i > 0 and point[0] < points[i - 1][0]
            cut += [{} for _ in range(number + 1 - len(cut))]
            cut[number].setdefault(tag, []).append(point)
    return cut


def _scalars(path: Path) -> dict[str, Points]:
    try:
        without_tensorflow()
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise InputError(f"{path} needs tensorboard to be read: pip install 'rmsprop[tensorboard]'") from error
    # Of old files, what was written before a step that goes back would be left out without a word.
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0}, purge_orphaned_data=False)
    accumulator.Reload()
    tags = accumulator.Tags()
    curves = {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags["scalars"]}
    return curves | _tensors(accumulator, tags["tensors"])


def _tensors(accumulator: Any, tags: list[str]) -> dict[str, Points]:
    """Return what TensorFlow 2 writes: scalars as tensors of one element."""
    from tensorboard.util.tensor_util import make_ndarray

    found = {tag: [(e.step, make_ndarray(e.tensor_proto)) for e in accumulator.Tensors(tag)] for tag in tags}
    return {
        tag: [(step, float(array.item())) for step, array in points]
        for tag, points in found.items()
        if all(array.size == 1 and array.dtype.kind == "f" for _, array in points)
    }
