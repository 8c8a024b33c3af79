"""Rows that wait to be prepared: nobody finds them behind, whatever becomes of parameter and state meanwhile."""

import copy
import io
import pickle

import pytest
import torch
from prepared_rows import DECOUPLED, RULES, gradient, made, param_of, taken, taken_densely

from rmsprop import drift, native
from rmsprop.torch.rows import clock as row_clock


@pytest.mark.parametrize("look", [lambda o: o.state_dict(), lambda o: o.state[param_of(o)]["momentum_buffer"]])
def test_who_looks_at_the_state_finds_everything_up_to_date(look):
    rows, dense = (made(dtype=torch.float64, momentum=0.9, **DECOUPLED) for _ in range(2))
    for nth in range(20):
        taken(rows, gradient(nth, dtype=torch.float64))
        taken_densely(dense, gradient(nth, dtype=torch.float64))
        if nth == 10:
            look(rows)
    look(rows)
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 20 * 2**-53 * 4
    for name, array in dense.state_dict()["state"][0].items():
        torch.testing.assert_close(rows.state_dict()["state"][0][name], array, rtol=6 * 20 * 2**-53, atol=0)
    taken(rows, gradient(20, dtype=torch.float64))
    assert rows.paths()["0"].startswith("kernel on rows")


@pytest.mark.parametrize("state_dtype", [None, "8bit"])
def test_a_resumed_run_has_the_bits_of_the_one_that_goes_on(state_dtype):
    going_on, resumed = (made(momentum=0.9, state_dtype=state_dtype) for _ in range(2))
    for nth in range(5):
        taken(going_on, gradient(nth))
    buffer = io.BytesIO()
    torch.save(going_on.state_dict(), buffer)
    buffer.seek(0)
    resumed.load_state_dict(torch.load(buffer))
    param_of(resumed).data.copy_(param_of(going_on).data)
    for nth in range(5, 10):
        taken(going_on, gradient(nth))
        taken(resumed, gradient(nth))
    going_on.prepare()
    resumed.prepare()
    assert torch.equal(param_of(going_on), param_of(resumed))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
def test_a_copy_goes_on_with_the_same_bits(copied):
    optimizer = made(momentum=0.9)
    for nth in range(5):
        taken(optimizer, gradient(nth))
    other = copied(optimizer)
    for nth in range(5, 10):
        taken(optimizer, gradient(nth))
        taken(other, gradient(nth))
    optimizer.prepare()
    other.prepare()
    assert torch.equal(param_of(optimizer), param_of(other))


def test_all_rows_are_brought_up_to_date_after_so_many_steps(monkeypatch):
    monkeypatch.setattr(drift, "MOST_STEPS", 7)
    rows, dense = (made(dtype=torch.float64, momentum=0.9) for _ in range(2))
    for nth in range(40):
        taken(rows, gradient(nth, dtype=torch.float64))
        taken_densely(dense, gradient(nth, dtype=torch.float64))
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 40 * 2**-53 * 4


def test_loaded_numbers_are_not_moved_by_steps_before_the_load():
    optimizer = made(momentum=0.9)
    for nth in range(5):
        taken(optimizer, gradient(nth))
    saved, weights = copy.deepcopy(optimizer.state_dict()), param_of(optimizer).detach().clone()
    for nth in range(5, 10):
        taken(optimizer, gradient(nth))
    param_of(optimizer).data.copy_(weights)  # a model's state dict is loaded first
    optimizer.load_state_dict(saved)
    optimizer.prepare()
    assert torch.equal(param_of(optimizer), weights)


# Roundings of a number to another dtype that each step adds where the number is stored so.
CONVERSIONS = {
    "twice the bits": (lambda p: p.double(), 2**-24),
    "half the bits": (lambda p: p.bfloat16(), 2**-8),
    "other halves": (lambda p: p.half(), 2**-11),
    "columns": (lambda p: p.t().contiguous().t(), 2**-24),
}


@pytest.mark.parametrize(("converted", "unit"), CONVERSIONS.values(), ids=CONVERSIONS)
def test_rows_that_wait_are_brought_up_to_date_however_the_parameter_is_stored_by_then(converted, unit, implementation):
    rows, dense = (made(momentum=0.9, **DECOUPLED, **implementation) for _ in range(2))
    for nth in range(10):
        taken(rows, gradient(nth))
        taken_densely(dense, gradient(nth))
    for optimizer in (rows, dense):
        param_of(optimizer).grad = None
        param_of(optimizer).data = converted(param_of(optimizer).data)
    rows.prepare()
    # Ten steps of six roundings in float32, one conversion in each of both ways.
    bound = (60 * 2**-24 + 2 * unit) * param_of(dense).abs().max()
    assert (param_of(rows) - param_of(dense)).abs().max() <= bound
    assert rows.state_dict()["state"][0]["step"] == 10


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {}], ids=str)
def test_what_rounding_took_off_belongs_to_its_dtype(options, implementation):
    rows, dense = (made(dtype=torch.bfloat16, rounding="kahan", **options, **implementation) for _ in range(2))
    for nth in range(10):
        for optimizer, take in ((rows, taken), (dense, taken_densely)):
            if nth == 5:
                param_of(optimizer).grad = None
                param_of(optimizer).data = param_of(optimizer).data.half()
            take(optimizer, gradient(nth, dtype=param_of(optimizer).dtype))
    rows.prepare()
    # Before the conversion what is lost is kept, so that numbers differ by one rounding to bfloat16, and that alone.
    bound = 2**-8 * param_of(dense).abs().max() + 60 * 2**-24
    assert (param_of(rows) - param_of(dense)).abs().max() <= bound
    assert rows.state[param_of(rows)]["compensation"].dtype == torch.float16


def test_rows_of_a_parameter_of_another_shape_are_not_moved():
    optimizer = made(momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth))
    param_of(optimizer).data = torch.zeros(4, 6)
    with pytest.raises(RuntimeError, match=r"shape \(4, 6\) now, but rows .* are 30 of 6 numbers: call prepare"):
        optimizer.prepare()


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {}, {"centered": True}], ids=str)
@pytest.mark.parametrize("count", [100, 3, 0])
def test_a_counter_that_somebody_sets_lets_rows_begin_anew(options, count):
    rows, dense = (made(dtype=torch.float64, **options) for _ in range(2))
    for nth in range(30):
        for optimizer in (rows, dense):
            if nth == 10:
                optimizer.state[param_of(optimizer)]["step"].fill_(count)
        grad = gradient(nth, dtype=torch.float64)
        taken(rows, grad)
        taken_densely(dense, grad)
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 30 * 2**-53 * 4
    for name, array in dense.state_dict()["state"][0].items():
        difference = (rows.state_dict()["state"][0][name] - array).abs().max()
        assert difference <= 6 * 30 * 2**-53 * array.abs().max(), name


@pytest.mark.parametrize("options", [{}, *RULES.values()], ids=["plain", *RULES])
def test_without_the_kernel_an_interruption_moves_no_row_twice(options, monkeypatch):
    monkeypatch.setattr(native, "missing", lambda: "it is away for this test")
    monkeypatch.setattr(row_clock, "_CHUNK", 16)  # two rows at a time
    whole, interrupted = (made(fused=False, **options) for _ in range(2))
    for optimizer in (whole, interrupted):
        for nth in range(6):
            taken(optimizer, gradient(nth))
    write, calls = row_clock.StoredRows.write, []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(row_clock.StoredRows, "write", stopping)
        with pytest.raises(KeyboardInterrupt):
            interrupted.state_dict()
    for optimizer in (whole, interrupted):
        optimizer.state_dict()
    differ = (param_of(whole) != param_of(interrupted)).any(1)
    for name in ("square_avg", "grad_avg", "momentum_buffer"):
        if name in whole.state[param_of(whole)]:
            differ |= (whole.state[param_of(whole)][name] != interrupted.state[param_of(interrupted)][name]).any(1)
    # At most those that were being moved: a parameter is written before its state.
    assert differ.sum() <= (3 if options else 0)
