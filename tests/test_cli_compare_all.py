"""`rmsprop compare all`: one page over several problems, which goes on where it was interrupted."""

import json

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.compare.survey.costs import PROBLEMS, QUESTION, TOWARDS_ADAM
from rmsprop.lab.folders import SURVEY

SMALL = ("compare", "all", "--problems", "linear,bowl", "--budget", "quick", "--seeds", 2, "--epochs", 1)
FEW = ("--optimizers", "rmsprop,adam,rmsprop-laprop,swa")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMSPROP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def without_pictures(monkeypatch):
    monkeypatch.setattr("rmsprop.lab.compare.report.pictures", lambda analysis: [])


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_it_leaves_one_page_and_prints_one_table(tmp_path, without_pictures):
    first = run(*SMALL, *FEW)
    assert "linear, problem 1 of 2" in first.stderr
    lines = first.stdout.splitlines()
    assert lines[1].split() == ["optimizer", "linear", "bowl"]
    assert [line.split("  ")[0].strip() for line in lines[3:6]] == ["RMSProp", "Adam", "RMSProp + SWA"]
    assert max(map(len, lines)) <= 100
    assert lines[-1] == "Files: runs/compare-all"
    folder = tmp_path / "runs" / "compare-all"
    assert {path.name for path in folder.iterdir()} == {*SURVEY.files}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = run(*SMALL, *FEW)
    assert again.stderr.count("runs from the cache of ") == 2
    assert again.stdout == first.stdout
    (listed,) = json.loads(run("runs", "--json").stdout)["runs"]
    assert (listed["kind"], listed["problem"], listed["verdict"]) == ("compare", "linear, bowl", "4 compared")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_interruption_keeps_what_was_done(monkeypatch, without_pictures):
    from rmsprop.lab.compare import compare

    done = []

    def interrupted(problem, **chosen):
        if done:
            raise KeyboardInterrupt
        done.append(problem.name)
        return compare(problem, **chosen)

    with monkeypatch.context() as patch:
        patch.setattr("rmsprop.lab.compare.compare", interrupted)
        said = run(*SMALL, *FEW, code=130).stderr
    assert "what was done is kept, and the same command goes on" in said
    assert run(*SMALL, *FEW).stderr.count("runs from the cache of ") == 1  # the first problem's, and no other's


def test_json_is_all_that_is_printed(without_pictures):
    said = run(*SMALL, *FEW, "--json")
    assert said.stderr == ""
    content = json.loads(said.stdout)
    assert content["outcomes"]["defaults"].keys() == {"linear", "bowl"}
    assert content["outcomes"]["tuned"]["linear"]["loss"].keys() == {"rmsprop", "adam", "rmsprop+swa"}
    assert content["gap_to_adam"].keys() == {"tuned", "defaults"}


def test_the_question_is_what_is_compared_by_default(monkeypatch):
    asked = []

    def compare(problem, *, optimizers, **_):
        asked.append((problem.name, optimizers))
        raise KeyboardInterrupt

    monkeypatch.setattr("rmsprop.lab.compare.compare", compare)
    run("compare", "all", code=130)
    assert asked == [(PROBLEMS[0], (*QUESTION, *TOWARDS_ADAM))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("all", "--problems", "linear,lines"), "there is no problem 'lines': choose from linear, "),
        (("all", "--problems", "linear,linear"), "the problem linear is given twice"),
        (("all", "--target", "y"), "--target is for one problem: leave it out, or name one in the place of all"),
        (("all", "--drop", "y"), "--drop is for one problem"),
        (("linear", "--problems", "bowl"), "--problems is for rmsprop compare all: leave it out, or linear"),
        (("linear", "--optimizers", "rmsprop,sparse-adam"), "sparse-adam takes the rows of embeddings alone, and in"),
        (("all", "--problems", "ratings,wine", "--optimizers", "rmsprop,sparse-adam"), "alone, and in problem wine"),
        (("all", "--optimizers", "adm"), "there is no optimizer 'adm' (did you mean adam?)"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message):
    said = run("compare", *arguments, code=2).stderr
    assert said.startswith("error: ")
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_folder_of_one_comparison_is_not_taken(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "trials.csv").touch()
    assert "holds other files (trials.csv)" in run("compare", "all", "--out", "other", code=2).stderr
