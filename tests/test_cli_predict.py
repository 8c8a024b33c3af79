"""`rmsprop predict` as a person and a script use it."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.metrics import mean_absolute_error, r2_score

from rmsprop.cli.group import rmsprop
from rmsprop.lab import load

HEADER = "age,city,when,churn\n"
ROWS = [
    f"{20 + row % 40},{('Rome', 'Oslo')[row % 2]},2024-01-{1 + row % 28:02},{('no', 'yes')[row % 2]}"
    for row in range(80)
]


def run(*arguments, code=0, given=None):
    result = CliRunner().invoke(rmsprop, [str(argument) for argument in arguments], input=given)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a table and two runs on it: of classes and of numbers."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "t.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    for target, out in (("churn", "classes"), ("age", "numbers")):
        task = ["--task", "regression"] if target == "age" else []
        run("train", folder / "t.csv", "--target", target, *task, "--epochs", "2", "--out", folder / out)
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("model", "columns"),
    [("classes", ["prediction", "probability_no", "probability_yes"]), ("numbers", ["prediction"])],
)
def test_a_line_for_each_row_in_its_order(trained, model, columns):
    result = run("predict", trained / model, trained / "t.csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == columns
    expected = load(trained / model).predict(trained / "t.csv").to_list()
    assert [row["prediction"] for row in rows] == [str(answer) for answer in expected]
    assert len(rows) == len(ROWS)
    if model == "classes":
        assert all(float(row["probability_no"]) + float(row["probability_yes"]) == pytest.approx(1.0) for row in rows)
    written = run("predict", trained / model, trained / "t.csv", "--out", "deep/p.csv")
    assert Path("deep/p.csv").read_text() == result.stdout
    assert written.stdout == "File: deep/p.csv (80 rows)\n"
    assert [path.name for path in Path("deep").iterdir()] == ["p.csv"]


def test_json(trained):
    result = run("predict", trained / "classes", trained / "t.csv", "--json", "--out", "p.csv")
    content = json.loads(result.stdout)
    assert result.stderr == ""
    assert (content["task"], content["target"], content["rows"], content["out"]) == (
        "classification",
        "churn",
        80,
        "p.csv",
    )
    assert content["predictions"] == load(trained / "classes").predict(trained / "t.csv").to_list()
    assert list(content["probabilities"]) == ["no", "yes"]
    assert len(content["probabilities"]["no"]) == 80
    assert Path("p.csv").exists()


def test_notes_are_apart_from_the_answers(trained):
    given = "city,note,age,when\nParis,x,,2024-02-03\nRome,y,31,2024-02-04\n"
    result = run("predict", trained / "classes", "-", given=given)
    assert result.stdout.count("\n") == 3
    assert result.stderr.splitlines() == [
        "note: not used, as the model wasn't trained on it: 'note'",
        "note: age: 1 missing, imputed with 41.5, the median in training",
        "note: city: 1 row with a category that no training row had ('Paris'), taken for none of the known ones",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty or not text"),
        ("age,city,when\n", "has a header but no rows"),
        ("age,city,when\n1,Rome,2024-01-01\n\n2,Rome,2024-01-02\n", "line 3 is blank"),
        ("age,city,when\n1,Rome,2024-01-01\n,\n2,Rome,2024-01-02\n", "line 3 is blank"),
        ("age,city,when\n1,Rome,2024-01-01\n2,Rome\n", "line 3 has 2 fields and the header 3"),
        ("age,city,when\n1,Rome,2024-01-01\n2,Rome,2024-01-02,4\n", "line 3 has 4 fields and the header 3"),
        ("age,city,when\n1,Rome,2024-01-01\nold,Rome,2024-01-02\n", "numeric in training, and line 3 holds 'old'"),
        ("age,city,when\n1,Rome,01/02/2024\n", "year first (2024-01-31) in training, and line 2 holds '01/02/2024'"),
        ('age,city,when\n1,Ro"me,2024-01-01\n', "line 2 holds a stray quote"),
        ("age,churn\n1,no\n", "lacks 'when', 'city', which the model was trained on: it has 'age', 'churn'"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(trained, content, message):
    Path("new.csv").write_text(content)
    result = run("predict", trained / "classes", "new.csv", "--out", "p.csv", code=2)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not Path("p.csv").exists()


def test_blank_lines_around_the_rows_are_no_rows(trained):
    Path("new.csv").write_text("\nage,city,when\n1,Rome,2024-01-01\n\n\n")
    assert run("predict", trained / "classes", "new.csv").stdout.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "new.csv"], "there is no folder nowhere"),
        ([".", "new.csv"], "holds no run"),
        (["{run}", "missing.csv"], "there is no file missing.csv"),
        (["{run}", "new.pdf"], "is not a table"),
        (["{run}", "new.csv", "--out", "."], "is a folder"),
        (["{run}", "new.csv", "--out", "new.csv"], "is the table itself"),
        (["{run}", "new.csv", "--out", "p.parquet"], "written as CSV"),
    ],
)
def test_what_cannot_be_used_is_named(trained, arguments, message):
    content = "age,city,when\n1,Rome,2024-01-01\n"
    Path("new.csv").write_text(content)
    result = run("predict", *(argument.format(run=trained / "classes") for argument in arguments), code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert Path("new.csv").read_text() == content


def test_what_diverged_or_is_no_table_is_refused():
    run("train", "linear", "--lr", "3", "--out", "lost", code=1)
    assert "diverged at step" in run("predict", "lost", "new.csv", code=2).stderr
    run("train", "bowl", "--epochs", "1", "--out", "bowl", code=0)
    assert "which is no table" in run("predict", "bowl", "new.csv", code=2).stderr


HELP = """
import sys
sys.argv = ["rmsprop", "predict", "--help"]
from rmsprop.cli import main
try:
    main()
finally:
    print("loaded", *{"torch", "polars", "sklearn", "rich"} & set(sys.modules))
"""


def test_the_help_loads_no_framework():
    result = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert result.stdout.startswith("Usage: rmsprop predict [OPTIONS] RUN TABLE"), result.stderr
    assert result.stdout.splitlines()[-1] == "loaded"


TARGETS = {
    "all": (lambda churn: churn, 80, ""),
    "some are missing": (lambda churn: [None, None, *churn[2:]], 78, ""),
    "a class that training didn't have": (
        lambda churn: ["maybe", *churn[1:]],
        79,
        "note: churn: not scored are rows of a class that training didn't have: 'maybe'",
    ),
    "none": (lambda churn: [None] * 80, 0, ""),
}


@pytest.mark.parametrize(("change", "rows", "note"), TARGETS.values(), ids=TARGETS)
def test_scores_are_told_where_the_target_is_known(trained, change, rows, note):
    frame = pl.read_csv(trained / "t.csv")
    churn = change(frame["churn"].to_list())
    frame.with_columns(pl.Series("churn", churn, dtype=pl.String)).write_csv("new.csv")
    result = run("predict", trained / "classes", "new.csv")
    said = [row["prediction"] for row in csv.DictReader(io.StringIO(result.stdout))]
    assert len(said) == 80
    assert note in result.stderr
    content = json.loads(run("predict", trained / "classes", "new.csv", "--json").stdout)
    assert content["rows_scored"] == rows
    if not rows:
        assert "Scores" not in result.stderr
        assert content["scores"] == {}
        return
    right = [answer == truth for answer, truth in zip(said, churn, strict=True) if truth in ("no", "yes")]
    assert content["scores"]["accuracy"] == pytest.approx(sum(right) / len(right))
    assert set(content["scores"]) == {"accuracy", "balanced_accuracy", "auc", "f1", "recall"}
    assert f"Scores of {rows} rows whose churn is known: accuracy {sum(right) / len(right):.4g}" in result.stderr
    assert f"F1 of 'yes' {content['scores']['f1']:.4g}" in result.stderr


def test_scores_of_numbers_are_read_as_training_read_them():
    lines = [f"{row % 7};{row % 5};{1000 + row * 7},{row % 10}5" for row in range(90)]
    Path("t.csv").write_text("a;b;y\n" + "\n".join(lines) + "\n")
    run("train", "t.csv", "--target", "y", "--epochs", "3", "--out", "run")
    frame = load("run").predict("t.csv")
    truth = [float(line.split(";")[2].replace(",", ".")) for line in lines]
    content = json.loads(run("predict", "run", "t.csv", "--json").stdout)
    assert content["scores"]["mae"] == pytest.approx(mean_absolute_error(truth, frame.to_list()))
    assert content["scores"]["r2"] == pytest.approx(r2_score(truth, frame.to_list()))
    Path("u.csv").write_text("a;b;y\n1;2;many\n3;1;few\n")
    told = run("predict", "run", "u.csv")
    assert "note: no scores, because the target can't be read: column 'y' was numeric" in told.stderr
    assert len(told.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("values", "classes"), [((0, 1), ["0", "1"]), (("true", "false"), ["False", "True"]), ((1.5, 2.5), ["1.5", "2.5"])]
)
def test_classes_of_every_kind_are_known_again(values, classes):
    Path("t.csv").write_text("a,y\n" + "".join(f"{row % 9},{values[row % 2]}\n" for row in range(60)))
    run("train", "t.csv", "--target", "y", "--task", "classification", "--epochs", "2", "--out", "run")
    content = json.loads(run("predict", "run", "t.csv", "--json").stdout)
    assert content["rows_scored"] == 60
    assert sorted(content["scores"]["recall"]) == classes
    pl.read_csv("t.csv").write_parquet("t.parquet")
    assert json.loads(run("predict", "run", "t.parquet", "--json").stdout)["scores"] == content["scores"]
