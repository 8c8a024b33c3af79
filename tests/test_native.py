"""The kernel computes reference.py to the last bit, however the work is cut and whatever instructions do it."""

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from support import ALL_RULES, BOUNDARY_RULES, kernel_batch, kernel_update, same_bits, wild_gradients

from rmsprop import Rule, library, native, reference

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at the process as Linux shows it")
EVERYTHING = Rule(
    decay=0.9,
    centered=True,
    momentum=0.9,
    nesterov=True,
    lr_in_momentum=True,
    bias_correction=True,
    weight_decay=0.01,
)


def _available():
    before = native.instruction_set()
    names = []
    for name in native.INSTRUCTION_SETS:
        try:
            native.use_instruction_set(name)
            names.append(name)
        except ValueError:
            pass
    native.use_instruction_set(before)
    return names


@pytest.fixture(params=_available())
def instruction_set(request):
    before = native.instruction_set()
    native.use_instruction_set(request.param)
    yield request.param
    native.use_instruction_set(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_rule_has_the_bits_of_the_reference(instruction_set, dtype):
    rng = np.random.default_rng(1)
    for rule in [*ALL_RULES, *BOUNDARY_RULES]:
        param = rng.standard_normal(83).astype(dtype)
        state = reference.init(rule, param)
        ours, our_state = param.copy(), {name: value.copy() for name, value in state.items()}
        for step in range(1, 4):
            grad = wild_gradients(rng, 83, dtype)
            param, state = reference.update(rule, 0.01, step, param, grad, state, maximize=True, grad_scale=0.7)
            kernel_update(rule, 0.01, step, [ours], [grad], [our_state], maximize=True, grad_scale=0.7)
            assert same_bits(ours, param), (rule, step)
            assert all(same_bits(our_state[name], state[name]) for name in state), (rule, step)


def _spread_out(rng, sizes, rule, offset):
    """One case as views that start `offset` numbers past the start of their memory, cut into tensors of these sizes."""

    def views(fill):
        flat = np.empty(sum(sizes) + offset, np.float32)[offset:]
        flat[:] = fill
        return np.split(flat, np.cumsum(sizes)[:-1])

    total = sum(sizes)
    params, grads = views(rng.standard_normal(total)), views(wild_gradients(rng, total))
    columns = {name: views(np.abs(rng.standard_normal(total))) for name in rule.state_names}
    return params, grads, [{name: columns[name][i] for name in columns} for i in range(len(sizes))]


SPLITS = {
    "one": [100_003],
    "halves": [50_001, 50_002],
    "with empty tensors": [0, 99_999, 0, 4, 0],
    "growing": [*range(1, 400), 100_003 - 400 * 399 // 2],
    "vector and tail": [16 * i + i % 16 for i in range(1, 100)]
    + [100_003 - sum(16 * i + i % 16 for i in range(1, 100))],
    "ones": [1] * 3 + [100_000],
}


BODY = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def on_threads(count):
    """Return a parallel_for that cuts every range into so many uneven parts, one thread each."""

    @ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, BODY, ctypes.c_void_p)
    def parallel_for(begin, end, grain, body, context):
        cuts = [begin + (end - begin) * i * (i + 1) // (count * (count + 1)) for i in range(count + 1)]
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(lambda part: body(*part, context), pairwise(cuts)))
        return 0

    return parallel_for


@pytest.mark.parametrize("sizes", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_splits_and_alignment_do_not_change_a_bit(instruction_set, sizes, threads):
    assert sum(sizes) == 100_003
    for offset in (0, 1, 7, 15):
        rng = np.random.default_rng(offset)
        params, grads, states = _spread_out(rng, sizes, EVERYTHING, offset)
        whole = [np.concatenate(column) for column in (params, grads)]
        whole_state = {name: np.concatenate([state[name] for state in states]) for name in EVERYTHING.state_names}
        expected, expected_state = reference.update(EVERYTHING, 0.01, 3, *whole, whole_state)
        kernel_update(EVERYTHING, 0.01, 3, params, grads, states, parallel_for=on_threads(threads))
        assert same_bits(np.concatenate(params), expected)
        for name, value in expected_state.items():
            assert same_bits(np.concatenate([state[name] for state in states]), value)


SIZE = 1_000_003  # above what one thread of the pool takes alone


def a_large_update():
    """Return what an update of a large array starts from, and what the reference makes of it."""
    rule, rng = Rule(momentum=0.9), np.random.default_rng(0)
    param, grad = rng.standard_normal(SIZE).astype(np.float32), rng.standard_normal(SIZE).astype(np.float32)
    return rule, param, grad, reference.update(rule, 0.01, 1, param, grad, reference.init(rule, param))[0]


def test_own_threads_divide_a_large_tensor():
    rule, param, grad, expected = a_large_update()
    for threads in (1, 2, 3, 8) * 5:
        ours = param.copy()
        kernel_update(rule, 0.01, 1, [ours], [grad], [reference.init(rule, ours)], threads=threads)
        assert same_bits(ours, expected)


def test_callers_that_share_the_threads_do_not_disturb_each_other():
    rule, param, grad, expected = a_large_update()

    def update(threads):
        ours = param.copy()
        kernel_update(rule, 0.01, 1, [ours], [grad], [reference.init(rule, ours)], threads=threads)
        return same_bits(ours, expected)

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(update, (2, 3, 1, 8) * 10))


MEETING = """
import sys, threading
import numpy as np
sys.path.insert(0, sys.argv[1])
from support import kernel_batch
from rmsprop import Rule, native, reference
rule = Rule()
def caller():
    arrays = [np.ones(300_000, np.float32) for _ in range(2)]
    state = reference.init(rule, arrays[0])
    batch = kernel_batch(rule, arrays[:1], arrays[1:], [state])
    batch.set_numbers(0.01, 1)
    for _ in range(3):
        native.update([batch], threads=3)
    sys.stdout.write(".")
for _ in range(4000):
    callers = [threading.Thread(target=caller) for _ in range(2)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
"""


def test_callers_that_meet_at_the_end_of_their_work_both_return():
    command = [sys.executable, "-c", MEETING, os.path.dirname(__file__)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "." * 8000


@on_linux
def test_a_small_array_does_not_start_threads_that_would_find_no_work():
    code = MEETING.split("for _ in range(4000)")[0].replace("threads=3", "threads=2**31 - 1") + (
        "import os; caller(); assert len(os.listdir('/proc/self/task')) < 300_000 / (16 * 1024) + 20"
    )
    run = subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


SIGNAL = (
    MEETING.split("for _ in range(4000)")[0]
    + """
import os, signal
caller()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGUSR1)
assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
"""
)


@on_linux
def test_a_blocked_signal_does_not_reach_the_threads_of_the_pool():
    command = [sys.executable, "-c", SIGNAL, os.path.dirname(__file__)]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # NumPy's own threads take signals
    run = subprocess.run(command, capture_output=True, text=True, env=alone)
    assert run.returncode == 0, run.stderr


FORK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_native import *
rule, param, grad, expected = a_large_update()
def update():
    ours = param.copy()
    kernel_update(rule, 0.01, 1, [ours], [grad], [reference.init(rule, ours)], threads=2)
    return same_bits(ours, expected)
assert update()
tasks = lambda: len(os.listdir("/proc/self/task"))
child = os.fork()
if child == 0:
    alone = tasks()
    os._exit(0 if update() and (alone, tasks()) == (1, 2) else 3)
assert os.waitpid(child, 0)[1] == 0
assert update()
"""


@on_linux
def test_a_forked_child_has_threads_of_its_own():
    tests = os.path.dirname(__file__)
    run = subprocess.run([sys.executable, "-c", FORK, tests], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_many_batches_run_in_one_call():
    rng = np.random.default_rng(0)
    rules = [Rule(), Rule(momentum=0.9), Rule(centered=True, decay=0.5)]
    expected, batches, kept = [], [], []
    for rule, dtype in zip(rules, (np.float32, np.float64, np.float32), strict=True):
        param, grad = rng.standard_normal(70_000).astype(dtype), rng.standard_normal(70_000).astype(dtype)
        state = reference.init(rule, param)
        expected.append(reference.update(rule, 0.1, 1, param, grad, state)[0])
        batch = kernel_batch(rule, [param], [grad], [state])
        batch.set_numbers(0.1, 1)
        batches.append(batch)
        kept.append((param, grad, state))
    native.update(batches, threads=3)
    assert all(same_bits(param, e) for (param, _, _), e in zip(kept, expected, strict=True))


@pytest.mark.parametrize("name", native.INSTRUCTION_SETS)
def test_the_environment_chooses_the_instruction_set(name):
    code = "from rmsprop import native; print(native.instruction_set())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, library.INSTRUCTION_SET_VARIABLE: name},
        capture_output=True,
        text=True,
    )
    if name in _available():
        assert run.stdout.strip() == name
    else:
        assert f"this machine has no instruction set '{name}'" in run.stderr


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match=r"'mmx' .known: avx512, avx2, baseline."):
        native.use_instruction_set("mmx")
