"""From a path to the histories that are there.

- `content`, `folders`: the bytes of a file, and which file of a folder is the log.
- `table`, `objects`, `lines`: text to a `log`, a table of cells: CSV and its like, JSON, what programs print.
- `names`, `clock`, `groups`, `restarts`, `gaps`: what columns mean, and why times repeat.
- `histories`: a log to histories, with all of these.
- `record`, `run`, `events`, `steps`: the recorder's file, a folder of `rmsprop train`, TensorBoard's events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rmsprop.lab.diagnose.history import History
from rmsprop.lab.diagnose.readers import events, folders, lines, objects, record, run, table
from rmsprop.lab.diagnose.readers.content import STANDARD_INPUT, content_of, name_of, text_of
from rmsprop.lab.diagnose.readers.histories import of_log
from rmsprop.lab.diagnose.reading import Reading
from rmsprop.lab.errors import InputError
from rmsprop.lab.train.folder import HISTORY, REPORT

# The reports of train and compare, and of tune.
_PAGES = (REPORT, "tune.html")
RECORD_SUFFIX = ".jsonl"
# Files of such names are one per folder, whose name says more.
_OF_A_FOLDER = ("record.jsonl", folders.TRAINER_STATE)
_KINDS = "a recorder's file, a run's folder, a CSV or JSON file, what a program printed or TensorBoard's events"


def histories(
    path: Path,
    loss: str | None = None,
    validation: str | None = None,
    watch: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> list[History]:
    """Read a history, or all that are in a file or folder.

    Args:
        path: A recorder's file, a file of CSV, of JSON or of what a program printed, a folder of `rmsprop train` or of
            another tool, a file or folder of TensorBoard's events, or a folder of such; ``-`` is standard input.
        loss: The column or tag of the training loss, for all but our own. Default: guessed from the names.
        validation: That of the validation loss. Default: guessed.
        watch: Is given what is in a folder of such, and gives it back one by one. Default: it only does that.

    Returns:
        The histories, in the order of their names.

    Raises:
        InputError: If there is none, or one can't be read or understood.
    """
    if path != STANDARD_INPUT:
        _check(path)
    try:
        found = _one(path, loss, validation)
        if found:
            return found
        many = [each for entry in watch(_entries(path)) for each in _inside(entry, loss, validation)]
    except OSError as error:
        raise InputError(f"can't read {error.filename or path}: {error.strerror or error}") from error
    if not many:
        raise InputError(f"{path} holds no history: give {_KINDS}{_hint(path)}")
    return many


def _check(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there is no {path}: give {_KINDS}")
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is neither a file nor a folder: write what it gives to a file first, or give it to -")


def _entries(folder: Path) -> list[Path]:
    """Return what may be meant in a folder: other files lie about there, and those beside a report are its own."""
    logs = _report(folder) is None
    return [path for path in folders.in_order(folder) if path.is_dir() or (logs and folders.is_log(path))]


def _report(folder: Path) -> Path | None:
    """Return the report in a folder of another command."""
    return next((folder / name for name in _PAGES if (folder / name).is_file()), None)


def _hint(path: Path) -> str:
    """Say what there is to read in a folder of another command."""
    report = _report(path)
    return f"; it holds a report: open {report}" if report else ""


def _inside(entry: Path, loss: str | None, validation: str | None) -> list[History]:
    """Return what is known of something in a folder: a log, or a folder of a run or of such."""
    if entry.is_file():
        return _loose(entry, loss, validation)
    found = _one(entry, loss, validation)
    if found:
        return found
    inside = [(_loose if each.is_file() else _one)(each, loss, validation) for each in _entries(entry)]
    return [history for of_each in inside for history in of_each]


def _loose(path: Path, loss: str | None, validation: str | None) -> list[History]:
    """Return what a file in a folder tells of; nothing if it is no log, as others lie about there."""
    try:
        return _file(path, loss, validation)
    except InputError:
        if path.suffix == RECORD_SUFFIX and record.is_one(path.read_bytes()):
            raise
        return []


def _one(path: Path, loss: str | None, validation: str | None) -> list[History]:
    """Return the histories of a file or of the folder of one run; none if it is a folder of something else."""
    if not path.is_dir():
        return _file(path, loss, validation)
    if run.is_run(path):
        return [_run(path)]
    if state := folders.trainer_state(path):
        return [_noted(each, state[1]) for each in _file(state[0], loss, validation, path.resolve().name)]
    if log := folders.log_in(path):
        return [_noted(each, f"read from {log.name}") for each in _file(log, loss, validation, path.resolve().name)]
    return events.read(path, loss, validation) if events.are_in(path) else []


def _file(path: Path, loss: str | None, validation: str | None, name: str = "") -> list[History]:
    if path.name == HISTORY and run.is_run(path.parent):
        return [_run(path.parent)]
    if events.is_one(path):
        return events.read(path, loss, validation)
    content = content_of(path)
    name = name or (path.resolve().parent.name if path.name in _OF_A_FOLDER else name_of(path))
    if record.is_one(content):
        return [record.read(path, content, name)]
    where = "standard input" if path == STANDARD_INPUT else str(path)
    text = text_of(content, where)
    parse = objects.parse if text.lstrip()[:1] in ("{", "[") else table.parse
    try:
        found = of_log(parse(text, where, name), loss, validation)
    except InputError:
        if (printed := lines.parse(text, where, name)) is None:
            raise
    else:
        printed = None if any(history.train for history in found) else lines.parse(text, where, name)
    return of_log(printed, loss, validation) if printed else found


def _run(path: Path) -> History:
    history = run.read(path)
    rows = len(history.train)
    reading = Reading(time="epoch", loss="train_loss", validation="validation_loss", lr="lr", rows=rows)
    return replace(history, reading=reading)


def _noted(history: History, note: str) -> History:
    """Return a history with a note on how it was read, where there is one."""
    if history.reading is None or not note:
        return history
    return replace(history, reading=replace(history.reading, notes=(note, *history.reading.notes)))
