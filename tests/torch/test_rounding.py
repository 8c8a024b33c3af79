"""Parameters of 16 bits, rounded to the nearest, at random, or with what is lost kept beside them."""

import io
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from stepping import LAYOUTS, assert_equal, optimizer_of, options_of, params_of, step
from support import ALL_RULES

from rmsprop.storage import noise, round_stochastically
from rmsprop.torch import RMSprop

DTYPES = [torch.bfloat16, torch.float16]
ROUNDINGS = ["stochastic", "kahan"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_tensor_operations_have_the_bits_of_the_kernel(rounding, dtype, layout):
    options = {"lr": 0.03, "momentum": 0.9, "centered": True, "rounding": rounding, "seed": 3}
    kernel, composite = (optimizer_of(dtype, layout, fused=fused, **options) for fused in (True, False))
    for nth in range(3):
        for optimizer in (kernel, composite):
            step(optimizer, nth, lambda i, nth=nth: i != nth)  # each rests once
    assert_equal(kernel, composite)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_so_they_have_for_every_rule(rounding):
    for rule in ALL_RULES[::7]:
        options = {**options_of(rule), "lr": 0.03, "rounding": rounding}
        kernel, composite = (optimizer_of(torch.bfloat16, shapes=((70,),), fused=f, **options) for f in (True, False))
        for optimizer in (kernel, composite):
            step(optimizer, 0)
            step(optimizer, 1)
        assert_equal(kernel, composite)


def test_the_bits_are_those_of_the_specification():
    """Of seed, step, number of the parameter and index of the element; the number counts through all groups."""
    params = [torch.ones(n, dtype=torch.bfloat16, requires_grad=True) for n in (3, 4, 1000)]
    optimizer = RMSprop(
        [{"params": params[:2]}, {"params": params[2:], "seed": 2**64 - 1}], lr=0.01, rounding="stochastic", seed=11
    )
    for nth in (1, 2):
        before = [param.detach().float().numpy() for param in params]
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()
        for number, (param, old) in enumerate(zip(params, before, strict=True)):
            v = optimizer.state[param]["square_avg"].numpy()
            new = old - np.float32(0.01) * (np.float32(1) / (np.sqrt(v) + np.float32(1e-8)))
            bits = noise(11 if number < 2 else 2**64 - 1, nth, number, np.arange(len(old)))
            expected = round_stochastically(new, bits, "bfloat16").view(np.int16)
            assert torch.equal(param.detach().view(torch.int16), torch.from_numpy(expected))


PLACES = {"nearest": (0.8, 0.9), "stochastic": (-0.1265, -0.1214), "kahan": (-0.1265, -0.1214)}


@pytest.mark.parametrize("fused", [None, False], ids=["kernel", "composite"])
@pytest.mark.parametrize(("rounding", "place"), PLACES.items(), ids=PLACES)
def test_a_constant_gradient_brings_a_parameter_to_float32s_place(rounding, place, fused):
    """Which is −0.1239; rounded to the nearest it stops at 0.87, after which a step is below half a unit."""
    param = torch.ones(1000, dtype=torch.bfloat16, requires_grad=True)
    optimizer = RMSprop([param], lr=1e-3, rounding=rounding, fused=fused)
    for _ in range(1000):
        param.grad = torch.full_like(param, 0.5)
        optimizer.step()
    assert place[0] < param.detach().float().mean().item() < place[1]


def loaded(optimizer, **options):
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = RMSprop([param.detach().clone().requires_grad_() for param in params_of(optimizer)], **options)
    other.load_state_dict(torch.load(file))
    return other


WAYS = {"copied": deepcopy, "pickled": lambda it: pickle.loads(pickle.dumps(it)), "loaded": loaded}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_run_goes_on_with_the_same_bits(rounding, way):
    optimizer = optimizer_of(torch.bfloat16, rounding=rounding, seed=8)
    step(optimizer, 0)
    other = way(optimizer)
    assert other.param_groups[0]["rounding"] == rounding
    for nth in (1, 2):
        step(optimizer, nth)
        step(other, nth)
    assert_equal(optimizer, other)


@pytest.mark.parametrize("fused", [None, False], ids=["kernel", "composite"])
def test_what_was_lost_is_kept_only_while_it_is_used(fused):
    optimizer = optimizer_of(torch.bfloat16, rounding="kahan", fused=fused)
    group, first = optimizer.param_groups[0], params_of(optimizer)[0]
    for nth, (rounding, is_kept) in enumerate([("kahan", True), ("nearest", False), ("kahan", True)]):
        group["rounding"] = rounding
        step(optimizer, nth)
        assert ("compensation" in optimizer.state[first]) is is_kept
    assert optimizer.state[first]["compensation"].dtype == torch.bfloat16


def test_what_was_lost_is_shared_too():
    optimizer = optimizer_of(torch.bfloat16, rounding="kahan")
    step(optimizer, 0)
    kept = {param: optimizer.state[param]["compensation"].clone() for param in params_of(optimizer)}
    optimizer.share_memory()
    for param in params_of(optimizer):
        assert optimizer.state[param]["compensation"].is_shared()
        assert torch.equal(optimizer.state[param]["compensation"], kept[param])


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_parameters_of_float32_are_left_alone(rounding):
    optimizers = [optimizer_of(torch.float32, rounding=each) for each in (rounding, "nearest")]
    for optimizer in optimizers:
        step(optimizer, 0)
    assert_equal(*optimizers)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_gradient_that_is_wider_is_used_as_it_is(rounding):
    param = torch.ones(50, dtype=torch.bfloat16, requires_grad=True)
    optimizer = RMSprop([param], lr=0.1, rounding=rounding)
    torch.manual_seed(0)
    param.grad_dtype = torch.float32
    param.grad = torch.randn(50)
    with pytest.warns(UserWarning, match="but its gradient torch.float32"):
        optimizer.step()
    square = param.grad.square() * (1 - 0.99)
    torch.testing.assert_close(optimizer.state[param]["square_avg"], square)


REFUSED = {
    "name": ({"rounding": "up"}, ValueError, "Invalid rounding: 'up' .allowed: 'nearest', 'stochastic', 'kahan'"),
    "seed": ({"rounding": "stochastic", "seed": -1}, ValueError, "Invalid seed: -1 .allowed: a whole number from 0"),
    "large seed": ({"seed": 2**64}, ValueError, "Invalid seed"),
    "half a seed": ({"seed": 0.5}, TypeError, "Invalid seed: 0.5 is a float .allowed: a whole number"),
    "yes": ({"seed": True}, TypeError, "Invalid seed: True is a bool"),
    "derivative": ({"rounding": "kahan", "differentiable": True}, RuntimeError, "has no derivative"),
}


@pytest.mark.parametrize(("options", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_bad_choices_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        RMSprop([torch.zeros(1, dtype=torch.bfloat16)], **options)
    optimizer = optimizer_of(torch.bfloat16, shapes=((3,),))
    step(optimizer, 0)
    before = params_of(optimizer)[0].detach().clone()
    optimizer.param_groups[0].update(options)
    with pytest.raises(error, match=words):
        step(optimizer, 1)
    assert torch.equal(params_of(optimizer)[0], before)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_float64_has_nothing_to_round(rounding):
    optimizer = optimizer_of(torch.float64, shapes=((3,),), rounding=rounding)
    with pytest.raises(ValueError, match=f"parameter 0 is torch.float64, but rounding='{rounding}' is for .* 16 bits"):
        step(optimizer, 0)


def test_a_compiler_that_must_trace_the_step_is_told():
    optimizer = optimizer_of(torch.bfloat16, shapes=((3,),), rounding="stochastic", fused=False)
    step(optimizer, 0)
    with pytest.raises(RuntimeError, match="rounding='stochastic' on plain CPU tensors alone"):
        torch.compile(optimizer.step, backend="eager")()
