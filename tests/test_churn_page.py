"""docs/churn.md: its commands run in order, and its output is theirs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "churn.md").read_text(encoding="utf-8")
LOG = max((ROOT / "benchmarks" / "results").glob("*-churn/churn.txt"))
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("rmsprop")
]
TRAIN = COMMANDS[0]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What each command prints, by the command; of those that train again, one epoch is enough."""
    folder = tmp_path_factory.mktemp("churn")
    subprocess.run([sys.executable, "-m", "benchmarks.customers", "--out", str(folder)], cwd=ROOT, check=True)
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in COMMANDS:
            short = ["--epochs", "1"] if command.startswith("rmsprop train") and command != TRAIN else []
            result = CliRunner().invoke(rmsprop, [*shlex.split(command)[1:], *short])
            assert result.exit_code == 0, result.output
            said[command] = result.output
        (code,) = re.findall(r"```py\n(.*?)```", PAGE, flags=re.DOTALL)
        exec(code, found := {})
        said["called"] = found["to_call"]
    return said


def numbers(line):
    return [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", line)]


def words(line):
    return re.sub(r"[\d.─━]+|\s+", " ", line).split()


@pytest.mark.parametrize("command", [TRAIN, *(line for line in COMMANDS if line.startswith("rmsprop predict"))])
def test_the_page_shows_what_is_printed(printed, command):
    """Words to the letter; numbers as far as another processor's rounding leaves the same course."""
    for line in printed[command].splitlines():
        if line.startswith("note: ") or line.startswith("File"):
            assert line in PAGE.splitlines()
        elif line.startswith(("│", "Scores")):
            (shown,) = (other for other in PAGE.splitlines() if words(other) == words(line))
            assert numbers(shown) == pytest.approx(numbers(line), abs=0.03)


def test_the_page_quotes_the_log_of_the_program():
    """Every line of output and of the tables stands in it."""
    log = {line.rstrip() for line in LOG.read_text(encoding="utf-8").splitlines()}
    blocks = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)[1:]
    quoted = [line for block in blocks for line in block.splitlines()]
    quoted += [line for line in PAGE.splitlines() if line.startswith("|")]
    assert len(quoted) > 40
    assert [line for line in quoted if line.rstrip() not in log] == []
    assert [command for command in COMMANDS if f"$ {command}" not in log] == []


def test_the_rows_that_the_page_shows_are_the_first(tmp_path):
    subprocess.run([sys.executable, "-m", "benchmarks.customers", "--out", str(tmp_path)], cwd=ROOT, check=True)
    (rows, *_) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    assert (tmp_path / "customers.csv").read_text(encoding="utf-8").startswith(rows)


def test_those_to_call_are_the_ones_that_the_table_of_thresholds_counts(printed):
    (called,) = re.findall(r"^\| 0\.2 \| (\d+) \|", PAGE, flags=re.MULTILINE)
    assert len(printed["called"]) == pytest.approx(int(called), rel=0.1)
