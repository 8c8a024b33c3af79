"""Folders of other tools: which file in them is the log, and in which order they come."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rmsprop.lab.errors import InputError

TRAINER_STATE = "trainer_state.json"
# What Lightning, ultralytics, Stable-Baselines3, Keras' examples and many a script call the log in a run's folder.
_LOGS = (
    *("metrics.csv", "results.csv", "progress.csv", "history.csv", "log.csv", "training.log", "training_log.csv"),
    *("history.json", "metrics.jsonl", "metrics.json", "log.jsonl", "progress.json", "wandb-history.jsonl"),
)
_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".json", ".jsonl", ".ndjson")


def log_in(folder: Path) -> Path | None:
    """Return the log in the folder of one run, if it is called as some tool calls it.

    Args:
        folder: The folder.

    Returns:
        The file.
    """
    return next((folder / name for name in _LOGS if (folder / name).is_file()), None)


def is_log(path: Path) -> bool:
    """Tell whether a file may be a log, by its name."""
    return path.is_file() and path.name.endswith(_SUFFIXES)


def trainer_state(folder: Path) -> tuple[Path, str] | None:
    """Return the newest state of Hugging Face's Trainer in its output folder, or in that of a checkpoint.

    Args:
        folder: The folder.

    Returns:
        The file, and a note on the checkpoints; None if there is no state.
    """
    inside = sorted(folder.glob(f"checkpoint-*/{TRAINER_STATE}"))
    found = [path for path in (folder / TRAINER_STATE, *inside) if path.is_file()]
    if not found:
        return None
    newest = max(found, key=_steps)
    if newest.parent == folder:
        return newest, ""
    return newest, f"of {len(inside)} checkpoint{'s' * (len(inside) > 1)} the newest is read, {newest.parent.name}"


def _steps(path: Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["global_step"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: it can't be read as the state of a Trainer") from error


def in_order(folder: Path) -> list[Path]:
    """Return what is in a folder in the order of the names, where version_2 comes before version_10.

    Args:
        folder: The folder.

    Returns:
        The paths.
    """
    return sorted(
        folder.iterdir(), key=lambda path: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)]
    )
