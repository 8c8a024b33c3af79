"""Steps that are not taken against their gradients: ``caution`` of a group, on the kernel and by tensor operations."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from support import same_bits

from rmsprop import Rule, reference
from rmsprop.torch import RMSprop

PATHS = {"kernel": {"fused": True}, "tensor operations": {"fused": False}}
by_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
SHAPES = ((300, 41), (7,), (), (0,))


def noise(shape, seed, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def optimizer_of(dtype=torch.float32, **options):
    params = [torch.nn.Parameter(noise(shape, i, dtype)) for i, shape in enumerate(SHAPES)]
    return RMSprop(params, momentum=0.9, **options)


def params_of(optimizer):
    return optimizer.param_groups[0]["params"]


def take_steps(optimizer, first, count):
    for step in range(first, first + count):
        for i, param in enumerate(params_of(optimizer)):
            param.grad = noise(param.shape, 10 * step + i, param.dtype)
        optimizer.step()


@by_path
def test_it_may_be_switched_on_and_off_between_steps(path):
    optimizer, rules = optimizer_of(**path), [Rule(momentum=0.9, caution=caution) for caution in (False, True, False)]
    values = [param.detach().numpy().copy() for param in params_of(optimizer)]
    states = [reference.init(rules[0], value) for value in values]
    for step, rule in enumerate(rules, 1):
        optimizer.param_groups[0]["caution"] = rule.caution
        take_steps(optimizer, step, 1)
        for i, param in enumerate(params_of(optimizer)):
            grad = param.grad.numpy()
            values[i], states[i] = reference.update(rule, 0.01, step, values[i], grad, states[i])
            assert same_bits(param.detach().numpy(), values[i])
    assert not np.array_equal(values[0], reference.init(rules[0], values[0])["square_avg"])


STORED = {
    "float32": (torch.float32, {}),
    "state in bfloat16": (torch.float32, {"state_dtype": torch.bfloat16}),
    "state in 8 bits": (torch.bfloat16, {"state_dtype": "8bit", "centered": True}),
    "kahan": (torch.bfloat16, {"rounding": "kahan"}),
}


@by_path
@pytest.mark.parametrize(("dtype", "options"), STORED.values(), ids=STORED)
def test_a_run_goes_on_to_the_same_bits(dtype, options, path):
    whole, first = (optimizer_of(dtype, caution=True, **options, **path) for _ in range(2))
    take_steps(whole, 0, 4)
    take_steps(first, 0, 2)
    second = RMSprop([deepcopy(param) for param in params_of(first)], **options, **path)
    second.load_state_dict(first.state_dict())
    take_steps(second, 2, 2)
    assert second.param_groups[0]["caution"]
    assert all(map(torch.equal, params_of(whole), params_of(second)))


@pytest.mark.parametrize(("dtype", "options"), STORED.values(), ids=STORED)
@pytest.mark.parametrize("threads", [1, 3])
def test_both_paths_have_equal_bits_on_any_number_of_threads(dtype, options, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        kernel, other = (optimizer_of(dtype, caution=True, **options, **path) for path in PATHS.values())
        for optimizer in (kernel, other):
            optimizer.add_param_group({"params": [torch.nn.Parameter(noise(700_001, 9, dtype))]})
            take_steps(optimizer, 0, 2)
            optimizer.param_groups[1]["params"][0].grad = noise(700_001, 10, dtype)
            optimizer.step()
    finally:
        torch.set_num_threads(before)
    for group, its in zip(kernel.param_groups, other.param_groups, strict=True):
        assert all(map(torch.equal, group["params"], its["params"]))


def test_momentum_can_not_be_taken_from_it():
    optimizer = optimizer_of(caution=True)
    take_steps(optimizer, 0, 1)
    before = [param.detach().clone() for param in params_of(optimizer)]
    optimizer.param_groups[0]["momentum"] = 0.0
    with pytest.raises(ValueError, match="caution=True needs a momentum above 0"):
        take_steps(optimizer, 1, 1)
    assert all(map(torch.equal, before, params_of(optimizer)))


def test_a_differentiable_step_does_the_same():
    plain, graph = optimizer_of(torch.float64, caution=True), optimizer_of(torch.float64, caution=True)
    graph.param_groups[0]["differentiable"] = True
    start = params_of(graph)
    graph.param_groups[0]["params"] = [param.clone() for param in start]
    take_steps(plain, 0, 1)
    take_steps(graph, 0, 1)
    for param, its in zip(params_of(plain), params_of(graph), strict=True):
        torch.testing.assert_close(param, its, rtol=1e-14, atol=0.0)
    moved = params_of(graph)[0] - start[0]
    agrees = moved.detach() * params_of(graph)[0].grad < 0
    assert torch.equal(agrees, moved.detach() != 0)
