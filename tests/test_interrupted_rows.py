"""What rows remember of steps is as it was or as it is to be, wherever a Ctrl-C comes."""

import sys
from itertools import count

import numpy as np
import pytest

from rmsprop import Rule, decays, drift


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
