"""Updates of rows: against the dense update that they stand for, and the compiled ones bit by bit."""

from dataclasses import replace

import numpy as np
import pytest
from support import COMMON_RULES, VARIANT_RULES, same_bits, wild_gradients

from rmsprop import Rule, native, reference
from rmsprop.batch import Batch
from rmsprop.decays import MOST_SEGMENTS, Decays, Shares, after, powers
from rmsprop.row_table import RowTable
from rmsprop.rows import moves_at_rest, summed, up_to_date, update

RULES = [rule for rule in (*COMMON_RULES, *VARIANT_RULES) if moves_at_rest(rule) is None]
LONG_RULES = [
    Rule(decay=0.99),
    Rule(decay=0.3, centered=True),
    Rule(decay=0.9, bias_correction=True),
    Rule(decay=0.999, centered=True, bias_correction=True, eps=1e-3, eps_inside_sqrt=True),
    Rule(decay=0.5, initial_square_avg=1.0, eps=1e-3, eps_inside_sqrt=True),
    Rule(decay=0.99, init_from_gradient=True, delayed=True),
    Rule(decay=0.9, centered=True, initial_square_avg=1.0),
]


def started(rule, table):
    decays = Decays(table.dtype.name)
    return table.copy(), reference.init(rule, table), np.zeros(len(table), np.int32), decays


def settled(rows, now):
    """The averages of all rows at a step."""
    _, state, last, decays = rows
    shares = decays.shares(last, now)
    return up_to_date(state, Shares(shares.kept[:, None], shares.lost[:, None]))


def gradient(rng, table, chance):
    touched = np.flatnonzero(rng.random(len(table)) < chance)
    return touched, rng.standard_normal((len(touched), table.shape[1])).astype(table.dtype)


def dense_of(table, touched, values):
    grad = np.zeros_like(table)
    np.add.at(grad, touched, values)
    return grad


def error(array, exact, floor):
    """The largest difference in units in the last place, of numbers at least as large as a floor."""
    unit = np.spacing(np.maximum(np.abs(exact), floor).astype(array.dtype)).astype(np.longdouble)
    return float(np.max(np.abs(array.astype(np.longdouble) - exact.astype(np.longdouble)) / unit))


@pytest.mark.parametrize(("chance", "changes"), [(0.1, False), (0.01, True)])
@pytest.mark.parametrize("rule", LONG_RULES, ids=str)
def test_a_thousand_steps_are_those_of_the_dense_update(rule, changes, chance):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((100, 8)).astype(np.float32)
    rows = started(rule, table)
    dense, dense_state = table.copy(), reference.init(rule, table)
    exact, exact_state = table.astype(np.float64), reference.init(rule, table.astype(np.float64))
    for step in range(1, 1001):
        now = replace(rule, decay=rule.decay * (1 - 0.05 * (step // 40 % 3))) if changes else rule
        lr = 1e-2 * (1 + np.cos(step / 100))
        touched, values = gradient(rng, table, chance)
        grad = dense_of(table, touched, values)
        dense, dense_state = reference.update(now, lr, step, dense, grad, dense_state)
        exact, exact_state = reference.update(now, lr, step, exact, grad.astype(np.float64), exact_state)
        update(now, lr, step, rows[0], (touched, values), *rows[1:])
    # Of the largest parameter's unit: one near 0 has moved through units of all sizes.
    assert error(rows[0], dense.astype(np.float64), np.abs(dense).max() / 2) <= 8
    for name, average in settled(rows, 1000).items():
        # The dense update rounds an average 1,000 times, and this one where it is touched: it may not be further from
        # the exact one. Half a unit is that of its own last rounding.
        floor = np.sqrt(np.mean(exact_state[name] ** 2))
        ours = error(average, exact_state[name], floor)
        assert ours <= error(dense_state[name], exact_state[name], floor) + 0.5, name


@pytest.mark.parametrize("rule", LONG_RULES[:2], ids=str)
def test_a_thousand_steps_in_float64_are_those_of_the_dense_update(rule):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 4))
    rows, dense, state = started(rule, table), table.copy(), reference.init(rule, table)
    for step in range(1, 1001):
        touched, values = gradient(rng, table, 0.1)
        dense, state = reference.update(rule, 0.01, step, dense, dense_of(table, touched, values), state)
        update(rule, 0.01, step, rows[0], (touched, values), *rows[1:])
    assert error(rows[0], dense, np.abs(dense).max() / 2) <= 8


def test_a_row_touched_at_every_step_has_the_bits_of_the_dense_update():
    rng, rule = np.random.default_rng(0), Rule(centered=True)
    table = rng.standard_normal((5, 3)).astype(np.float32)
    rows, dense, state = started(rule, table), table.copy(), reference.init(rule, table)
    for step in range(1, 20):
        values = wild_gradients(rng, table.shape)
        dense, state = reference.update(rule, 0.01, step, dense, values, state)
        update(rule, 0.01, step, rows[0], (np.arange(5), values), *rows[1:])
    assert same_bits(rows[0], dense)
    assert all(same_bits(rows[1][name], state[name]) for name in state)


@pytest.mark.parametrize("kept", [0.0, 1e-3, 0.5, 0.9, 1.0 - 1e-9, 1.0])
def test_powers_are_rounded_once_and_what_is_lost_does_not_cancel(kept):
    from fractions import Fraction

    steps = np.array([0, 1, 2, 3, 7, 100, 1023])
    found = after(powers(kept), steps)
    for left, gone, count in zip(*found, steps, strict=True):
        exact = Fraction(kept) ** int(count)
        # A rounding of each of at most 10 powers, of a product, and of the sum of what is lost.
        for ours, true in ((left, exact), (gone, 1 - exact)):
            assert abs(Fraction(float(ours)) - true) <= 30 * Fraction(2) ** -53 * true + Fraction(2) ** -1074


def test_a_step_that_did_not_happen_is_forgotten():
    decays = Decays("float64")
    decays.record(Rule(decay=0.5), 1)
    decays.record(Rule(decay=0.75), 2)
    decays.record(Rule(decay=0.5), 2)
    assert decays.shares(np.array([0]), 2).kept == 0.25
    for step in range(1, MOST_SEGMENTS + 1):
        assert not decays.is_full
        decays.record(Rule(decay=0.5 + step / 4096), step)
    assert decays.is_full


def test_infinite_averages_stay_infinite():
    state = {"grad_avg": np.array([np.inf, 1.0, 1e200]), "grad_var": np.array([1.0, np.inf, 1.0])}
    found = up_to_date(state, Shares(0.0, 1.0))
    assert same_bits(found["grad_avg"], np.array([np.inf, 0.0, 0.0]))
    assert same_bits(found["grad_var"], np.array([np.inf, np.inf, np.inf]))


def test_gradients_of_a_row_are_added_up_in_their_order():
    values = np.array([[1e8], [-0.0], [1.0], [-1e8]], np.float32)
    rows, sums = summed(np.array([3, 1, 3, 3]), values)
    assert rows.tolist() == [1, 3]
    assert same_bits(sums, np.array([[-0.0], [0.0]], np.float32))  # 1e8 + 1 is 1e8 in float32


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"momentum": 0.9}, "momentum moves rows"),
        ({"weight_decay": 0.1}, "weight decay moves rows"),
        ({"weight_decay": 0.1, "weight_decay_mode": "decoupled"}, "weight decay moves rows"),
        ({"momentum": 0.9, "averaged_momentum": True}, "momentum moves rows"),
    ],
)
def test_what_moves_rows_at_rest_is_named(options, reason):
    assert moves_at_rest(Rule(**options)).startswith(reason)


def kernel_update(rule, lr, step, rows, grad, dtype, threads):
    """Do as `update` does, by the compiled kernel."""
    table, state, last, decays = rows
    batch = Batch(dtype, 1, rule)
    columns = [table, grad[1], *(state[name] for name in ("square_avg", "grad_var", "grad_avg") if name in state)]
    batch.place([table.size], [array.ctypes.data for array in columns])
    batch.set_numbers(lr, step)
    decays.record(rule, step)
    row_table = RowTable(batch, table.shape, 1, last)
    addresses = len(grad[0]), grad[0].ctypes.data, grad[1].ctypes.data
    assert row_table.prepared(decays, step - 1, addresses, threads=threads)() == 0
    return lambda: row_table.prepared(decays, step, None, threads=threads)()


@pytest.fixture(params=native.INSTRUCTION_SETS)
def instruction_set(request):
    before = native.instruction_set()
    try:
        native.use_instruction_set(request.param)
    except ValueError:
        pytest.skip("this machine has none of that name")
    yield
    native.use_instruction_set(before)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_kernel_gives_the_bits_of_the_specification(rule, dtype):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((60, 7)).astype(dtype)
    one, other = started(rule, table), started(rule, table)
    steps = 12
    for step in range(1, steps + 1):
        now = replace(rule, decay=rule.decay * (0.9 if step in (4, 5, 9) else 1.0))
        touched = rng.integers(0, 60, rng.integers(0, 40))
        values = wild_gradients(rng, (len(touched), 7), dtype)
        values[~np.isfinite(values).all(1) | (rng.random(len(touched)) < 0.8)] = 0.25  # few rows go to NaN
        update(now, 0.01, step, one[0], (touched, values), *one[1:])
        settle = kernel_update(now, 0.01, step, other, (touched, values), dtype, threads=1)
    expected = settled(one, steps)
    settle()
    assert same_bits(one[0], other[0])
    assert all(same_bits(expected[name], other[1][name]) for name in expected)
    assert (other[2] == steps).all()


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("changes", [(), (2_000,), (900, 901, 2_990)], ids=str)
@pytest.mark.parametrize(
    "rule",
    [
        Rule(decay=0.999),
        Rule(decay=0.999, centered=True),
        Rule(decay=0.999, bias_correction=True),
        Rule(decay=0.5),  # of which 2,000 steps leave nothing
        Rule(decay=0.5, centered=True),
    ],
    ids=str,
)
def test_rows_of_all_ages_are_brought_up_to_date(rule, changes):
    # The kernel remembers what up to 1,023 steps of the last decay leave, and looks the rest up.
    rng, steps = np.random.default_rng(0), 3_000
    table = rng.standard_normal((steps + 1, 3)).astype(np.float32)
    one, other = started(rule, table), started(rule, table)
    for rows in (one, other):
        rows[1].update({name: np.full_like(array, 0.5) for name, array in rows[1].items()})
        for array in rows[1].values():
            array[::7, 0] = np.inf
        rows[2][:] = np.arange(steps, -1, -1)
        for step in range(1, steps + 1):
            rows[3].record(replace(rule, decay=rule.decay - 1e-4 * sum(step >= change for change in changes)), step)
    grad = rng.permutation(steps + 1), rng.standard_normal(table.shape).astype(np.float32)
    update(rule, 0.01, steps + 1, one[0], grad, *one[1:])
    kernel_update(rule, 0.01, steps + 1, other, grad, "float32", threads=1)
    assert same_bits(one[0], other[0])
    assert all(same_bits(array, other[1][name]) for name, array in one[1].items())
    assert (other[2] == steps + 1).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_bits_do_not_depend_on_the_threads(threads):
    rng, rule = np.random.default_rng(0), Rule(centered=True)
    table = rng.standard_normal((20_000, 33)).astype(np.float32)
    one, other = started(rule, table), started(rule, table)
    for step in range(1, 4):
        touched = np.minimum(rng.zipf(1.3, 30_000) - 1, 19_999)
        values = rng.standard_normal((len(touched), 33)).astype(np.float32)
        update(rule, 0.01, step, one[0], (touched, values), *one[1:])
        settle = kernel_update(rule, 0.01, step, other, (touched, values), "float32", threads)
    settle()
    assert same_bits(one[0], other[0])
    expected = settled(one, 3)
    assert all(same_bits(expected[name], other[1][name]) for name in expected)


def test_no_rows_change_nothing_but_count():
    rule, table = Rule(), np.ones((3, 2), np.float32)
    rows = started(rule, table)
    kernel_update(rule, 0.01, 1, rows, (np.empty(0, np.int64), np.empty((0, 2), np.float32)), "float32", 2)
    assert same_bits(rows[0], table)
    assert (rows[2] == 0).all()
