"""Runs of `rmsprop train` that are advised something, and what becomes of those that follow it.

What the advice leaves open is chosen as a person would: twice the epochs, an eighth of the units or many more.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from click.testing import CliRunner

from benchmarks.advised import Obeyed
from rmsprop.cli.group import rmsprop
from rmsprop.lab.train.sentences import terms

# Runs with other random numbers end so far apart that are equally good.
_NOISE = 0.02
# What an option is set to where the advice names no number.
_NUMBERS = {"smaller model": "8", "larger model": "128", "more weight decay": "0.03"}
# A command, the kind of run that it makes, and all changes that are advised.
RUNS: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "diverged": ("noise.csv --target y --lr 0.03 --epochs 20", "diverged", ["lower lr", "warm up"]),
    "steps too small": ("linear --lr 1e-5 --epochs 20", "stalled", ["raise lr"]),
    "up and down": ("linear --lr 0.7 --warmup 90", "stalled", ["lower lr", "let lr fall"]),
    "lost again": ("digits --lr 0.08 --warmup 29", "stalled", ["lower lr"]),
    "constant": ("linear --epochs 5", "still falling", ["train longer"]),
    "plateau": ("linear --epochs 5 --schedule plateau", "still falling", ["train longer"]),
    "inverse-sqrt": ("linear --epochs 5 --schedule inverse-sqrt", "still falling", ["train longer"]),
    "cosine": ("wine --epochs 10 --lr 1e-3", "still falling", ["train longer", "raise lr"]),
    "linear": ("wine --epochs 10 --lr 1e-3 --schedule linear", "still falling", ["train longer", "raise lr"]),
    "exponential": ("wine --epochs 10 --lr 2e-3 --schedule exponential", "still falling", ["train longer", "raise lr"]),
    "step": ("wine --epochs 9 --lr 1e-3 --schedule step --gamma 0.5", "still falling", ["train longer"]),
    "own step": (
        "wine --epochs 12 --lr 1e-3 --schedule step --gamma 0.5 --step-size 3",
        "still falling",
        ["train longer", "raise lr"],
    ),
    "overfitting": (
        "diabetes --model mlp --hidden 64 --keep last",
        "overfitting",
        ["stop earlier", "smaller model", "more weight decay"],
    ),
    "overfitting, the best kept": (
        "diabetes --model mlp --hidden 64",
        "overfitting",
        ["stop earlier", "smaller model", "more weight decay"],
    ),
    "impatient": (
        "digits --lr 1e-3 --schedule constant --batch-size 8 --early-stop 1",
        "stopped early",
        ["more patience"],
    ),
    "spikes": (
        "digits --lr 0.01 --momentum 0.9 --schedule constant --weight-decay 0 --epochs 20",
        "spikes",
        ["lower lr"],
    ),
    "no signal": (
        "noise.csv --target y --drop signal",
        "loss no better than guessing",
        ["other inputs", "smaller model", "more weight decay"],
    ),
    "no signal, a line": (
        "noise.csv --target y --drop signal --model linear",
        "loss no better than guessing",
        ["other inputs", "smaller model", "more weight decay"],
    ),
    "far above guessing": (
        "wide.csv --target y --drop signal --epochs 60 --lr 0.02 --warmup 5 --weight-decay 0 --batch-size 16",
        "loss no better than guessing",
        ["lower lr"],
    ),
    "far above guessing, classes": (
        "sides.csv --target y --drop signal --epochs 60 --lr 0.02 --warmup 5 --weight-decay 0 --batch-size 16",
        "loss no better than guessing",
        ["lower lr"],
    ),
    "far above guessing, classes, another seed": (
        "sides.csv --target y --drop signal --epochs 60 --lr 0.02 --warmup 5 --weight-decay 0 --batch-size 16 --seed 1",
        "loss no better than guessing",
        ["lower lr"],
    ),
    "unexplained, a line": (
        "product.csv --target y --drop product --model logistic --epochs 20 --lr 0.1",
        "stalled",
        ["other inputs", "larger model", "another lr"],
    ),
    "unexplained, a small model": (
        "product.csv --target y --drop product --model mlp --hidden 1 --epochs 20 --lr 0.1",
        "stalled",
        ["other inputs", "larger model", "another lr"],
    ),
    "went up": (
        "product.csv --target y --drop product --model logistic --epochs 20 --lr 0.3",
        "stalled",
        ["lower lr"],
    ),
    "no number": ("digits --epochs 10 --schedule constant", "still falling", ["train longer"]),
    "noisy validation": ("digits --epochs 8 --lr 1e-3 --schedule constant", "still falling", ["train longer"]),
}


@dataclass(frozen=True)
class Followed:
    """What came of a piece of advice.

    Args:
        finding: The kind of what was found.
        change: What was advised to be changed.
        command: The arguments of `rmsprop train` that follow it.
        obeyed: The losses before and after.
    """

    finding: str
    change: str
    command: str
    obeyed: Obeyed


def write_tables(folder: Path) -> None:
    """Write the tables that the runs read: a target that one column alone tells, with noise, and a product's sign.

    Args:
        folder: Where to write them.
    """
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=300) for name in (*(f"x{n}" for n in range(5)), "signal")}
    target = columns["signal"] + random.normal(scale=0.5, size=300)
    pl.DataFrame(columns | {"y": target}).write_csv(folder / "noise.csv")
    product = columns["x0"] * columns["x1"]
    sign = np.where(product > 0, "yes", "no")
    pl.DataFrame(columns | {"product": product, "y": sign}).write_csv(folder / "product.csv")
    wide = {f"x{n}": random.normal(size=300) for n in range(60)}
    pl.DataFrame(wide | {"signal": columns["signal"], "y": target}).write_csv(folder / "wide.csv")
    sides = {f"x{n}": random.normal(size=400) for n in range(80)}
    signal = random.normal(size=400)
    side = np.where(signal + random.normal(size=400) > 0, "right", "left")
    pl.DataFrame(sides | {"signal": signal, "y": side}).write_csv(folder / "sides.csv")


def follow(name: str) -> Iterator[Followed]:
    """Train a run, and one for each piece of advice that it is given.

    Args:
        name: The run, one of `RUNS`. Its folders and tables are in the current directory.

    Yields:
        What came of each piece of advice.

    Raises:
        LookupError: If the run isn't found to be of its kind, or is advised something else.
    """
    command, kind, changes = RUNS[name]
    result, before = _train(command, f"{name}/first")
    advice = {fact["kind"]: fact["advice"] for fact in result["verdicts"]}
    if [each["change"] for each in advice.get(kind, ())] != changes:
        raise LookupError(f"{name}: {kind} with {changes} isn't what is found: {advice}")
    settings = json.loads(Path(name, "first/config.json").read_text())["settings"]
    options = terms(settings, holds_out=True).settings
    for number, each in enumerate(advice[kind]):
        option = options.get(each["change"], "")
        if option is None:  # a line can't be made smaller: it isn't said
            continue
        followed = _obeying(command, each, option, settings)
        folder = f"{name}/run{number}"
        if "--resume" in option:
            _train(command, folder)
        _, after = _train(followed, folder)
        yield Followed(kind, each["change"], followed, Obeyed(f"{each['change']}: {followed}", before, after, _NOISE))


def _obeying(command: str, advice: Mapping[str, Any], option: str, settings: Mapping[str, Any]) -> str:
    """Return the command that follows a piece of advice."""
    change = advice["change"]
    if change == "other inputs":
        return re.sub(" --drop (signal|product)", "", command)
    if change == "another lr":
        return f"{command} --lr 0.01"
    value = 2 * settings["epochs"] if change == "train longer" and advice["value"] is None else advice["value"]
    option = option.format(value)
    if option.endswith(("--hidden", "--weight-decay")):
        option = f"{option} {_NUMBERS[change]}"
    return f"{command.split()[0] if '--resume' in option else command} {option}"


def _train(command: str, folder: str) -> tuple[Mapping[str, Any], float]:
    """Train and return the result, and where the judged loss ended."""
    CliRunner().invoke(rmsprop, ["train", *shlex.split(command), "--out", folder])
    result = json.loads(Path(folder, "result.json").read_text())
    if result["kind"] == "diverged":
        return result, math.inf
    with Path(folder, "history.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    return result, median(losses[-max(1, len(losses) // 5) :])
