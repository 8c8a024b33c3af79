"""`rmsprop compare` as a person and a script use it: what it prints, what it leaves, how it fails."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from lab.compare.made_up import comparison

from rmsprop.cli.group import rmsprop
from rmsprop.lab.compare import cache
from rmsprop.lab.errors import LostWorkerError
from rmsprop.lab.optimizers import OPTIMIZERS
from rmsprop.lab.problems.defaults import PROBLEMS

SMALL = ("compare", "linear", "--budget", "quick", "--epochs", 2, "--optimizers", "rmsprop,sgd,adam+swa", "--seeds", 3)
FILES = {"report.html", "report.md", "runs.csv", "trials.csv", "result.json", "loss.png", "differences.png"}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMSPROP_CACHE", str(tmp_path / "cache"))


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def instead(monkeypatch, outcome):
    """Let the comparison end with a made-up outcome, or an exception."""

    def compare(problem, *, on_progress, **_):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("rmsprop.lab.compare.compare", compare)


@pytest.fixture
def without_files(monkeypatch):
    """The report is tested elsewhere, and drawing it takes seconds."""
    monkeypatch.setattr("rmsprop.lab.compare.report.write", lambda analysis, folder: None)
    monkeypatch.setattr("rmsprop.lab.compare.survey.report.write", lambda analyses, folder: None)


@pytest.fixture
def without_pictures(monkeypatch):
    monkeypatch.setattr("rmsprop.lab.compare.report.pictures", lambda analysis: [])


def test_a_comparison_prints_tables_words_and_where_the_files_are(monkeypatch):
    first = run(*SMALL)
    for word in ("Equal tuning: tuned with 4 trials in each of 2 studies, 3 seeds", "Default settings: 3 seeds"):
        assert word in first.stdout
    for word in ("Adam + SWA", "against RMSProp", "On linear (tuned with", "Files: runs/compare-linear"):
        assert word in first.stdout
    assert max(map(len, first.stdout.splitlines())) <= 100
    assert re.search(r"^tuning \d+/24", first.stderr, flags=re.MULTILINE)
    assert re.search(r"^reporting 18/18  lowest loss so far: ", first.stderr, flags=re.MULTILINE)
    assert re.search(r"^timing 3/3$", first.stderr, flags=re.MULTILINE)
    assert first.stderr.endswith("\nwriting the report\n")
    assert {path.name for path in Path("runs/compare-linear").iterdir()} == FILES

    kept = Path("runs/compare-linear/runs.csv").read_text()
    monkeypatch.setattr("rmsprop.lab.compare.report.pictures", lambda analysis: [])
    again = run(*SMALL)  # from the cache, into the same folder
    count = int(re.search(r"note: (\d+) of \1 runs from the cache of \S+; --fresh does them anew", again.stderr)[1])
    assert count > 18  # the reported ones, and those of the tuning
    assert "from the cache" not in run(*SMALL, "--fresh").stderr
    assert again.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert Path("runs/compare-linear/runs.csv").read_text() == kept
    assert Path(cache.default_folder()).is_dir()


def test_json_is_one_object_and_nothing_else(without_pictures):
    result = run(*SMALL, "--json", "--out", "here")
    content = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert result.stderr == ""
    assert (content["problem"], content["out"], content["reference"]) == ("linear", "here", "rmsprop")
    assert [(ranking["track"], ranking["measure"]) for ranking in content["rankings"][:3]] == [
        ("tuned", "validation loss"),
        ("tuned", "test rmse"),
        ("tuned", "steps to the target"),
    ]
    sgd = content["rankings"][0]["optimizers"]["sgd"]
    assert sgd["iqm"]["low"] <= sgd["iqm"]["value"] <= sgd["iqm"]["high"]
    assert sgd["outcome"] in ("better", "worse", "not distinguishable")
    assert content["headline"].startswith("On linear")
    assert {path.name for path in Path("here").iterdir()} == {name for name in FILES if not name.endswith(".png")}


@pytest.mark.parametrize("count", [1, 2, 9])
def test_the_tables_fit_a_hundred_columns_with_the_longest_names(monkeypatch, without_files, count):
    names = ["rmsprop", "rmsprop-momentum", *(f"rmsprop-{name}+swa" for name in ("tensorflow1", "keras_legacy"))]
    names = [*names, "sgd", "momentum", "nesterov", "adagrad", "adadelta"][:count]
    ends = {name: 0.1 + place for place, name in enumerate(names)}
    instead(monkeypatch, comparison(ends, lost=[("rmsprop", 0)]))
    out = run("compare", "linear").stdout
    assert max(map(len, out.splitlines())) <= 100
    assert "1/20" in out


@pytest.mark.parametrize("columns", [80, 100])
def test_no_word_is_broken_in_a_narrow_terminal(monkeypatch, without_files, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal
    names = ("rmsprop", "rmsprop-momentum", "rmsprop-tensorflow1+swa", "sgd", "momentum", "adam")
    instead(monkeypatch, comparison(dict.fromkeys(names, 0.1), lost=[("rmsprop", 0)]))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", run("compare", "linear").stdout).splitlines()
    assert max(map(len, lines)) <= columns
    assert sum("distinguishable" in line for line in lines) >= len(names) - 1


def test_interrupted_says_how_to_go_on(monkeypatch):
    instead(monkeypatch, KeyboardInterrupt())
    result = run("compare", "linear", code=130)
    assert result.stderr == "interrupted: what was done is kept, and the same command goes on\n"
    assert not Path("runs").exists()


def test_where_nothing_can_be_kept_it_is_said_and_the_comparison_goes_on(monkeypatch, without_files):
    Path("file").write_text("")
    monkeypatch.setenv("RMSPROP_CACHE", "file/cache")
    said = " ".join(run("compare", "linear", "--budget", "quick", "--seeds", 2, "--epochs", 3).stdout.split())
    assert "Note: The cache file/cache can't be written (Not a directory): a temporary one, in memory, was used" in said
    instead(monkeypatch, KeyboardInterrupt())
    said = run("compare", "linear", code=130).stderr
    assert said == (
        "interrupted: nothing is kept, because file/cache can't be written: RMSPROP_CACHE names another folder\n"
    )


def test_a_comparison_in_which_everything_diverged_failed(monkeypatch):
    everything = [("rmsprop", seed) for seed in range(4)]
    instead(monkeypatch, comparison({"rmsprop": 0.1}, seeds=4, lost=everything))
    assert "nothing can be said" in run("compare", "linear", code=1).stdout
    assert Path("runs/compare-linear/report.html").exists()


def test_a_lost_process_is_one_line_and_exit_code_1(monkeypatch):
    instead(monkeypatch, LostWorkerError("a process ended; what was done is in the cache"))
    result = run("compare", "linear", "--jobs", 2, code=1)
    assert result.stderr == "error: a process ended; what was done is in the cache\n"
    assert result.stdout == ""


def test_a_live_table_is_for_terminals(monkeypatch, without_files):
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = run(*SMALL)
    assert "leads" in result.stderr
    assert "━" in result.stderr


BAD = {
    "no problem": ([], "Missing argument 'PROBLEM'"),
    "unknown problem": (["zebra"], "there is no problem 'zebra': choose one of linear, digits"),
    "unknown optimizer": (["linear", "--optimizers", "adm"], "there is no optimizer 'adm' (did you mean adam?)"),
    "empty optimizer": (["linear", "--optimizers", "adam,"], "there is no optimizer ''"),
    "twice": (["linear", "--optimizers", "adam,adam"], "the optimizer adam is given twice"),
    "unknown budget": (["linear", "--budget", "huge"], "'huge' is not one of 'quick', 'standard', 'full'"),
    "no seeds": (["linear", "--seeds", "0"], "'--seeds': 0 is not in the range x>=1"),
    "no epochs": (["linear", "--epochs", "0"], "'--epochs': 0 is not in the range x>=1"),
    "no number": (["linear", "--jobs", "many"], "'many' is not a valid integer."),
    "no table": (["no.csv", "--target", "y"], "there is no file no.csv"),
    "no function": (["nowhere:problem"], "there is no module nowhere"),
    "bad widths": (["digits", "--hidden", "64;32"], "'64;32' is not a list of widths"),
    "other files": (
        ["linear", "--out", "."],
        ". holds other files (t.csv): give a new folder, or one of an earlier comp",
    ),
    "a file": (["linear", "--out", "t.csv"], "--out t.csv is a file: give a folder"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(arguments, message):
    Path("t.csv").write_text("a,y\n1,2\n")
    result = run("compare", *arguments, code=2)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert [path.name for path in Path().iterdir()] == ["t.csv"]


def test_the_help_names_every_optimizer_and_fits():
    said = run("compare", "--help").stdout
    assert {word.strip(",") for word in said.split()} >= set(OPTIMIZERS)
    assert max(map(len, said.splitlines())) <= 100


def test_the_commands_in_the_documentation_run(monkeypatch, without_files):
    """The comparisons themselves take minutes; that the commands are understood takes none."""
    instead(monkeypatch, comparison({"rmsprop": 0.1, "adam": 0.1}, seeds=3))
    Path("customers.csv").write_text("age,churn\n" + "".join(f"{20 + i},{('no', 'yes')[i % 2]}\n" for i in range(60)))
    page = Path(__file__).parent.parent / "docs" / "compare.md"
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        run(*shlex.split(command)[1:])
    assert set(PROBLEMS) >= {"digits"}
