"""What rows remember of steps is as it was or as it is to be, wherever a Ctrl-C comes."""

import sys
from itertools import count

import numpy as np
import pytest
import torch

from rmsprop import Rule, decays, drift, row_table
from rmsprop.batch import Batch
from rmsprop.torch import RMSprop
from rmsprop.torch.rows import clock, sparse, update


def cut_short(act, nth, path):
    """Call a function until the nth line of a file is about to be run; return whether it came so far."""
    lines = count(1)

    def trace(frame, event, _):
        if frame.f_code.co_filename == path and event == "line" and next(lines) == nth:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


MEMORIES = {
    "decays": (
        decays,
        lambda: decays.Decays("float64"),
        lambda memory, step: memory.record(Rule(decay=0.5 + step / 100), step),
    ),
    "drift": (
        drift,
        lambda: drift.Drift("float64", 0),
        lambda memory, step: memory.record(Rule(momentum=0.5 + step / 100), 0.1 * step, step),
    ),
}


@pytest.mark.parametrize(("module", "make", "record"), MEMORIES.values(), ids=MEMORIES)
def test_a_step_that_is_noted_again_after_an_interruption_counts_once(module, make, record):
    for nth in count(1):
        cut, whole = make(), make()
        for memory in (cut, whole):
            for step in range(1, 5):
                record(memory, step)
        was_cut = cut_short(lambda memory=cut: record(memory, 5), nth, module.__file__)
        for memory in (cut, whole):
            for step in range(5, 9):
                record(memory, step)
        for ours, theirs in zip(cut.shares(np.arange(9), 8), whole.shares(np.arange(9), 8), strict=True):
            assert np.array_equal(ours, theirs), nth
        if not was_cut:
            break
    assert nth > 8


def test_a_table_that_is_interrupted_looks_at_the_decays_again():
    def noted(decay):
        memory = decays.Decays("float32")
        memory.record(Rule(decay=decay), 1)
        return memory

    for nth in count(1):
        first, second = noted(0.5), noted(0.9)
        table = row_table.RowTable(Batch("float32", 1, Rule()), (4, 2), 1, np.zeros(4, np.int32))
        table.prepared(first, 1, None)
        was_cut = cut_short(lambda to=table, of=second: to.prepared(of, 1, None), nth, row_table.__file__)
        table.prepared(second, 1, None)
        found = second.segments(1)
        expected = [found.begins, found.corrected, *found.powers, *found.later]
        names = ("begins", "corrected", "kept", "lost", "later_kept", "later_lost")
        assert [getattr(table.struct, name) for name in names] == [each.ctypes.data for each in expected], nth
        if not was_cut:
            break
    assert nth > 8


def table_of_rows():
    """A table that has taken three steps on some of its rows, all of which were then brought up to date."""
    param = torch.ones(6, 2, requires_grad=True)
    optimizer = RMSprop([param], lr=0.1)
    for _ in range(3):
        step_on_rows(optimizer, param)
    assert optimizer.state[param]["square_avg"].shape == (6, 2)  # reading it does
    return optimizer, param


def step_on_rows(optimizer, param):
    values = torch.full((2, 2), 0.5)
    param.grad = torch.sparse_coo_tensor([[1, 4]], values, param.shape, check_invariants=True)
    optimizer.step()


@pytest.mark.parametrize("module", [clock, decays, row_table, sparse, update], ids=lambda module: module.__name__)
def test_a_step_that_is_taken_again_after_an_interruption_looks_at_the_rows_as_they_are(module):
    for nth in count(1):
        (cut, param), (whole, other) = table_of_rows(), table_of_rows()
        was_cut = cut_short(lambda cut=cut, param=param: step_on_rows(cut, param), nth, module.__file__)
        missing = 6 - int(cut.state[param].counter)
        for _ in range(missing):
            step_on_rows(cut, param)
        for _ in range(3):
            step_on_rows(whole, other)
        assert torch.equal(param, other), nth
        assert torch.equal(cut.state[param]["square_avg"], whole.state[other]["square_avg"]), nth
        if not was_cut:
            break
    assert nth > 10
