"""docs/problems.md tells of every problem, and what it has a person type runs."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.problems import load
from rmsprop.lab.problems.defaults import PROBLEMS

PAGE = (Path(__file__).parents[3] / "docs" / "problems.md").read_text(encoding="utf-8")
ROWS = {
    row[0]: row for row in re.findall(r"^\| `([\w-]+)` \| (.+) \| (.+) \| (.+) \| (\w+) \|$", PAGE, flags=re.MULTILINE)
}


def test_the_table_has_every_problem_in_order():
    assert list(ROWS) == list(PROBLEMS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_table_has_the_rows_and_the_metric_of_each(name):
    problem, (_, _, _, rows, metric) = load(name), ROWS[name]
    assert metric == problem.metric.name
    count = sum(map(len, problem.parts.values())) if problem.holds_out else len(problem.train)
    assert rows.split()[0].rstrip(",") == (str(count) if count > 1 else "none")
    assert ("all trained on" in rows) == (not problem.holds_out and problem.optimum != 0.0)


def test_the_commands_run(own):
    module = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "def rings" in block)
    Path("rings.py").write_text(module, encoding="utf-8")
    commands = "".join(re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)).splitlines()
    assert len(commands) == 2
    for command in commands:
        result = CliRunner().invoke(rmsprop, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
