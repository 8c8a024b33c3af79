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
    names = {"chart.png", "results.json", "startup.csv", "summary.md", "timings.csv"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_says_what_it_ran_on(results):
    expected = {"cpu", "cpus", "threads", "system", "torch", "numpy", "jax", "rmsprop", "commit", "load before"}
    assert expected < set(results["environment"])


TORCH = ("rmsprop", "for-loop", "foreach", "adagrad", "adam")
UNUSUAL = ("dtensor", "dtensor-large", "subclass", "gap", "shared", "turns", "momentum", "none")
KERAS = ("keras-torch-apply", "keras-torch-train", "keras-tensorflow-apply", "keras-tensorflow-train")
JAX = ("jax-one-array", "jax-one-array-options", "jax-resnet", "jax-resnet-options")
CONTENDERS = {
    **dict.fromkeys(("one-tensor", "resnet", "many", "all-options"), (*TORCH, "composite")),
    **dict.fromkeys(("narrow-resnet", "mlp"), TORCH),
    **dict.fromkeys(UNUSUAL, ("rmsprop", "ordinary", "for-loop", "foreach")),
    **dict.fromkeys(
        ("bfloat16", "bfloat16-resnet"), ("rmsprop", "ordinary", "stochastic", "kahan", "for-loop", "foreach")
    ),
    **dict.fromkeys(("packed-state", "packed-resnet"), ("rmsprop", "bfloat16-state", "8bit-state")),
    **dict.fromkeys(("schedule-free", "schedule-free-resnet"), ("rmsprop", "schedule-free", "adamw-schedule-free")),
    **dict.fromkeys(("numpy-small", "numpy"), ("rmsprop", "hand-written", "careful")),
    **dict.fromkeys(JAX, ("rmsprop", "optax")),
    **dict.fromkeys(KERAS, ("rmsprop", "keras")),
    "keras-torch-train": ("rmsprop", "keras", "none"),
    "rows": ("rmsprop", "ordinary"),
}
BOUND_BY_MEMORY = ["one-tensor", "resnet", "narrow-resnet", "all-options", "numpy-small", "numpy"]


def test_cases_are_all_here(results):
    assert set(results["cases"]) == set(CONTENDERS)


@pytest.mark.parametrize("case", CONTENDERS)
def test_summarizes_every_contender(results, case):
    rows = {row["contender"]: row for row in results["cases"][case]["seconds_per_step"]}
    assert set(rows) == {*CONTENDERS[case], *["floor"] * (case in BOUND_BY_MEMORY)}
    for row in rows.values():
        assert 0 < row["least"] <= row["low"] <= row["median"] <= row["high"]
        assert row["processor"] > 0
    assert rows["rmsprop"]["times_ours"] == rows["rmsprop"]["processor_times_ours"] == 1


@pytest.mark.parametrize("case", CONTENDERS)
def test_keeps_every_timing(timings, case):
    rounds = {(row["placement"], row["round"]) for row in timings if row["case"] == case}
    for contender in [*CONTENDERS[case], *["floor-1", "floor-2"] * (case in BOUND_BY_MEMORY)]:
        kept = [row for row in timings if row["case"] == case and row["contender"] == contender]
        assert {(row["placement"], row["round"]) for row in kept} == rounds
        assert len(kept) == len(rounds)
        assert all(int(row["nanoseconds"]) > 0 for row in kept)


def test_states_every_goal(results):
    stated = {(goal["case"], goal["text"]) for goal in results["goals"]}
    assert len(stated) == len(results["goals"]) == 54


def test_page_has_a_line_per_case(folder, results):
    page = (folder / "summary.md").read_text()
    assert "](chart.png)" in page
    for case in results["cases"].values():
        assert f"| {case['title']} |" in page


def test_memory_is_measured_where_it_can_be_located(results):
    measured = {(found["case"], found["contender"]) for found in results["memory"]}
    torch_cases = ("one-tensor", "resnet", "all-options")
    assert measured == {
        *((case, contender) for case in torch_cases for contender in ("rmsprop", "composite")),
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


def test_measures_only_the_cases_named(tmp_path):
    """And draws no chart, which has a panel for each of the usual cases."""
    options = ["--quick", "--skip-compile", "--case", "mlp", "--case", "turns", "--results", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "benchmarks", *options], cwd=ROOT, capture_output=True, check=True)
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found["cases"]) == ["mlp", "turns"]
    assert not found["memory"]
    assert not found["startup_seconds"]
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "startup.csv", "summary.md", "timings.csv"}
    assert "chart.png" not in (tmp_path / "summary.md").read_text()


def test_situations_are_what_they_say():
    script = """
from torch.distributed.tensor import DTensor
from benchmarks.situations import SITUATIONS, SituationEntry
from torch import nn
shapes = ((4,),) * 6
made = {name: situation.params(shapes) for name, situation in SITUATIONS.items()}
for params in made.values():
    assert [tuple(param.shape) for param in params] == list(shapes)
    assert all(param.is_leaf and param.requires_grad and param.grad.shape == param.shape for param in params)
assert all(type(param) is DTensor and type(param.grad) is DTensor for param in made["dtensor"])
assert all(isinstance(param, nn.Parameter) and type(param) is not nn.Parameter for param in made["subclass"])
assert [param.is_contiguous() for param in made["gap"]] == [True] * 5 + [False]
assert len({param.data_ptr() for param in made["shared"]}) == 5
assert len({param.data_ptr() for param in made["none"]}) == 6
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_situations_change_from_step_to_step():
    script = """
from benchmarks.situations import SITUATIONS
from rmsprop.torch import RMSprop

def seen(name, look):
    params = SITUATIONS[name].params(((4,),) * 6)
    grads = [param.grad for param in params]
    optimizer = RMSprop(params, 1e-3, momentum=0.9)
    between, found = SITUATIONS[name].between(optimizer, params), []
    for _ in range(6):
        between()
        assert all(param.grad is None or param.grad is grad for param, grad in zip(params, grads, strict=True))
        found.append(look(optimizer, params))
    return found

def there(optimizer, params):
    return tuple(param.grad is not None for param in params)

turns = seen("turns", there)
assert {sum(step) for step in turns} == {3} and len(set(turns)) > 2
assert seen("none", there) == [(False, True) * 3, (True,) * 6] * 3
momenta = seen("momentum", lambda optimizer, params: optimizer.param_groups[0]["momentum"])
assert len(set(momenta)) == 6 and all(0.85 <= momentum < 0.95 for momentum in momenta)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_what_happens_between_steps_is_not_timed():
    script = """
from time import sleep
from types import SimpleNamespace
from benchmarks.timing import _batch
calls = []
runner = SimpleNamespace(step=lambda: calls.append("step"), between=lambda: (calls.append("between"), sleep(0.05)))
wall, processor = _batch(runner, 3)
assert calls == ["between", "step"] * 3
assert 0 < wall < 50e6 and 0 < processor < 50e6
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
