"""The benchmarks on a GPU run everywhere in tiny sizes, and say what they found. No number of theirs is tested here."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
CASES = {
    "billion": {"rmsprop", "foreach", "adagrad", "adam"},
    "resnet": {"rmsprop", "foreach", "adagrad", "adam"},
    "many": {"rmsprop", "foreach", "adagrad", "adam"},
    "bfloat16": {"rmsprop"},
    "all-options": {"rmsprop", "foreach"},
}


# As where bitsandbytes isn't installed, which the tests of checkpoints need.
ALONE = "import runpy, sys; sys.modules['bitsandbytes'] = None; runpy.run_module('benchmarks.gpu', run_name='__main__')"


def run(*arguments):
    command = [sys.executable, "-c", ALONE, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    output = run("--quick", "--skip-compile", "--results", str(results))
    assert output.returncode == 0, output.stderr
    return results


def test_writes_a_page_all_timings_and_everything_for_programs(folder):
    assert {path.name for path in folder.iterdir()} == {"results.json", "summary.md", "timings.csv"}
    found = json.loads((folder / "results.json").read_text())
    assert set(found["cases"]) == set(CASES)
    assert {"gpu", "torch", "triton", "commit"} < set(found["environment"])
    page = (folder / "summary.md").read_text()
    for case in found["cases"].values():
        assert f"## {case['title']}" in page


def test_quick_says_so_and_judges_nothing(folder):
    found, page = json.loads((folder / "results.json").read_text()), (folder / "summary.md").read_text()
    assert found["quick"] is True
    assert [goal for case in found["cases"].values() for goal in case["goals"]] == []
    assert page.startswith("# One step on a GPU, quick\n\nMade with --quick, in tiny sizes: ")
    assert "verdict" not in page


def test_quick_writes_no_results_that_are_kept():
    output = run("--quick", "--skip-compile", "--case", "bfloat16")
    assert output.stdout.splitlines()[-1] == f"written to {ROOT / 'build' / 'bench-gpu-quick'}"


SETS = """
import json
from types import SimpleNamespace
import torch
from benchmarks.gpu import timing
from benchmarks.gpu.cases import CASES
torch.cuda.get_device_properties = lambda _: SimpleNamespace(L2_cache_size=50_000_000)
print(json.dumps([[timing._sets(case, "cuda") for case in cases] for cases in (CASES, [c.quick() for c in CASES])]))
"""


def test_tensors_that_take_turns_do_not_fit_in_the_cache_but_quick_makes_few():
    output = subprocess.run([sys.executable, "-c", SETS], cwd=ROOT, capture_output=True, text=True, check=True)
    whole, quick = json.loads(output.stdout)
    assert whole == [1, 1, 10, 1, 1]
    assert set(quick) <= {1, 2}


@pytest.mark.parametrize("case", CASES)
def test_measures_every_contender_and_the_copy_in_both_passes(folder, case):
    with (folder / "timings.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["case"] == case]
    assert {row["contender"] for row in rows} == CASES[case] | {"copy"}
    assert len(rows) == len(CASES[case] | {"copy"}) * 2 * 3
    assert all(int(row["gpu"]) > 0 for row in rows)


def test_says_how_to_add_bitsandbytes(folder):
    sentence = "bitsandbytes RMSprop: not installed; pip install bitsandbytes adds it to the comparison."
    assert sentence in (folder / "summary.md").read_text().splitlines()


RUN_TESTS = """
import json, sys
from pathlib import Path
from benchmarks.gpu import checks
print(json.dumps(checks.run_tests(Path(sys.argv[1]), ("-p", "no:cacheprovider", sys.argv[2]))))
"""


@pytest.mark.parametrize(("holds", "passed", "said"), [("True", True, "1 passed"), ("False", False, "1 failed")])
def test_the_log_of_the_tests_is_stored_beside_the_timings(holds, passed, said, tmp_path):
    (tmp_path / "test_something.py").write_text(f"def test_something():\n    assert {holds}\n")
    command = [sys.executable, "-c", RUN_TESTS, str(tmp_path), str(tmp_path / "test_something.py")]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found, sentence = json.loads(output.stdout)
    assert found is passed
    assert sentence.startswith(said)
    assert sentence.endswith("(tests.log)")
    assert "test_something.py::test_something" in (tmp_path / "tests.log").read_text()


def test_the_tests_that_need_a_gpu_are_those_that_run():
    script = "from benchmarks.gpu import checks; import json; print(json.dumps(checks.TESTS))"
    output = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *json.loads(output.stdout)]
    chosen = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "test_gpu_streams.py::test_a_captured_step_is_replayed" in chosen
    assert ("test_gpu_bits.py" in chosen) == torch.cuda.is_available()
    assert "interpreter" not in chosen


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_says_that_there_is_no_gpu():
    output = run()
    assert output.returncode == 1
    assert output.stderr == (
        "Error: PyTorch finds no GPU here, so nothing was measured: run this on a machine with one and a PyTorch for "
        "it, or with --quick to see that everything runs.\n"
    )


SUMMARIZE = """
import json
from dataclasses import asdict
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.summary import page, summarize
from benchmarks.gpu.timing import Once, Sample
case = CASES[0]
milliseconds = {"rmsprop": (8.0, 9.0, 10.0), "foreach": (18.0, 18.0, 18.0), "copy": (2.0, 2.0, 2.0)}
samples = [
    Sample("billion", turn, nth, name, int(1e6 * time), 50_000, name != "foreach")
    for turn in range(2) for name, times in milliseconds.items() for nth, time in enumerate(times)
]
once = {
    "rmsprop": Once(1.0, 500_000), "foreach": Once(0.1, 8 << 30, waits=True),
    "compiled": Once(missing="RuntimeError: no"),
}
found = summarize(case, samples, once)
print(json.dumps({"rows": [asdict(row) for row in found.rows], "of_copy": found.of_copy,
                  "goals": [(goal.text, goal.measured, goal.verdict) for goal in found.goals]}))
text = page([found], {"gpu": "synthetic"})
assert "torch.compile'd step: RuntimeError: no." in text
assert "torch foreach waits for the GPU in its call" in text
assert "a copy moves 2147 GB/s, rmsprop" in text
text = page([summarize(case, samples, once, cache=1 << 40)], {})
assert "a copy moves 2147 GB/s within the cache, in which it fits, rmsprop" in text
assert "| waits |" in text.split("| torch foreach |")[1].splitlines()[0]
"""


def test_a_summary_of_known_timings():
    output = subprocess.run([sys.executable, "-c", SUMMARIZE], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(output.stdout)
    ours, foreach = found["rows"]
    assert (ours["gpu"], ours["times_ours"], ours["late"]) == (0.009, 1.0, 0)
    assert (foreach["times_ours"], foreach["late"], foreach["processor"]) == (2.0, 6, 5e-05)
    copied = 2 * 2**31 / 0.002
    assert found["of_copy"] == pytest.approx(20 * 4096 * 814 * 300 / 0.009 / copied)
    assert [(text, verdict) for text, _, verdict in found["goals"]] == [
        ("times faster than torch foreach", "missed"),
        ("times faster than torch.compile'd step", "not measured"),
        ("of the copy's bandwidth", "reached"),
        ("MB beyond parameters, gradients and state", "reached"),
    ]


# A GPU that is a number: the moment at which it will have nothing to do. Times are seconds; a call costs what it says.
MODEL = """
import torch
from benchmarks.gpu import timing

class Gpu:
    now = free = slept = 0.0
    def synchronize(self):
        self.now = max(self.now, self.free)
    def sleep(self, cycles):
        self.slept = cycles / timing.CYCLES_PER_SECOND
        self.put(self.slept)
    def put(self, seconds):
        self.free = max(self.now, self.free) + seconds
    def call(self, processor, gpu, waits):
        self.now += processor
        self.put(gpu)
        if waits:
            self.synchronize()

gpu = Gpu()

class Event:
    def __init__(self, enable_timing):
        self.at = 0.0
    def record(self):
        self.at = max(gpu.now, gpu.free)
    def query(self):
        return self.at <= gpu.now
    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)

torch.cuda.Event, torch.cuda._sleep, torch.cuda.synchronize = Event, gpu.sleep, gpu.synchronize
timing.perf_counter_ns = lambda: round(1e9 * gpu.now)
clock = timing.Clock("cuda")
"""


def modelled(script):
    """What a script prints after `MODEL`, as JSON."""
    command = [sys.executable, "-c", MODEL + "import json\n" + script]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


TIME = """
work = lambda: gpu.call(50e-6, 2e-3, waits={waits})
clock.learn(work)
rounds = [(*clock.time(work), gpu.slept) for _ in range(30)]
print(json.dumps([clock.waits, rounds]))
"""


def test_the_gpu_is_kept_busy_while_a_call_is_put_in_line():
    waits, rounds = modelled(TIME.format(waits=False))
    assert not waits
    assert all(found == pytest.approx([2_000_000, 50_000, True, 300e-6], rel=1e-3) for found in rounds)


def test_a_call_that_waits_is_named_and_gets_no_spin_as_its_time():
    waits, rounds = modelled(TIME.format(waits=True))
    assert waits
    assert all(found[:3] == pytest.approx([2_050_000, 2_050_000, False], rel=1e-3) for found in rounds)
    assert all(slept < 0.01 for *_, slept in rounds)


def test_a_call_that_is_slow_once_is_not_taken_for_one_that_waits():
    script = """
costs = iter([50e-6] * 3 + [1.0] + [50e-6] * 100)
work = lambda: gpu.call(next(costs), 2e-3, waits=False)
clock.learn(work)
print(json.dumps([clock.waits, clock.time(work)]))
"""
    waits, (gpu, processor, ahead) = modelled(script)
    assert (waits, ahead) == (False, True)
    assert (gpu, processor) == (pytest.approx(2_000_000, rel=1e-3), pytest.approx(50_000, rel=1e-3))


BEYOND = """
import json
import torch
from benchmarks.gpu import timing
from benchmarks.gpu.cases import CASES, Case
from benchmarks.gpu.contenders import CONTENDERS, Entry
case = Case(name="", title="", shapes=((3,), (5, 7)), options={"momentum": 0.9}, arrays=2)
found = []
for contender in CONTENDERS[:2]:
    entry = Entry(contender, case, "cpu")
    entry.step()
    tables = 777
    torch.cuda.memory_stats = lambda: {"requested_bytes.all.peak": 50 + entry.bytes + tables}
    torch.cuda.reset_peak_memory_stats = torch.cuda.synchronize = lambda: None
    found.append([entry.bytes, timing._beyond(entry, 50, timing.Clock("cuda"))])
print(json.dumps(found))
"""


def test_what_a_step_takes_beyond_holds_all_but_parameters_gradients_and_state():
    output = subprocess.run([sys.executable, "-c", BEYOND], cwd=ROOT, capture_output=True, text=True, check=True)
    ours, torchs = json.loads(output.stdout)
    parameters_two_gradients_two_arrays, two_counters = 5 * 4 * 38, 2 * 4
    assert ours == torchs == [parameters_two_gradients_two_arrays + two_counters, 777]


FIRST_STEP = """
import json, os, time
from types import SimpleNamespace
from benchmarks.gpu import timing
folders = lambda: SimpleNamespace(step=lambda: found.append(os.environ.get("TORCHINDUCTOR_CACHE_DIR")))
found = []
waits = [0.0, 0.2]
clock = SimpleNamespace(wait=lambda: waits and time.sleep(waits.pop()))
for compiled in (True, True, False):
    took = timing._first_step(folders(), SimpleNamespace(compiled=compiled), clock)
    assert took < 0.1, took  # what was in line before does not belong to it
print(json.dumps(found))
"""


def test_a_step_is_compiled_anew_for_its_time():
    output = subprocess.run([sys.executable, "-c", FIRST_STEP], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, plain = json.loads(output.stdout)
    assert len({first, second, plain}) == 3
