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
    expected = {"cpu", "cpus", "threads", "system", "torch", "numpy", "jax", "rmsprop", "commit", "load before"}
    assert expected < set(results["environment"])


CONTENDERS = {
    "torch": ["rmsprop", "for-loop", "foreach", "adagrad", "adam"],
    "numpy": ["rmsprop", "hand-written", "careful"],
    "jax": ["rmsprop", "optax"],
}
CASES = {
    **dict.fromkeys(["one-tensor", "resnet", "narrow-resnet", "many", "mlp", "all-options"], "torch"),
    **dict.fromkeys(["numpy-small", "numpy"], "numpy"),
    **dict.fromkeys(["jax-one-array", "jax-one-array-options", "jax-resnet", "jax-resnet-options"], "jax"),
}
BOUND_BY_MEMORY = ["one-tensor", "resnet", "narrow-resnet", "all-options", "numpy-small", "numpy"]


def test_cases_are_all_here(results):
    assert {name: case["library"] for name, case in results["cases"].items()} == CASES


@pytest.mark.parametrize("case", CASES)
def test_summarizes_every_contender(results, case):
    rows = {row["contender"]: row for row in results["cases"][case]["seconds_per_step"]}
    assert set(rows) == {*CONTENDERS[CASES[case]], *["floor"] * (case in BOUND_BY_MEMORY)}
    for row in rows.values():
        assert 0 < row["least"] <= row["low"] <= row["median"] <= row["high"]
    assert rows["rmsprop"]["times_ours"] == 1


@pytest.mark.parametrize("case", CASES)
def test_keeps_every_timing(timings, case):
    rounds = {(row["placement"], row["round"]) for row in timings if row["case"] == case}
    for contender in [*CONTENDERS[CASES[case]], *["floor-1", "floor-2"] * (case in BOUND_BY_MEMORY)]:
        kept = [row for row in timings if row["case"] == case and row["contender"] == contender]
        assert {(row["placement"], row["round"]) for row in kept} == rounds
        assert len(kept) == len(rounds)
        assert all(int(row["nanoseconds"]) > 0 for row in kept)


def test_states_every_goal(results):
    stated = {(goal["case"], goal["text"]) for goal in results["goals"]}
    assert len(stated) == len(results["goals"]) == 22


def test_page_has_a_line_per_case(folder, results):
    page = (folder / "summary.md").read_text()
    assert "](chart.png)" in page
    for case in results["cases"].values():
        assert f"| {case['title']} |" in page


def test_memory_is_measured_where_it_can_be_located(results):
    measured = {(found["case"], found["contender"]) for found in results["memory"]}
    assert measured == {
        *((case, contender) for case in ("one-tensor", "all-options") for contender in ("rmsprop", "for-loop")),
        *(("numpy", contender) for contender in ("rmsprop", "hand-written")),
    }


def test_floor_leaves_values_alone():
    script = """
import numpy as np
from benchmarks.cases import CASES
from benchmarks.contenders import CONTENDERS, entering
from benchmarks.floor import FLOORS, Floor
for name in ("one-tensor", "all-options", "numpy"):
    case = next(case for case in CASES if case.name == name).quick()
    entry = entering(CONTENDERS, case)[0].enter(case)
    entry.step()
    before = [array.copy() for array in entry.arrays()[0]]
    assert len(before) == case.arrays
    for name in FLOORS:
        floor = Floor(name, entry, case.arrays)
        floor.locate()
        floor.step()
    assert all(map(np.array_equal, before, entry.arrays()[0]))
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_contenders_on_numpy_compute_the_same():
    script = """
import numpy as np
from benchmarks import on_numpy
from benchmarks.cases import CASES
case = next(case for case in CASES if case.name == "numpy").quick()
first, *others = [on_numpy.NumpyEntry(case, getattr(on_numpy, make)) for make in ("ours", "hand_written", "careful")]
for _ in range(3):
    first.step()
    for other in others:
        other.step()
        for one, two in zip(first.arrays()[0], other.arrays()[0], strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)  # some ten roundings of numbers around 1
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
