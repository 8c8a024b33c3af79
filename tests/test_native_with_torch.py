"""The kernel on torch's threads, and on every number of 16 bits."""

import numpy as np
import pytest
import torch
from support import kernel_batch, same_bits
from test_native import instruction_set  # noqa: F401  a fixture

from rmsprop import Rule, native, reference
from rmsprop.batch import Batch
from rmsprop.threads import torch_parallel_for


def test_torchs_threads_divide_a_large_tensor():
    address = torch_parallel_for()
    assert address, "this torch exports torch_parallel_for"
    rule, rng = Rule(), np.random.default_rng(0)
    param, grad = rng.standard_normal(200_003).astype(np.float32), rng.standard_normal(200_003).astype(np.float32)
    expected, state = reference.update(rule, 0.01, 1, param, grad, reference.init(rule, param))
    before = torch.get_num_threads()
    for threads in (1, 2, 3, 8):
        ours, ours_state = param.copy(), reference.init(rule, param)
        batch = kernel_batch(rule, [ours], [grad], [ours_state])
        batch.set_numbers(0.01, 1)
        torch.set_num_threads(threads)
        native.update([batch], address)
        torch.set_num_threads(before)
        assert same_bits(ours, expected)
        assert same_bits(ours_state["square_avg"], state["square_avg"])


HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
KEEP = Rule(decay=1.0, eps=1.0, momentum=1.0)  # with no gradient: θ ← θ − lr·b, and b stays as it is


def _tables(params, grads, *state):
    return [tensor.data_ptr() for tensor in (params, grads, *state)]


@pytest.mark.parametrize("dtype", HALVES)
def test_every_16_bit_number_is_read_and_written_back_unchanged(instruction_set, dtype):  # noqa: F811
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    params = patterns.clone().view(HALVES[dtype])
    zeros, v, b = torch.zeros_like(params), torch.zeros(2**16), torch.zeros(2**16)
    batch = Batch(dtype, 1, KEEP)
    batch.set_numbers(0.0, 1)
    batch.place([2**16], _tables(params, zeros, v, b))
    native.update([batch])
    number = ~patterns.view(HALVES[dtype]).isnan()
    assert torch.equal(params.view(torch.int16)[number], patterns[number])
    assert params[~number].isnan().all()


@pytest.mark.parametrize("dtype", HALVES)
def test_every_16_bit_gradient_widens_exactly(instruction_set, dtype):  # noqa: F811
    grads = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(HALVES[dtype])
    params, v = torch.zeros_like(grads), torch.zeros(2**16)
    batch = Batch(dtype, 1, Rule(decay=0.0))  # v = g²
    batch.set_numbers(0.0, 1)
    batch.place([2**16], _tables(params, grads, v))
    native.update([batch])
    assert torch.equal(v.nan_to_num(-1.0), grads.float().square().nan_to_num(-1.0))


@pytest.mark.parametrize("dtype", HALVES)
def test_every_float32_rounds_to_16_bits_as_torch_rounds_it(dtype):
    chunk = 2**26
    params, grads = torch.empty(chunk, dtype=HALVES[dtype]), torch.zeros(chunk, dtype=HALVES[dtype])
    v, b = torch.zeros(chunk), torch.empty(chunk)
    batch = Batch(dtype, 1, KEEP)
    batch.set_numbers(1.0, 1)
    batch.place([chunk], _tables(params, grads, v, b))
    counting = torch.arange(chunk, dtype=torch.int32)
    for start in range(-(2**31), 2**31, chunk):
        torch.add(counting, start, out=b.view(torch.int32))
        params.fill_(-0.0)
        native.update([batch], threads=2)  # b ← b + 0, then θ ← −0 − b rounded to 16 bits
        expected = b.neg().to(HALVES[dtype])
        equal = params.view(torch.int16) == expected.view(torch.int16)
        assert (equal | (params.isnan() & expected.isnan())).all()
