"""Distributed checkpoints look at an optimizer before its first step, and take one to have its state made.

That step has rate 0 and gradients of zeros. torch's optimizers count it, and v leaves its start; here it makes state.
"""

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_state_dict,
)

from rmsprop.torch import RMSprop, ScheduleFreeRMSprop, step_in_backward

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized"),
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning"),  # what torch 2.10 itself calls
]

FORMS = {"nested": StateDictOptions(), "flattened": StateDictOptions(flatten_optimizer_state_dict=True)}
by_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def a_model(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()


def trained(model, optimizer, steps, seed=1):
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3, generator=random).to(next(model.parameters()).dtype)).square().sum().backward()
        optimizer.step()
    optimizer.zero_grad()


def assert_equal(one, other):
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def saved(model, optimizer, form, folder):
    weights, state = get_state_dict(model, optimizer, options=form)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=folder, no_dist=True)


def load(model, optimizer, form, folder):
    weights, state = get_state_dict(model, optimizer, options=form)
    dcp.load({"model": weights, "optimizer": state}, checkpoint_id=folder, no_dist=True)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=state, options=form)


STARTS = {
    "v from 0": {},
    "v from 1": {"dialect": "tensorflow1", "lr": 0.01, "momentum": 0.9},
    "v from the gradient": {"init_from_gradient": True, "delayed": True},
    "corrected": {"bias_correction": True, "centered": True},
    "decoupled decay": {"weight_decay": 0.1, "weight_decay_mode": "decoupled"},
    "8 bits": {"state_dtype": "8bit", "momentum": 0.9},
    "rounded": {"rounding": "stochastic"},
}


@pytest.mark.parametrize("in_backward", [False, True], ids=["step", "step in backward"])
@pytest.mark.parametrize("options", STARTS.values(), ids=STARTS)
def test_who_is_asked_before_the_first_step_trains_as_if_not(options, in_backward):
    dtype = torch.bfloat16 if "rounding" in options else torch.float32
    model, twin = a_model().to(dtype), a_model().to(dtype)
    optimizer, other = RMSprop(model.parameters(), **options), RMSprop(twin.parameters(), **options)
    if in_backward:
        step_in_backward(optimizer)
    get_optimizer_state_dict(model, optimizer)
    assert all(state["step"] == 0 for state in optimizer.state.values())
    trained(model, optimizer, 3)
    trained(twin, other, 3)
    assert_equal(model, twin)
    assert all(state["step"] == 3 for state in optimizer.state.values())


def test_torchs_own_counts_the_step():
    model = a_model()
    optimizer = torch.optim.RMSprop(model.parameters())
    get_optimizer_state_dict(model, optimizer)
    assert all(state["step"] == 1 for state in optimizer.state.values())


@pytest.mark.parametrize("trains", [False, True], ids=["made", "in train mode"])
def test_weights_that_are_loaded_after_the_state_was_made_are_where_an_average_begins(trains):
    model, twin = a_model(), a_model(seed=1)
    optimizer, other = (ScheduleFreeRMSprop(each.parameters()) for each in (model, twin))
    if trains:
        optimizer.train()
    get_optimizer_state_dict(model, optimizer)
    model.load_state_dict(twin.state_dict())
    for each in (optimizer, other):
        each.train()
    trained(model, optimizer, 3)
    trained(twin, other, 3)
    assert optimizer.param_groups[0]["k"] == 3
    optimizer.eval()
    other.eval()
    assert_equal(model, twin)


@by_form
@pytest.mark.parametrize("trains", [False, True], ids=["loaded in eval mode", "loaded in train mode"])
@pytest.mark.parametrize("evaluated", [False, True], ids=["saved in train mode", "saved in eval mode"])
def test_an_average_goes_on_in_the_mode_in_which_it_was_saved(evaluated, trains, form, tmp_path):
    model, fresh = a_model(), a_model(seed=1)
    optimizer, loaded = ScheduleFreeRMSprop(model.parameters()), ScheduleFreeRMSprop(fresh.parameters())
    optimizer.train()
    trained(model, optimizer, 5)
    if evaluated:
        optimizer.eval()
    saved(model, optimizer, form, tmp_path)
    if trains:
        loaded.train()
    load(fresh, loaded, form, tmp_path)
    assert loaded.training != evaluated
    assert_equal(model, fresh)
    for each in (optimizer, loaded):
        each.train()
    # There is no y to load into, so that it is made of x and z, in six roundings of numbers below 1, β = 0.9.
    bound = 6 * 2.0**-53 if evaluated else 0.0
    for ours, theirs in zip(model.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=bound)
        assert torch.equal(loaded.state[theirs]["z"], optimizer.state[ours]["z"])


@by_form
def test_state_that_goes_by_names_may_come_in_another_order(form, tmp_path):
    model, fresh = a_model(), a_model(seed=1)
    optimizer = RMSprop(model.named_parameters(), momentum=0.9)
    loaded = RMSprop(reversed(list(fresh.named_parameters())), momentum=0.9)
    trained(model, optimizer, 3)
    saved(model, optimizer, form, tmp_path)
    load(fresh, loaded, form, tmp_path)
    assert loaded.param_groups[0]["param_names"] == ["2.bias", "2.weight", "0.bias", "0.weight"]
    trained(model, optimizer, 3)
    trained(fresh, loaded, 3)
    assert_equal(model, fresh)
