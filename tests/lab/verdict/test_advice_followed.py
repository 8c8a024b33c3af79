"""Every piece of advice that curves give, followed to the letter on a run of its kind: it ends no worse."""

import math
from statistics import median
from typing import get_args

import pytest
import torch
from lab.diagnose.loops import digits, perceptron
from torch.nn import functional as F

from benchmarks.followed import RUNS, follow, write_tables
from rmsprop.lab.diagnose.history import History, Series
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.verdict.facts import Change
from rmsprop.torch import RMSprop


@pytest.mark.parametrize("name", RUNS)
def test_advice_that_is_followed_ends_no_worse(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)
    assert [each for each in follow(name) if not each.obeyed.helped] == []


def test_every_change_that_is_advised_is_followed():
    elsewhere = {"clip gradients", "find what isn't finite"}  # the loops below: `rmsprop train` doesn't say these
    assert {change for *_, changes in RUNS.values() for change in changes} | elsewhere == set(get_args(Change))


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
