"""Weights of classes: what scikit-learn calls balanced, in the loss and in the baseline that it is compared with."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from torch.nn import functional

from rmsprop.cli.group import rmsprop
from rmsprop.lab.batched import Job, train_together
from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers import choose
from rmsprop.lab.problems import load
from rmsprop.lab.problems.problem import predict
from rmsprop.lab.problems.table.class_weights import equal_shares, weighted_cross_entropy
from rmsprop.lab.problems.table.tabular import shares
from rmsprop.lab.train.settings import resolve, resume
from rmsprop.lab.train.training import Training


@pytest.fixture
def rare(tmp_path, monkeypatch):
    """A table with 8 % of one class, which its inputs tell about."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    left = random.random(800) < 0.08
    words = np.where(left, "bad", "ok")
    pl.DataFrame({"a": random.normal(size=800) + 1.5 * left, "b": random.normal(size=800), "y": words}).write_csv(
        "t.csv"
    )
    return "t.csv"


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_the_loss_is_that_of_scikit_learns_sample_weights(rare):
    problem = load(rare, target="y", class_weights="balanced")
    labels = problem.train.y
    outputs = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0))
    rows = functional.cross_entropy(outputs, labels, reduction="none")
    expected = np.average(rows, weights=compute_sample_weight("balanced", labels))
    assert problem.loss(outputs, labels).item() == pytest.approx(expected, rel=1e-5)


def test_a_model_learns_what_scikit_learns_balanced_regression_does(rare):
    problem = load(rare, target="y", model="logistic", class_weights="balanced")
    training = Training(
        problem, resolve({"problem": rare, "model": "logistic", "epochs": 100, "lr": 0.01, "weight_decay": 0.0})
    )
    for _ in range(100):
        training.run_epoch()
    peer = LogisticRegression(C=np.inf, class_weight="balanced")
    with warnings.catch_warnings():  # this says how to ask for no penalty in another version
        warnings.simplefilter("ignore", FutureWarning)
        peer.fit(problem.train.x, problem.train.y)
    ours = predict(training.model, problem.test.x).softmax(1)[:, 1]
    np.testing.assert_allclose(ours, peer.predict_proba(problem.test.x)[:, 1], atol=0.02)


def test_a_batch_of_one_row_counts_by_its_class():
    weights, outputs = torch.tensor([0.5, 8.0]), torch.zeros(1, 2)
    losses = [weighted_cross_entropy(weights, outputs, torch.tensor([label])).item() for label in (0, 1)]
    assert losses == pytest.approx([0.5 * math.log(2), 8 * math.log(2)])


def test_the_constant_answer_has_the_weighted_loss_and_still_guesses_the_most_frequent_class(rare):
    problem = load(rare, target="y", class_weights="balanced")
    scores = problem.baseline_scores()
    assert problem.constant_loss == pytest.approx(math.log(2))
    assert scores["train"][0] == pytest.approx(math.log(2), rel=1e-5)
    assert problem.baseline.name == "always 'ok'"
    assert scores["test"][1] == load(rare, target="y").baseline_scores()["test"][1] > 0.9


def test_no_constant_answer_is_better(rare):
    problem = load(rare, target="y", class_weights="balanced")
    rows = len(problem.train)
    for logit in np.linspace(-3, 3, 13):
        loss = problem.loss(torch.tensor([0.0, logit]).float().expand(rows, 2), problem.train.y).item()
        assert loss >= problem.constant_loss - 1e-6


def test_a_class_without_training_rows_has_no_share():
    labels = torch.tensor([0, 0, 2])
    guess = equal_shares(labels, shares(labels, ("a", "b", "c")))
    assert guess.output.softmax(0).tolist() == pytest.approx([0.5, 0.0, 0.5], abs=1e-5)
    assert guess.output.argmax() == 0


def test_a_run_tells_of_them_and_finds_more_of_the_rare_class(rare):
    labels = load(rare, target="y").train.y.numpy()
    bad, ok = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    recall = {}
    for weights in ("none", "balanced"):
        done = run("train", rare, "--target", "y", "--class-weights", weights, "--out", weights, "--epochs", 20)
        result = json.loads(Path(weights, "result.json").read_text())
        recall[weights] = result["scores"]["test"]["recall"]["bad"]
        note = f"each class counts alike in the loss, whose weights are {bad:.3g} for 'bad', {ok:.3g} for 'ok'"
        told = note in done.stderr
        assert told == (weights == "balanced")
    assert recall["balanced"] > recall["none"] + 0.2


REFUSED = {
    "numbers": (["diabetes"], "is for classes, and 'progression' is a number: leave it out"),
    "a model of its own": (["digits-cnn"], "--class-weights is for a table; digits-cnn has a model of its own"),
    "a surface": (["bowl"], "--class-weights is for a table; bowl has a model of its own"),
    "a word that isn't known": (["wine", "--class-weights", "equal"], "'equal' is not one of 'none', 'balanced'"),
}


@pytest.mark.parametrize("command", ["train", "tune", "compare"])
@pytest.mark.parametrize(("given", "why"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_classes_to_weigh_is_refused(rare, command, given, why):
    result = run(command, given[0], "--class-weights", "balanced", *given[1:], code=2)
    assert why in result.stderr
    assert "Traceback" not in result.output


def test_none_is_for_every_problem(rare):
    assert load("bowl", class_weights="none").name == "bowl"
    with pytest.raises(InputError, match="--class-weights is 'equal': choose one of none, balanced"):
        load("wine", class_weights="equal")


def test_they_are_a_setting_that_a_resumed_run_keeps(rare):
    kept = resolve({"problem": rare, "class_weights": "balanced"})
    assert resume(kept, {"class_weights": None}).class_weights == "balanced"
    with pytest.raises(InputError, match="--class-weights is none here and balanced in the run"):
        resume(kept, {"class_weights": "none"})


def test_many_runs_at_once_have_the_same_loss(rare):
    problem = load(rare, target="y", model="logistic", class_weights="balanced")
    settings = {"problem": rare, "model": "logistic", "lr": 0.01, "weight_decay": 0.0, "schedule": "constant"}
    training = Training(problem, resolve(settings))
    alone = [training.run_epoch().validation_loss for _ in range(3)]
    jobs = [Job(choice=choose("rmsprop", lr=lr), seed=0) for lr in (0.01, 0.001)]
    together, _ = train_together(problem, jobs, epochs=3, batch_size=32)
    assert together.validation[1:].tolist() == pytest.approx(alone, rel=1e-4)
