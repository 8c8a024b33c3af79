"""Pages of docs/learn and docs/how-to: their commands run in order, and print what the pages show."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs" / "learn").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")])


def steps(page):
    """The blocks of a page that do something, in order: their language and their text."""
    return re.findall(r"^```(py|sh|text)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shown(line):
    """A line without what depends on the terminal's width: its words, and its numbers."""
    line = re.sub(r"[┏┓┃┡┩│└┘━─┳╇┴*]+|\s+", " ", line)
    numbers = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])", line)
    return re.sub(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])", "#", line).split(), [*map(float, numbers)]


def run(line):
    command, _, remark = line.partition("  #")
    result = CliRunner().invoke(rmsprop, shlex.split(command)[1:])
    assert result.exit_code == ("exit code 1" in remark), result.output
    return result.output


def missing(text, output):
    """The lines of a block that were not printed; numbers may differ as far as another processor rounds differently."""
    printed = [shown(line) for line in output.splitlines()]
    return [
        line
        for line in text.splitlines()
        if line.strip() != "..."
        and not any(
            words == shown(line)[0] and numbers == pytest.approx(shown(line)[1], rel=0.02, abs=1e-4)
            for words, numbers in printed
        )
    ]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if steps(page) and ".zh" not in page.name], ids=lambda page: page.stem
)
def test_what_a_page_has_a_reader_type_prints_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    output = ""
    for language, text in steps(page):
        if language == "py":
            exec(text, {})
        elif language == "sh":
            output = "".join(run(line) for line in text.splitlines() if line.startswith("rmsprop "))
        else:
            assert missing(text, output) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("loss 0.123\n...\n", []),
        ("loss 0.124\n", []),
        ("loss 0.14\n", ["loss 0.14"]),
        ("a loss of 0.123\n", ["a loss of 0.123"]),
    ],
)
def test_a_line_that_was_not_printed_is_seen(text, found):
    assert missing(text, "first\nloss   0.123\n") == found
