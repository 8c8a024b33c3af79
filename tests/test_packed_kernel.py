"""State in 16 and 8 bits: that the kernel has the bits of `rmsprop.storage`, whoever updates which part."""

import numpy as np
import pytest
from support import same_bits, wild_gradients
from test_native import SPLITS, instruction_set, on_threads  # noqa: F401  a fixture
from test_rounding import EVERYTHING, PLACES, indices

from rmsprop import Rule, codes, native, reference
from rmsprop.batch import Batch
from rmsprop.storage import (
    PACKINGS,
    decode,
    encode,
    noise,
    round_stochastically,
    round_to_nearest,
    state_noise,
    widened,
)

SEED, LR = 9, 0.01
CENTERED = Rule(centered=True, decay=0.99)
MOMENTUM = Rule(momentum=0.9, initial_square_avg=1.0)
RULES = {"plain": Rule(), "centered": CENTERED, "momentum": MOMENTUM, "everything": EVERYTHING}


def packed(rule, size, packing, place=PLACES["whole"]):
    """The state before the first step, packed."""
    state = reference.init(rule, np.zeros(size, np.float32))
    return {name: encode(name, value, np.zeros(size, np.uint32), packing) for name, value in state.items()}


def expected(rule, step, param, grads, stored, packing, place):
    """What `reference` and `storage` make of one update in float32."""
    state = {name: decode(name, value, packing) for name, value in stored.items()}
    new, state = reference.update(rule, LR, step, param, grads, state)
    number, *where = place
    index = indices(param.size, *where)
    return new, {
        name: encode(name, value, state_noise(SEED, step, number, name, index), packing)
        for name, value in state.items()
    }


def placed(batch, sizes, param, grads, stored, counts):
    """Give a batch the memory of tensors that lie one behind the other, in which blocks begin with each."""
    begins = np.cumsum([0, *sizes[:-1]]).tolist()
    scales = np.cumsum([0, *map(codes.blocks, sizes[:-1])]).tolist()
    rows = [(param, begins), (grads, begins), *((stored[name][0], begins) for name in batch.state_columns)]
    if batch.packing == "8bit":
        rows += [(stored[name][1], scales) for name in batch.state_columns]
    rows.append((counts, range(len(sizes))))
    batch.place(sizes, [row.ctypes.data + int(at) * row.itemsize for row, where in rows for at in where])


def same(packing, one, other):
    """Whether states are equal bit by bit, but for the payload of NaN in bfloat16."""
    as_numbers = {"bfloat16": lambda row: widened(row, "bfloat16"), "8bit": np.asarray}[packing]
    pairs = [pair for name in one for pair in zip(one[name], other[name], strict=True)]
    return all(same_bits(*map(as_numbers, pair)) for pair in pairs)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_kernel_has_the_bits_of_the_specification(instruction_set, rule, packing, place):  # noqa: F811
    rng, size = np.random.default_rng(3), 5003
    param = rng.standard_normal(size).astype(np.float32)
    stored, count = packed(rule, size, packing), np.zeros(1, np.float32)
    ours, our_param = {name: tuple(each.copy() for each in value) for name, value in stored.items()}, param.copy()
    batch = Batch("float32", 1, rule, steps="float32", seed=SEED, packing=packing)
    batch.number([place])
    for step in range(1, 10):
        grads = wild_gradients(rng, size) if step in (2, 3) else rng.standard_normal(size).astype(np.float32)
        grads[: size // 2] *= np.float32(1e-3)
        placed(batch, [size], our_param, grads, ours, count)
        batch.set_numbers(LR, step)
        native.update([batch], on_threads(3))
        with np.errstate(all="ignore"):
            param, stored = expected(rule, step, param, grads, stored, packing, place)
        assert same_bits(our_param, param)
        assert same(packing, ours, stored)
    assert count[0] == 9


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_weights_of_16_bits_have_packed_state_too(packing, dtype, rounding):
    rng, size, place = np.random.default_rng(4), 1000, PLACES["whole"]
    weights = round_to_nearest(rng.standard_normal(size).astype(np.float32), dtype)
    grads = round_to_nearest(rng.standard_normal(size).astype(np.float32), dtype)
    stored, count = packed(EVERYTHING, size, packing), np.zeros(1)
    ours, our_weights = {name: tuple(each.copy() for each in value) for name, value in stored.items()}, weights.copy()
    batch = Batch(dtype, 1, EVERYTHING, steps="float64", rounding=rounding, seed=SEED, packing=packing)
    batch.number([place])
    placed(batch, [size], our_weights, grads, ours, count)
    batch.set_numbers(LR, 1)
    native.update([batch])
    new, stored = expected(EVERYTHING, 1, widened(weights, dtype), widened(grads, dtype), stored, packing, place)
    bits = noise(SEED, 1, place[0], np.arange(size))
    rounded = round_to_nearest(new, dtype) if rounding == "nearest" else round_stochastically(new, bits, dtype)
    assert np.array_equal(our_weights, rounded)
    assert same(packing, ours, stored)


@pytest.mark.parametrize("sizes", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("packing", PACKINGS)
def test_threads_do_not_change_a_bit(packing, threads, sizes):
    """Blocks begin with each tensor, wherever the work is cut."""
    rng, total, place = np.random.default_rng(5), sum(sizes), PLACES["whole"]
    param, grads = (rng.standard_normal(total).astype(np.float32) for _ in range(2))
    stored = [packed(EVERYTHING, size, packing) for size in sizes]
    ours = {
        name: tuple(np.concatenate(parts) for parts in zip(*(each[name] for each in stored), strict=True))
        for name in stored[0]
    }
    begins = np.cumsum([0, *sizes]).tolist()
    want = [
        expected(EVERYTHING, 1, param[a:b], grads[a:b], each, packing, place)
        for a, b, each in zip(begins, begins[1:], stored, strict=False)
    ]
    batch = Batch("float32", len(sizes), EVERYTHING, steps="float32", seed=SEED, packing=packing)
    batch.number([place] * len(sizes))
    counts = np.zeros(len(sizes), np.float32)
    placed(batch, sizes, param, grads, ours, counts)
    batch.set_numbers(LR, 1)
    native.update([batch], on_threads(threads))
    assert same_bits(param, np.concatenate([new for new, _ in want]))
    for name, found in ours.items():
        for mine, its in zip(found, zip(*(state[name] for _, state in want), strict=True), strict=True):
            assert np.array_equal(mine, np.concatenate(its))
