"""Tables from which nothing can be learnt: a run of them is never called converged, and its scores show why."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.problems import load


def rare(random):
    """Ten rare rows of 1,200, which no column tells."""
    columns = {"age": random.integers(18, 80, 1200), "income": random.gamma(2.0, 1500.0, 1200).round(2)}
    return columns | {"y": ["fraud" if n < 10 else "ok" for n in range(1200)]}


def wide(random):
    """Sixty rows of 500 columns."""
    columns = {f"x{n}": random.normal(size=60) for n in range(500)}
    return columns | {"y": random.permutation(["no", "yes"] * 30)}


def independent(random):
    """Labels that were drawn without a look at the columns."""
    columns = {f"x{n}": random.normal(size=200) for n in range(4)}
    return columns | {"y": random.choice(["no", "yes"], 200)}


def numbers(random):
    """Numbers that were."""
    columns = {f"x{n}": random.normal(size=200) for n in range(4)}
    return columns | {"y": random.normal(10.0, 3.0, 200)}


def run(*arguments):
    return CliRunner().invoke(rmsprop, [str(argument) for argument in arguments])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("model", ["mlp", None])
@pytest.mark.parametrize("make", [rare, wide, independent, numbers], ids=lambda make: make.__name__)
def test_a_table_that_tells_nothing_never_converges(tmp_path, monkeypatch, make, model, seed):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(make(np.random.default_rng(seed))).write_csv("t.csv")
    model = model or ("linear" if make is numbers else "logistic")
    result = json.loads(run("train", "t.csv", "--target", "y", "--model", model, "--json").stdout)
    ends = result["scores"]["validation"]["loss"]
    if ends >= result["baseline"]["scores"]["validation"]["loss"]:
        assert result["kind"] in ("loss no better than guessing", "stalled", "overfitting", "still falling")
    (found,) = json.loads(run("diagnose", "runs/t", "--json").stdout)["runs"]
    assert found["findings"][0]["evidence"].startswith(result["verdicts"][0]["evidence"])


def test_the_constant_answer_is_a_row_of_every_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(rare(np.random.default_rng(0))).write_csv("t.csv")
    shown = run("train", "t.csv", "--target", "y", "--epochs", 3).stdout
    assert "test, always 'ok'" in shown
    assert "test, always &#39;ok&#39;" in Path("runs/t/report.html").read_text()
    baseline = json.loads(Path("runs/t/result.json").read_text())["baseline"]
    assert baseline["answer"] == "always 'ok'"
    assert baseline["scores"]["validation"]["accuracy"] == pytest.approx(238 / 240)
    assert "test, always the mean" in run("train", "linear", "--epochs", 2).stdout
    assert "train, always the mean" in run("train", "least-squares", "--epochs", 2).stdout
    assert "always" not in run("train", "bowl", "--epochs", 2).stdout


def test_the_baseline_is_as_good_as_its_loss_says():
    for name in ("digits", "wine", "diabetes", "logistic", "least-squares", "english", "ratings", "words"):
        problem = load(name)
        assert problem.baseline_scores()["train"][0] == pytest.approx(problem.constant_loss, rel=1e-4), name
