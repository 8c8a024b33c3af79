"""The class stands in for torch's: same signature, same words, same behaviour around the update."""

import inspect
import threading
from copy import deepcopy

import pytest
import torch

from rmsprop import DIALECTS
from rmsprop.torch import RMSprop

INVALID = [("lr", -1.0), ("alpha", -0.5), ("eps", -1e-8), ("weight_decay", -0.1), ("momentum", -1.0)]


def quadratic(param, optimizer):
    def closure():
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = (param - 1).square().sum()
        loss.backward()
        return loss

    return closure


def test_the_signature_begins_as_that_of_torch():
    theirs, ours = (list(inspect.signature(cls).parameters) for cls in (torch.optim.RMSprop, RMSprop))
    assert ours[: len(theirs)] == theirs


def test_the_defaults_are_those_of_torch():
    param = torch.zeros(1)
    theirs, ours = torch.optim.RMSprop([param]).defaults, RMSprop([param]).defaults
    assert {name: ours[name] for name in theirs} == theirs


def test_positional_arguments_mean_what_they_do_in_torch():
    given = (0.1, 0.9, 1e-3, 0.01, 0.8, True, False, False, True, False)
    theirs, ours = (cls([torch.zeros(1)], *given).defaults for cls in (torch.optim.RMSprop, RMSprop))
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_an_invalid_value_is_refused_in_the_words_of_torch(name, value):
    with pytest.raises(ValueError, match="Invalid") as theirs:
        torch.optim.RMSprop([torch.zeros(1)], **{name: value})
    with pytest.raises(ValueError, match="Invalid") as ours:
        RMSprop([torch.zeros(1)], **{name: value})
    assert str(ours.value).startswith(str(theirs.value))


def test_every_dialect_can_be_named():
    for name, dialect in DIALECTS.items():
        optimizer = RMSprop([torch.zeros(1)], lr=0.1, dialect=name)
        assert optimizer.defaults["alpha"] == dialect.rule.decay
        assert optimizer.defaults["eps_inside_sqrt"] == dialect.rule.eps_inside_sqrt


@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if dialect.lr is None])
def test_a_dialect_without_a_learning_rate_asks_for_one(name):
    with pytest.raises(ValueError, match="no default learning rate"):
        RMSprop([torch.zeros(1)], dialect=name)


def test_it_prints():
    assert repr(RMSprop([torch.zeros(1)], lr=0.5)).startswith("RMSprop (\nParameter Group 0\n")


def test_the_closure_runs_once_with_gradients_enabled(implementation):
    param = torch.zeros(3, requires_grad=True)
    optimizer = RMSprop([param], **implementation)
    with torch.no_grad():
        loss = optimizer.step(quadratic(param, optimizer))
    assert loss.item() == 3.0
    assert (param > 0).all()


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_the_surrounding_gradient_mode_does_not_matter(context, implementation):
    results = []
    for mode in (torch.no_grad, context):
        param = torch.zeros(3, requires_grad=True)
        optimizer = RMSprop([param], momentum=0.9, centered=True, **implementation)
        with mode():
            for _ in range(3):
                param.grad = torch.ones(3)
                optimizer.step()
        assert param.requires_grad
        assert not any(state.requires_grad for state in optimizer.state[param].values())
        results.append(param.detach().clone())
    assert torch.equal(*results)


def test_parameters_made_in_inference_mode_are_trained(implementation):
    with torch.inference_mode():
        param = torch.zeros(3)
        param.grad = torch.ones(3)
        RMSprop([param], lr=0.1, **implementation).step()
    torch.testing.assert_close(param, torch.full((3,), -1.0))


def test_a_zero_gradient_moves_nothing(implementation):
    param = torch.randn(5, requires_grad=True)
    before = param.detach().clone()
    param.grad = torch.zeros(5)
    RMSprop([param], **implementation).step()
    assert torch.equal(param, before)


def test_a_missing_gradient_leaves_no_trace(implementation):
    param = torch.randn(5, requires_grad=True)
    optimizer = RMSprop([param], **implementation)
    optimizer.step()
    optimizer.step()
    assert dict(optimizer.state) == {}


def test_groups_with_different_options_are_like_optimizers_of_their_own(implementation, twins, train):
    options = [
        {"lr": 1e-3},
        {"centered": True, "weight_decay": 0.1},
        {"momentum": 0.9, "maximize": True},
        {"alpha": 0.3, "bias_correction": True, "momentum": 0.5, "nesterov": True},
        {"lr": torch.tensor(0.1, dtype=torch.float64)},
        {"eps_inside_sqrt": True, "initial_square_avg": 1.0, "lr_in_momentum": True, "momentum": 0.9},
    ]
    together, apart = twins(shapes=[(7,)] * len(options))
    groups = [{"params": [p], **given} for p, given in zip(together, options, strict=True)]
    one = RMSprop(groups, **implementation)
    several = [RMSprop([p], **given, **implementation) for p, given in zip(apart, options, strict=True)]
    for seed in range(5):
        train(one, steps=1, seed=seed)
        for ours, theirs in zip(together, apart, strict=True):
            theirs.grad = ours.grad.clone()
        for optimizer in several:
            optimizer.step()
    assert all(map(torch.equal, together, apart))


def test_dtypes_may_be_mixed(implementation):
    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)
    params = [torch.zeros(5, dtype=dtype, requires_grad=True) for dtype in dtypes]
    optimizer = RMSprop(params, lr=0.125, **implementation)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    for param in params:
        # the first step is lr/√(1 − α) = 1.25, a number that every dtype has
        assert torch.equal(param.real.float().round(decimals=5), torch.full((5,), -1.25))
        expected = torch.promote_types(param.dtype, torch.float32)
        assert optimizer.state[param]["square_avg"].dtype == expected


def test_add_param_group_trains_the_new_parameters_too(implementation):
    first, second = (torch.zeros(3, requires_grad=True) for _ in range(2))
    optimizer = RMSprop([first], lr=0.1, **implementation)
    first.grad = torch.ones(3)
    optimizer.step()
    optimizer.add_param_group({"params": [second], "lr": 0.01})
    second.grad = torch.ones(3)
    optimizer.step()
    assert (first < -1).all()
    torch.testing.assert_close(second.detach(), torch.full((3,), -0.1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fused": True, "foreach": True}, "`fused` and `foreach` cannot be `True` together."),
        ({"fused": True, "differentiable": True}, "`fused` does not support `differentiable`"),
    ],
)
def test_contradictory_flags_are_refused_in_the_words_of_torch(options, words):
    with pytest.raises(RuntimeError, match=words):
        RMSprop([torch.zeros(1)], **options)
    optimizer = RMSprop([torch.zeros(1)])
    with pytest.raises(RuntimeError, match=words):
        optimizer.add_param_group({"params": [torch.ones(1)], **options})
    optimizer.param_groups[0].update(options)
    with pytest.raises(RuntimeError, match=words):
        optimizer.step()


def test_fused_says_what_it_cannot_update():
    param = torch.zeros(2, device="meta")
    param.grad = torch.ones_like(param)
    optimizer = RMSprop([param], fused=True)
    with pytest.raises(RuntimeError, match=r"`fused=True` requires all the params to be floating point Tensors.*meta"):
        optimizer.step()
    assert dict(optimizer.state) == {}


def test_deepcopy_keeps_the_public_attributes(twins, train):
    optimizer = RMSprop(twins(1)[0])
    train(optimizer, steps=2)

    def public(instance):
        return {name for name in vars(instance) if not name.startswith("_")}

    assert public(deepcopy(optimizer)) == public(optimizer)


def test_a_step_may_be_taken_in_another_thread(twins, train):
    # Large enough that the kernel spreads over torch's pool, from a thread that the pool has never seen.
    ours, theirs = twins(shapes=[(300_000,)], dtype=torch.float32)
    here, there = RMSprop(ours, fused=True), RMSprop(theirs, fused=True)
    train(here, steps=3)
    thread = threading.Thread(target=train, args=(there,), kwargs={"steps": 3})
    thread.start()
    thread.join()
    assert torch.equal(ours[0], theirs[0])


def test_optimizers_in_many_threads_do_not_disturb_each_other(twins, train):
    params = twins(8, dtype=torch.float32)
    optimizers = [RMSprop(p, momentum=0.9, fused=True) for p in params]
    threads = [threading.Thread(target=train, args=(o,), kwargs={"steps": 50}) for o in optimizers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for others in params[1:]:
        assert all(map(torch.equal, params[0], others))
