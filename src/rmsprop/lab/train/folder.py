"""The folder of a run: what may be in it, who may write in it, and what it was begun with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rmsprop.files import leftovers, write_atomically
from rmsprop.lab.errors import InputError

CONFIG, HISTORY, CHECKPOINT, MODEL = "config.json", "history.csv", "checkpoint.safetensors", "model.safetensors"
FIGURE, REPORT, RESULT = "loss.png", "report.html", "result.json"
OURS = (CONFIG, HISTORY, CHECKPOINT, MODEL, FIGURE, REPORT, RESULT)
_LOCK = ".lock"
_PARTS = ("settings", "data", "versions")


def config_to_resume(folder: Path, *, resuming: bool, force: bool) -> Mapping[str, Any] | None:
    """Return what the run in a folder was begun with, or None if one is to be begun there.

    Args:
        folder: The folder, which need not exist.
        resuming: Whether a run in it is to be continued.
        force: Whether a run in it is to be replaced.

    Returns:
        The content of its config.json, or None.

    Raises:
        InputError: If there is a run and it is neither to be continued nor replaced, or if other files are there.
    """
    try:
        return _config(folder, resuming=resuming, force=force)
    except OSError as error:
        raise InputError(f"can't read {folder}: {error.strerror or error}: give another --out") from error


def _config(folder: Path, *, resuming: bool, force: bool) -> Mapping[str, Any] | None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file: give a folder")
    path = folder / CONFIG
    if not is_of_a_run(path):
        strangers = _strangers(folder)
        if strangers:
            raise InputError(f"{folder} holds other files ({strangers[0]}), not a run: give another --out")
        return None
    if force:
        return None
    if not resuming:
        raise InputError(f"{folder} holds a run already: add --resume to continue it, or --force to replace it")
    return read_config(folder, "start over with --force")


def read_config(folder: Path, remedy: str) -> Mapping[str, Any]:
    """Return what a run was begun with.

    Args:
        folder: The run's folder.
        remedy: What to do if that can't be told.

    Returns:
        The content of its config.json.

    Raises:
        InputError: If the file is damaged.
    """
    return read_config_file(folder / CONFIG, remedy)


def read_config_file(path: Path, remedy: str) -> Mapping[str, Any]:
    """Return what a run was begun with.

    Args:
        path: Its config.json, perhaps under another name.
        remedy: What to do if that can't be told.

    Returns:
        The content.

    Raises:
        InputError: If the file is damaged.
    """
    try:
        config: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = config["checksum"] == _checksum(config)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged or was changed: {remedy}")
    return config


def write_config(folder: Path, parts: Mapping[str, Any]) -> None:
    """Write what a run was begun with.

    Args:
        folder: The run's folder.
        parts: Its settings, data and versions, as plain values for JSON.
    """
    content = {**parts, "checksum": _checksum(parts)}
    write_atomically(folder / CONFIG, (json.dumps(content, indent=1) + "\n").encode())


def _checksum(config: Mapping[str, Any]) -> str:
    parts = json.dumps([config[part] for part in _PARTS], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def is_of_a_run(path: Path) -> bool:
    """Tell whether a config.json is there and was written by a run; one that is damaged may have been.

    Args:
        path: Its path.

    Returns:
        Whether it is.
    """
    if not path.exists():
        return False
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return True
    return isinstance(config, dict) and config.keys() >= set(_PARTS)


def _strangers(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    # The lock is the first file of a run, so without it the others are somebody's of the same names.
    begun = (folder / _LOCK).exists() and not (folder / CONFIG).exists()
    ours = {_LOCK, *OURS, *(path.name for path in _halves(folder))} if begun else {_LOCK}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours)


def _halves(folder: Path) -> list[Path]:
    """Return what killed runs were writing."""
    return [half for name in OURS for half in leftovers(folder / name)]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder if there is none, keep other processes out of it, and remove what a killed one was writing.

    The system lets go of the lock when this process ends in any way.

    Args:
        folder: The folder.

    Raises:
        InputError: If another process has it, or it can't be written in.
    """
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        for half in _halves(folder):
            half.unlink()
    except Timeout:
        raise InputError(f"another process is running in {folder}: wait for it, or give another --out") from None
    except OSError as error:
        raise InputError(f"can't write in {folder}: {error.strerror or error}: give another --out") from error
    try:
        yield
    finally:
        lock.release()
