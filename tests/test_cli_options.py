"""A value that can't be is refused under the name of its option, whatever frameworks call it."""

import html
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.options import train_command

# What each command needs besides.
GIVEN = {
    "train": ["linear"],
    "tune": ["linear"],
    "compare": ["linear"],
    "explain": ["torch"],
    "diff": ["torch", "keras"],
    "window": ["0.9", "--problem", "wine"],
    "convert": ["in.pt", "out.pt", "--to", "timm"],
    "trajectory": ["bowl"],
}
# Numbers that are read as text, because NAME=VALUE may stand for them; and one that convert reads with its file.
AS_TEXT, LATER = ("--lr", "--decay", "--eps", "--momentum"), {("convert", "--step")}
NUMBERS = [
    (name, param.opts[0])
    for name in GIVEN
    for param in rmsprop.commands[name].params
    if isinstance(param, click.Option)
    and (param.type.name.startswith(("float", "integer")) or (name == "trajectory" and param.opts[0] in AS_TEXT))
    and (name, param.opts[0]) not in LATER
]


@pytest.mark.parametrize(("command", "option"), NUMBERS)
def test_a_number_below_all_that_may_be_is_named_as_it_was_typed(command, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(rmsprop, [command, *GIVEN[command], option, "-7"])
    assert result.exit_code == 2
    assert option in result.stderr
    assert "-7" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "tune", "explain"])
@pytest.mark.parametrize(("option", "needs"), [("--nesterov", "--momentum"), ("--bias-correction", "--decay")])
def test_an_option_that_needs_another_names_both(command, option, needs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(rmsprop, [command, *GIVEN[command], option, "--decay", "1"])
    assert result.exit_code == 2
    assert f"{option} needs a" in result.stderr
    assert needs in result.stderr


# What isn't a setting of a run.
OF_THE_COMMAND = ("problem", "out", "resume", "force", "as_json", "config")
SETTINGS = {param.name: param for param in rmsprop.commands["train"].params if param.name not in OF_THE_COMMAND}


def values(param):
    """Values as a run keeps them."""
    if param.name == "hidden":
        return [(4, 3)]
    if param.multiple:
        return [("a", "it's -b", "-c")]
    if param.is_flag or param.secondary_opts:
        return [True, False] if param.secondary_opts else [True]
    if isinstance(param.type, click.Choice):
        return [param.type.choices[-1]]
    return {"integer": [3], "integer range": [3], "float": [0.1 / 3, 1e-10]}.get(param.type.name, ["it's; $HOME"])


GIVEN_VALUES = [(name, value) for name, param in SETTINGS.items() for value in values(param)]


@pytest.mark.parametrize(("name", "value"), GIVEN_VALUES)
def test_every_setting_can_be_pasted(name, value):
    words = shlex.split(train_command({"problem": "linear", name: value}))
    assert words[:3] == ["rmsprop", "train", "linear"]
    assert rmsprop.commands["train"].make_context("train", words[2:]).params[name] == value


def test_the_command_in_a_report_makes_the_same_run_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = "my table's $1.csv"
    Path(table).write_text("x,a b,y\n" + "".join(f"{row % 7},{row % 5},{row % 7 * 0.5}\n" for row in range(60)))
    options = "--hidden 4,3 --momentum 0.9 --nesterov --eps-inside-sqrt --no-centered --warmup 0.5 --epochs 3 --lr 3e-4"
    first = ["train", table, "--target", "y", "--drop", "a b", *shlex.split(options), "--out", "first"]
    CliRunner().invoke(rmsprop, first)
    (command,) = re.findall(r"<pre>(rmsprop train .*?)</pre>", Path("first/report.html").read_text(encoding="utf-8"))
    line = html.unescape(command).removeprefix("rmsprop ")
    split = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True).stdout
    CliRunner().invoke(rmsprop, [*split.split("\0")[:-1], "--out", "second"])
    kept, again = (json.loads(Path(run, "config.json").read_text())["settings"] for run in ("first", "second"))
    assert kept == again
    assert Path("first/history.csv").read_text() == Path("second/history.csv").read_text()


FINALIZED = """
import signal, sys, time
from rmsprop.cli import main
from rmsprop.cli.listings import recipes

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def work(**_):
    Finalized()
    time.sleep(20)
    print("went on")

recipes.callback = work
sys.argv = ["rmsprop", "recipes"]
main()
"""


def test_ctrl_c_in_code_that_cant_raise_ends_the_command_all_the_same():
    done = subprocess.run([sys.executable, "-c", FINALIZED], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nerror: interrupted before it was done\n")
