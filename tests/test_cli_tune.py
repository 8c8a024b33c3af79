"""`rmsprop tune` as a person and a script use it: what it prints, what it leaves, how it fails."""

import dataclasses
import errno
import json
import os
import re
import shlex
import shutil
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
from rmsprop.lab.folders import TUNING, check_folder
from rmsprop.lab.problems import load
from rmsprop.lab.tune import trials
from rmsprop.lab.tune.budgets import BUDGETS
from rmsprop.lab.tune.report import rows
from rmsprop.lab.tune.tuning import tune

COMMAND = [sys.executable, "-c", "from rmsprop.cli import main; main()"]
QUICK = ("--budget", "quick", "--epochs", "15", "--seeds", "2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMSPROP_CACHE", str(tmp_path / "cache"))


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
        (["linear", "--out", "file"], "error: --out file is a file: give a folder"),
        (
            ["linear", "--out", "."],
            "error: --out . holds other files (file): give a new folder, or one of an earlier tuning",
        ),
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
        assert error == "interrupted: what was done is kept, and the same command goes on\n"
    assert not Path("runs").exists()


def content(folder):
    return json.loads(Path(folder, "result.json").read_text())


def interrupt_after(monkeypatch, calls):
    """Let a Ctrl-C arrive when so many batches have been trained; return how often one began."""
    train, began = trials.train_together, []

    def trained(*arguments, **options):
        began.append(1)
        if len(began) > calls:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(trials, "train_together", trained)
    return began


def test_the_same_command_goes_on_where_it_was_to_the_same_result(monkeypatch):
    expected = json.loads(run("linear", *QUICK, "--json", "--fresh").stdout)
    shutil.rmtree("cache")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        said = run("linear", *QUICK, "--out", "again", code=130).stderr
    assert said.splitlines()[-1] == "interrupted: what was done is kept, and the same command goes on"
    assert not Path("again").exists()
    result = run("linear", *QUICK, "--out", "again")
    found = re.search(r"note: (\d+) of (\d+) runs from the cache of (\S+); --fresh does them anew", result.stderr)
    assert 0 < int(found[1]) < int(found[2])
    assert found[3] == os.environ["RMSPROP_CACHE"]
    assert content("again") | {"out": expected["out"]} == expected


def test_fresh_takes_nothing_from_the_cache_and_replaces_it(monkeypatch):
    fixed = (*QUICK, "--decay", "0.9", "--eps", "1e-8", "--out", "there")
    run("linear", *fixed)
    before = content("there")
    with monkeypatch.context() as patch:
        began = interrupt_after(patch, 1)
        said = run("linear", *fixed, "--fresh", code=130).stderr
        assert "the same command without --fresh goes on" in said
    assert len(began) == 2
    with monkeypatch.context() as patch:
        began = interrupt_after(patch, 0)
        run("linear", *fixed)
    assert not began
    assert content("there") == before


def test_a_damaged_file_of_the_cache_is_done_again_and_said():
    fixed = (*QUICK, "--decay", "0.9", "--eps", "1e-8")
    run("linear", *fixed)
    before = content("runs/tune-linear")
    damaged = next(Path("cache").rglob("*.json"))
    damaged.write_text(damaged.read_text()[:-9])
    assert "note: 1 damaged file in the cache had to be computed again." in run("linear", *fixed).stderr
    assert content("runs/tune-linear") == before


def test_a_cache_that_cannot_be_written_is_noted(monkeypatch):
    Path("taken").write_text("")
    monkeypatch.setenv("RMSPROP_CACHE", "taken/cache")
    said = run("linear", *QUICK, "--decay", "0.9", "--eps", "1e-8").stderr
    assert "note: The cache taken/cache can't be written (Not a directory)" in said
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        said = run("linear", *QUICK, code=130).stderr
    assert "interrupted: nothing is kept, because taken/cache can't be written" in said


def test_a_kill_leaves_what_the_same_command_goes_on_with():
    command = [*COMMAND, "tune", "digits", "--budget", "standard", "--epochs", "30"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        next(line for line in iter(process.stderr.readline, "") if line == "verifying done\n")
        again = subprocess.run(command, capture_output=True, text=True)
    finally:
        process.kill()
        process.communicate()
    assert again.returncode == 2
    assert "another process is running in runs/tune-digits" in again.stderr
    assert {path.name for path in Path("runs/tune-digits").iterdir()} == {".lock"}
    kept = [path for path in Path("cache").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if path.suffix != ".json"]
    check_folder(Path("runs/tune-digits"), TUNING)


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
