"""`rmsprop window` as a person and a script use it."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.cli.output import bar


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, ["window", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output
    return result


def test_the_tables_say_what_a_decay_means_and_fit_a_hundred_columns():
    said = run(0.9, 0.999, "--problem", "wine", "--steps", 20).stdout
    assert re.search(r"0.9 +6.579 +10 +28.43 +10\s% +65.1\s% +> 99.9\s%", said)
    assert re.search(r"0.999 +692.8 +1,000 +2,994 +0.1\s% +0.996\s% +9.52\s% +63.2\s%", said)
    assert re.search(r"0.9 +v₀ = 0 +3.16 +2.29 +1.24 +1 +step 23", said)
    assert re.search(r"0.9 +v₀ = 1 +0.0105 +0.0111 +0.0169 +0.889 +step 109", said)
    assert "First steps on the gradients of wine (RMSProp, lr 0.01, batches of 16)" in said
    assert re.search(r"0.999 +v₀ = 0 +31.6 ", said)
    assert max(map(len, said.splitlines())) <= 100


def test_json_is_one_object_and_nothing_else():
    result = run(0.99, "--gradient", 0.5, "--problem", "wine", "--steps", 3, "--json", "--out", "w.svg")
    content = json.loads(result.stdout)
    assert result.stderr == ""
    decay = content["decays"][0]
    assert (content["gradient"], content["out"], decay["decay"]) == (0.5, "w.svg", 0.99)
    assert decay["half_life"] == pytest.approx(68.97, abs=0.01)
    assert decay["filled"]["100"] == pytest.approx(1 - 0.99**100)
    assert decay["first_steps"]["v₀ = 0"]["sizes"]["1"] == pytest.approx(10.0)
    assert decay["first_steps"]["v₀ = 1"]["sizes"]["1"] == pytest.approx(0.5, rel=0.01)
    assert content["recorded"]["steps"] == 3
    assert content["recorded"]["median_step_sizes"][0]["sizes"]["v₀ = 0"]["1"] == pytest.approx(10.0)


@pytest.mark.parametrize(("name", "begins"), [("w.png", b"\x89PNG"), ("new/folder/w.SVG", b"<?xml")])
def test_a_picture_is_drawn_when_asked_for(name, begins):
    assert f"File: {name}" in run(0.5, "--out", name).stdout
    assert Path(name).read_bytes().startswith(begins)


BAD = {
    "none": ([], "Missing argument 'DECAY...'"),
    "zero": (["0"], "the decay is 0.0: it must be a number between 0 and 1, both excluded, such as 0.99"),
    "one": (["0.9", "1"], "the decay is 1.0: it must be a number between 0 and 1"),
    "negative": (["--", "-0.9"], "the decay is -0.9: it must be a number between 0 and 1"),
    "nan": (["nan"], "the decay is nan: it must be a number between 0 and 1"),
    "word": (["long"], "'long' is not a valid float"),
    "twice": (["0.9", "0.90"], "the decay 0.9 is given twice"),
    "too many": ([f"0.{i}" for i in range(1, 8)], "7 decays are given: give 1 to 6"),
    "gradient": (["0.9", "--gradient", "0"], "--gradient is 0: it must be a number from 1e-150 to 1e+150"),
    "steps alone": (["0.9", "--steps", "9"], "--steps is for a real run: name one with --problem"),
    "steps": (["0.9", "--problem", "wine", "--steps", "0"], "--steps is 0: it must be from 2 to 100000"),
    "split alone": (["0.9", "--split", "time"], "--split is for a real run: name one with --problem"),
    "drop alone": (["0.9", "--drop", "x"], "--drop is for a real run: name one with --problem"),
    "target alone": (["0.9", "--target", "y"], "--target is for a real run: name one with --problem"),
    "problem": (["0.9", "--problem", "zebra"], "there is no problem 'zebra': choose one of linear, digits, "),
    "long problem": (["0.9", "--problem", 5000 * "z"], "there is no problem 'zzz"),
    "table": (["0.9", "--problem", "t.csv", "--target", "y"], "there is no file t.csv: check the path"),
    "file in the way": (["0.9", "--out", "way/in/w.png"], "--out way/in/w.png: way is not a folder: give another name"),
    "kind": (["0.9", "--out", "w.gif"], "'w.gif' ends in none of .png, .svg"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(arguments, message):
    Path("way").write_text("")
    result = run(*arguments, code=2)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert [path.name for path in Path().iterdir()] == ["way"]


def test_a_decay_next_to_another_is_told_from_it():
    said = run(0.9, 0.9000000001, 0.9999999999999999).stdout
    assert all(f"\n{decay} " in said for decay in ("0.9", "0.9000000001", "0.9999999999999999"))
    assert max(map(len, said.splitlines())) <= 100


def test_a_table_has_gradients_too():
    Path("t.csv").write_text("x,y\n" + "".join(f"{row % 7},{row * 0.5}\n" for row in range(40)))
    table = ["--problem", "t.csv", "--target", "y"]
    assert "First steps on the gradients of t.csv" in run(0.9, *table).stdout
    assert run(0.9, *table, "--split", "time").stdout != run(0.9, *table).stdout


def test_what_a_bar_is_for_is_no_markup(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar("[/b]", 2, quiet=False) as advance:
        advance()
    assert "[/b]" in capsys.readouterr().err


def test_a_bar_is_for_terminals(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "wine" in run(0.9, "--problem", "wine", "--steps", 5).stderr


def test_the_commands_in_the_documentation_run():
    page = Path(__file__).parent.parent / "docs" / "window.md"
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 3
    for command in commands:
        run(*shlex.split(command)[2:])
