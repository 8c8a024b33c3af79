"""What a rule has beyond the frameworks' own RMSProp, against those who published it, live and in float64."""

from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from dialects.timm_optimizers import Adopt, LaProp, RMSpropTF

from rmsprop import RECIPES, Rule, reference

GRADS = np.random.default_rng(0).standard_normal((40, 16)) * np.logspace(-3, 3, 16)
START = np.linspace(-1.0, 1.0, 16)
# Forty steps of roundings of 2⁻⁵³ each, a few dozen per step.
TOLERANCE = 1e-12


def ours(rule, lr=0.01, grads=GRADS, schedule=None):
    """Return the parameter after every step."""
    param, path = START, []
    state = reference.init(rule, param)
    for step, grad in enumerate(grads, 1):
        param, state = reference.update(rule, schedule[step - 1] if schedule else lr, step, param, grad, state)
        path.append(param)
    return np.array(path)


def by_optax(transformation, lr=0.01):
    with jax.enable_x64(True):
        chain = optax.chain(transformation, optax.scale_by_learning_rate(lr))
        theta, path = jnp.array(START), []
        state = chain.init(theta)
        for grad in GRADS:
            changes, state = chain.update(jnp.array(grad), state, theta)
            theta = optax.apply_updates(theta, changes)
            path.append(np.array(theta))
        return np.array(path)


def by_torch(make, schedule=None):
    with torch_in_float64():
        return _by_torch(make, schedule)


@contextmanager
def torch_in_float64():
    """timm counts steps and learning rates in the default precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def _by_torch(make, schedule):
    param, path = torch.nn.Parameter(torch.from_numpy(START.copy())), []
    optimizer = make([param])
    for step, grad in enumerate(GRADS):
        if schedule:
            optimizer.param_groups[0]["lr"] = schedule[step]
        param.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        path.append(param.detach().numpy().copy())
    return np.array(path)


AVERAGED = {"decay": 0.99, "eps": 1e-8, "momentum": 0.9, "averaged_momentum": True}
RMS, CORRECTED_RMS = (
    optax.scale_by_rms(decay=0.99, eps=1e-8, eps_in_sqrt=False, bias_correction=corrected)
    for corrected in (False, True)
)
BY_OPTAX = {
    "averaged momentum": (Rule(**AVERAGED), optax.chain(RMS, optax.ema(0.9, debias=False))),
    "averaged and corrected": (
        Rule(**AVERAGED, bias_correction=True),
        optax.chain(CORRECTED_RMS, optax.ema(0.9, debias=True)),
    ),
    # what danijar/dreamerv3, embodied/jax/opt.py, calls scale_by_rms and scale_by_momentum
    "dreamerv3": (
        RECIPES["dreamerv3"].rule,
        optax.chain(
            optax.scale_by_rms(decay=0.999, eps=1e-20, eps_in_sqrt=False, bias_correction=True),
            optax.ema(0.9, debias=True),
        ),
    ),
}


@pytest.mark.parametrize("name", BY_OPTAX)
def test_variants_are_those_of_optax(name):
    rule, transformation = BY_OPTAX[name]
    np.testing.assert_allclose(ours(rule), by_optax(transformation), rtol=TOLERANCE)


def test_averaged_momentum_is_laprops_while_the_learning_rate_stays():
    found = by_torch(lambda params: LaProp(params, lr=0.01, betas=(0.9, 0.99), eps=1e-8))
    for inside in (False, True):
        rule = Rule(**AVERAGED, bias_correction=True, lr_in_momentum=inside)
        np.testing.assert_allclose(ours(rule), found, rtol=TOLERANCE)


# ADOPT divides by max(√v, ε), which is √v + 0 as long as no gradient is 0 and ε is far below √v.
ADOPT = {"decay": 0.99, "eps": 0.0, "momentum": 0.9, "averaged_momentum": True}
ADOPT |= {"init_from_gradient": True, "delayed": True}


def test_adopt_is_that_of_optax():
    theirs = by_optax(optax.contrib.scale_by_adopt(b1=0.9, b2=0.99, eps=1e-12))
    np.testing.assert_allclose(ours(Rule(**ADOPT)), theirs, rtol=TOLERANCE)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adopt_is_that_of_timm(weight_decay):
    options = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-12, "clip_exp": 0.25, "weight_decay": weight_decay}
    theirs = by_torch(lambda params: Adopt(params, **options))
    np.testing.assert_allclose(ours(Rule(**ADOPT, weight_decay=weight_decay)), theirs, rtol=TOLERANCE)


def test_cautious_weight_decay_is_that_of_the_paper():
    # arXiv 2510.12402, algorithm 1: x ← x − η·(u + λ·1(u⊙x ≥ 0)⊙x), here with Adam's u; ours with RMSProp's
    rule = Rule(decay=0.99, weight_decay=0.3, weight_decay_mode="cautious")
    plain, x, path = Rule(decay=0.99), START, []
    state = reference.init(plain, x)
    for step, grad in enumerate(GRADS, 1):
        change, state = reference.change(plain, 1.0, step, grad, state, np)
        x = x - 0.01 * (change + 0.3 * (change * x >= 0) * x)
        path.append(x)
    np.testing.assert_allclose(ours(rule), np.array(path), rtol=TOLERANCE)
    assert not np.allclose(ours(rule), ours(replace(rule, weight_decay_mode="decoupled")))


TIMM = {"decay": 0.95, "eps": 1e-3, "eps_inside_sqrt": True, "initial_square_avg": 1.0, "momentum": 0.9}
COSINE = [0.05 * (1 + np.cos(np.pi * k / len(GRADS))) for k in range(len(GRADS))]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("weight_decay", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled_decay": True}])
def test_caution_is_that_of_timm(inside, weight_decay):
    mode = "decoupled" if "decoupled_decay" in weight_decay else "l2"
    rule = Rule(**TIMM, caution=True, lr_in_momentum=inside, weight_decay_mode=mode)
    rule = replace(rule, weight_decay=weight_decay.get("weight_decay", 0.0))
    options = {"lr": 0.1, "alpha": 0.95, "eps": 1e-3, "momentum": 0.9, "lr_in_momentum": inside, "caution": True}
    theirs = by_torch(lambda params: RMSpropTF(params, **options, **weight_decay), COSINE)
    np.testing.assert_allclose(ours(rule, schedule=COSINE), theirs, rtol=TOLERANCE)
    assert not np.allclose(ours(replace(rule, caution=False), schedule=COSINE), theirs)


def test_steps_that_hardly_agree_grow_a_thousandfold_as_in_timm():
    rule = Rule(**TIMM, caution=True)
    size, buffer = 4000, np.full(4000, 1e3)
    grad = np.where(np.arange(size) == 7, 1.0, -1.0)
    state = {"square_avg": np.ones(size), "momentum_buffer": buffer}
    moved, _ = reference.update(rule, 0.1, 2, np.zeros(size), grad, state)
    with torch_in_float64():
        param = torch.nn.Parameter(torch.zeros(size))
        options = {"alpha": 0.95, "eps": 1e-3, "momentum": 0.9, "lr_in_momentum": False, "caution": True}
        optimizer = RMSpropTF([param], lr=0.1, **options)
        state = {"step": torch.tensor(1.0), "square_avg": torch.ones(size)}
        optimizer.state[param] = state | {"momentum_buffer": torch.from_numpy(buffer)}
        param.grad = torch.from_numpy(grad)
        optimizer.step()
    np.testing.assert_allclose(moved, param.detach().numpy(), rtol=TOLERANCE)
    assert np.count_nonzero(moved) == 1
    assert moved[7] < -0.1 * 1e3 * 800


@pytest.mark.parametrize("caution", [False, True])
def test_corrected_weight_decay_is_that_of_timm(caution):
    options = {"alpha": 0.95, "eps": 1e-3, "momentum": 0.9, "weight_decay": 0.3, "lr_in_momentum": False}
    options |= {"decoupled_decay": True, "corrected_weight_decay": True, "caution": caution}
    theirs = by_torch(lambda params: RMSpropTF(params, lr=0.1, **options), COSINE)
    rule = Rule(**TIMM, weight_decay=0.3, weight_decay_mode="decoupled", weight_decay_max_lr=0.1, caution=caution)
    np.testing.assert_allclose(ours(rule, schedule=COSINE), theirs, rtol=TOLERANCE)
    assert not np.allclose(ours(replace(rule, weight_decay_max_lr=0.0), schedule=COSINE), theirs)
