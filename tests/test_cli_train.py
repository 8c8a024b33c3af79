"""`rmsprop train` as a person and a script use it: what it prints, what it leaves, how it fails."""

import csv
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.problems.defaults import PROBLEMS

COMMAND = [sys.executable, "-c", "from rmsprop.cli import main; main()"]
FILES = (
    "config.json",
    "history.csv",
    "checkpoint.safetensors",
    "model.safetensors",
    "loss.png",
    "report.html",
    "result.json",
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def start(*arguments):
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def rows_of(path):
    return path.read_text().count("\n") - 1 if path.exists() else 0


def wait_for(path, rows, process):
    deadline = time.monotonic() + 60
    while rows_of(path) < rows:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


# What each problem's defaults reach: the metric, and between which values it ends.
REACHED = {
    "linear": ("rmse", 0.0, 0.25),
    "digits": ("accuracy", 0.96, 1.0),
    "digits-softmax": ("accuracy", 0.94, 1.0),
    "digits-cnn": ("accuracy", 0.96, 1.0),
    "breast-cancer": ("accuracy", 0.94, 1.0),  # of the best epoch: 107 of 113 rows, at a lower loss than the last's 108
    "wine": ("accuracy", 0.94, 1.0),
    "diabetes": ("rmse", 0.0, 60.0),
    "logistic": ("accuracy", 0.98, 1.0),
    "least-squares": ("rmse", 53.4, 53.8),
    "english": ("accuracy", 0.42, 1.0),
    "ratings": ("rmse", 0.0, 0.93),  # stars; 1.01 for always the mean, and 0.6 of it is chance
    "words": ("accuracy", 0.39, 1.0),  # 0.17 for a guess
    "cartpole": ("length", 195.0, 200.0),
    "bowl": ("distance", 0.0, 1e-9),
    "bowl-rotated": ("distance", 0.0, 1e-2),
    "bowl-steep": ("distance", 0.0, 1e-9),
    "bowl-noisy": ("distance", 0.0, 0.05),
    "rosenbrock": ("distance", 0.0, 0.5),
    "beale": ("distance", 0.0, 0.05),
    "saddle": ("distance", 0.0, 1e-6),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_built_in_problem_trains_well_out_of_the_box(problem):
    result = json.loads(run("train", problem, "--json").stdout)
    assert [(verdict["kind"], verdict["remedy"]) for verdict in result["verdicts"]] == [("converged", "")]
    scores = result["scores"].get("test", result["scores"]["train"])
    metric, least, most = REACHED[problem]
    assert least <= scores[metric] <= most
    assert {path.name for path in Path("runs", problem).iterdir()} == {*FILES, ".lock"}


def test_the_line_is_found():
    line = json.loads(run("train", "linear", "--json").stdout)["line"]
    _, _, slope, _, sign, offset = line.split()
    assert float(slope) == pytest.approx(2.0, abs=0.05)
    assert sign == "+"
    assert float(offset) == pytest.approx(3.0, abs=0.05)


def test_what_a_person_sees_fits_a_hundred_columns():
    result = run("train", "digits", "--epochs", 3, "--schedule", "constant")
    assert "epoch 3/3  train loss" in result.stderr
    assert "validation loss" in result.stderr
    assert all(
        word in result.stdout for word in ("train", "validation", "test", "accuracy", "Still falling", "runs/digits")
    )
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_json_is_one_object_and_nothing_else():
    result = run("train", "linear", "--epochs", 2, "--json", "--out", "here")
    content = json.loads(result.stdout)
    assert result.stderr == ""
    assert content["out"] == "here"
    assert (content["epochs"], content["steps"]) == (2, 16)
    assert content["settings"]["eps"] == 1e-8


def test_a_run_that_diverged_fails_says_so_and_keeps_its_report():
    result = run("train", "linear", "--lr", 1e30, "--json", code=1)
    content = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["diverged_at_step"] == 2
    assert content["verdicts"][0]["remedy"].startswith("Try a smaller learning rate: --lr 0.01")
    assert Path("runs/linear/report.html").exists()
    assert not Path("runs/linear/model.safetensors").exists()


def test_a_table_of_ones_own():
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    kind = [("red", "blue", None)[i % 3] for i in range(300)]
    gaps = [None if i % 25 == 0 else value for i, value in enumerate(x)]
    target = 3.0 * x + np.array([5.0 if word == "red" else 0.0 for word in kind])
    pl.DataFrame({"x": gaps, "kind": kind, "id": [f"u{i}" for i in range(300)], "y": target}).write_csv("t.csv")
    result = run("train", "t.csv", "--target", "y")
    assert "note: id: an identifier, different in every row, so it is left out" in result.stderr
    assert "note: x: 12 missing, imputed with the median" in result.stderr
    assert "note: y: taken for a number, so this is regression" in result.stderr
    with Path("runs/t/history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert len(history) == 60
    assert float(history[-1]["validation_loss"]) < 0.2
    config = json.loads(Path("runs/t/config.json").read_text())
    assert [row["column"] for row in config["data"]["preparation"]] == ["x", "kind"]


MONTHS = "when;w;y\n" + "".join(f"{1 + i % 12:02}/01/{2000 + i // 12};{'abcd'[i % 4]};{i % 7}\n" for i in range(60))


def test_a_table_from_standard_input_is_read_as_it_was_said_and_so_again_when_resumed():
    said = ["--task", "regression", "--monthfirst", "--max-categories", "3", "--na", "d", "--delimiter", ";"]
    arguments = ["train", "-", "--target", "y", *said, "--encoding", "ascii", "--epochs", "2"]
    first = CliRunner().invoke(rmsprop, [*arguments, "--out", "first"], input=MONTHS)
    assert first.exit_code == 0, first.output
    assert "note: when: dates, month first (month/day/year: '01/01/2000' is 2000-01-01)" in first.stderr
    assert "note: w: 15 missing" in first.stderr
    config = json.loads(Path("first/config.json").read_text())
    assert config["data"]["name"] == "stdin"
    read = ("dayfirst", "max_categories", "na", "delimiter", "encoding")
    assert [config["settings"][name] for name in read] == [False, 3, ["d"], ";", "ascii"]
    resumed = CliRunner().invoke(rmsprop, ["train", "-", "--out", "first", "--resume"], input=MONTHS)
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(Path("first/config.json").read_text()) == config
    refused = CliRunner().invoke(rmsprop, ["train", "-", "--out", "first", "--resume", "--dayfirst"], input=MONTHS)
    assert (refused.exit_code, refused.stderr.startswith("error: --dayfirst is on here and off in the run")) == (
        2,
        True,
    )


def test_the_example_of_the_readme_needs_no_word_about_its_identifiers():
    customers = [f"c{i:04}" for i in range(60)]
    pl.DataFrame(
        {"customer": customers, "age": [20 + i % 50 for i in range(60)], "churn": ["no", "yes"] * 30}
    ).write_csv("customers.csv")
    said = run("train", "customers.csv", "--target", "churn", "--epochs", 1).stderr
    assert "note: customer: an identifier, different in every row, so it is left out" in said


def test_options_are_named_as_the_field_names_them():
    options = "--lr .01 --decay .9 --eps 1e-6 --momentum .5 --centered --weight-decay 1e-4 --dialect keras --epochs 3 "
    options += "--batch-size 64 --model mlp --hidden 16,8 --schedule exponential --gamma .5 --warmup 1 --seed 3 "
    options += "--eps-outside-sqrt --initial-square-avg .5 --nesterov --lr-outside-momentum --weight-decay-mode l2"
    options += " --keep best --early-stop 2 --average ema --ema-decay .75"
    settings = json.loads(run("train", "wine", *options.split(), "--json").stdout)["settings"]
    assert settings == {
        **dict.fromkeys(("averaged_momentum", "caution", "delayed", "init_from_gradient"), False),
        "weight_decay_max_lr": 0.0,
        "problem": "wine",
        "target": None,
        "task": None,
        "drop": [],
        "dayfirst": None,
        "max_categories": None,
        "na": [],
        "delimiter": None,
        "encoding": None,
        "split": None,
        "group_input": None,
        "test": None,
        "dialect": "keras",
        "lr": 0.01,
        "decay": 0.9,
        "eps": 1e-6,
        "eps_inside_sqrt": False,
        "initial_square_avg": 0.5,
        "centered": True,
        "momentum": 0.5,
        "nesterov": True,
        "lr_in_momentum": False,
        "bias_correction": False,
        "weight_decay": 1e-4,
        "weight_decay_mode": "l2",
        "epochs": 3,
        "batch_size": 64,
        "model": "mlp",
        "hidden": [16, 8],
        "schedule": "exponential",
        "warmup": 1.0,
        "gamma": 0.5,
        "step_size": None,
        "seed": 3,
        "class_weights": "none",
        "keep": "best",
        "early_stop": 2,
        "average": "ema",
        "ema_decay": 0.75,
        "swa_start": None,
        "swa_lr": None,
    }


def test_a_function_of_ones_own_is_found_where_one_is():
    Path("mine.py").write_text(
        "from dataclasses import replace\n"
        "from rmsprop.lab.problems import load\n"
        "def wine():\n"
        "    return replace(load('wine'), epochs=4, dataset=None)\n"
    )
    result = json.loads(start_and_wait("train", "mine:wine", "--json"))
    assert (result["epochs"], result["out"]) == (4, "runs/wine")


def start_and_wait(*arguments):
    process = start(*arguments)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return said


def test_without_held_out_rows_nothing_speaks_of_validation():
    result = run("train", "bowl", "--epochs", 20)
    assert "validation" not in result.stdout + result.stderr
    assert "above the optimum, 0." in result.stdout
    assert json.loads(run("train", "bowl", "--resume", "--json").stdout)["optimum"] == 0.0


def table(content):
    return lambda: Path("t.csv").write_text(content)


GOOD = "a,y\n" + "".join(f"{i},{i * 0.5 + 0.25}\n" for i in range(30))
BAD = {
    "no problem": ([], None, "Missing argument 'PROBLEM'"),
    "a function nowhere": (["nowhere:f"], None, "nowhere:f: there is no module nowhere, here or installed"),
    "a model of its own": (["bowl", "--model", "mlp"], None, "--model is for a table; bowl has a model of its own"),
    "unknown problem": (["zebra"], None, "there is no problem 'zebra': choose one of linear, digits"),
    "empty problem": ([""], None, "there is no problem ''"),
    "unknown option": (["digits", "--zebra"], None, "No such option '--zebra'"),
    "no number": (["digits", "--lr", "fast"], None, "'fast' is not a valid float"),
    "nan": (["digits", "--lr", "nan"], None, "--lr is nan: it must be a finite number above 0"),
    "negative": (["digits", "--momentum", "-1"], None, "-1"),
    "unknown schedule": (["digits", "--schedule", "zigzag"], None, "'zigzag' is not one of 'constant', 'step'"),
    "unknown dialect": (["digits", "--dialect", "zebra"], None, "'zebra' is not one of"),
    "bad widths": (["digits", "--hidden", "64;32"], None, "'64;32' is not a list of widths such as 64 or 64,32"),
    "wrong model": (["digits", "--model", "logistic"], None, "--model logistic is for two classes"),
    "unknown average": (["digits", "--average", "foo"], None, "'foo' is not one of 'none', 'ema', 'swa'"),
    "a decay above 1": (
        ["digits", "--average", "ema", "--ema-decay", "2"],
        None,
        "--ema-decay is 2.0: it must be a num",
    ),
    "swa of one epoch": (["digits", "--average", "swa", "--epochs", "1"], None, "needs the weights of two epochs"),
    "resume and force": (["digits", "--resume", "--force"], None, "give one of them"),
    "folder is a file": (["wine", "--out", "t.csv"], table(GOOD), "--out t.csv is a file: give a folder"),
    "folder in a file": (["wine", "--out", "t.csv/x"], table(GOOD), "--out t.csv/x: t.csv is a file: give a folder"),
    "no file": (["no.csv", "--target", "y"], None, "there is no file no.csv"),
    "no target": (["t.csv"], table(GOOD), "--target with one of a, y"),
    "unknown column": (["t.csv", "--target", "z"], table(GOOD), "t.csv has no column 'z': it has a, y"),
    "empty": (["t.csv", "--target", "y"], table(""), "t.csv is empty"),
    "header only": (["t.csv", "--target", "y"], table("a,y\n"), "has a header but no rows"),
    "text among numbers": (
        ["t.csv", "--target", "y"],
        table(GOOD.replace("\n7,", "\nseven,")),
        "column 'a' is numeric, but line 9 holds 'seven'",
    ),
    "constant target": (
        ["t.csv", "--target", "y"],
        table("a,y\n" + "".join(f"{i},4\n" for i in range(30))),
        "the target 'y' is constant (4)",
    ),
    "one class": (
        ["t.csv", "--target", "y"],
        table("a,y\n" + "".join(f"{i},cat\n" for i in range(30))),
        "the target 'y' has one class only (cat)",
    ),
    "a class with control characters": (
        ["t.csv", "--target", "y"],
        table("a,y\n" + "".join(f"{i},\x1b[31mcat\n" for i in range(30))),
        "one class only (\\x1b[31mcat)",
    ),
    "an ambiguous date": (
        ["t.csv", "--target", "y"],
        table("when,y\n" + "".join(f"0{1 + i % 9}/01/2024,{i % 2}\n" for i in range(30))),
        "'02/01/2024' (line 3) may be 2024-01-02 or 2024-02-01: say --dayfirst or --monthfirst",
    ),
    "an impossible date": (
        ["t.csv", "--target", "y"],
        table("when,y\n" + "".join(f"2024-02-{1 + i},{i % 2}\n" for i in range(30))),
        "line 31 holds '2024-02-30'",
    ),
    "a short row": (["t.csv", "--target", "y"], table(GOOD + "\n\n1\n"), "line 34 has 1 field and the header 2"),
    "a stray quote": (["t.csv", "--target", "y"], table(GOOD + '5" pipe,1\n'), "line 32 holds a stray quote"),
    "counts": (
        ["t.csv", "--target", "y"],
        table("a,y\n" + "".join(f"{i / 3},{i % 4 if i else 9}\n" for i in range(30))),
        "add --task regression if these are counts or amounts",
    ),
    "an encoding there isn't": (["t.csv", "--encoding", "klingon"], table(GOOD), "--encoding is 'klingon': give one"),
    "a delimiter that can't be": (
        ["t.csv", "--delimiter", "::"],
        table(GOOD),
        "--delimiter is '::': give one character",
    ),
    "reading what is built in": (["wine", "--na", "x"], None, "--na is for a table of your own; wine is built in"),
    "nan everywhere": (["t.csv", "--target", "y"], table("a,y\n" + "nan,nan\n" * 30), "has no values at all"),
    "a million categories": (
        ["t.csv", "--target", "y"],
        table("a,y\n" + "".join(f"u{i},{i % 2}\n" for i in range(1_000_000))),
        "no column is left to predict 'y' from (a: an identifier, different in every row, so it is left out)",
    ),
}


@pytest.mark.parametrize(("arguments", "prepare", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(arguments, prepare, message):
    if prepare:
        prepare()
    before = sorted(Path().rglob("*"))
    result = run("train", *arguments, code=2)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == before


def test_an_existing_run_needs_resume_or_force():
    run("train", "linear", "--epochs", 2)
    before = {name: Path("runs/linear", name).read_bytes() for name in FILES}
    assert "add --resume to continue it, or --force" in run("train", "linear", "--epochs", 2, code=2).stderr
    resumed = run("train", "linear", "--resume")
    assert "continued after epoch 2 of 2" in resumed.stderr
    assert {name: Path("runs/linear", name).read_bytes() for name in FILES} == before
    assert "--lr is 0.5 here and 0.01 in the run" in run("train", "linear", "--resume", "--lr", 0.5, code=2).stderr
    run("train", "linear", "--epochs", 3, "--force")
    assert rows_of(Path("runs/linear/history.csv")) == 3


def test_interrupted_before_the_first_epoch_it_says_how_to_start_again(monkeypatch):
    def ctrl_c(training):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("rmsprop.lab.train.training.Training.run_epoch", ctrl_c)
        message = run("train", "linear", "--epochs", 2, code=130).stderr
    assert "interrupted before epoch 1 was done: start again with rmsprop train linear" in message
    run(*shlex.split(message.partition(" with rmsprop ")[2]))


def test_an_option_that_no_run_could_have_is_told_before_the_run_that_is_there():
    run("train", "linear", "--epochs", 2)
    message = run("train", "linear", "--lr", -1, code=2).stderr
    assert "--lr" in message
    assert "holds a run" not in message


def test_interrupted_by_the_keyboard_and_killed_it_ends_with_the_same_bits():
    options = ["train", "linear", "--epochs", "250", "--schedule", "plateau", "--momentum", "0.9", "--lr", "0.001"]
    run(*options, "--out", "whole")
    history = Path("broken/history.csv")

    process = start(*options, "--out", "broken")
    wait_for(history, 20, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "continue with rmsprop train linear --out broken --resume" in said
    interrupted = rows_of(history)
    assert 20 <= interrupted < 250

    process = start("train", "linear", "--out", "broken", "--resume")
    wait_for(history, interrupted + 20, process)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert rows_of(history) < 250

    run("train", "linear", "--out", "broken", "--resume")
    for name in FILES:
        assert Path("broken", name).read_bytes() == Path("whole", name).read_bytes(), name


def test_a_full_disk_is_one_line_and_a_failed_run(monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("rmsprop.lab.train.runs.save_checkpoint", full)
    result = run("train", "linear", code=1)
    assert result.stderr.splitlines()[-1] == (
        "error: runs/linear/checkpoint.safetensors can't be written or read: No space left on device"
    )


def test_a_live_bar_is_for_terminals(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = run("train", "linear", "--epochs", 3)
    assert "━" in result.stderr
    assert "validation loss" in result.stderr


def test_a_name_is_no_markup_in_the_live_bar(monkeypatch):
    Path("marked.py").write_text(
        "import dataclasses\nfrom rmsprop.lab.problems import load\n"
        "def small(): return dataclasses.replace(load('wine'), name='[/b]', epochs=1)\n"
    )
    monkeypatch.syspath_prepend(Path())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "[/b]" in run("train", "marked:small").stderr


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")


def test_help_imports_nothing_heavy():
    code = """
import sys
from rmsprop.cli.group import rmsprop
for arguments in (["--help"], ["train", "--help"]):
    try:
        rmsprop(arguments)
    except SystemExit:
        pass
heavy = {"torch", "numpy", "polars", "sklearn", "matplotlib", "rich", "jinja2", "safetensors"}
print("imported:", sorted(heavy & set(sys.modules)))
"""
    said = python(code).stdout
    assert said.endswith("imported: []\n")
    assert "--weight-decay" in said
    for name, row in PROBLEMS.items():
        assert any(line.split()[:2] == [name, row.model or "its"] for line in said.splitlines())


def test_names_that_the_terminal_cannot_show_are_escaped():
    Path("t.csv").write_text(GOOD.replace("y", "目"), encoding="utf-8")
    code = "import sys; sys.argv = ['rmsprop', *'train t.csv --target 目 --epochs 2 --model linear'.split()]\n"
    code += "sys.stdout.reconfigure(encoding='ascii', errors='strict')\n"
    result = python(code + "from rmsprop.cli import main; main()")
    assert result.returncode == 0, result.stderr
    assert "Learned line: \\u76ee = " in result.stdout
    assert "Warning" not in result.stderr
    content = run("train", "t.csv", "--target", "目", "--resume", "--json").stdout
    assert content.isascii()
    assert json.loads(content)["settings"]["target"] == "目"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("click", "error: the command rmsprop needs more packages: pip install 'rmsprop[lab]'\n"),
        ("torch", "error: this command needs torch: pip install 'rmsprop[lab]'\n"),
        ("rich", "error: this command needs rich: pip install 'rmsprop[lab]'\n"),
    ],
)
def test_a_missing_package_is_one_line_that_says_what_to_install(missing, message):
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['rmsprop', 'train', 'linear']\n"
    result = python(code + "from rmsprop.cli import main; main()")
    assert (result.returncode, result.stderr) == (2, message)


def test_the_commands_in_the_documentation_run():
    random = np.random.default_rng(1)
    age, price = random.integers(18, 80, 200), random.gamma(2.0, 20.0, 200)
    columns = {"customer": [f"c{i}" for i in range(200)], "age": age, "city": ["Oslo", "Rome"] * 100, "price": price}
    churn = np.where(age + random.normal(scale=5.0, size=200) > 45, "yes", "no")
    pl.DataFrame(columns | {"churn": churn}).write_csv("customers.csv")
    page = Path(__file__).parent.parent / "docs" / "train.md"
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 10
    for command in commands:
        words, _, code = command.partition("  # exit ")
        run(*shlex.split(words)[1:], code=int(code or 0))


def test_the_commands_on_averages_run():
    page = Path(__file__).parent.parent / "docs" / "averaging.md"
    (block,) = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    kept = [json.loads(run(*shlex.split(command)[1:], "--json").stdout)["kept"] for command in block.splitlines()]
    assert [content["averaged"] for content in kept] == [True] * 4


def test_the_commands_on_visits_in_the_documentation_run():
    random = np.random.default_rng(1)
    age = random.integers(18, 80, 200)
    columns = {
        "customer": [f"c{i % 20}" for i in range(200)],
        "day": [f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(200)],
        "age": age,
        "churn": np.where(age + random.normal(scale=5.0, size=200) > 45, "yes", "no"),
    }
    pl.DataFrame(columns).write_csv("visits.csv")
    pl.DataFrame(columns)[:50].write_csv("later.csv")
    page = Path(__file__).parent.parent / "docs" / "train.md"
    (block,) = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    tested = [json.loads(run(*shlex.split(command)[1:], "--json").stdout) for command in block.splitlines()]
    assert [result["settings"]["split"] for result in tested] == ["time", "time:day", "group:customer", None]
    assert tested[-1]["settings"]["test"] == "later.csv"


def test_a_split_and_a_table_to_test_on_are_kept_and_resumed():
    columns = {"x": range(60), "who": [f"g{i % 6}" for i in range(60)], "y": [0.5 * i for i in range(60)]}
    pl.DataFrame(columns).write_csv("t.csv")
    pl.DataFrame(columns)[:9].write_csv("new.csv")
    options = ["t.csv", "--target", "y", "--split", "group:who", "--group-input", "--test", "new.csv", "--epochs", 2]
    said = run("train", *options, "--out", "a").stderr
    assert "note: --test new.csv: its 9 rows are what is tested on" in said
    config = json.loads(Path("a/config.json").read_text())
    assert [config["settings"][name] for name in ("split", "group_input", "test")] == ["group:who", True, "new.csv"]
    assert config["data"]["rows"] == {"train": 40, "validation": 20, "test": 9}
    Path("new.csv").rename("moved.csv")
    assert "there is no file new.csv" in run("train", "t.csv", "--out", "a", "--resume", code=2).stderr
    run("train", "t.csv", "--out", "a", "--resume", "--test", "moved.csv")
    assert (
        "--split is random here" in run("train", "t.csv", "--out", "a", "--resume", "--split", "random", code=2).stderr
    )
    Path("moved.csv").write_text("x,who,y\n1,g1,2\n2,g2,3\n")
    refused = run("train", "t.csv", "--out", "a", "--resume", code=2).stderr
    assert "t.csv has changed since the run began" in refused
    scores = [float(line.split(",")[0]) for line in run("predict", "a", "moved.csv").stdout.split()[1:]]
    assert len(scores) == 2
