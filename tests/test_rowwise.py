"""Rows with one average of squares each: the specification, and the compiled update bit by bit."""

import numpy as np
import pytest
from support import same_bits, wild_gradients

from rmsprop import Rule, native
from rmsprop.batch import Batch
from rmsprop.row_table import RowTable
from rmsprop.rowwise import mean_squares, stale_decay, unfit_rule, update

RULES = [
    Rule(),
    Rule(decay=0.3, eps=0.0),
    Rule(decay=0.9, eps=1e-3, eps_inside_sqrt=True, initial_square_avg=1.0),
    Rule(decay=0.0, eps=0.0, eps_inside_sqrt=True),
]
WIDTHS = [1, 7, 8, 64, 300]


def kernel_update(rule, lr, step, table, grad, square_avg, staleness_decay, last, threads=1):
    """Do as `update` does, by the compiled kernel."""
    batch = Batch(table.dtype.name, 1, rule)
    batch.place([table.size], [array.ctypes.data for array in (table, grad[1], square_avg)])
    batch.set_numbers(lr, step)
    addresses = len(grad[0]), grad[0].ctypes.data, grad[1].ctypes.data
    call = RowTable(batch, table.shape, 1, last).prepared_rowwise(
        step - 1, lr * staleness_decay, addresses, threads=threads
    )
    assert call() == 0


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
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("staleness_decay", [0.0, 3.0])
def test_the_kernel_gives_the_bits_of_the_specification(rule, width, dtype, staleness_decay):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((60, width)).astype(dtype)
    start[5], start[6, 0] = np.inf, np.nan
    runs = []
    for by in (update, kernel_update):
        last = np.zeros(60, np.int32) if staleness_decay else None
        runs.append((by, start.copy(), np.full(60, rule.initial_square_avg, dtype), last))
    for step in range(1, 13):
        touched = rng.integers(0, 60, rng.integers(0, 40))
        values = wild_gradients(rng, (len(touched), width), dtype)
        values[~np.isfinite(values).all(1) | (rng.random(len(touched)) < 0.8)] = 0.25  # few rows go to NaN
        for by, table, square_avg, last in runs:
            by(rule, 0.01, step, table, (touched, values), square_avg, staleness_decay, last)
    for ours, theirs in zip(*(run[1:] for run in runs), strict=True):
        assert ours is theirs is None or same_bits(ours, theirs)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_bits_do_not_depend_on_the_threads(threads):
    rng = np.random.default_rng(0)
    tables = [np.ones((20_000, 33), np.float32) for _ in range(2)]
    averages = [np.zeros(20_000, np.float32) for _ in tables]
    touched = np.minimum(rng.zipf(1.3, 30_000) - 1, 19_999)
    grad = touched, rng.standard_normal((len(touched), 33)).astype(np.float32)
    update(Rule(), 0.01, 1, tables[0], grad, averages[0])
    kernel_update(Rule(), 0.01, 1, tables[1], grad, averages[1], 0.0, None, threads)
    assert same_bits(*tables)
    assert same_bits(*averages)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_mean_is_that_of_the_exact_squares(width):
    from fractions import Fraction

    g = np.random.default_rng(0).standard_normal((20, width)).astype(np.float32)
    for row, mean in zip(g, mean_squares(g), strict=True):
        exact = sum(Fraction(float(x)) ** 2 for x in row) / width
        # Squares of float32 are exact in float64, whose sums of at most 300 lie far below half a unit of float32.
        assert abs(Fraction(float(mean)) - exact) <= exact * Fraction(2) ** -23 * Fraction(51, 100)


def test_a_row_of_one_number_is_the_update_of_one_number():
    from rmsprop import reference

    rng, rule = np.random.default_rng(0), Rule(decay=0.9)
    table = rng.standard_normal((50, 1)).astype(np.float32)
    dense, state, square_avg = table.copy(), reference.init(rule, table), np.zeros(50, np.float32)
    for step in range(1, 30):
        values = wild_gradients(rng, table.shape)
        dense, state = reference.update(rule, 0.01, step, dense, values, state)
        update(rule, 0.01, step, table, (np.arange(50), values), square_avg)
    assert same_bits(table, dense)
    assert same_bits(square_avg, state["square_avg"][:, 0])


@pytest.mark.parametrize("by", [update, kernel_update])
@pytest.mark.parametrize("inside", [False, True])
def test_a_row_that_had_no_gradient_but_zeros_takes_no_step(by, inside):
    table, square_avg = np.ones((2, 9), np.float32), np.zeros(2, np.float32)
    rule = Rule(eps=0.0, eps_inside_sqrt=inside)
    by(rule, 0.1, 1, table, (np.array([1]), np.zeros((1, 9), np.float32)), square_avg, 0.0, None)
    assert same_bits(table, np.ones_like(table))
    assert same_bits(square_avg, np.zeros_like(square_avg))


def test_rows_whose_touches_are_counted_decay_only_if_asked_to():
    tables, last = [np.ones((2, 3)) for _ in range(2)], np.array([0, 3], np.int32)
    grad = np.array([1]), np.full((1, 3), 0.5)
    update(Rule(), 0.1, 9, tables[0], grad, np.zeros(2), last=last)
    update(Rule(), 0.1, 9, tables[1], grad, np.zeros(2))
    assert same_bits(*tables)
    assert last.tolist() == [0, 9]


def test_a_stale_row_keeps_a_tenth():
    assert stale_decay(0.1, 20, np.array([0, 19, 15, 1])).tolist() == [0.1, 0.1, 0.5, 0.9]
    assert stale_decay(-0.1, 20, np.array([1])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"momentum": 0.9}, "momentum=0.9 needs numbers of its own for each element"),
        ({"centered": True}, "centered=True needs numbers of its own for each element"),
        ({"weight_decay": 0.1}, "weight_decay=0.1 would decay touched rows alone"),
        ({"bias_correction": True}, "bias_correction=True has no meaning for rows that rest"),
        ({"init_from_gradient": True}, "init_from_gradient=True has no meaning"),
        ({"delayed": True}, "delayed=True has no meaning"),
    ],
)
def test_what_needs_more_than_an_average_per_row_is_named(options, reason):
    assert unfit_rule(Rule(**options)).startswith(reason)
    assert unfit_rule(Rule()) is None
