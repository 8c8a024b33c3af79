"""Scores are those of scikit-learn, for any split and any outputs, and stand in table, report and result.json alike."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from rich.cells import cell_len as cells
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    r2_score,
    recall_score,
    roc_auc_score,
    root_mean_squared_error,
)
from support import Page

from rmsprop.cli.group import rmsprop
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import Answers, check, load
from rmsprop.lab.problems.answers import positive_of
from rmsprop.lab.problems.problem import predict
from rmsprop.lab.train.folder import REPORT, RESULT
from rmsprop.lab.train.runs import Divergence, begin
from rmsprop.lab.train.score_table import ScoreTable, explanation, recall_line
from rmsprop.lab.train.scores import evaluate, evaluate_parts

NAN = math.nan


def train(folder, **given):
    """Train, and return the result, result.json and the words of the report."""
    lost = None
    with begin({"epochs": 3, **given}, folder) as run:
        try:
            list(run.train())
        except Divergence as error:
            lost = error
        result = run.finish(lost)
    text = (folder / REPORT).read_text(encoding="utf-8")
    return result, json.loads((folder / RESULT).read_text()), " ".join(" ".join(Page(text).text).split()), run


@pytest.fixture
def churn(tmp_path):
    """A table with one churned customer in ten."""
    random = np.random.default_rng(0)
    left = random.random(600) < 0.1
    words = np.where(left, "churned", "stayed")
    frame = pl.DataFrame({"a": random.normal(size=600) + left, "b": random.normal(size=600), "churn": words})
    frame.write_csv(tmp_path / "churn.csv")
    return tmp_path / "churn.csv"


@pytest.mark.parametrize("classes", [2, 3, 200])
def test_scores_of_classes_are_scikit_learns(classes):
    random = torch.Generator().manual_seed(0)
    truth = torch.arange(40 * classes) % classes
    outputs = torch.randn(len(truth), classes, generator=random)
    outputs[torch.arange(len(truth)), truth] += 1.0
    names = tuple(f"c{index}" for index in range(classes))
    found = evaluate(Answers(classes=names), outputs, truth)
    said, shares = outputs.argmax(1), outputs.double().softmax(1)
    several = {"multi_class": "ovr"} if classes > 2 else {}
    assert found.scores == pytest.approx(
        {
            "accuracy": (said == truth).double().mean().item(),
            "balanced_accuracy": balanced_accuracy_score(truth, said),
            "auc": roc_auc_score(truth, shares if classes > 2 else shares[:, 1], **several),
            "f1": f1_score(truth, said, average="macro" if classes > 2 else "binary"),
        }
    )
    assert list(found.recall) == list(names)
    assert list(found.recall.values()) == pytest.approx(recall_score(truth, said, average=None).tolist())
    assert found.confusion.tolist() == confusion_matrix(truth, said).tolist()


def test_scores_of_numbers_are_in_the_units_of_the_target():
    random = np.random.default_rng(0)
    truth, said = random.normal(size=(2, 50))
    answers = Answers(mean=1000.0, scale=50.0)
    found = evaluate(answers, torch.from_numpy(said)[:, None], torch.from_numpy(truth)[:, None])
    units = 1000 + 50 * truth, 1000 + 50 * said
    expected = {
        "rmse": root_mean_squared_error(*units),
        "mae": mean_absolute_error(*units),
        "r2": r2_score(*units),
    }
    assert found.scores == pytest.approx(expected)
    assert (found.recall, found.confusion) == ({}, None)


# Classes (0: numbers), outputs, targets -> accuracy, balanced accuracy, AUC, F1; or RMSE, MAE, R².
ODD = {
    "one class only": (2, [[2, 0], [0, 2]], [1, 1], (0.5, 0.5, NAN, 2 / 3)),
    "the class that isn't sought only": (2, [[2, 0], [2, 0]], [0, 0], (1, 1, NAN, NAN)),
    "a class is missing": (3, [[2, 0, 1], [0, 2, 1], [0, 0, 1]], [0, 1, 1], (2 / 3, 0.75, 1, 5 / 9)),
    "one row": (3, [[1, 2, 0]], [1], (1, 1, NAN, 1)),
    "one logit for two classes": (2, [[-1.0], [3.0], [1.0]], [[0.0], [1.0], [0.0]], (2 / 3, 0.75, 1, 2 / 3)),
    "certain answers differ": (2, [[0, 90], [0, 91], [0, 95]], [0, 0, 1], (1 / 3, 0.5, 1, 0.5)),
    "NaN": (2, [[NAN, 0], [0, 2]], [1, 0], (NAN,) * 4),
    "an infinite logit": (3, [[math.inf, 0, 0]], [0], (NAN,) * 4),
    "one number": (0, [[1.0]], [[3.0]], (2, 2, NAN)),
    "equal numbers": (0, [[1.0], [1.0]], [[3.0], [3.0]], (2, 2, 0)),
    "a NaN for a number": (0, [[1.0], [NAN]], [[3.0], [3.0]], (NAN,) * 3),
}


@pytest.mark.parametrize(("classes", "outputs", "targets", "expected"), ODD.values(), ids=ODD)
def test_what_is_not_defined_is_nan_and_warns_of_nothing(classes, outputs, targets, expected):
    answers = Answers(classes=tuple("abc"[:classes]))
    found = evaluate(answers, torch.tensor(outputs, dtype=torch.float32), torch.tensor(targets))
    assert list(found.scores.values()) == pytest.approx(expected, nan_ok=True)
    assert bool(found.recall) == (found.confusion is not None) == (classes > 0 and not math.isnan(expected[0]))


@pytest.mark.parametrize(
    ("classes", "rows", "sought"),
    [
        (("0", "1"), (1, 3), "1"),
        (("False", "True"), (1, 3), "True"),
        (("No", "Yes"), (1, 3), "Yes"),
        (("yes", "zero"), (3, 1), "yes"),
        (("churned", "stayed"), (1, 3), "churned"),
        (("ham", "spam"), (3, 1), "spam"),
        (("a", "b"), (2, 2), "b"),
        (("a", "b", "c"), (1, 1), None),
    ],
)
def test_of_two_classes_one_is_looked_for(classes, rows, sought):
    labels = torch.tensor([0] * rows[0] + [1] * rows[1])
    assert positive_of(classes, labels) == sought


CLASSES_OF = {"breast-cancer": 2, "wine": 3, "digits-cnn": 10, "logistic": 2, "english": 41}


@pytest.mark.parametrize("name", [*CLASSES_OF, "linear", "diabetes", "least-squares"])
def test_every_problem_of_classes_or_numbers_has_scores_and_those_of_its_baseline(name):
    problem, classes = load(name), CLASSES_OF.get(name, 0)
    found = evaluate_parts(problem, problem.model(0))
    parts = ["train", "validation", "test"] if problem.holds_out else ["train"]
    assert list(found.model) == list(found.baseline) == parts
    assert len(found.answers.classes) == classes
    last = parts[-1]
    _, metric = problem.evaluate(problem.model(0), problem.parts[last])
    assert found.model[last].scores[problem.metric.name] == pytest.approx(metric, rel=1e-5)
    assert found.baseline[last].scores[problem.metric.name] == pytest.approx(problem.baseline_scores()[last][1])
    if classes:
        assert found.baseline["train"].scores["auc"] == 0.5
        assert found.baseline["train"].scores["balanced_accuracy"] == pytest.approx(1 / classes)
    else:
        assert found.baseline["train"].scores["r2"] == pytest.approx(0.0, abs=1e-6)


def test_a_surface_has_none():
    found = evaluate_parts(load("bowl"), load("bowl").model(0))
    assert (found.answers, found.model, found.baseline) == (None, {}, {})


def test_the_result_holds_them_for_every_part_and_the_baseline(tmp_path, churn):
    result, content, words, run = train(tmp_path / "run", problem=str(churn), target="churn", epochs=20)
    test, truth = run.problem.test, run.problem.test.y
    said = predict(run.training.model, test.x).argmax(1)
    assert content["classes"] == ["churned", "stayed"]
    assert content["positive"] == "churned"
    scores = content["scores"]["test"]
    assert set(scores) == {"loss", "accuracy", "balanced_accuracy", "auc", "f1", "recall"}
    assert scores["f1"] == pytest.approx(f1_score(truth, said, pos_label=0))
    assert scores["recall"] == pytest.approx(
        dict(zip(content["classes"], recall_score(truth, said, average=None), strict=True))
    )
    assert content["confusion"] == {"rows": "test", "matrix": confusion_matrix(truth, said).tolist()}
    for part in ("train", "validation", "test"):
        assert content["baseline"]["scores"][part]["balanced_accuracy"] == 0.5
        assert content["baseline"]["scores"][part]["auc"] == 0.5
        assert content["baseline"]["scores"][part]["f1"] == 0.0
    rows = int((truth == 0).sum())
    assert f"class rows recall churned {rows} {scores['recall']['churned']:.4g}" in words
    assert f"{result.evaluations.model['test'].scores['auc']:.4g}" in words
    assert "F1 is that of 'churned'." in words


def test_numbers_have_theirs_in_the_table_the_report_and_the_json(tmp_path):
    result, content, words, _ = train(tmp_path / "run", problem="diabetes")
    assert set(content["scores"]["test"]) == {"loss", "rmse", "mae", "r2"}
    assert (content["classes"], content["positive"], content["confusion"]) == ([], None, None)
    assert ScoreTable(result, short=True).headings == ["rows", "number", "loss", "rmse", "MAE", "R²"]
    assert explanation(result, short=True) == "rmse and MAE are in units of progression."
    assert "rmse (units of progression) MAE (units of progression) R²" in words


def test_a_run_that_diverged_has_the_baselines_alone(tmp_path):
    result, content, words, _ = train(tmp_path / "run", problem="linear", lr=3.0)
    assert content["scores"] == {}
    assert content["baseline"]["scores"]["test"]["r2"] <= 0.0
    assert ScoreTable(result).rows == []
    assert explanation(result) == ""
    assert "R²" not in words


SHORT = {
    "balanced": ("digits", {}, ["accuracy", "AUC"], ""),
    "two balanced": ("breast-cancer", {}, ["accuracy", "AUC"], ""),
    "imbalanced": (
        "churn.csv",
        {"target": "churn"},
        ["accuracy", "balanced accuracy", "AUC", "F1"],
        "Recall on test rows: 'churned' ",
    ),
}


@pytest.mark.parametrize(("problem", "given", "headings", "recall"), SHORT.values(), ids=SHORT)
def test_the_terminal_shows_more_of_imbalanced_classes(tmp_path, churn, problem, given, headings, recall):
    given = given | {"problem": str(churn) if problem == churn.name else problem}
    result, *_ = train(tmp_path / "run", **given)
    assert ScoreTable(result, short=True).headings == ["rows", "number", "loss", *headings]
    assert recall_line(result)[: len(recall)] == recall
    assert bool(recall_line(result)) == bool(recall)
    full = ["rows", "number", "loss", "accuracy", "balanced accuracy", "AUC", "F1"]
    assert ScoreTable(result).headings == full
    assert [row[-2] for row in ScoreTable(result).rows][-1] == "0.5"


def test_many_classes_are_told_in_short_and_drawn_in_part(tmp_path):
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(200), np.linspace(6, 20, 200).astype(int))
    words = [f"kind {kind:03}" for kind in kinds]
    pl.DataFrame({"x": random.normal(size=len(kinds)), "k": words}).write_csv(tmp_path / "t.csv")
    result, content, words, _ = train(tmp_path / "run", problem=str(tmp_path / "t.csv"), target="k", epochs=1)
    assert np.shape(content["confusion"]["matrix"]) == (200, 200)
    assert "Shown are the 25 of 200 classes with the most errors" in words
    assert recall_line(result).startswith("Recall on test rows is 0 for ")
    assert "AUC (each class against the rest) and F1 are means over the classes." in explanation(result)


def test_an_own_problem_says_what_its_answers_are(own, tmp_path):
    own.write_text(own.read_text() + OWN)
    _, content, _, _ = train(tmp_path / "run", problem="own:scored")
    assert content["classes"] == ["a", "b", "c"]
    assert set(content["scores"]["test"]) >= {"auc", "f1", "recall"}


OWN = """
from rmsprop.lab.problems import Answers

def scored():
    return dataclasses.replace(small(), answers=Answers(classes=("a", "b", "c")))

def unscored():
    return dataclasses.replace(small(), answers=None)
"""


def test_without_that_there_are_none(own, tmp_path):
    own.write_text(own.read_text() + OWN)
    _, content, _, _ = train(tmp_path / "run", problem="own:unscored")
    assert set(content["scores"]["test"]) == {"loss", "accuracy"}
    assert content["confusion"] is None


def test_names_of_classes_are_text_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nasty = ["<script>", "$\\frac$", "[/b]", "目", "a very long name of a class " * 3]
    kinds = [nasty[-1]] * 60 + [nasty[row % 4] for row in range(60)]
    pl.DataFrame({"x": np.arange(120.0) % 17, "k": kinds}).write_csv("t.csv")
    shown = CliRunner().invoke(rmsprop, ["train", "t.csv", "--target", "k", "--epochs", "1", "--out", "run"])
    assert shown.exit_code == 0, shown.output
    assert all(cells(line) <= 100 for line in shown.stdout.splitlines())
    assert "'[/b]'" in shown.stdout
    text = Path("run", REPORT).read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_what_is_not_defined_is_said(tmp_path):
    result, *_ = train(tmp_path / "run", problem="wine", epochs=1)
    broken = evaluate(result.evaluations.answers, torch.full((1, 3), NAN), torch.tensor([0]))
    evaluations = replace(result.evaluations, model=result.evaluations.model | {"test": broken})
    spoilt = replace(result, evaluations=evaluations)
    assert ScoreTable(spoilt).rows[2][4:] == ["n/a"] * 3
    assert "n/a: not defined for these rows" in explanation(spoilt)
    assert "n/a" not in explanation(result)
    assert (spoilt.as_dict()["scores"]["test"]["auc"], spoilt.as_dict()["confusion"]) == (None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": ("one",)}, "answers have the class 'one' alone"),
        ({"classes": ("a", "a")}, "answers have two classes of one name"),
        ({"classes": ("a", "b"), "positive": "c"}, "positive class 'c': it must be one of two classes"),
        ({"classes": ("a", "b", "c"), "positive": "a"}, "positive class 'a': it must be one of two classes"),
    ],
)
def test_answers_that_cannot_be_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Answers(**given)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (Answers(classes=("a", "b")), "2 classes, and the model puts out 150 numbers for 50 targets"),
        (Answers(classes=tuple("abcd")), "4 classes, and the model puts out 150 numbers for 50 targets"),
        (Answers(), "answers are numbers, and the model puts out 150 for 50 targets: they must be as many"),
        ("classes", r"answers is 'classes': it must be an Answers\(classes=...\), or None"),
    ],
)
def test_answers_that_do_not_fit_the_model_are_refused_before_it_is_trained(answers, message):
    problem = replace(load("wine"), answers=answers, batch_size=50)
    with pytest.raises(InputError, match=message):
        check(problem)


def test_targets_that_are_no_classes_are_refused():
    with pytest.raises(InputError, match="2 classes, and targets go from 0 to 2: they must be their indices"):
        Answers(classes=("a", "b")).check(torch.zeros(3, 2), torch.tensor([0, 1, 2]))
    with pytest.raises(InputError, match="must be their indices"):
        Answers(classes=("a", "b")).check(torch.zeros(2, 1), torch.tensor([[0.0], [0.5]]))
