"""TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rmsprop.lab.diagnose.history import History, Series, Unit
from rmsprop.lab.diagnose.readers.names import guess
from rmsprop.lab.diagnose.readers.table import history_of
from rmsprop.lab.errors import InputError

_MARK = "tfevents"


def is_one(path: Path) -> bool:
    """Tell whether a file is one of TensorBoard's."""
    return _MARK in path.name


def are_in(path: Path) -> bool:
    """Tell whether TensorBoard's files are in a folder itself, or in one for each part of the data, as Keras has it."""
    return any(is_one(entry) for entry in path.iterdir()) or any(
        is_one(entry) for part in ("train", "validation") for entry in _inside(path / part)
    )


def _inside(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else []


def read(path: Path, loss: str | None, validation: str | None) -> History:
    """Read the scalars of TensorBoard's files.

    Args:
        path: The file or folder.
        loss: The tag of the training loss. Default: guessed from the names.
        validation: That of the validation loss. Default: guessed.

    Returns:
        The history.

    Raises:
        InputError: If TensorBoard isn't installed, or it can't be told which tag is meant.
    """
    parts = [part for part in ("train", "validation") if any(map(is_one, _inside(path / part)))]
    curves = {f"{part}/{tag}": curve for part in parts for tag, curve in _scalars(path / part).items()}
    curves |= _scalars(path) if path.is_file() or any(map(is_one, path.iterdir())) else {}
    if not curves:
        raise InputError(f"{path} holds no scalars: give the folder or file of a run that wrote some")
    roles = guess(list(curves), str(path), loss, validation)
    unit: Unit = "epoch" if "epoch" in roles.loss.lower() else "step"
    name = path.resolve().name if path.is_dir() else path.resolve().parent.name
    return history_of(name, f"TensorBoard's events, {len(curves[roles.loss])} points", unit, roles, curves)


def _scalars(path: Path) -> dict[str, Series]:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise InputError(f"{path} needs tensorboard to be read: pip install 'rmsprop[tensorboard]'") from error
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    curves = {tag: Series.of({e.step: e.value for e in accumulator.Scalars(tag)}) for tag in tags["scalars"]}
    return curves | _tensors(accumulator, tags["tensors"])


def _tensors(accumulator: Any, tags: list[str]) -> dict[str, Series]:
    """Return what TensorFlow 2 writes: scalars as tensors of one element."""
    from tensorboard.util.tensor_util import make_ndarray

    found = {tag: {e.step: make_ndarray(e.tensor_proto) for e in accumulator.Tensors(tag)} for tag in tags}
    return {
        tag: Series.of({step: float(array.item()) for step, array in points.items()})
        for tag, points in found.items()
        if all(array.size == 1 and array.dtype.kind == "f" for array in points.values())
    }
