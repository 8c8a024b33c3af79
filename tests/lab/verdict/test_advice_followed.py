"""Every piece of advice that curves give, followed to the letter on a run of its kind: it ends no worse."""

import csv
import json
import math
import shlex
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from lab.diagnose.loops import digits, perceptron
from torch.nn import functional as F

from rmsprop.cli.group import rmsprop
from rmsprop.lab.diagnose.history import History, Series
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.train.sentences import terms
from rmsprop.torch import RMSprop

# What an option is set to where the advice names no number.
NUMBERS = {
    "smaller model": "--hidden 8",
    "larger model": "--hidden 128",
    "more weight decay": "--weight-decay 0.03",
    "another lr": "--lr 0.01",
}
# A command, the kind of run that it makes, and all changes that are advised.
RUNS = {
    "diverged": ("linear --lr 3 --epochs 20", "diverged", ["lower lr", "warm up"]),
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
        "diabetes --model mlp --hidden 64",
        "overfitting",
        ["stop earlier", "smaller model", "more weight decay"],
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
}


@pytest.fixture(autouse=True)
def noise(tmp_path, monkeypatch):
    """A table whose target is in one column alone."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    columns = {f"x{n}": random.normal(size=300) for n in range(5)} | {"signal": random.normal(size=300)}
    target = columns["signal"] + random.normal(scale=0.5, size=300)
    pl.DataFrame(columns | {"y": target}).write_csv("noise.csv")


def train(command, name):
    """Train and return the result, and where the judged loss ended."""
    CliRunner().invoke(rmsprop, ["train", *shlex.split(command), "--out", name])
    result = json.loads(Path(name, "result.json").read_text())
    with Path(name, "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    if result["kind"] == "diverged":
        return result, math.inf
    losses = [float(row["validation_loss"]) for row in rows]
    return result, median(losses[-max(1, len(losses) // 5) :])


@pytest.mark.parametrize("name", RUNS)
def test_advice_that_is_followed_ends_no_worse(name):
    command, kind, changes = RUNS[name]
    result, before = train(command, "first")
    fact = next(each for each in result["verdicts"] if each["kind"] == kind)
    assert [each["change"] for each in fact["advice"]] == changes
    settings = json.loads(Path("first/config.json").read_text())["settings"]
    options = terms(settings, holds_out=True).settings
    for number, each in enumerate(fact["advice"]):
        option = options.get(each["change"], "")
        if option is None:  # a line can't be made smaller: it isn't said
            continue
        option = option.format(each["value"] or 0)
        option = NUMBERS.get(each["change"], option)
        if each["change"] == "other inputs":
            followed = command.replace(" --drop signal", "")
        elif "--resume" in option:
            train(command, f"run{number}")
            followed = f"{command.split()[0]} {option}"
        else:
            followed = f"{command} {option}"
        _, after = train(followed, f"run{number}")
        assert after <= 1.02 * before, (each, option, before, after)


def spiky(clip):
    """A loop with an outlier in every 150th batch: where the loss ends, and how high a batch without outliers was."""
    model, validation = perceptron(), next(digits(1000, seed=1))
    optimizer = RMSprop(model.parameters(), lr=3e-3)
    batches, losses, ends = digits(32), [], []
    for step in range(400):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x * (20.0 if step % 150 == 149 else 1.0)), y)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        ends.append(F.cross_entropy(model(validation[0]), validation[1]).item() if step > 300 else math.nan)
    return losses, median(ends[-50:])


def test_clipping_that_is_advised_after_spikes_ends_no_worse():
    losses, before = spiky(clip=False)
    history = History(name="spiky", source="a test", unit="step", train=Series(tuple(range(1, 401)), tuple(losses)))
    (fact,) = (finding for finding in diagnose(history).findings if finding.kind == "spikes")
    assert fact.remedy.startswith("Clip the norm of the gradient")
    assert spiky(clip=True)[1] <= 1.02 * before


def test_what_is_not_finite_is_gone_with_the_row_that_it_comes_from():
    model, (x, y) = perceptron(), next(digits(640))
    x[100, 5] = math.inf

    def run(rows):
        optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
        for step in range(60):
            batch = rows[torch.arange(32) + 32 * (step % (len(rows) // 32))]
            loss = F.cross_entropy(model(x[batch]), y[batch])
            losses.append(loss.item())
            if loss.isfinite():
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        train = Series(tuple(range(1, 61)), tuple(losses))
        found = diagnose(History(name="run", source="a test", unit="step", train=train)).findings
        return {finding.kind: finding for finding in found}

    finding = run(torch.arange(640))["loss not finite"]
    assert "3 of 60 training losses are not finite: the first is nan at step 4" in finding.evidence
    assert "look there for a value in the data" in finding.remedy.lower()
    assert "loss not finite" not in run(torch.tensor([n for n in range(640) if n != 100]))
