"""Every piece of advice that curves give, followed to the letter on a run of its kind: it ends no worse."""

import ast
import math
from pathlib import Path
from statistics import median
from typing import get_args

import pytest
import torch
from lab.diagnose.loops import digits, perceptron
from torch.nn import functional as F

from benchmarks.followed import RUNS, follow, write_tables
from rmsprop.lab import verdict
from rmsprop.lab.diagnose.history import History, Series
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.verdict.curves import LossCurves
from rmsprop.lab.verdict.facts import Change
from rmsprop.lab.verdict.judge import judge
from rmsprop.torch import RMSprop


@pytest.mark.parametrize("name", RUNS)
def test_advice_that_is_followed_ends_no_worse(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)
    assert [each for each in follow(name) if not each.obeyed.helped] == []


# Where a piece of advice is given -> a run that follows it, here or in benchmarks/advised.py.
FOLLOWED = {
    ("overfitting", "stop earlier"): "overfitting",
    ("overfitting", "smaller model"): "overfitting",
    ("overfitting", "more weight decay"): "overfitting",
    ("_fall", "train longer"): "constant",
    ("stopped_early", "more patience"): "impatient",
    ("_cut_short", "train longer"): "cosine",
    ("_cut_short", "raise lr"): "cosine",
    ("_diverged", "lower lr"): "diverged",
    ("_diverged", "warm up"): "diverged",
    ("_diverged", "find what isn't finite"): "test_what_was_never_finite_is_so_without_the_row_it_comes_from",
    ("_not_finite", "find what isn't finite"): "test_what_is_not_finite_is_gone_with_the_row_that_it_comes_from",
    ("spikes", "clip gradients"): "test_clipping_that_is_advised_after_spikes_ends_no_worse",
    ("spikes", "lower lr"): "spikes",
    ("lost_again", "lower lr"): "lost again",
    ("_way_out", "lower lr"): "went up",
    ("_way_out", "raise lr"): "steps too small",
    ("_way_out", "other inputs"): "unexplained, a line",
    ("_way_out", "larger model"): "unexplained, a line",
    ("_way_out", "another lr"): "unexplained, a line",
    ("unsteady", "lower lr"): "up and down",
    ("unsteady", "let lr fall"): "up and down",
    ("guessing", "stop earlier"): "test_stopping_at_the_lowest_loss_is_better_than_guessing",
    ("guessing", "lower lr"): "far above guessing",
    ("guessing", "other inputs"): "no signal",
    ("guessing", "smaller model"): "no signal",
    ("guessing", "more weight decay"): "no signal",
}


def test_every_piece_of_advice_is_followed():
    given = set()
    for path in Path(verdict.__file__).parent.glob("*.py"):
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        for function in functions:
            calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            named = [call.args[0].value for call in calls if getattr(call.func, "id", "") == "Advice"]
            given |= {(function.name, change) for change in named}
    assert given == set(FOLLOWED)
    assert set(FOLLOWED.values()) <= {*RUNS, *globals()}
    assert {change for _, change in FOLLOWED} == set(get_args(Change))


def fitted(rows, *, lr=0.1, steps=60):
    """The losses of a classifier of digits, step by step, with Inf where a row isn't finite."""
    model, (x, y), losses = perceptron(), rows, []
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def found_in(losses, unit="step"):
    train = Series(tuple(range(1, len(losses) + 1)), tuple(losses))
    return {each.kind: each for each in diagnose(History(name="run", source="a test", unit=unit, train=train)).findings}


def test_what_was_never_finite_is_so_without_the_row_it_comes_from():
    x, y = next(digits(320))
    broken = x.clone()
    broken[100, 5] = math.nan
    remedy = found_in(fitted((broken, y)))["diverged"].remedy
    assert remedy.startswith("Look there for a value in the data that isn't finite")
    assert fitted((x, y))[-1] < fitted((x, y))[0]


def test_a_learning_rate_by_which_the_first_epoch_is_lost_is_lowered():
    def epochs(lr):
        losses = fitted(next(digits(320)), lr=lr)
        return [sum(losses[n : n + 10]) / 10 for n in range(0, 60, 10)]

    lost = epochs(1e20)
    assert math.isnan(lost[0])
    assert "try a smaller learning rate" in found_in(lost, "epoch")["diverged"].remedy
    assert math.isfinite(epochs(1e-2)[-1])


def line_of_forty(steps):
    """A line of forty inputs, 39 of which are noise, fitted to few rows: losses of both, and those of a constant."""
    generator = torch.Generator().manual_seed(0)
    x, held_out = (torch.randn(rows, 40, generator=generator) for rows in (120, 400))
    y, truth = (0.6 * rows[:, 0] + torch.randn(len(rows), generator=generator) for rows in (x, held_out))
    weights, train, validation = torch.zeros(40), [], []
    for _ in range(steps + 1):
        error = x @ weights - y
        train.append(error.square().mean().item())
        validation.append((held_out @ weights - truth).square().mean().item())
        weights -= 0.02 * 2 * x.T @ error / len(x)
    return train, validation, y.var(correction=0).item(), truth.var(correction=0).item()


def test_stopping_at_the_lowest_loss_is_better_than_guessing():
    train, validation, constant, constant_validation = line_of_forty(84)
    curves = LossCurves(
        times=range(85),
        train=train,
        validation=validation,
        constant=constant,
        constant_validation=constant_validation,
    )
    fact = judge(curves)[0]
    assert (fact.kind, fact.advice[0].change) == ("loss no better than guessing", "stop earlier")
    assert line_of_forty(int(fact.advice[0].value))[1][-1] < 0.95 * constant_validation < validation[-1]


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
