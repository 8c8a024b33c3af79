"""`rmsprop runs`: what a folder holds, whoever has been at it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.listing import ListedRun
from rmsprop.rule import Rule

# What `rmsprop tune` and `rmsprop compare` write, as far as it is read here.
RESULTS_OF_OTHERS = {
    "tuned": (
        "tune.html",
        {
            "problem": "linear",
            "dialect": "torch",
            "epochs": 3,
            "works": True,
            "recommended": {"lr": 0.02, "rule": asdict(Rule(decay=0.9))},
            "fresh": {"loss": 0.25},
        },
    ),
    "compared": ("trials.csv", {"facts": {"problem": "wine", "epochs": 7}, "optimizers": ["rmsprop", "sgd"]}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of each kind, made once."""
    there = tmp_path_factory.mktemp("runs")
    made = {
        "line": ("train", "linear", "--epochs", 4, "--lr", 0.1, "--momentum", 0.9, "--centered"),
        "lost": ("train", "linear", "--epochs", 3, "--lr", 1e9, "--dialect", "keras"),
        "seen": ("diagnose", there / "line"),
    }
    for name, arguments in made.items():
        CliRunner().invoke(rmsprop, [*map(str, arguments), "--out", str(there / name)])
    for name, (marker, result) in RESULTS_OF_OTHERS.items():
        (there / name).mkdir()
        (there / name / marker).write_text("")
        (there / name / "result.json").write_text(json.dumps(result))
    for place, name in enumerate(("line", "lost", "tuned", "seen", "compared")):
        for path in (there / name).rglob("*"):
            os.utime(path, (1e9 + place, 1e9 + place))
    return there


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(trained, "runs"))


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, ["runs", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def rows(*arguments):
    return {row["name"]: row for row in json.loads(run("--json", *arguments).stdout)["runs"]}


def test_a_table_of_all_kinds_within_a_hundred_columns(folder):
    said = run().stdout
    assert max(map(len, said.splitlines())) <= 100
    heading, _, *lines = said.splitlines()
    assert heading.split() == [
        *["name", "problem", "rule", "lr", "epochs", "val.", "loss", "test", "score", "verdict", "when"]
    ]
    assert [line.split()[0] for line in lines if line[0] != " "] == ["line", "lost", "tuned", "seen", "compared"]
    text = " ".join(said.split())
    assert "torch line" not in text
    for words in ("line linear torch", "keras 1e9 0/3 diverged", "diagnosed", "compared wine 7 2 compared", "rmse "):
        assert words in text


def test_json_has_the_numbers_of_the_files(folder):
    found = rows()
    assert found["line"].keys() == ListedRun.__dataclass_fields__.keys()
    result = json.loads(Path("runs/line/result.json").read_text())
    line = found["line"]
    facts = [line[name] for name in ("kind", "problem", "lr", "epochs", "planned")]
    assert facts == ["train", "linear", 0.1, 4, 4]
    assert line["rule"] == "torch centered momentum=0.9"
    assert line["validation_loss"] == result["scores"]["validation"]["loss"]
    assert line["test_score"] == result["scores"]["test"][line["metric"]]
    assert line["verdict"] == result["kind"].removeprefix("loss ")
    assert found["lost"]["verdict"] == "diverged"
    assert found["lost"]["test_score"] is None
    assert [found["tuned"][name] for name in ("lr", "validation_loss", "rule")] == [0.02, 0.25, "torch decay=0.9"]
    assert found["tuned"]["kind"] == "tune"


ORDERS = {
    "name": ["compared", "line", "lost", "seen", "tuned"],
    "when": ["line", "lost", "tuned", "seen", "compared"],
    "epochs": ["lost", "tuned", "line", "compared", "seen"],  # what has none comes last
}


@pytest.mark.parametrize(("column", "names"), ORDERS.items())
def test_the_order_is_that_of_a_column(folder, column, names):
    assert list(rows("--sort", column)) == names
    last = [name for name in names if name == "seen" and column == "epochs"]
    assert list(rows("--sort", column, "--reverse")) == [*reversed([name for name in names if name not in last]), *last]


@pytest.mark.parametrize(
    ("score", "shown"), [(3994.6, "rmse 3995"), (0.83901, "rmse 0.839"), (16.76, "rmse 16.76"), (1.25e7, "rmse 1.25e7")]
)
def test_a_score_has_the_digits_that_train_prints(folder, score, shown):
    path = Path("runs/line/result.json")
    result = json.loads(path.read_text())
    result["scores"]["test"]["rmse"] = score
    path.write_text(json.dumps(result))
    assert f" {shown}  " in run().stdout


@pytest.mark.parametrize("column", ["problem", "rule", "lr", "validation-loss", "test-score", "verdict"])
def test_every_column_sorts(folder, column):
    assert len(rows("--sort", column)) == 5
    assert "--sort" in run("--sort", "colour", code=2).stderr


def half_a_row(path):
    path.write_text(path.read_text()[:-5])


def another_lr(path):
    path.write_text(path.read_text().replace('"lr": 0.1', '"lr": 0.2'))


# What has happened to a folder of a run without a result -> the file, what is done to it, and what is told.
CHANGES = {
    "it goes on": ("history.csv", lambda path: None, ("unfinished", None)),
    "killed in a row": ("history.csv", half_a_row, ("unfinished", None)),
    "no row": ("history.csv", lambda path: path.write_text("epoch,step\n"), ("unfinished", None)),
    "no history": ("history.csv", Path.unlink, ("unfinished", None)),
    "empty history": ("history.csv", lambda path: path.write_text(""), ("unfinished", None)),
    "another history": ("history.csv", lambda path: path.write_text("a,b\n1,2\n"), ("damaged", "history.csv")),
    "history of bytes": ("history.csv", lambda path: path.write_bytes(b"\xff\n\xff\n"), ("damaged", "history.csv")),
    "empty config": ("config.json", lambda path: path.write_text(""), ("damaged", "config.json")),
    "changed config": ("config.json", another_lr, ("damaged", "config.json")),
    "no config": ("config.json", Path.unlink, ("damaged", "config.json")),
    "somebody's config": ("config.json", lambda path: path.write_text("[]"), ("damaged", "config.json")),
    "deep config": ("config.json", lambda path: path.write_text("[" * 100_000), ("damaged", "config.json")),
}
DAMAGED = (
    "",
    "{",
    "[]",
    "null",
    '{"kind": "converged"}',
    '{"kind": 1, "epochs": "x", "scores": {}}',
    "\0",
    "[" * 10**5,
)


@pytest.mark.parametrize(("file", "change", "told"), CHANGES.values(), ids=CHANGES)
def test_what_is_unfinished_or_damaged_is_told(folder, file, change, told):
    Path("runs/line/result.json").unlink()
    change(Path("runs/line", file))
    row = rows()["line"]
    assert (row["verdict"], row["file"]) == told
    words = told[0] if told[1] is None else "damaged:"
    assert words in run().stdout
    assert len(rows()) == 5


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("name", ["line", "tuned", "compared"])
def test_a_damaged_result_is_told(folder, name, content):
    Path("runs", name, "result.json").write_text(content)
    assert (rows()[name]["verdict"], rows()[name]["file"]) == ("damaged", "result.json")


def test_how_far_an_unfinished_run_is_stands_in_the_table(folder):
    Path("runs/line/result.json").unlink()
    half_a_row(Path("runs/line/history.csv"))
    row = rows()["line"]
    history = Path("runs/line/history.csv").read_text().splitlines()
    assert (row["epochs"], row["planned"]) == (3, 4)
    assert row["validation_loss"] == float(history[3].split(",")[4])
    assert "3/4" in run().stdout


def test_what_is_not_ours_is_named_and_what_was_only_begun_is_a_row(folder):
    Path("runs/model").mkdir()
    Path("runs/model/config.json").write_text('{"architectures": ["Bert"]}')
    Path("runs/mine.jsonl").write_text("")
    Path("runs/.hidden").write_text("")
    Path("runs/begun").mkdir()
    Path("runs/begun/.lock").touch()
    Path("runs/away").symlink_to("nowhere")
    Path("runs/again").symlink_to("../runs")
    said = run().stdout
    assert "No run of rmsprop: again/, away, mine.jsonl, model/ (4 in all)." in " ".join(said.split())
    assert rows()["begun"]["verdict"] == "unfinished"


def test_runs_in_folders_of_folders_and_a_run_itself(folder):
    Path("all").mkdir()
    folder.rename("all/mine")
    assert "mine/line" in rows("all")
    assert list(rows("all/mine/line")) == ["line"]


@pytest.mark.parametrize("name", ["very" * 30, "with [b] in it", "ünï"])
def test_any_name_is_shown_whole_within_the_page(folder, name):
    Path("runs/line").rename(f"runs/{name}")
    lines = run().stdout.splitlines()
    assert max(map(len, lines)) <= 100
    width = lines[0].index("problem")
    assert name.replace(" ", "") in "".join(line[:width].replace(" ", "") for line in lines)


def test_where_there_is_none_it_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sentence = "There is no run in runs: rmsprop train PROBLEM makes one.\n"
    assert run().stdout == sentence
    Path("runs").mkdir()
    assert run().stdout == sentence
    assert json.loads(run("--json").stdout) == {"folder": "runs", "runs": [], "others": []}
    Path("file").write_text("")
    for name, words in (("nowhere", "there is no folder nowhere"), ("file", "file is a file: give the folder of your")):
        said = run(name, code=2).stderr
        assert words in said
        assert said.count("\n") == 1


LISTED = """
import sys
from rmsprop.cli import main
sys.argv = ["rmsprop", "runs", "many", "--json"]
try:
    main()
finally:
    assert not {"torch", "polars", "scipy", "matplotlib"} & {*sys.modules}
"""


def test_a_thousand_runs_take_less_than_two_seconds_and_no_framework(folder):
    for number in range(1000):
        Path("many", str(number)).mkdir(parents=True)
        for name in ("config.json", "history.csv", "result.json"):
            Path("many", str(number), name).hardlink_to(Path("runs/line", name))
    before = os.times()
    done = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["runs"]) == 1000
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2


def test_no_word_of_a_verdict_is_folded(tmp_path):
    for name, kind in {
        "customers-of-2024-again": "overfitting",
        "another-of-them": "loss no better than guessing",
    }.items():
        run = tmp_path / name
        CliRunner().invoke(rmsprop, ["train", "breast-cancer", "--epochs", "1", "--momentum", "0.9", "--out", str(run)])
        result = json.loads((run / "result.json").read_text())
        (run / "result.json").write_text(json.dumps(result | {"kind": kind}))
    shown = CliRunner().invoke(rmsprop, ["runs", str(tmp_path)]).stdout
    assert {"overfitting", "guessing"} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= 100
