"""A folder of `rmsprop train`."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.lab.averages import NAMES
from rmsprop.lab.diagnose.history import MAKE_UP, History, Series, Statistics
from rmsprop.lab.errors import InputError
from rmsprop.lab.train.folder import CONFIG, HISTORY, RESULT
from rmsprop.lab.train.sentences import terms
from rmsprop.lab.verdict.curves import Lost

_GROUP = ("lr", "decay", "eps", "centered", "momentum", "initial_square_avg", *MAKE_UP)
_EFFECTIVE = "effective_step_"
# How large a share of the coordinates is known to have a larger effective step than a quantile.
_SHARES = (("q10", 0.9), ("q50", 0.5), ("q90", 0.1))


def is_run(path: Path) -> bool:
    """Tell whether a folder is one of `rmsprop train`."""
    return (path / CONFIG).is_file() and (path / HISTORY).is_file()


def read(path: Path) -> History:
    """Read a folder of `rmsprop train`.

    Args:
        path: The folder.

    Returns:
        The history.

    Raises:
        InputError: If a file in it is damaged, or no epoch is in it.
    """
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        with (path / HISTORY).open(encoding="utf-8", newline="") as lines:
            rows = [{name: float(text) for name, text in row.items()} for row in csv.DictReader(lines)]
        return _history(path, config, rows)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is damaged: its {CONFIG}, {HISTORY} or {RESULT} can't be read") from error


def _history(path: Path, config: Mapping[str, Any], rows: list[dict[str, float]]) -> History:
    settings, start = config["settings"], config["start"]
    epochs = tuple(int(row["epoch"]) for row in rows)
    result = _result(path / RESULT)

    def curve(column: str) -> Series:
        return Series(epochs, tuple(row[column] for row in rows))

    return History(
        name=path.resolve().name,
        source=_source(settings, len(rows)),
        unit="epoch",
        train=curve("train_loss"),
        worst=curve("worst_step_loss"),
        validation=curve("validation_loss"),
        lr=curve("lr"),
        initial=(float(start["loss"]), float(start["validation_loss"])),
        constant_loss=_or_infinity(start["constant_loss"]),
        constant_validation_loss=_or_infinity(start.get("constant_validation_loss")),  # older folders lack it
        holds_out=bool(start["holds_out"]),
        group={name: _option(settings[name]) for name in _GROUP if name in settings},
        statistics=_statistics(rows, settings["eps"]),
        given_up=_given_up(result),
        patience=settings["early_stop"] if result.get("stopped_early") else None,
        loss_name=f"loss: {start['loss_name']}" if "loss_name" in start else "loss",  # older folders lack it
        terms=terms(settings, holds_out=start["holds_out"], kept=(result.get("kept") or {}).get("epoch")),
    )


def _source(settings: Mapping[str, Any], epochs: int) -> str:
    """Return what was read, and whose losses if the run averages its weights; older folders don't."""
    name = NAMES.get(settings.get("average", "none"))
    whose = f" (the losses are those of the raw weights, not of their {name})" if name else ""
    return f"a run of rmsprop train {settings['problem']}, {epochs} of {settings['epochs']} epochs{whose}"


def _or_infinity(loss: float | None) -> float:
    return math.inf if loss is None else float(loss)


def _option(value: Any) -> float | bool:
    return value if isinstance(value, bool) else float(value)


def _result(path: Path) -> Mapping[str, Any]:
    """Return what came of a run; of one that hasn't ended yet, that it isn't lost."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"lost": None}


def _given_up(result: Mapping[str, Any]) -> Lost | None:
    """Return how a run was given up; None if it wasn't, or hasn't ended yet."""
    lost = result["lost"]
    return None if lost is None else Lost(int(lost["step"]), float(lost["loss"]))


def _statistics(rows: list[dict[str, float]], eps: float) -> Statistics | None:
    if not rows:
        return None
    names = [name.removeprefix(_EFFECTIVE)[: -len("_q10")] for name in rows[0] if name.endswith("_q10")]
    values = {
        f"effective_{q}": np.array([[row[f"{_EFFECTIVE}{name}_{q}"] for name in names] for row in rows])
        for q, _ in _SHARES
    }
    lr = np.array([[row["lr"]] for row in rows])
    at_least = np.zeros_like(values["effective_q10"])
    with np.errstate(divide="ignore", invalid="ignore"):
        for q, share in reversed(_SHARES):
            at_least[lr / values[f"effective_{q}"] < 2 * eps] = share
    layers = tuple({"name": name, "size": 1, "dtype": "", "averages": None, "weights": True} for name in names)
    return Statistics(tuple(int(row["epoch"]) for row in rows), layers, values | {"eps": at_least})
