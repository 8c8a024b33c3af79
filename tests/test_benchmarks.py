"""The benchmarks run and write what they should. Their numbers are for people: none is tested here."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--skip-compile", "--results", str(results)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    assert all(len(line) <= 100 for line in output.stdout.splitlines()[:-1])  # the last one names the folder
    return results


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def timings(folder):
    with (folder / "timings.csv").open() as file:
        return list(csv.DictReader(file))


def test_writes_every_file_whole(folder):
    names = {"chart.png", "chart.svg", "results.json", "startup.csv", "summary.md", "timings.csv"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "chart.svg").read_text().rstrip().endswith("</svg>")


def test_says_what_it_ran_on(results):
    expected = {"cpu", "cpus", "threads", "system", "torch", "rmsprop", "commit", "load before"}
    assert expected < set(results["environment"])


CASES = ["one-tensor", "resnet", "narrow-resnet", "many", "mlp", "all-options"]
BOUND_BY_MEMORY = ["one-tensor", "resnet", "narrow-resnet", "all-options"]
CONTENDERS = ["rmsprop", "for-loop", "foreach", "adagrad", "adam"]


@pytest.mark.parametrize("case", CASES)
def test_summarizes_every_contender(results, case):
    rows = {row["contender"]: row for row in results["cases"][case]["seconds_per_step"]}
    assert set(rows) == {*CONTENDERS, *["floor"] * (case in BOUND_BY_MEMORY)}
    for row in rows.values():
        assert 0 < row["least"] <= row["low"] <= row["median"] <= row["high"]
    assert rows["rmsprop"]["times_ours"] == 1


@pytest.mark.parametrize("case", CASES)
def test_keeps_every_timing(timings, case):
    rounds = {(row["placement"], row["round"]) for row in timings if row["case"] == case}
    for contender in [*CONTENDERS, *["floor-1", "floor-2"] * (case in BOUND_BY_MEMORY)]:
        kept = [row for row in timings if row["case"] == case and row["contender"] == contender]
        assert {(row["placement"], row["round"]) for row in kept} == rounds
        assert len(kept) == len(rounds)
        assert all(int(row["nanoseconds"]) > 0 for row in kept)


def test_states_every_goal(results):
    stated = {(goal["case"], goal["text"]) for goal in results["goals"]}
    assert len(stated) == len(results["goals"]) == 14


def test_page_has_a_line_per_case(folder, results):
    page = (folder / "summary.md").read_text()
    assert "](chart.png)" in page
    for case in results["cases"].values():
        assert f"| {case['title']} |" in page


def test_floor_leaves_values_alone():
    script = """
import torch
from benchmarks.cases import CASES
from benchmarks.contenders import CONTENDERS, Entry
from benchmarks.floor import FLOORS, Floor
for case in (CASES[0].quick(), CASES[-1].quick()):
    entry = Entry(CONTENDERS[0], case)
    entry.step()
    before = [array.clone() for array in entry.arrays(entry.params[0])]
    assert len(before) == case.arrays
    for name in FLOORS:
        floor = Floor(name, entry, case.arrays)
        floor.locate()
        floor.step()
    assert all(map(torch.equal, before, entry.arrays(entry.params[0])))
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
