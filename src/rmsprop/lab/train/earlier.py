"""The settings of an earlier run, as if they had been typed: what is typed besides wins.

This module imports no framework, so that `rmsprop train --help` stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmsprop.lab.averages import first_averaged_epoch, usual_decay
from rmsprop.lab.dialects.calls import overrides
from rmsprop.lab.errors import InputError
from rmsprop.lab.field_types import misfit
from rmsprop.lab.options import option
from rmsprop.lab.problems.defaults import TABLE, row_of
from rmsprop.lab.problems.table.options import ABOUT_PROBLEM
from rmsprop.lab.train.folder import CONFIG, read_config_file
from rmsprop.lab.train.settings import (
    FIELDS,
    RULE_FIELDS,
    SCHEDULE_FREE,
    SCHEDULE_FREE_RULE,
    field_types,
    schedule_numbers,
)
from rmsprop.rule import Rule

_OF_SCHEDULE = ("gamma", "step_size")
_OF_AVERAGE = ("ema_decay", "swa_start", "swa_lr")
_GIVE = "give the folder of a run of rmsprop train, or its config.json"


def earlier_settings(run: Path) -> dict[str, Any]:
    """Read the settings of an earlier run.

    Args:
        run: Its folder, or its config.json.

    Returns:
        The settings by name; what is None or empty was left to its default.

    Raises:
        InputError: If there is none, or it is damaged or of a version with other settings.

    Examples:
        >>> earlier_settings(Path("nowhere"))
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: --config nowhere: there is no such file: give the folder of a run of rmsprop \
train, or its config.json
    """
    path = run / CONFIG if run.is_dir() else run
    try:
        config = read_config_file(path, _GIVE)
    except FileNotFoundError:
        what = f"the folder holds no {CONFIG}" if path != run else "there is no such file"
        raise InputError(f"--config {run}: {what}: {_GIVE}") from None
    except OSError as error:
        raise InputError(f"--config {run} can't be read: {error.strerror or error}: {_GIVE}") from error
    except InputError as error:
        raise InputError(f"--config: {error}") from None
    settings: dict[str, Any] = config["settings"]
    unknown = sorted(settings.keys() - set(FIELDS))
    if unknown:
        raise InputError(
            f"--config {run} has {option(unknown[0])}, which this version of rmsprop doesn't know: {_GIVE}"
        )
    if wrong := misfit(settings, field_types()):
        raise InputError(f"--config {run} was changed ({option(wrong)} is of another type): {_GIVE}")
    chosen = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return chosen | dict.fromkeys(_of_its_length(config))


def _of_its_length(config: Mapping[str, Any]) -> list[str]:
    """Return which numbers of an average are those of the run's length, which another length decides anew."""
    settings = config["settings"]
    usual: dict[str, float] = {}
    if settings.get("average") == "swa":
        usual["swa_start"] = first_averaged_epoch(settings["epochs"])
    if settings.get("average") == "ema":
        batches = math.ceil(config["data"]["rows"]["train"] / settings["batch_size"])
        usual["ema_decay"] = usual_decay(settings["epochs"] * batches)
    return [name for name, value in usual.items() if settings[name] == value]


def over_earlier(typed: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed over the settings of an earlier run.

    What that run filled in by itself is filled in anew where what is typed decides it: the dialect's choices, the
    schedule's numbers, the widths of another model, and how a table was read for a problem that is none.

    Args:
        typed: Settings by name; None stands for what wasn't typed.
        earlier: What `earlier_settings` gave.

    Returns:
        The settings to begin with.

    Examples:
        >>> earlier = {"problem": "wine", "lr": 0.1, "schedule": "step", "step_size": 3, "epochs": 9, "gamma": 0.1}
        >>> over_earlier({"problem": "wine", "lr": 0.2, "schedule": "cosine"}, earlier)
        {'problem': 'wine', 'lr': 0.2, 'schedule': 'cosine', 'epochs': 9}
    """
    own = {name: value for name, value in earlier.items() if value not in (None, (), "")}
    chosen = {name: value for name, value in typed.items() if value is not None}
    for name in _filled_in(own, chosen):
        own.pop(name, None)
    return {**typed, **own, **chosen}


def _filled_in(earlier: Mapping[str, Any], chosen: Mapping[str, Any]) -> set[str]:
    """Return which settings of an earlier run its other settings had decided, and what is chosen now may decide."""
    gone: set[str] = set()
    if "dialect" in earlier and RULE_FIELDS[0] in earlier:
        rule = Rule(**{name: earlier[name] for name in RULE_FIELDS if name in earlier})
        gone |= {*RULE_FIELDS} - {*_chosen_of_rule(earlier["dialect"], rule), "weight_decay"}
    schedule = earlier.get("schedule", "")
    usual = schedule_numbers(schedule, earlier.get("epochs", 1))
    other = chosen.get("schedule", schedule) != schedule
    gone |= {name for name in _OF_SCHEDULE if other or earlier.get(name) == usual[name]}
    if other and schedule == SCHEDULE_FREE:
        gone |= {name for name, value in SCHEDULE_FREE_RULE.items() if earlier.get(name) == value}
    if chosen.get("average", earlier.get("average")) != earlier.get("average"):
        gone |= {*_OF_AVERAGE}
    if chosen.get("model", earlier.get("model")) != earlier.get("model"):
        gone.add("hidden")
    if _kind(str(earlier.get("problem", ""))) != _kind(str(chosen["problem"])):
        gone |= {*ABOUT_PROBLEM}
    return gone


def _chosen_of_rule(dialect: str, rule: Rule) -> Mapping[str, object]:
    from rmsprop.dialects import get_dialect

    return overrides(get_dialect(dialect), rule)


def _kind(problem: str) -> str:
    """Return what shares its options and models: all tables, or one problem that is built in or a function."""
    return "a table" if row_of(problem) is TABLE else problem
