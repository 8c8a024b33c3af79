"""Tensor operations (fused=False) compute what the specification says to the last bit, as the kernel does."""

import numpy as np
import pytest
import torch
from support import ALL_RULES, same_bits, wild_gradients

from rmsprop.reference import init, update
from rmsprop.torch import RMSprop

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128]
LARGE = 300_000  # more than one block, and the threads of torch's own operations


def working(tensor):
    """The numbers of a tensor, pairs of reals where it is complex, in the precision of the arithmetic."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return (real.float() if real.element_size() < 4 else real).detach().numpy().copy()


def wild(random, param):
    """Wild gradients for a parameter, in its dtype."""
    real = torch.view_as_real(param) if param.is_complex() else param
    grads = wild_gradients(random, real.shape, np.float64 if real.dtype == torch.float64 else np.float32)
    grads = torch.from_numpy(grads).to(real.dtype)
    return torch.complex(*grads.unbind(-1)) if param.is_complex() else grads


def start(random, size, dtype):
    return (
        torch.complex(*torch.randn(2, size, dtype=torch.float64)).to(dtype)
        if dtype.is_complex
        else (torch.from_numpy(random.standard_normal(size)).to(dtype))
    )


def assert_every_step_is_the_specifications(rules, sizes, dtype, keywords, steps=3, **flags):
    # One optimizer with a group for each rule, so that none may take another's numbers.
    random = np.random.default_rng(0)
    params = [[start(random, size, dtype) for size in sizes] for _ in rules]
    groups = [{"params": members, **keywords(rule)} for members, rule in zip(params, rules, strict=True)]
    optimizer = RMSprop(groups, lr=0.01, fused=False, **flags)
    rows = [(rule, param) for rule, members in zip(rules, params, strict=True) for param in members]
    states = [init(rule, working(param)) for rule, param in rows]
    for step in range(1, steps + 1):
        before = [working(param) for _, param in rows]
        for _, param in rows:
            param.grad = wild(random, param)
        optimizer.step()
        for i, (rule, param) in enumerate(rows):
            grad = working(param.grad)
            new, states[i] = update(rule, 0.01, step, before[i], grad, states[i], maximize=flags.get("maximize", False))
            narrow = param.dtype if not param.is_complex() else torch.from_numpy(new).dtype
            stored = working(torch.from_numpy(new).to(narrow))
            assert same_bits(working(param), stored), (step, param.numel(), rule)
            for name, value in states[i].items():
                assert same_bits(working(optimizer.state[param][name]), value), (step, param.numel(), rule, name)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_every_rule(dtype, keywords):
    assert_every_step_is_the_specifications(ALL_RULES, [7], dtype, keywords, steps=2)


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=str)
def test_other_ways_to_store_numbers(dtype, keywords):
    assert_every_step_is_the_specifications(ALL_RULES[::7], [7], dtype, keywords)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_any_size(dtype, keywords):
    assert_every_step_is_the_specifications(ALL_RULES[::131], [0, 1, 7, LARGE, 33], dtype, keywords, steps=2)


@pytest.mark.parametrize("flags", [{"maximize": True}, {"foreach": False}, {"foreach": True}], ids=str)
def test_options_that_are_no_rule(flags, keywords):
    assert_every_step_is_the_specifications(ALL_RULES[::31], [7, 33], torch.float32, keywords, **flags)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(threads, keywords):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_every_step_is_the_specifications(ALL_RULES[::197], [LARGE], torch.float32, keywords, steps=2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("offset", range(1, 9))
def test_any_place_in_memory(offset, keywords):
    # torch's vectors begin where memory is aligned; heads and tails must be rounded alike.
    rule = ALL_RULES[0]
    memory = torch.from_numpy(np.random.default_rng(1).standard_normal(200)).float()
    param, grad = memory[offset : offset + 77], memory[100 - offset : 177 - offset].clone()
    expected, _ = update(rule, 0.01, 1, param.numpy().copy(), grad.numpy(), init(rule, param.numpy()))
    param.grad = grad
    RMSprop([param], lr=0.01, fused=False, **keywords(rule)).step()
    assert same_bits(param.numpy(), expected)


@pytest.mark.parametrize("size", [7, LARGE])
def test_a_gradient_that_is_still_to_be_negated(size):
    # The imaginary part of a lazy conjugate. NumPy has no such thing.
    grad = torch.randn(size, dtype=torch.complex64).conj().imag
    assert grad.is_neg()
    params = [torch.ones(size) for _ in range(2)]
    for param, same in zip(params, (grad, grad.resolve_neg()), strict=True):
        param.grad = same
        RMSprop([param], fused=False).step()
    assert torch.equal(*params)
