"""The folder of a run: what is in it, and what it was begun with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmsprop.files import write_atomically
from rmsprop.lab.errors import InputError
from rmsprop.lab.folders import FolderKind, check_folder

CONFIG, HISTORY, CHECKPOINT, MODEL = "config.json", "history.csv", "checkpoint.safetensors", "model.safetensors"
FIGURE, REPORT, RESULT = "loss.png", "report.html", "result.json"
OURS = (CONFIG, HISTORY, CHECKPOINT, MODEL, FIGURE, REPORT, RESULT)
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
        raise InputError(f"--out {folder} can't be read ({error.strerror or error}): give another folder") from error


def _config(folder: Path, *, resuming: bool, force: bool) -> Mapping[str, Any] | None:
    check_folder(folder, RUN)
    if force or not RUN.is_in(folder):
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


RUN = FolderKind("run", CONFIG, OURS, is_of_a_run, grows=True)
