"""Training in few bits: what docs/torch.md quotes is in the logs, and the logs say what the page does."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats

from benchmarks import low_bits
from benchmarks.low_bits import SEEDS, STORAGES, Training, best, by_training, missing, rate, trainings, tunings
from benchmarks.low_bits_table import rows, table
from benchmarks.low_bits_tasks import TASKS

ROOT = Path(__file__).parents[1]
FOLDER = max((ROOT / "benchmarks" / "results").glob("*-low-bits"))
SECTION = (
    (ROOT / "docs" / "torch.md").read_text(encoding="utf-8").split("## What few bits come to\n")[1].split("\n## ")[0]
)
LINES = low_bits.read(FOLDER / "runs.jsonl")
LOGS = {path.name: path.read_text(encoding="utf-8").splitlines() for path in FOLDER.glob("*.txt")}
MEASURED = best(LINES)
PLAIN, NEAREST = "float32", "bfloat16 to the nearest"
SMALLEST = "bfloat16, stochastic, 8-bit state"


def test_the_page_quotes_the_logs():
    quoted = [line for line in SECTION.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    assert len(quoted) > 30
    assert [line for line in quoted if not any(line in log for log in LOGS.values())] == []


@pytest.mark.parametrize("task", MEASURED)
def test_the_log_is_what_the_trainings_say(task):
    assert set(table(LINES, task).splitlines()) <= {*LOGS["convergence.txt"]}


@pytest.mark.parametrize("storage", [name for name in STORAGES if name != PLAIN])
def test_all_but_the_nearest_read_digits_within_a_standard_error_of_float32(storage):
    units = rows(LINES, "digits")[storage].units
    assert (abs(units) <= 1) == (storage != NEAREST)


@pytest.mark.parametrize("storage", [name for name in STORAGES if name != PLAIN])
def test_no_storage_can_be_told_from_float32_in_the_transformer(storage):
    assert abs(rows(LINES, "characters")[storage].units) <= 1
    assert stats.ttest_1samp(rows(LINES, "characters")[storage].differences, 0.0).pvalue > 0.05


@pytest.mark.parametrize("task", MEASURED)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_in_backward_has_the_bits_of_a_plain_one(task, seed):
    found, lr = by_training(LINES), best(LINES)[task]
    plain, in_backward = (found[Training(task, f"{SMALLEST}{end}", seed, lr)] for end in ("", ", step in backward"))
    assert plain["weights"] == in_backward["weights"]


def in_log(model, way):
    """Return a line of the table of memory: parameters, state, gradients, together, peak."""
    start = next(at for at, line in enumerate(LOGS["memory.txt"]) if line.startswith(f"transformer of {model}"))
    line = next(line for line in LOGS["memory.txt"][start:] if line.startswith(f"| {way} |"))
    return [float(cell) for cell in line.strip("| ").split(" | ")[1:]]


def test_the_smallest_way_takes_3_05_bytes_per_parameter():
    *held, together, peak = in_log("24 blocks", "rmsprop, bfloat16, 8-bit state, step in backward")
    assert together == pytest.approx(sum(held), abs=0.02)
    assert together <= 3.05 < 12 <= in_log("24 blocks", "torch.optim.RMSprop")[3]
    assert peak < 4.5


def test_the_page_tells_what_a_step_in_backward_takes():
    rows = [line.rsplit(maxsplit=3) for line in LOGS["in_backward.txt"] if line]
    ways = ("in backward", "one optimizer per parameter")
    (once, other), (each, other_each) = ([row[-1] for row in rows if row[0].strip() == way] for way in ways)
    said = " ".join(SECTION.split())
    assert f"backward with it takes {once} times the processor time" in said
    assert f"called by backward, takes {each} times" in said
    assert f"it is {other} and {other_each} times" in said
    assert max(float(once), float(other)) <= 1.15


@pytest.fixture
def short(monkeypatch):
    """The digits for some steps only."""
    monkeypatch.setitem(TASKS, "digits", lambda make=TASKS["digits"]: replace(make(), steps=40, warm_up=4))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("short")
def test_trainings_are_as_their_storage_says():
    found = {name: low_bits.train(Training("digits", name, 0, 1e-5)) for name in STORAGES}
    digests = {name: one["weights"] for name, one in found.items()}
    assert digests[SMALLEST] == digests[f"{SMALLEST}, step in backward"]
    assert len({*digests.values()}) == len(STORAGES) - 1
    assert found[NEAREST]["still"] > 0.9  # a step of 1e-5 is below half a unit of what is above 0.004
    assert found[PLAIN]["still"] < 0.1
    assert all(0 < one["loss"] < 3 for one in found.values())


@pytest.mark.usefixtures("short")
def test_seeds_give_weights_batches_and_noise():
    losses = [low_bits.train(Training("digits", PLAIN, seed, 1e-4))["loss"] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_what_was_written_is_not_done_again():
    wanted = [one for task in TASKS for one in (*tunings(task), *trainings(task, 1e-2))]
    assert len({*wanted}) == len(wanted)
    assert missing([one._asdict() for one in wanted[3:]], wanted) == wanted[:3]


def test_the_best_learning_rate_is_that_of_the_lowest_loss_among_the_tunings():
    lines = [{"task": "digits", "seed": 100, "lr": lr, "loss": loss} for lr, loss in ((1, 0.3), (2, 0.1), (3, 0.2))]
    assert best([*lines, {"task": "digits", "seed": 0, "lr": 4, "loss": 0.01}]) == {"digits": 2}


def test_the_learning_rate_rises_and_falls():
    rates = [rate(step, 10, 100) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert max(rates) == 1.0
    assert 0 < rates[-1] < 1e-3


def measured(way):
    """Return what a way takes on a small model, in a process of its own."""
    script = (
        "import json\nfrom benchmarks.low_bits_memory import WAYS, measure\n"
        f"print(json.dumps(measure(WAYS[{way!r}], 64, 2)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


# The largest matrix is 64 by 256. What is smaller than 1/128 of the model waits for one that is not.
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("way", "per_weight", "state", "share_of_gradients"),
    [
        ("torch.optim.Adam", 4, 8, 1),
        ("torch.optim.RMSprop, bfloat16", 2, 2, 1),
        ("rmsprop, 8-bit state", 4, 1.02, 1),
        ("rmsprop, bfloat16, 8-bit state, step in backward", 2, 1.02, 0.25),
    ],
)
def test_memory_counts_every_tensor(way, per_weight, state, share_of_gradients):
    found = measured(way)
    count = found["count"]
    assert found["parameters"] == per_weight * count
    assert state * count - 0.02 * count <= found["state"] <= state * count + 4 * 40  # counters, and scales of blocks
    assert 2 * 64 * 256 <= found["gradients"] <= share_of_gradients * per_weight * count
    assert found["peak"] >= found["parameters"]
