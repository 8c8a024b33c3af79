"""Hyperparameters are checked wherever they arrive, and a step with a bad one changes nothing."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch

from rmsprop.rule import FLAGS
from rmsprop.torch import RMSprop

OWN_FLAGS = [flag for flag in FLAGS if flag != "centered"]  # there torch takes whatever is true or false
BELOW_ZERO = [  # to start with; a schedule may end there
    ("lr", -0.1, ValueError, "learning rate: -0.1"),
    ("lr", torch.tensor(-0.1), ValueError, "learning rate: -0.1"),
]
BAD_VALUES = [
    ("lr", float("nan"), ValueError, "learning rate: nan"),
    ("lr", float("inf"), ValueError, "learning rate: inf"),
    ("lr", "fast", TypeError, "learning rate: 'fast'"),
    ("lr", torch.tensor(torch.nan), ValueError, "learning rate: nan"),
    ("lr", torch.tensor([0.1, 0.1]), ValueError, "Tensor lr must be 1-element"),
    ("alpha", 1.01, ValueError, "alpha value: 1.01"),
    ("alpha", float("nan"), ValueError, "alpha value: nan"),
    ("alpha", "0.9", TypeError, "alpha value: '0.9'"),
    ("eps", -1e-8, ValueError, "epsilon value: -1e-08"),
    ("eps", True, TypeError, "epsilon value: True"),
    ("weight_decay", -1.0, ValueError, "weight_decay value: -1.0"),
    ("momentum", 1.5, ValueError, "momentum value: 1.5"),
    ("momentum", "0.9", TypeError, "momentum value: '0.9'"),
    ("initial_square_avg", -1.0, ValueError, "initial_square_avg value: -1.0"),
    ("weight_decay_mode", "L2", ValueError, "weight_decay_mode value: 'L2'"),
    ("nesterov", True, ValueError, "nesterov=True needs a momentum"),
    *((flag, value, TypeError, f"Invalid {flag} value: {value!r}") for flag in OWN_FLAGS for value in ("no", 1)),
]
CASES = pytest.mark.parametrize(("name", "value", "error", "words"), BAD_VALUES, ids=lambda v: repr(v)[:20])
FIRST_CASES = pytest.mark.parametrize(
    ("name", "value", "error", "words"), [*BELOW_ZERO, *BAD_VALUES], ids=lambda v: repr(v)[:20]
)


def everything(optimizer):
    """Copies of all that a step may change."""
    params = [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]
    return params, deepcopy(optimizer.state_dict()["state"])


def two_groups(**options):
    first, second = (torch.ones(5, requires_grad=True) for _ in range(2))
    optimizer = RMSprop([{"params": [first]}, {"params": [second]}], **options)
    for param in (first, second):
        param.grad = torch.randn(5)
    return optimizer


@FIRST_CASES
def test_refused_by_the_constructor(name, value, error, words):
    with pytest.raises(error, match=words):
        RMSprop([torch.zeros(1)], **{name: value})


@FIRST_CASES
def test_refused_in_the_options_of_a_group(name, value, error, words):
    with pytest.raises(error, match=words):
        RMSprop([{"params": [torch.zeros(1)], name: value}])


@FIRST_CASES
def test_refused_by_add_param_group_which_then_adds_nothing(name, value, error, words):
    optimizer = two_groups()
    with pytest.raises(error, match=words):
        optimizer.add_param_group({"params": [torch.zeros(1)], name: value})
    assert len(optimizer.param_groups) == 2
    optimizer.step()


@CASES
def test_refused_by_load_state_dict(name, value, error, words):
    optimizer = two_groups()
    optimizer.step()
    broken = deepcopy(optimizer.state_dict())
    broken["param_groups"][1][name] = value
    before = everything(optimizer)
    with pytest.raises(error, match=words):
        optimizer.load_state_dict(broken)
    torch.testing.assert_close(everything(optimizer), before, rtol=0, atol=0)
    optimizer.step()


@pytest.mark.parametrize("steps", [0, 2], ids=["at the first step", "later"])
@CASES
def test_refused_by_the_next_step_which_then_changes_nothing(name, value, error, words, steps, implementation):
    # In the second group: the first is fine, and must not be updated either.
    optimizer = two_groups(**implementation)
    for _ in range(steps):
        optimizer.step()
    group = optimizer.param_groups[1]
    before, good = everything(optimizer), group[name]
    group[name] = value
    for _ in range(2):
        with pytest.raises(error, match=words):
            optimizer.step()
        torch.testing.assert_close(everything(optimizer), before, rtol=0, atol=0)
    group[name] = good
    optimizer.step()
    assert all(state["step"] == steps + 1 for state in optimizer.state.values())


def test_a_tensor_learning_rate_that_turns_nan_in_place_is_refused(implementation):
    optimizer = two_groups(lr=torch.tensor(0.1), **implementation)
    optimizer.step()
    before = everything(optimizer)
    optimizer.param_groups[0]["lr"].fill_(torch.nan)
    with pytest.raises(ValueError, match="learning rate: nan"):
        optimizer.step()
    torch.testing.assert_close(everything(optimizer), before, rtol=0, atol=0)


def test_an_exception_in_the_closure_changes_nothing(implementation):
    optimizer = two_groups(**implementation)
    optimizer.step()
    before = everything(optimizer)

    def closure():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    torch.testing.assert_close(everything(optimizer), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0.5),
        ("eps", 0.1),
        ("weight_decay", 0.5),
        ("centered", True),
        ("momentum", 0.9),
        ("maximize", True),
        ("lr", 0.5),
        ("lr", torch.tensor(0.5, dtype=torch.float64)),
        ("eps_inside_sqrt", True),
        ("lr_in_momentum", True),
        ("bias_correction", True),
        ("weight_decay_mode", "decoupled"),
    ],
)
def test_an_option_may_change_between_steps(name, value, implementation, twins, train):
    # From then on as if it had been so from the start, with the same state.
    changed, started = twins()
    common = {"momentum": 0.5, "weight_decay": 0.1, "lr": 0.1} | ({"centered": True} if name != "centered" else {})
    optimizer = RMSprop(changed, **common, **implementation)
    train(optimizer, steps=3)
    optimizer.param_groups[0][name] = value
    twin = RMSprop(started, **{**common, name: value}, **implementation)
    twin.load_state_dict({**optimizer.state_dict(), "param_groups": twin.state_dict()["param_groups"]})
    with torch.no_grad():
        for param, copy in zip(changed, started, strict=True):
            copy.copy_(param)
    train(optimizer, twin, steps=3, seed=2)
    assert all(map(torch.equal, changed, started))


def test_numpy_numbers_are_numbers(implementation):
    param = torch.zeros(3, requires_grad=True)
    param.grad = torch.ones(3)
    optimizer = RMSprop([param], lr=np.float32(0.125), momentum=np.float64(0.9), eps=np.float16(0), **implementation)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((3,), -1.25))


def test_a_learning_rate_that_asks_for_a_gradient_is_only_read(implementation):
    param = torch.zeros(3, requires_grad=True)
    param.grad = torch.ones(3)
    RMSprop([param], lr=torch.tensor([0.1], requires_grad=True), **implementation).step()
    torch.testing.assert_close(param.detach(), torch.full((3,), -1.0))
    assert not param.grad_fn


@pytest.mark.parametrize(
    "zero", [{"lr": 0.0}, {"alpha": 0.0}, {"alpha": 1.0}, {"eps": 0.0}, {"momentum": 1.0}], ids=str
)
def test_the_ends_of_the_ranges_are_allowed(zero, implementation, twins, train):
    params = twins(1)[0]
    train(RMSprop(params, **{"eps": 1e-3, **zero}, **implementation), steps=3)
    assert all(param.isfinite().all() for param in params)


def test_a_default_that_depends_on_another_choice_follows_each_group():
    params = [torch.zeros(1, requires_grad=True) for _ in range(4)]
    groups = [{"params": params[:1]}, {"params": params[1:2], "momentum": 0.9}]
    optimizer = RMSprop(groups, dialect="keras_legacy")
    optimizer = deepcopy(pickle.loads(pickle.dumps(optimizer)))  # neither forgets the dialect
    optimizer.add_param_group({"params": params[2:3], "momentum": 0.5})
    optimizer.add_param_group({"params": params[3:], "momentum": 0.5, "eps_inside_sqrt": False})
    assert [group["eps_inside_sqrt"] for group in optimizer.param_groups] == [False, True, True, False]
    explicit = RMSprop(params[:1], dialect="keras_legacy", eps_inside_sqrt=False)
    explicit.add_param_group({"params": params[1:], "momentum": 0.5})
    assert not explicit.param_groups[1]["eps_inside_sqrt"]


def test_defaults_that_were_changed_hold_for_new_groups():
    params = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizers = [cls(params[:1]) for cls in (torch.optim.RMSprop, RMSprop)]
    for optimizer in optimizers:
        optimizer.defaults["momentum"] = 0.9
        optimizer.add_param_group({"params": params[1:]})
        assert [group["momentum"] for group in optimizer.param_groups] == [0.0, 0.9]


def test_a_group_cannot_choose_a_dialect():
    with pytest.raises(ValueError, match=r"a parameter group can't choose a dialect .'keras' was given."):
        RMSprop([{"params": [torch.zeros(1, requires_grad=True)], "dialect": "keras"}])
