"""A value that can't be is refused under the name of its option, whatever frameworks call it."""

import click
import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop

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
