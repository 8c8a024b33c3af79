"""From a path to the histories that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rmsprop.lab.diagnose.history import History
from rmsprop.lab.diagnose.readers import events, record, run, table
from rmsprop.lab.errors import InputError
from rmsprop.lab.train.folder import HISTORY
from rmsprop.lab.train.folder import REPORT as PAGE

RECORD_SUFFIX = ".jsonl"


def histories(
    path: Path,
    loss: str | None = None,
    validation: str | None = None,
    watch: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> list[History]:
    """Read a history, or all that are in a folder.

    Args:
        path: A recorder's file, a CSV file, a folder of `rmsprop train`, a file or folder of TensorBoard's events, or a
            folder of such.
        loss: The column or tag of the training loss, for a CSV file or events. Default: guessed from the names.
        validation: That of the validation loss. Default: guessed.
        watch: Is given what is in a folder of such, and gives it back one by one. Default: it only does that.

    Returns:
        The histories, in the order of their names.

    Raises:
        InputError: If there is none, or one can't be read or understood.
    """
    if not path.exists():
        raise InputError(
            f"there is no {path}: give a recorder's file, a run's folder, a CSV file or TensorBoard's events"
        )
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is neither a file nor a folder: write what it gives to a file first")
    try:
        found = _one(path, loss, validation)
        if found is not None:
            return [found]
        entries = [entry for entry in sorted(path.iterdir()) if _may_be_one(entry)]
        many = [each for entry in watch(entries) for each in _inside(entry, loss, validation)]
    except OSError as error:
        raise InputError(f"can't read {error.filename or path}: {error.strerror or error}") from error
    if not many:
        raise InputError(
            f"{path} holds no history: give a recorder's file, a folder of rmsprop train, a CSV file or TensorBoard's "
            f"events{_hint(path)}"
        )
    return many


def _may_be_one(path: Path) -> bool:
    """Tell whether something in a folder is meant: other files lie about there."""
    return path.is_dir() or path.suffix == RECORD_SUFFIX


def _hint(path: Path) -> str:
    """Say what there is to read in a folder of another command."""
    return f"; it holds a report: open {path / PAGE}" if (path / PAGE).is_file() else ""


def _inside(entry: Path, loss: str | None, validation: str | None) -> list[History]:
    """Return what is known of something in a folder: a recorder's file, or a folder of a run or of such files."""
    found = _one(entry, loss, validation)
    return [found] if found is not None else [record.read(each) for each in sorted(entry.glob(f"*{RECORD_SUFFIX}"))]


def _one(path: Path, loss: str | None, validation: str | None) -> History | None:
    """Return the history at a path; None if it is a folder without one of its own."""
    if path.is_file():
        return _file(path, loss, validation)
    if run.is_run(path):
        return run.read(path)
    return events.read(path, loss, validation) if events.are_in(path) else None


def _file(path: Path, loss: str | None, validation: str | None) -> History:
    if path.name == HISTORY and run.is_run(path.parent):
        return run.read(path.parent)
    if events.is_one(path):
        return events.read(path, loss, validation)
    with path.open("rb") as file:
        first = file.read(16)
    return record.read(path) if first.startswith(b"{") else table.read(path, loss, validation)
