"""`rmsprop explain --html` as a person uses it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.explain import LANGUAGES


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, ["explain", *arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_written_in_its_language(language):
    assert run("--html", "new/folder/page.html", "--language", language).stdout == "File: new/folder/page.html\n"
    assert f'<html lang="{language}' in Path("new/folder/page.html").read_text(encoding="utf-8")


BAD = {
    "nothing": ([], "there is nothing to explain: name a dialect, such as torch, or write a page with --html FILE"),
    "both": (["torch", "--html", "p.html"], "DIALECT is for one dialect, and --html is for all: leave one of them out"),
    "an option": (["--html", "p.html", "--decay", "0.9"], "--decay is for one dialect, and --html is for all"),
    "json": (["--html", "p.html", "--json"], "--json is for one dialect, and --html is for all"),
    "no page": (["torch", "--language", "en"], "--language is for the page: add --html FILE"),
    "a picture": (["--html", "p.png"], "'p.png' ends in none of .html."),
    "a language": (["--html", "p.html", "--language", "la"], "'la' is not"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_told_in_one_sentence(arguments, said):
    result = run(*arguments, code=2)
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not Path("p.html").exists()
