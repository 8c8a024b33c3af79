"""Every rule and dialect computes what the specification says: on the kernel to the last bit."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from support import ALL_RULES, same_bits, wild_gradients

from rmsprop import DIALECTS, native
from rmsprop.reference import init, update
from rmsprop.torch import RMSprop

NARROW = {torch.float16: np.float32, torch.bfloat16: np.float32}


def as_numpy(tensor):
    """The numbers of a tensor in the precision that the kernel works in."""
    return (tensor.float() if tensor.dtype in NARROW else tensor).detach().numpy().copy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_every_rule_equals_the_specification_to_the_bit(dtype, keywords):
    # One optimizer with a group for each rule, so that none may take another's numbers.
    random = np.random.default_rng(0)
    params = [torch.from_numpy(random.standard_normal(37)).to(dtype) for _ in ALL_RULES]
    groups = [{"params": [p], **keywords(rule)} for p, rule in zip(params, ALL_RULES, strict=True)]
    optimizer = RMSprop(groups, lr=0.01, fused=True)
    states = [init(rule, as_numpy(param)) for rule, param in zip(ALL_RULES, params, strict=True)]
    for step in range(1, 4):
        before = [as_numpy(param) for param in params]
        for param in params:
            wild = wild_gradients(random, 37, np.float64 if dtype == torch.float64 else np.float32)
            param.grad = torch.from_numpy(wild).to(dtype)
        optimizer.step()
        for i, (rule, param) in enumerate(zip(ALL_RULES, params, strict=True)):
            new, states[i] = update(rule, 0.01, step, before[i], as_numpy(param.grad), states[i])
            stored = as_numpy(torch.from_numpy(new).to(dtype))
            assert same_bits(as_numpy(param), stored), (step, rule)
            for name, value in states[i].items():
                assert same_bits(as_numpy(optimizer.state[param][name]), value), (step, rule, name)


@pytest.mark.parametrize("instruction_set", native.INSTRUCTION_SETS)
@pytest.mark.parametrize("options", [{"maximize": True}, {"lr": torch.tensor(0.01)}, {"foreach": True}], ids=str)
def test_options_that_are_no_rule_do_not_change_the_bits(options, instruction_set):
    before = native.instruction_set()
    try:
        native.use_instruction_set(instruction_set)
    except ValueError:
        pytest.skip(f"this machine has no {instruction_set}")
    try:
        param, random = torch.zeros(1003), np.random.default_rng(0)
        optimizer = RMSprop([param], **{"lr": 0.01, **options})
        expected, state = param.numpy().copy(), init(rule := DIALECTS["torch"].rule, param.numpy())
        for step in range(1, 4):
            grad = random.standard_normal(1003).astype(np.float32)
            param.grad = torch.from_numpy(grad)
            optimizer.step()
            lr = float(torch.as_tensor(optimizer.param_groups[0]["lr"]).item())
            expected, state = update(rule, lr, step, expected, grad, state, maximize=options.get("maximize", False))
        assert same_bits(param.numpy(), expected)
    finally:
        native.use_instruction_set(before)


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_follows_its_rule(name, momentum, implementation):
    rule = DIALECTS[name].rule_with(momentum=momentum, weight_decay=0.1)
    param, random = torch.ones(20, dtype=torch.float64), np.random.default_rng(0)
    optimizer = RMSprop([param], lr=0.01, dialect=name, momentum=momentum, weight_decay=0.1, **implementation)
    expected, state = np.ones(20), init(rule, np.ones(20))
    for step in range(1, 13):
        grad = random.standard_normal(20)
        param.grad = torch.from_numpy(grad)
        optimizer.step()
        expected, state = update(rule, 0.01, step, expected, grad, state)
    np.testing.assert_allclose(param.numpy(), expected, rtol=0 if implementation["fused"] else 1e-12)


def test_the_composite_path_computes_every_rule(keywords):
    # torch's √ may be an ULP off, which the few steps of a rule do not enlarge beyond 1e-11 even where d is tiny.
    random = np.random.default_rng(0)
    params = [torch.from_numpy(random.standard_normal(9)) for _ in ALL_RULES]
    groups = [{"params": [p], **keywords(rule)} for p, rule in zip(params, ALL_RULES, strict=True)]
    optimizer = RMSprop(groups, lr=0.01, fused=False)
    expected = [param.numpy().copy() for param in params]
    states = [init(rule, param.numpy()) for rule, param in zip(ALL_RULES, params, strict=True)]
    for step in range(1, 4):
        for param in params:
            param.grad = torch.from_numpy(random.standard_normal(9))
        optimizer.step()
        for i, (rule, param) in enumerate(zip(ALL_RULES, params, strict=True)):
            expected[i], states[i] = update(rule, 0.01, step, expected[i], param.grad.numpy(), states[i])
            np.testing.assert_allclose(param.numpy(), expected[i], rtol=1e-11, err_msg=str(rule))


PEAK_OF_A_STEP = """
import re, sys, torch
from rmsprop.torch import RMSprop
size, peak = 1 << 24, lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
options = {"centered": True, "momentum": 0.9, "weight_decay": 0.1, "maximize": True}
def growth(cls, **flags):
    warm_up, param = torch.zeros(8), torch.zeros(size)
    warm_up.grad, param.grad = torch.ones(8), torch.ones(size)
    cls([warm_up], **options, **flags).step()
    optimizer = cls([param], **options, **flags)
    before = peak()
    optimizer.step()
    return (peak() - before) / (4 * size)
print(growth(RMSprop, fused=True) if sys.argv[1] == "ours" else growth(torch.optim.RMSprop))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_step_needs_no_memory_beside_parameter_gradient_and_state():
    # In processes of their own, because a peak stays. In units of the parameter: three of state, and the temporaries.
    def growth(whose):
        command = [sys.executable, "-c", PEAK_OF_A_STEP, whose]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert growth("ours") < 3.1
    assert growth("torch") > 4.0
