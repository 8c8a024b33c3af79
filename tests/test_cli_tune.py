"""`rmsprop tune` as a person and a script use it: what it prints, what it leaves, how it fails."""

import dataclasses
import errno
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from rmsprop.cli.group import rmsprop
from rmsprop.cli.tune import _print, _progress
from rmsprop.lab.problems import load
from rmsprop.lab.tune.budgets import BUDGETS
from rmsprop.lab.tune.report import rows
from rmsprop.lab.tune.tuning import tune

COMMAND = [sys.executable, "-c", "from rmsprop.cli import main; main()"]
QUICK = ("--budget", "quick", "--epochs", "15", "--seeds", "2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def found():
    return tune(dataclasses.replace(load("linear"), epochs=15), budget="quick", seeds=2)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, ["tune", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output
    return result


def test_a_person_gets_words_a_table_and_calls_within_a_hundred_columns():
    result = run("linear", *QUICK)
    said = " ".join(result.stdout.split())
    assert re.search(r"Use lr [\d.e-]+, decay [\d.]+, ε [\d.e-]+( in √)?: validation loss 0\.\d+ after 15 epochs", said)
    assert "The range test over 3 seeds suggests" in said
    assert "end within 5 % of the best" in said
    assert "difference: interquartile mean of the differences from the first row, seed by seed" in said
    assert re.search(r"difference +interval +diverged", result.stdout)
    assert "torch rmsprop.torch.RMSprop(params" in said
    assert "keras rmsprop.keras.RMSprop(" in said
    lines = [line for line in result.stdout.splitlines() if not re.search(r"rmsprop\.|rmsprop train", line)]
    assert all(len(line) <= 100 for line in lines)  # one to paste stays one
    assert "joint search done" in result.stderr
    assert {path.name for path in Path("runs", "tune-linear").iterdir()} == {"tune.html", "tune.png", "result.json"}


def test_the_line_to_train_with_means_the_recommended_rule():
    rows = "".join(f"{row};{1 + row % 5}/1/24;{row % 5};1;{row * 0.5}\n" for row in range(60))
    Path("t.csv").write_text(f"Unnamed: 0;x;w;z;y\n{rows}")
    options = ("--target", "y", "--drop", "w", "--drop", "z", "--model", "mlp", "--hidden", "4,3", "--epochs", 3)
    options += ("--monthfirst", "--na", "-9", "--na", "none", "--delimiter", ";", "--max-categories", 5)
    rule = (
        "--dialect",
        "keras_legacy",
        "--momentum",
        0.5,
        "--eps-outside-sqrt",
        "--centered",
        "--initial-square-avg",
        1,
    )
    result = run("t.csv", *options, *rule, "--nesterov", "--budget", "quick", "--seeds", 2)
    assert "note: Unnamed: 0: the index that was saved with the table, so it is left out" in result.stderr
    said = result.stdout
    line = next(line for line in said.splitlines() if line.startswith("shell"))
    words = shlex.split(line)[1:]
    assert words[:3] == ["rmsprop", "train", "t.csv"]
    assert CliRunner().invoke(rmsprop, [*words[1:], "--json", "--out", "again"]).exit_code in (0, 1)
    kept = json.loads(Path("again", "config.json").read_text())["settings"]
    recommended = json.loads(Path("runs", "tune-t", "result.json").read_text())["recommended"]
    assert {name: kept[name] for name in recommended["rule"]} == recommended["rule"]
    assert (kept["lr"], kept["schedule"], kept["epochs"]) == (recommended["lr"], "constant", 3)
    assert (kept["drop"], kept["hidden"]) == (["w", "z"], [4, 3])
    assert (kept["dayfirst"], kept["na"], kept["delimiter"], kept["max_categories"]) == (False, ["-9", "none"], ";", 5)


def test_the_line_to_train_with_can_be_pasted_whatever_names_are_like(tmp_path):
    name = "my table's $1 (2).csv"
    Path(name).write_text("x,a b,-c,y\n" + "".join(f"{row % 7},{row % 5},1,{row * 0.5}\n" for row in range(60)))
    options = ("--target", "y", "--drop", "a b", "--drop=-c", "--epochs", 3, "--budget", "quick", "--seeds", 2)
    said = run(name, *options, "--eps", "1e-8", "--decay", "0.9").stdout
    line = re.search(r"^shell +rmsprop (train .*)$", said, flags=re.MULTILINE)[1]
    split = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True).stdout
    done = CliRunner().invoke(rmsprop, split.split("\0")[:-1])
    assert done.exit_code in (0, 1), done.output  # 1: diverged, which three epochs may
    (kept,) = Path("runs").glob("*/config.json")
    assert json.loads(kept.read_text())["settings"]["drop"] == ["a b", "-c"]


def test_json_is_one_object_and_nothing_else():
    result = run("linear", *QUICK, "--json", "--out", "there", "--dialect", "keras", "--decay", "0.9")
    assert result.stderr == ""
    content = json.loads(result.stdout)
    assert content["dialect"] == "keras"
    assert content["recommended"]["decay"] == 0.9
    assert content["seeds"] == [1000, 1001]
    assert content["maps"].keys() == {"eps-outside", "eps-inside"}
    call = content["recommended"]["calls"]["keras"]
    assert call.startswith("rmsprop.keras.RMSprop(")
    kept = json.loads(Path("there", "result.json").read_text())
    assert content == kept | {"out": "there"}


def test_the_same_command_gives_the_same_and_replaces_its_report():
    first, second = (run("linear", *QUICK, "--decay", "0.9", "--eps", "1e-8", "--json").stdout for _ in range(2))
    assert first == second
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tune-linear"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "error: there is no problem 'nothing': choose one of linear"),
        (["linear", "--seeds", "1"], "error: Invalid value for '--seeds': 1 is not in the range x>=2."),
        (["linear", "--decay", "1.5"], "error: Invalid --decay: 1.5 (allowed: a number from 0 to 1)"),
        (["linear", "--eps", "-1"], "error: Invalid --eps: -1.0 (allowed: a finite number >= 0)"),
        (["linear", "--budget", "huge"], "error: Invalid value for '--budget': 'huge' is not one of"),
        (["linear", "--dialect", "tf3"], "error: Invalid value for '--dialect': 'tf3' is not one of"),
        (["linear", "--target", "y"], "error: --target is for a table of your own; linear is built in and needs none"),
        (["linear", "--out", "file"], "error: --out file: file is not a folder: give another one"),
        (["linear", "--out", "."], "error: --out . holds other files: give a new folder, or one of an earlier tuning"),
        (["file.csv"], "error: file.csv"),
        (
            ["linear", "--nesterov"],
            "error: --nesterov needs a momentum: give --momentum 0.9, too, or leave --nesterov out",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(arguments, message):
    Path("file").write_text("")
    Path("file.csv").write_text("")
    before = sorted(path.name for path in Path().iterdir())
    result = run(*arguments, code=2)
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == before


@pytest.mark.parametrize("stage", ["", "range test"])  # "": while it is still importing, or just begins
def test_ctrl_c_ends_it_with_130_and_leaves_nothing(stage):
    command = [*COMMAND, "tune", "digits", "--budget", "full"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if stage:
            lines = iter(process.stderr.readline, "")
            said = next(line for line in lines if not line.startswith("note: "))  # of the data
            assert said == f"{stage} done\n"  # and the next one has begun
        else:
            time.sleep(3)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert out == ""
    assert "interrupted" in error.splitlines()[-1]
    assert "Traceback" not in error
    if stage:
        assert error == "interrupted: nothing was written; --budget quick takes less time\n"
    assert not Path("runs").exists()


def test_a_quick_one_that_is_interrupted_is_not_told_to_be_quick(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("rmsprop.lab.tune.tuning.tune", interrupted)
    assert run("linear", *QUICK, code=130).stderr == "interrupted: nothing was written; --epochs N shortens the runs\n"


def test_a_full_disk_does_not_lose_the_result(monkeypatch):
    def full(found, folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr("rmsprop.lab.tune.report.write_report", full)
    result = run("linear", *QUICK, "--decay", "0.9", "--eps", "1e-8", code=1)
    assert result.stdout.startswith("Use lr ")
    assert "Files:" not in result.stdout
    assert result.stderr.endswith("error: runs/tune-linear can't be written or read: No space left on device\n")


def test_on_a_narrow_terminal_no_number_is_cut(found, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("rmsprop.cli.output.Console", partial(Console, force_terminal=True, color_system=None))
    _print(found, "rmsprop train linear")
    said = capsys.readouterr().out
    table = said[said.index("setting ") : said.index("* recommended")]
    assert max(map(len, said[: said.index("torch ")].splitlines())) <= 80
    for row in rows(found):
        for name in ("role", "lr", "decay", "eps", "loss", "difference"):
            assert row[name] in table
    assert table.count("0/2") == len(found.contenders)


def test_a_stage_is_told_once(monkeypatch, capsys):
    with _progress(quiet=False) as show:
        for done in (0, 1, 2, 1, 2):  # further learning rates
            show("verifying", done, 2)
    assert capsys.readouterr().err == "verifying done\n"


def test_where_everything_diverges_the_exit_code_is_one(monkeypatch):
    monkeypatch.setattr("rmsprop.lab.tune.trials._end", lambda curve: float("inf"))
    result = run("linear", *QUICK, "--decay", "0.9", "--eps", "1e-8", code=1)
    assert "Every run diverged" in result.stdout
    assert "rmsprop.torch" not in result.stdout


def test_help_imports_nothing_heavy_and_names_the_budgets():
    code = """
import sys
from rmsprop.cli.group import rmsprop
try:
    rmsprop(["tune", "--help"])
except SystemExit:
    pass
print("imported:", sorted({"torch", "numpy", "polars", "scipy", "matplotlib", "rich", "jinja2"} & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("imported: []\n")
    assert "[quick|standard|full]" in said
    assert "--eps-inside-sqrt" in said


def test_the_transcript_in_the_documentation_is_the_one_of_the_log():
    root = Path(__file__).parent.parent
    page = (root / "docs" / "tune.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    (folder,) = re.findall(r"`tune.txt` in `(.*?)`", page.replace("\n", " "))
    assert " ".join(shown.split()) in " ".join((root / folder / "tune.txt").read_text(encoding="utf-8").split())


def test_the_commands_in_the_documentation_run(monkeypatch):
    small = dataclasses.replace(BUDGETS["quick"], sweeps=1, decays=(), epsilons=(), reach=1, samples=2)
    monkeypatch.setattr("rmsprop.lab.tune.tuning.BUDGETS", {"quick": small})
    written = []
    monkeypatch.setattr("rmsprop.lab.tune.report.write_report", lambda found, folder: written.append(folder.name))
    page = Path(__file__).parent.parent / "docs" / "tune.md"
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command)
        assert words[:2] == ["rmsprop", "tune"]
        if "--budget" not in words:
            words += ["--budget", "quick"]  # what the others do takes minutes
        run(*words[2:], "--epochs", "3", "--seeds", "2")
    assert written == [
        f"tune-{words[2]}" if "--out" not in words else "diabetes" for words in map(shlex.split, commands)
    ]
