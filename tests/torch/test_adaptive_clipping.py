"""Adaptive gradient clipping, ``max_grad_ratio``: against timm and Optax, live, and one path against the other."""

import math
from copy import deepcopy

import dialects.timm_optimizers  # noqa: F401  makes timm importable
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from timm.utils.agc import adaptive_clip_grad

from rmsprop import clipping
from rmsprop.torch import RMSprop, ScheduleFreeRMSprop

SHAPES = ((16, 9, 3, 3), (17, 33), (40,), (), (0,), (5, 1), (1, 7), (3, 5000))
PATHS = {"kernel": {"fused": True}, "tensor operations": {"fused": False}}
by_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def noise(shape, seed, dtype=torch.float64):
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128 if dtype.is_complex else None
    ).to(dtype)


def params(dtype=torch.float64, shapes=SHAPES):
    """Parameters of which some units are small, and one is 0."""
    made = [noise(shape, i, dtype) * 0.1 for i, shape in enumerate(shapes)]
    for each in made:
        if each.ndim > 1:
            each[0] *= 1e-5
            each[-1] = 0.0
    return [torch.nn.Parameter(each) for each in made]


def take_steps(optimizer, count=3, first=0, before=lambda params: None):
    own = optimizer.param_groups[0]["params"]
    for step in range(first, first + count):
        for i, param in enumerate(own):
            param.grad = noise(param.shape, 100 * step + i, param.dtype) * 10.0**-step
        before(own)
        optimizer.step()


def tolerance(shape):
    """Every square is off by 2⁻⁴¹ of the largest at most, so a norm of n by n·2⁻⁴² of itself; there are two of them."""
    return 2 * math.prod(shape[1:] or shape) * 2.0**-42 + 1e-15


@by_path
@pytest.mark.parametrize("ratio", [0.01, 1.0, 1e-5])
def test_it_is_that_of_timm(ratio, path):
    ours, theirs = params(), params()
    take_steps(RMSprop(ours, max_grad_ratio=ratio, **path))
    take_steps(RMSprop(theirs, fused=False), before=lambda own: adaptive_clip_grad(own, ratio))
    unclipped = params()
    take_steps(RMSprop(unclipped, fused=False))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=10 * tolerance(a.shape), atol=1e-15)
    assert not all(map(torch.allclose, ours, unclipped))


# The axes of ours, of which the first is the output, in Optax's order, in which the last is.
IN_OPTAX = {"a linear layer": ((7, 4), (1, 0)), "a convolution": ((6, 3, 2, 5), (2, 3, 1, 0)), "a vector": ((9,), (0,))}


@pytest.mark.parametrize(("shape", "axes"), IN_OPTAX.values(), ids=IN_OPTAX)
def test_it_is_that_of_optax_on_transposed_weights(shape, axes):
    param, grad = noise(shape, 1), noise(shape, 2)
    ours = torch.nn.Parameter(param.clone())
    ours.grad = grad.clone()
    RMSprop([ours], lr=0.1, max_grad_ratio=0.02).step()
    with jax.enable_x64(True):
        clip = optax.adaptive_grad_clip(0.02)
        theirs, its = (jnp.array(each.numpy().transpose(axes)) for each in (param, grad))
        clipped, _ = clip.update(its, clip.init(theirs), theirs)
        clipped = np.array(clipped).transpose(np.argsort(axes))
    expected = torch.nn.Parameter(param.clone())
    expected.grad = torch.from_numpy(np.ascontiguousarray(clipped))
    RMSprop([expected], lr=0.1).step()
    np.testing.assert_allclose(ours.detach(), expected.detach(), rtol=10 * tolerance(shape))


OPTIONS = {
    "plain": {},
    "all limits": {"max_grad_norm": 3.0, "max_grad_value": 0.1, "max_update_rms": 0.5, "maximize": True},
    "all state": {"centered": True, "momentum": 0.9, "weight_decay": 0.1},
    "caution": {"caution": True, "momentum": 0.9},
    "state in bfloat16": {"momentum": 0.9, "state_dtype": torch.bfloat16},
    "stochastic": {"rounding": "stochastic"},
    "kahan": {"rounding": "kahan"},
}
NARROW, WIDE = [torch.bfloat16, torch.float16], [torch.float64, torch.complex64]
CASES = {
    f"{name}, {dtype}": (dtype, options)
    for name, options in OPTIONS.items()
    for dtype in [*NARROW, torch.float32, *WIDE]
    if not ("rounding" in options and dtype not in NARROW) and not ("state_dtype" in options and dtype in WIDE)
}


@pytest.mark.parametrize(("dtype", "options"), CASES.values(), ids=CASES)
def test_the_kernel_and_tensor_operations_have_equal_bits(dtype, options):
    found = []
    for path in PATHS.values():
        optimizer = RMSprop(params(dtype), max_grad_ratio=0.02, **path, **options)
        take_steps(optimizer)
        own = optimizer.param_groups[0]["params"]
        found.append([*own, *(array for param in own for array in optimizer.state[param].values())])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("threads", [1, 4])
def test_gradients_stay_and_threads_change_nothing(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        (param,) = params(torch.float32, [(700, 1000)])
        param.grad = noise(param.shape, 5, torch.float32)
        grad, start = param.grad.clone(), param.detach().clone()
        RMSprop([param], max_grad_ratio=0.01).step()
    finally:
        torch.set_num_threads(before)
    assert torch.equal(param.grad, grad)
    scales = clipping.unit_factors(
        *(clipping.norms(clipping.row_squares(each.numpy())) for each in (grad, start)), 0.01
    )
    expected = torch.nn.Parameter(start)
    expected.grad = grad * torch.from_numpy(scales).float()[:, None]
    RMSprop([expected]).step()
    assert torch.equal(param, expected)


@pytest.mark.parametrize(
    ("values", "factor"),
    [((0.5, 100.0), 1.0), ((1.0, 25.0), 0.25), ((1.0, 0.0), 1e-5), ((math.nan, 1.0), math.nan), ((math.inf, 1.0), 0.0)],
    ids=str,
)
def test_the_factor_of_a_unit(values, factor):
    grad, param = (np.array([value]) for value in values)
    np.testing.assert_allclose(clipping.unit_factors(grad, param, 0.01), factor)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@by_path
def test_what_is_not_finite_spoils_its_own_unit_alone(bad, path):
    (param,) = params(torch.float32, [(4, 3)])
    start = param.detach().clone()
    param.grad = torch.ones(4, 3)
    param.grad[1, 1] = bad
    RMSprop([param], max_grad_ratio=0.1, **path).step()
    assert param[1].isnan().any()
    assert param[[0, 2, 3]].isfinite().all()
    assert not torch.equal(param[0], start[0])


def layouts():
    base = noise((6, 4, 5, 5), 0, torch.float32)
    yield "channels last", base.contiguous(memory_format=torch.channels_last), "kernel"
    yield "transposed", base.transpose(0, 1).contiguous().transpose(0, 1), "tensor operations: has max_grad_ratio, and"
    yield "with gaps", torch.stack([base, base], -1)[..., 0], "kernel on dense copy"
    yield "one row", noise((5, 1), 0, torch.float32).t(), "kernel"


@pytest.mark.filterwarnings("ignore:rmsprop updates parameter")
@pytest.mark.parametrize(
    ("name", "memory", "path"), list(layouts()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_any_layout_has_the_same_units(name, memory, path):
    param, plain = torch.nn.Parameter(memory), torch.nn.Parameter(memory.clone(memory_format=torch.contiguous_format))
    optimizers = [RMSprop([each], max_grad_ratio=0.02) for each in (param, plain)]
    for optimizer in optimizers:
        take_steps(optimizer, 2)
    assert torch.equal(param, plain)
    (found,) = optimizers[0].paths().values()
    assert found.startswith(path)


def test_state_in_8_bits_is_updated_by_tensor_operations_and_it_is_said():
    optimizer = RMSprop(params(torch.float32), max_grad_ratio=0.02, state_dtype="8bit")
    with pytest.warns(UserWarning, match="has max_grad_ratio, whose rows cut through the blocks of state in 8 bits"):
        take_steps(optimizer)
    wide = RMSprop(params(torch.float32), max_grad_ratio=0.02)
    take_steps(wide)
    for a, b in zip(optimizer.param_groups[0]["params"], wide.param_groups[0]["params"], strict=True):
        assert torch.allclose(a, b, rtol=0.2, atol=0.02)
    with pytest.raises(RuntimeError, match="rows cut through the blocks"):
        take_steps(RMSprop(params(torch.float32), max_grad_ratio=0.02, state_dtype="8bit", fused=True))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_grad_ratio": 0.0}, ValueError, "Invalid max_grad_ratio: 0.0 .allowed: a number above 0, or None"),
        ({"max_grad_ratio": True}, TypeError, "Invalid max_grad_ratio: True is a bool"),
        ({"max_grad_ratio": 0.1, "differentiable": True}, RuntimeError, "`max_grad_ratio` does not support `differ"),
    ],
    ids=str,
)
def test_what_can_not_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        RMSprop(params(), **options)


@by_path
def test_a_run_goes_on_to_the_same_bits_and_the_option_may_change(path):
    whole, first = (RMSprop(params(torch.float32), max_grad_ratio=0.02, **path) for _ in range(2))
    take_steps(whole, 4)
    take_steps(first, 2)
    second = RMSprop([deepcopy(param) for param in first.param_groups[0]["params"]], **path)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["max_grad_ratio"] == 0.02
    take_steps(second, 2, 2)
    assert all(map(torch.equal, whole.param_groups[0]["params"], second.param_groups[0]["params"]))

    switched, plain = RMSprop(params(torch.float32), **path), RMSprop(params(torch.float32), **path)
    for limit in (None, 0.02, 1e6, None):
        switched.param_groups[0]["max_grad_ratio"] = limit
        take_steps(switched, 1)
        take_steps(plain, 1, before=lambda own, limit=limit: adaptive_clip_grad(own, limit) if limit else None)
    for a, b in zip(switched.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


@by_path
def test_schedule_free_steps_are_clipped_too(path):
    ours, theirs = (ScheduleFreeRMSprop(params(), max_grad_ratio=ratio, **path) for ratio in (0.02, None))
    for optimizer in (ours, theirs):
        optimizer.train()
    take_steps(ours)
    take_steps(theirs, before=lambda own: adaptive_clip_grad(own, 0.02))
    for a, b in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=10 * tolerance(a.shape), atol=1e-15)
