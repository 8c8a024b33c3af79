"""`rmsprop trajectory` as a person and a script use it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from rmsprop.cli.group import rmsprop
from rmsprop.lab.problems.builtin.surfaces import SURFACES


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, ["trajectory", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output
    return result


def test_the_table_has_the_numbers_of_the_book_and_fits_a_hundred_columns():
    said = run("bowl", "--optimizers", "rmsprop-d2l,adagrad", "--lr", "0.4", "--steps", 20).stdout
    assert re.search(r"RMSProp \(d2l\) +lr 0.4, ρ 0.9, ε 1e-6 +-0.010599 +1.0362e-14 ", said)
    assert re.search(r"AdaGrad +lr 0.4, ε 1e-10 +-2.3826 +-0.15859 ", said)
    assert max(map(len, run("beale").stdout.splitlines())) <= 100


def test_alone_the_bowl_is_the_example_of_the_book_in_which_adagrad_stalls_and_rmsprop_arrives():
    content = json.loads(run("bowl", "--json").stdout)
    ends = {walk["optimizer"]: walk["end"] for walk in content["walks"]}
    assert (content["steps"], {walk["lr"] for walk in content["walks"]}) == (20, {0.4})
    assert ends["adagrad"] == pytest.approx([-2.3826, -0.1586], abs=5e-5)
    assert ends["rmsprop-d2l"] == pytest.approx([-0.010599, 0.0], abs=5e-7)
    assert "one learning rate for all, as in Zhang" in run("bowl").stdout
    assert "for all" not in run("beale").stdout


@pytest.mark.parametrize(
    "options", [["--optimizers", "rmsprop"], ["--decay", "0.999"], ["--decay", 0.99, "--steps", 9]]
)
def test_where_an_average_forgets_nothing_it_is_said_that_this_is_adagrad(options):
    assert "steps are nearly AdaGrad's at" in " ".join(run("bowl", *options).stdout.split())


@pytest.mark.parametrize(
    "options",
    [[], ["--steps", 100, "--optimizers", "rmsprop"], ["--optimizers", "rmsprop-tensorflow1", "--decay", 0.999]],
    ids=["forgets in time", "long enough", "from 1"],
)
def test_elsewhere_it_is_not(options):
    assert "nearly AdaGrad" not in run("bowl", *options).stdout


def test_without_a_learning_rate_each_gets_its_best_and_a_star():
    said = run("rosenbrock", "--optimizers", "sgd,adam", "--lr", "sgd=0.001").stdout
    assert re.search(r"Adam +lr [\d.]+\*, β₁ 0.9, β₂ 0.999, ε 1e-8 ", said)
    assert re.search(r"SGD +lr 0.001 ", said)
    assert "* the learning rate with the lowest end, of 16 from 0.001 to 100; --lr sets one" in said


def test_what_dialects_differ_in_beside_numbers_is_said():
    said = run("bowl", "--optimizers", "sgd,rmsprop,rmsprop-d2l,rmsprop-tensorflow1", "--lr", "0.1").stdout
    assert "RMSProp: the dialect torch, ε outside the root. RMSProp (d2l): ε inside the root. RMSProp" in said
    assert "(tensorflow1): ε inside the root, v₀ = 1." in said
    assert "root" not in run("bowl", "--optimizers", "sgd", "--lr", "0.1").stdout


def test_one_that_leaves_is_told():
    said = run("bowl", "--optimizers", "sgd,rmsprop", "--lr", 0.6, "--steps", 20).stdout
    assert "SGD leaves at step 6 to (−2.3, −15): a smaller --lr sgd=VALUE may help." in said


def test_json_is_one_object_with_every_point():
    result = run("bowl", "--optimizers", "rmsprop-d2l,sgd", "--lr", "0.4,sgd=1e300", "--steps", 20, "--json")
    content = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    book, lost = content["walks"]
    assert result.stderr == ""
    assert (content["steps"], content["start"], content["out"]) == (20, [-5.0, -2.0], None)
    assert (book["lr"], book["lr_searched"], book["options"]) == (0.4, False, {"alpha": 0.9, "eps": 1e-6})
    assert len(book["points"]) == len(book["losses"]) == 21
    assert book["end"] == book["points"][-1]
    assert lost["left_at_step"] == 1
    assert lost["end"] == [None, None]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("walk.png", b"\x89PNG"),
        ("walk.svg", b"<?xml"),
        ("walk.gif", b"GIF89a"),
        ("walk.mp4", b"\x00\x00\x00"),
        ("walk.html", b"<!DOCTYPE html>"),
        ("WALK.PNG", b"\x89PNG"),
    ],
)
def test_the_name_of_the_file_says_what_is_drawn(name, begins):
    said = run("bowl", "--optimizers", "rmsprop,sgd", "--lr", 0.2, "--steps", 5, "--out", name).stdout
    assert f"File: {name}" in said
    assert Path(name).read_bytes().startswith(begins)
    assert [path.name for path in Path().iterdir()] == [name]


@pytest.mark.parametrize("name", ["new/folder/walk.svg", "new/folder/walk.gif", "new/folder/walk.html"])
def test_the_folder_of_the_file_is_made(name):
    run("bowl", "--optimizers", "rmsprop", "--lr", 0.2, "--steps", 2, "--out", name)
    assert Path(name).is_file()


@pytest.mark.parametrize(
    ("names", "file", "told"),
    [("rmsprop,sgd", "w.html", True), ("rmsprop,rmsprop-keras", "w.html", False), ("rmsprop,sgd", "w.svg", False)],
)
def test_who_asks_for_others_is_told_that_the_page_shows_rmsprop_alone(names, file, told):
    said = run("bowl", "--optimizers", names, "--lr", 0.2, "--steps", 2, "--out", file).stdout
    assert ("the page shows RMSProp alone; the others are in .png, .svg, .gif and .mp4\n" in said) is told


def test_an_unknown_name_is_not_told_that_swa_may_follow():
    assert "swa" not in run("bowl", "--optimizers", "rmsprob", code=2).stderr


def test_dialects_start_and_settings_are_taken():
    options = (
        "--optimizers rmsprop,rmsprop-tensorflow1 --lr .1 --decay .8 --eps 1e-3 --momentum .5 --start=1,-1 --steps 3"
    )
    content = json.loads(run("saddle", *options.split(), "--json").stdout)
    assert content["start"] == [1.0, -1.0]
    assert [walk["options"] for walk in content["walks"]] == [{"alpha": 0.8, "eps": 0.001, "momentum": 0.5}] * 2
    assert content["walks"][0]["end"] != content["walks"][1]["end"]


BAD = {
    "no surface": ([], "Missing argument 'SURFACE'"),
    "surface": (["bowll"], "there is no surface 'bowll' (did you mean bowl?): choose from bowl, bowl-rotated"),
    "optimizer": (["bowl", "--optimizers", "rmsprob"], "there is no optimizer 'rmsprob' (did you mean rmsprop?)"),
    "empty name": (["bowl", "--optimizers", "sgd,"], "there is no optimizer ''"),
    "start": (["bowl", "--start", "1"], "'1' is not a point such as -5,-2"),
    "lr": (["bowl", "--lr", "fast"], "--lr 'fast' is neither a number nor NAME=NUMBER"),
    "decay": (["bowl", "--decay", "nan"], "rmsprop-d2l: Invalid --decay: nan"),
    "steps": (["bowl", "--steps", "0"], "--steps is 0: it must be from 1 to 10000"),
    "kind": (["bowl", "--out", "a.jpg"], "'a.jpg' ends in none of .png, .svg, .gif, .mp4, .html"),
    "no kind": (["bowl", "--out", "a"], "'a' ends in none of"),
    "folder": (["bowl", "--out", "folder.png"], "--out folder.png is a folder: give the name of a file"),
    "file in the way": (
        ["bowl", "--out", "way/in/w.png"],
        "way/in/w.png: way is not a folder: give another",
    ),
    "swa": (["bowl", "--optimizers", "adam+swa"], "adam+swa averages weights and has no path of its own: leave out"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(arguments, message):
    Path("folder.png").mkdir()
    Path("way").write_text("")
    result = run(*arguments, code=2)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(path.name for path in Path().rglob("*")) == ["folder.png", "way"]


def test_a_bar_is_for_terminals(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "walking" in run("bowl", "--steps", 2).stderr
    assert run("bowl", "--steps", 2, "--json").stderr == ""


def test_elsewhere_a_line_tells_now_and_then_that_it_goes_on(monkeypatch):
    assert run("bowl", "--optimizers", "sgd,adam", "--steps", 2).stderr == ""
    monkeypatch.setattr("rmsprop.cli.output.SECONDS_PER_LINE", 0.0)
    lines = run("bowl", "--optimizers", "sgd,adam", "--steps", 2).stderr.splitlines()
    assert lines == ["walking: 1 of 2", "walking: 2 of 2"]


def test_help_imports_nothing_heavy():
    code = """
import sys
from rmsprop.cli.group import rmsprop
for arguments in (["trajectory", "--help"], ["window", "--help"]):
    try:
        rmsprop(arguments)
    except SystemExit:
        pass
heavy = {"torch", "numpy", "polars", "sklearn", "matplotlib", "rich", "jinja2", "PIL", "imageio_ffmpeg"}
print("imported:", sorted(heavy & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8").stdout
    assert said.endswith("imported: []\n")
    assert all(name in said for name in SURFACES)


PAGE = Path(__file__).parent.parent / "docs" / "trajectory.md"


def test_the_commands_in_the_documentation_run():
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line.partition("  #")[0] for block in blocks for line in block.splitlines()]
    assert len(commands) >= 6
    for command in commands:
        run(*shlex.split(command)[2:])


def test_the_picture_in_the_documentation_is_what_its_command_draws():
    command = re.search(r"rmsprop (trajectory .*) --out docs/trajectory.png", PAGE.read_text(encoding="utf-8"))[1]
    run(*shlex.split(command)[1:], "--out", "walk.png")
    with Image.open("walk.png") as drawn, Image.open(PAGE.with_name("trajectory.png")) as kept:
        assert drawn.size == kept.size
        differing = sum(a != b for a, b in zip(drawn.convert("L").tobytes(), kept.convert("L").tobytes(), strict=True))
        assert differing < 0.01 * drawn.width * drawn.height  # letters differ a little between versions


def test_a_smaller_learning_rate_as_advised_stays_on_the_picture():
    lost = run("rosenbrock", "--optimizers", "sgd", "--lr", 0.1, "--steps", 50).stdout
    advised = re.search(r"a smaller --lr (\w+)=VALUE may help", " ".join(lost.split()))
    assert advised
    said = run("rosenbrock", "--optimizers", "sgd", "--lr", f"{advised[1]}=0.001", "--steps", 50).stdout
    assert "may help" not in said
    end = json.loads(run("rosenbrock", "--optimizers", "sgd", "--lr", "sgd=0.001", "--steps", 50, "--json").stdout)
    (walk,) = end["walks"]
    assert max(map(abs, walk["end"])) < 3
