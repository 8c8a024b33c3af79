"""One optimizer and several threads: the second step waits; a forked child finds nothing locked."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rmsprop.numpy import RMSprop
from rmsprop.numpy import plan as plan_module

THREADS, STEPS = 4, 50


@pytest.fixture
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "centered": True, "bias_correction": True}], ids=str)
def test_steps_from_several_threads_are_counted_and_computed_one_by_one(options, frequent_switches):
    """All gradients are equal, so that the order in which threads come makes no difference."""
    arrays = [np.ones((1000, 100), np.float32)[:, ::2], np.ones(200_000)]  # the first is copied in and out
    alone = [array.copy() for array in arrays]
    grads = [np.full(array.shape, 0.5, array.dtype) for array in arrays]
    optimizer, other = RMSprop(arrays, threads=2, **options), RMSprop(alone, **options)

    def run(_):
        for _ in range(STEPS):
            optimizer.step([grad.copy() for grad in grads])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))
    for _ in range(THREADS * STEPS):
        other.step(grads)
    assert [state["step"] for state in optimizer.state] == [THREADS * STEPS] * 2
    for array, expected, state, expected_state in zip(arrays, alone, optimizer.state, other.state, strict=True):
        assert (array == expected).all()
        assert all((state[name] == expected_state[name]).all() for name in optimizer.rule.state_names)


@pytest.fixture
def in_a_step(monkeypatch):
    """An optimizer in whose step another thread stands until the test says so; returns it with the two events."""
    inside, go_on = threading.Event(), threading.Event()
    optimizer, prepared = RMSprop([np.ones(3)], threads=1), plan_module.native.prepared

    def slow(*args, **options):
        if not inside.is_set():
            inside.set()
            assert go_on.wait(60)
        return prepared(*args, **options)

    monkeypatch.setattr(plan_module.native, "prepared", slow)
    thread = threading.Thread(target=optimizer.step, args=([np.ones(3)],))
    thread.start()
    assert inside.wait(60)
    yield optimizer, go_on
    go_on.set()
    thread.join()


@pytest.mark.parametrize(
    "wants",
    [
        lambda optimizer, state: optimizer.step([np.ones(3)]),
        lambda optimizer, state: optimizer.state_dict(),
        lambda optimizer, state: optimizer.load_state_dict(state),
        lambda optimizer, state: pickle.dumps(optimizer),
    ],
    ids=["step", "save", "load", "pickle"],
)
def test_who_wants_the_state_waits_until_the_step_is_whole(in_a_step, wants):
    optimizer, go_on = in_a_step
    state = RMSprop([np.ones(3)]).state_dict()
    second = threading.Thread(target=wants, args=(optimizer, state))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go_on.set()
    second.join(60)
    assert not second.is_alive()


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_has_a_lock_of_its_own(copied):
    optimizer = RMSprop([np.ones(3)])
    other = copied(optimizer)
    with optimizer._lock, ThreadPoolExecutor(1) as pool:
        pool.submit(other.step, [np.ones(3)]).result(60)
    assert other.state[0]["step"] == 1


FORK = """
import os, threading
import numpy as np
from rmsprop.numpy import RMSprop

optimizer, held, go_on = RMSprop([np.ones(3)], threads=1), threading.Event(), threading.Event()

def hold():
    with optimizer._lock:
        held.set()
        go_on.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    optimizer.step([np.ones(3)])
    os._exit(10 + optimizer.state[0]["step"])
print(child, flush=True)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
optimizer.step([np.ones(3)])
print(code, optimizer.state[0]["step"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_child_forked_during_a_step_doesnt_wait_for_a_thread_that_it_doesnt_have():
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", FORK], stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        timer = threading.Timer(60, os.kill, (child, signal.SIGKILL))  # a child that hangs
        timer.start()
        assert process.stdout.read().split() == ["11", "1"]
        timer.cancel()
