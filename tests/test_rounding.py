"""How parameters of 16 bits are rounded: the specification, and that the kernel has its bits."""

import numpy as np
import pytest
from support import same_bits, wild_gradients
from test_native import SPLITS, instruction_set, on_threads  # noqa: F401  a fixture

from rmsprop import Rule, native, reference
from rmsprop.batch import Batch
from rmsprop.storage import noise, round_stochastically, round_to_nearest, split, widened

DTYPES = ("bfloat16", "float16")
LARGEST = {"bfloat16": 3.3895313892515355e38, "float16": 65504.0}


def every_number(dtype):
    return widened(np.arange(1 << 16, dtype=np.uint16), dtype)


def numbers_between(rng, dtype, size):
    """Numbers of float32 over all that a dtype can hold, and somewhat beyond."""
    exponents = rng.uniform(-30, 17, size) if dtype == "float16" else rng.uniform(-133, 128, size)
    with np.errstate(over="ignore"):
        return (np.exp2(exponents) * rng.choice([-1, 1], size)).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_16_bits_hold_is_never_changed(dtype):
    stored = np.arange(1 << 16, dtype=np.uint16)
    values = every_number(dtype)
    known = ~np.isnan(values)
    for bits in (np.uint32(0), np.uint32(0xFFFFFFFF), np.uint32(0x80000000)):
        again = round_stochastically(values, np.full(1 << 16, bits), dtype)
        assert (again == stored)[known].all()
        assert np.isnan(widened(again, dtype)[~known]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_of_the_two_neighbours_is_taken(dtype):
    rng = np.random.default_rng(0)
    values = numbers_between(rng, dtype, 200_000)
    down = widened(round_stochastically(values, np.zeros(len(values), np.uint32), dtype), dtype)
    up = widened(round_stochastically(values, np.full(len(values), 0xFFFFFFFF, np.uint32), dtype), dtype)
    nearest = widened(round_to_nearest(values, dtype), dtype)
    finite = np.isfinite(nearest)
    assert (np.isinf(down) == ~finite).all()
    assert (np.isinf(up) == ~finite).all()
    assert (np.abs(down) <= np.abs(values))[finite].all()
    assert (np.abs(up) <= LARGEST[dtype])[finite].all()
    assert ((nearest == down) | (nearest == up))[finite].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_right_on_average(dtype):
    rng = np.random.default_rng(1)
    values = numbers_between(rng, dtype, 300)
    values = values[np.abs(values) < 0.9 * LARGEST[dtype]]
    tries, index = 40_000, np.arange(len(values))
    total = np.zeros(len(values))
    for step in range(1, tries + 1):
        total += widened(round_stochastically(values, noise(7, step, 3, index), dtype), dtype).astype(np.float64)
    down = widened(round_stochastically(values, np.zeros(len(values), np.uint32), dtype), dtype).astype(np.float64)
    up = widened(round_stochastically(values, np.full(len(values), 2**32 - 1, np.uint32), dtype), dtype)
    gap = np.abs(up.astype(np.float64) - down)
    # The standard error of a mean of coins is at most half a gap over the root of their number; a chance has 13 bits.
    assert (np.abs(total / tries - values) <= gap * (5 * 0.5 / np.sqrt(tries) + 2.0**-13)).all()


def test_noise_is_even_in_every_bit_and_without_patterns():
    bits = noise(0, 1, 0, np.arange(1 << 20))
    ones = np.unpackbits(bits.view(np.uint8)).reshape(-1, 32).mean(0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / 2**10
    assert len(np.unique(bits)) > 0.999 * len(bits)  # of 2^32 few meet
    unit = bits / 2.0**32 - 0.5
    for lag in (1, 2, 255, 256, 257, 1024):
        assert abs((unit[lag:] * unit[:-lag]).mean() * 12) < 5 / 2**10


@pytest.mark.parametrize("other", [(1, 1, 0), (0, 2, 0), (0, 1, 1)], ids=["seed", "step", "number"])
def test_noise_depends_on_all_that_it_is_for(other):
    mine, its = noise(0, 1, 0, np.arange(4096)), noise(*other, np.arange(4096))
    assert (mine == its).mean() < 0.01
    assert abs(((mine / 2.0**32 - 0.5) * (its / 2.0**32 - 0.5)).mean() * 12) < 5 / 64


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_was_taken_off_is_kept(dtype):
    rng = np.random.default_rng(2)
    values = rng.standard_normal(10_000).astype(np.float32)
    high, low = split(values, dtype)
    error = np.abs(widened(high, dtype) + widened(low, dtype) - values)
    digits = 8 if dtype == "bfloat16" else 11
    floor = 2.0**-25 if dtype == "float16" else 0  # half of the smallest number of float16
    assert (error <= np.maximum(np.abs(values) * 2.0 ** (-2 * digits - 1) * 2, floor)).all()
    high, low = split(np.array([np.inf, -np.inf, np.nan], np.float32), dtype)
    assert (low == 0).all()
    assert same_bits(widened(high, dtype), np.array([np.inf, -np.inf, np.nan], np.float32))


EVERYTHING = Rule(centered=True, momentum=0.9, nesterov=True, weight_decay=0.01, decay=0.9)
PLACES = {"whole": (5, 0, 2**62, 0), "from an odd place": (5, 12_345, 2**62, 0), "in runs": (2, 300, 70, 1000)}


def indices(size, first, run, stride):
    k = np.arange(size)
    return first + k // run * stride + k % run


def expected(rule, rounding, dtype, lr, step, stored, lost, grads, state, place):
    """Return what `reference` and `storage` make of one update."""
    p = widened(stored, dtype) + (widened(lost, dtype) if rounding == "kahan" else np.float32(0))
    new, state = reference.update(rule, lr, step, p, widened(grads, dtype), state)
    if rounding == "kahan":
        return (*split(new, dtype), state)
    if rounding == "nearest":
        return round_to_nearest(new, dtype), lost, state
    number, *where = place
    return round_stochastically(new, noise(9, step, number, indices(len(p), *where)), dtype), lost, state


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "kahan"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [Rule(), EVERYTHING], ids=["plain", "everything"])
def test_the_kernel_has_the_bits_of_the_specification(instruction_set, rule, dtype, rounding, place):  # noqa: F811
    rng, size = np.random.default_rng(3), 5003
    stored = round_to_nearest(rng.standard_normal(size).astype(np.float32), dtype)
    state = reference.init(rule, np.zeros(size, np.float32))
    lost, count = np.zeros(size, np.uint16), np.zeros(1, np.float32)
    ours = {name: value.copy() for name, value in state.items()}
    our_stored, our_lost = stored.copy(), lost.copy()
    batch = Batch(dtype, 1, rule, steps="float32", rounding=rounding, seed=9)
    batch.number([place])
    for step in (1, 2, 3):
        grads = round_to_nearest(wild_gradients(rng, size), dtype)
        rows = [our_stored, grads, *(ours[name] for name in batch.state_columns)]
        rows += [our_lost] * (rounding == "kahan")
        batch.place([size], [row.ctypes.data for row in [*rows, count]])
        batch.set_numbers(0.01, step)
        native.update([batch], on_threads(3))
        with np.errstate(all="ignore"):
            stored, lost, state = expected(rule, rounding, dtype, 0.01, step, stored, lost, grads, state, place)
        assert same_bits(widened(our_stored, dtype), widened(stored, dtype))
        assert same_bits(widened(our_lost, dtype), widened(lost, dtype))
        assert all(same_bits(ours[name], state[name]) for name in state)
    assert count[0] == 3


@pytest.mark.parametrize("sizes", [SPLITS["halves"], SPLITS["vector and tail"]], ids=["halves", "vector and tail"])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_and_shards_do_not_change_a_bit(sizes, threads):
    """A parameter cut into shards, each of which knows where it begins."""
    rng, total = np.random.default_rng(4), sum(sizes)
    stored = round_to_nearest(rng.standard_normal(total).astype(np.float32), "bfloat16")
    grads = round_to_nearest(rng.standard_normal(total).astype(np.float32), "bfloat16")
    state = {"square_avg": np.zeros(total, np.float32)}
    whole, _, _ = expected(Rule(), "stochastic", "bfloat16", 0.01, 1, stored, None, grads, state, PLACES["whole"])
    batch = Batch("bfloat16", len(sizes), Rule(), steps="float64", rounding="stochastic", seed=9)
    begins = np.cumsum([0, *sizes[:-1]])
    batch.number([(5, begin, 2**62, 0) for begin in begins.tolist()])
    counts, rows = np.zeros(len(sizes)), (stored, grads, state["square_avg"])
    addresses = [row.ctypes.data + int(begin) * row.itemsize for row in rows for begin in begins]
    batch.place(sizes, [*addresses, *(counts.ctypes.data + 8 * i for i in range(len(sizes)))])
    batch.set_numbers(0.01, 1)
    native.update([batch], on_threads(threads))
    assert same_bits(widened(stored, "bfloat16"), widened(whole, "bfloat16"))
