"""What a shell completes after Tab."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from rmsprop.cli.group import rmsprop
from rmsprop.dialects import DIALECTS
from rmsprop.lab.problems.defaults import PROBLEMS

ROOT = Path(__file__).parent.parent
FILE = ("file", "")


def completed(*words):
    found = ShellComplete(rmsprop, {}, "rmsprop", "_RMSPROP_COMPLETE").get_completions([*words[:-1]], words[-1])
    return [(item.type, item.value) for item in found]


def plain(*names):
    return [("plain", name) for name in names]


WORDS = {
    "a command": (("ru",), plain("runs")),
    "a problem": (("train", "di"), [("file", "di"), *plain("digits", "digits-softmax", "digits-cnn", "diabetes")]),
    "a problem for tune": (("tune", "wi"), [("file", "wi"), *plain("wine")]),
    "a problem for compare": (("compare", "wi"), [("file", "wi"), *plain("wine")]),
    "a problem of an option": (("window", "0.9", "--problem", "wi"), [("file", "wi"), *plain("wine")]),
    "a table": (("train", "data/"), [("file", "data/")]),
    "a dialect of an option": (("train", "digits", "--dialect", "keras"), plain("keras", "keras_legacy")),
    "a dialect to explain": (("explain", "keras"), plain("keras", "keras_legacy")),
    "the second of two": (("diff", "torch", "tim"), plain("timm")),
    "a format": (("convert", "a", "b", "--to", "sb"), plain("sb3")),
    "a surface": (("trajectory", "ros"), plain("rosenbrock")),
    "an optimizer": (("compare", "wine", "--optimizers", "nest"), plain("nesterov")),
    "one more optimizer": (("compare", "wine", "--optimizers", "adam,nest"), plain("adam,nesterov")),
    "a column": (("runs", "--sort", "val"), plain("validation-loss")),
    "a run": (("predict", "runs/"), [("file", "runs/")]),
}


@pytest.mark.parametrize(("words", "expected"), WORDS.values(), ids=WORDS)
def test_what_can_be_typed_is_completed(words, expected):
    found = completed(*words)
    assert sorted(found) == sorted(expected)
    assert not expected or found[0] == expected[0]


def test_all_problems_and_dialects_are_offered():
    assert {value for _, value in completed("train", "")} == {"", *PROBLEMS}
    assert {value for _, value in completed("explain", "")} == {*DIALECTS}
    assert not [value for _, value in completed("compare", "wine", "--optimizers", "adam,") if value == "adam,adam"]


BASH = """
compopt() { :; }
source ./completion.bash
COMP_WORDS=(rmsprop train dig) COMP_CWORD=2
_rmsprop_completion rmsprop
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command of this interpreter on the path."""
    path = tmp_path / "rmsprop"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rmsprop "$@"\n')
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_script(command):
    environment = {**os.environ, "_RMSPROP_COMPLETE": "bash_source"}
    script = subprocess.run(["rmsprop"], env=environment, capture_output=True, text=True, check=True).stdout
    Path("completion.bash").write_text(script)
    done = subprocess.run(["bash", "-c", BASH], capture_output=True, text=True)
    assert done.stdout.split() == ["digits", "digits-softmax", "digits-cnn"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_page_has_the_line_of_each_shell(shell, command):
    page = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    assert re.search(rf"_RMSPROP_COMPLETE={shell}_source rmsprop", page)
    environment = {**os.environ, "_RMSPROP_COMPLETE": f"{shell}_source"}
    done = subprocess.run(["rmsprop"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "_RMSPROP_COMPLETE" in done.stdout
