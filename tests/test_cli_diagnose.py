"""`rmsprop diagnose` as a person and a script use it: what it prints, what it writes, how it fails."""

import gzip
import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

from rmsprop.cli.group import rmsprop
from rmsprop.lab import Recorder
from rmsprop.torch import RMSprop


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def dead():
    """A recorder's file of a network whose hidden layer is dead."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    with Recorder(optimizer, "dead.jsonl", model=model, every=2) as recorder:
        for _ in range(40):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.randn(16, 4)), torch.randint(2, (16,)))
            recorder.loss(loss)
            loss.backward()
            optimizer.step()
    return Path("dead.jsonl")


def test_what_a_person_sees_fits_a_hundred_columns(dead):
    result = run("diagnose", dead, "--verbose")
    assert "dead (a recorder's file of RMSprop, 40 steps)" in result.stdout
    assert "1. bad: dead layer in 0 since step 2" in result.stdout
    assert "such as LeakyReLU" in " ".join(result.stdout.split())
    assert "Not judged: overfitting. Why: no validation loss" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "Not judged" not in run("diagnose", dead).stdout


def test_json_is_one_object_with_what_was_found_and_what_could_not_be_judged(dead):
    result = run("diagnose", dead, "--json")
    content = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (found,) = content["runs"]
    assert (found["run"], found["healthy"]) == ("dead", False)
    first = found["findings"][0]
    assert (first["kind"], first["severity"], first["layers"], first["since"]) == ("dead layer", "bad", ["0"], 2)
    assert found["not_judged"]["overfitting"] == "no validation loss, or fewer than four"
    assert result.stderr == ""


def test_the_report_is_one_file_that_loads_nothing_and_the_picture_is_there(dead):
    result = run("diagnose", dead, "--out", "here")
    assert [line for line in result.stdout.splitlines() if "here" in line] == ["Files: here"]
    assert {path.name for path in Path("here").iterdir()} == {"diagnosis.html", "diagnosis.png"}
    assert Path("here/diagnosis.png").read_bytes().startswith(b"\x89PNG")
    page = Path("here/diagnosis.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 5  # loss, gradient, effective step, ratio, stride; and where it is dead
    assert "dead layer in 0 since step 2" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)


def test_a_name_with_markup_in_it_stays_text():
    Path("<b>x</b>.csv".replace("/", "")).write_text("epoch,loss\n" + "".join(f"{n},{1 / (n + 1)}\n" for n in range(9)))
    run("diagnose", "<b>x<b>.csv", "--out", "here")
    assert "<b>x" not in Path("here/diagnosis.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("log.csv", "epoch,error\n1,2\n2,1\n", [], "has no column that looks like a training loss"),
        ("log.csv", "epoch,a_loss,b_loss\n1,2,3\n", [], "name one of a_loss, b_loss by --loss"),
        ("log.csv", "epoch,loss\n1,2\n", ["--validation", "v"], "--validation 'v' is not in log.csv"),
        ("log.jsonl", '{"accuracy": 1}\n', [], "has no column that looks like a training loss"),
        ("log.jsonl", '{"loss": 1}\n{"loss"\n{"loss": 2}\n', [], "line 2 isn't JSON"),
        ("log.csv", "1,2.0\n2,1.0\n", [], "its first line must name the columns"),
        ("log.csv", "", [], "log.csv is empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(name, content, options, message):
    Path(name).write_text(content)
    result = run("diagnose", name, *options, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_what_was_read_as_what_is_printed_and_in_the_json_and_on_the_page():
    Path("log.csv").write_text("epoch,phase,loss\n1,train,2\n1,val,3\n2,train,1\n2,val,2\n3,train,.5\n3\n")
    shown = " ".join(run("diagnose", "log.csv", "--out", "here").stdout.split())
    sentence = "Time: epoch; training loss: train/loss; validation loss: val/loss; 6 rows, 1 dropped, 2 combined with"
    assert sentence in shown
    assert "Note: line 7 left out: fewer cells than the header." in shown
    assert sentence in Path("here/diagnosis.html").read_text(encoding="utf-8")
    reading = json.loads(run("diagnose", "log.csv", "--json").stdout)["runs"][0]["reading"]
    assert {name: reading[name] for name in ("time", "loss", "validation", "rows", "dropped", "combined")} == {
        "time": "epoch",
        "loss": "train/loss",
        "validation": "val/loss",
        "rows": 6,
        "dropped": 1,
        "combined": 2,
    }


def test_our_own_histories_say_what_was_read_too(dead):
    run("train", "linear", "--epochs", 6, "--out", "runs/line")
    dead.rename("runs/dead.jsonl")
    times = [each["reading"]["time"] for each in json.loads(run("diagnose", "runs", "--json").stdout)["runs"]]
    assert times == ["step", "epoch"]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_standard_input_is_read(dead, packed):
    content = gzip.compress(dead.read_bytes()) if packed else dead.read_bytes()
    result = CliRunner().invoke(rmsprop, ["diagnose", "-"], input=content)
    assert result.exit_code == 0
    assert result.stdout.startswith("stdin (a recorder's file of RMSprop, 40 steps)")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "standard input is empty"),
        (b"epoch,loss\n", "standard input has one line only"),
        (b"sep=;\n", "standard input is empty"),
    ],
)
def test_a_history_without_rows_is_refused(content, what):
    result = CliRunner().invoke(rmsprop, ["diagnose", "-"], input=content)
    assert (result.exit_code, result.stderr) == (2, f"error: {what}: give a file with a header and rows\n")


def test_a_file_as_folder_of_the_report_is_refused_before_anything_is_read(dead):
    assert run("diagnose", dead, "--out", dead, code=2).stderr == "error: --out dead.jsonl is a file: give a folder\n"
    assert "is a file" in run("diagnose", "none", "--out", dead, code=2).stderr


def test_runs_of_one_name_get_a_report_each(dead):
    Path("runs/dead").mkdir(parents=True)
    dead.rename("runs/dead.jsonl")
    for name in ("runs/dead/record.jsonl", "runs/other.jsonl"):
        Path(name).write_bytes(Path("runs/dead.jsonl").read_bytes())
    files = json.loads(run("diagnose", "runs", "--out", "here", "--json").stdout)["files"]
    assert [path for path in files if path.endswith(".html")] == [
        "here/dead/diagnosis.html",
        "here/dead-2/diagnosis.html",
        "here/other/diagnosis.html",
    ]


def test_a_folder_of_runs_is_read_whole_whatever_kind_they_are_of(dead):
    run("train", "linear", "--epochs", 6, "--out", "runs/line")
    dead.rename("runs/dead.jsonl")
    found = json.loads(run("diagnose", "runs", "--json").stdout)["runs"]
    assert [each["run"] for each in found] == ["dead", "line"]
    line = found[1]["findings"][0]
    assert line["kind"] == "still falling"
    assert "Train longer: --" in line["remedy"]


def test_two_records_in_a_folder_inside_are_both_read(dead):
    Path("runs/inside").mkdir(parents=True)
    for name in ("a", "b"):
        Path(f"runs/inside/{name}.jsonl").write_bytes(dead.read_bytes())
    assert [each["run"] for each in json.loads(run("diagnose", "runs", "--json").stdout)["runs"]] == ["a", "b"]


def test_a_folder_of_another_command_says_where_its_report_is():
    Path("runs/linear-compare").mkdir(parents=True)
    Path("runs/linear-compare/report.html").touch()
    message = run("diagnose", "runs/linear-compare", code=2).stderr
    assert "it holds a report: open runs/linear-compare/report.html" in message


def test_layers_that_were_measured_once_are_no_chart_and_it_says_so():
    weight = nn.Parameter(torch.ones(3))
    optimizer = RMSprop([weight], lr=0.1)
    with Recorder(optimizer, "short.jsonl", every=4) as recorder:
        for _ in range(7):
            optimizer.zero_grad()
            loss = weight.square().sum()
            recorder.loss(loss)
            loss.backward()
            optimizer.step()
    run("diagnose", "short.jsonl", "--out", "here")
    page = Path("here/diagnosis.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert "no charts of the layers: they were measured only once" in page
    assert "A recorder&#39;s file of RMSprop" in page


def test_steps_that_are_no_steps_are_counted_instead():
    Path("log.csv").write_text("step,loss\n1e30,1\n2e30,2\n3e30,1\n")
    assert "a CSV file, 3 rows" in run("diagnose", "log.csv").stdout


def test_what_is_neither_a_file_nor_a_folder_is_one_line():
    assert "neither a file nor a folder" in run("diagnose", "/dev/null", code=2).stderr


def test_a_path_that_is_not_there_is_one_line():
    assert run("diagnose", "none", code=2).stderr.startswith("error: there is no none: give a recorder's file")


def test_an_empty_folder_is_one_line():
    Path("empty").mkdir()
    assert "holds no history" in run("diagnose", "empty", code=2).stderr


def test_the_commands_in_the_documentation_run_on_the_loop_that_is_there(monkeypatch):
    page = (Path(__file__).parent.parent / "docs" / "diagnose.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1], names)
    monkeypatch.chdir(names["folder"])
    commands = re.findall(r"^rmsprop (.*)$", page, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        result = run(*shlex.split(command))
        assert "warning: warm-up too hot since step" in result.stdout
        assert "note: still falling" in result.stdout
    assert Path("first/diagnosis.png").exists()
