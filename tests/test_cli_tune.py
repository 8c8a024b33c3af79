"""`rmsprop tune` as a person and a script use it: what it prints, what it leaves, how it fails."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop

COMMAND = [sys.executable, "-c", "from rmsprop.cli import main; main()"]
QUICK = ("--budget", "quick", "--epochs", "15", "--seeds", "2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, ["tune", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output
    return result


def test_a_person_gets_words_a_table_and_calls_within_a_hundred_columns():
    result = run("linear", *QUICK)
    said = " ".join(result.stdout.split())
    assert re.search(r"Use lr [\d.e-]+, decay [\d.]+, ε [\d.e-]+( in √)?: validation loss 0\.\d+ after 15 epochs", said)
    assert "The range test over 3 seeds suggests" in said
    assert "end within 5% of the best" in said
    assert "torch rmsprop.torch.RMSprop(params" in said
    assert "keras rmsprop.keras.RMSprop(" in said
    assert all(len(line) <= 100 for line in result.stdout.splitlines() if "rmsprop." not in line)
    assert "joint search done" in result.stderr
    assert {path.name for path in Path("runs", "tune-linear").iterdir()} == {"tune.html", "tune.png", "result.json"}


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
        (["linear", "--decay", "1.5"], "error: Invalid decay value: 1.5 (allowed: a number from 0 to 1)"),
        (["linear", "--eps", "-1"], "error: Invalid epsilon value: -1.0 (allowed: a finite number >= 0)"),
        (["linear", "--budget", "huge"], "error: Invalid value for '--budget': 'huge' is not one of"),
        (["linear", "--dialect", "tf3"], "error: Invalid value for '--dialect': 'tf3' is not one of"),
        (["linear", "--target", "y"], "error: --target is for a table of your own; linear is built in and needs none"),
        (["linear", "--out", "file"], "error: --out file is a file: give a folder"),
        (["linear", "--out", "."], "error: --out . holds other files: give a new folder, or one of an earlier tuning"),
        (["file.csv"], "error: file.csv"),
        (
            ["linear", "--nesterov"],
            "error: nesterov=True needs a momentum above 0: set momentum, or leave nesterov off",
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
            assert process.stderr.readline() == f"{stage} done\n"  # and the next one has begun
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


def test_the_commands_in_the_documentation_run():
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
