"""Distributed checkpoints (torch.distributed.checkpoint) go both ways between this class and torch's."""

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from rmsprop.torch import RMSprop

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized"),
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning"),  # what torch 2.10 itself calls
]

TORCHS = torch.optim.RMSprop
OPTIONS = [
    {},
    {"momentum": 0.9},
    {"centered": True},
    {"centered": True, "momentum": 0.9, "weight_decay": 0.1},
]
OF_OTHER_DIALECTS = [
    {"dialect": "tensorflow1", "lr": 0.01},
    {"dialect": "tensorflow1", "lr": 0.01, "momentum": 0.9, "centered": True},
    {"dialect": "keras", "weight_decay": 0.1},
    {"dialect": "keras", "momentum": 0.9, "centered": True, "bias_correction": True},
]
DIRECTIONS = {
    "torch to torch": (TORCHS, TORCHS),
    "torch to ours": (TORCHS, RMSprop),
    "ours to torch": (RMSprop, TORCHS),
    "ours to ours": (RMSprop, RMSprop),
}
FORMS = {"nested": StateDictOptions(), "flattened": StateDictOptions(flatten_optimizer_state_dict=True)}
# What a group has here and not in torch, where it means what torch does.
EXTRA = {
    "eps_inside_sqrt": False,
    "initial_square_avg": 0.0,
    "nesterov": False,
    "lr_in_momentum": False,
    "bias_correction": False,
    "weight_decay_mode": "l2",
    "fused": None,
}


def a_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()


def trained(model, optimizer, steps, seed=1):
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for param in model.parameters():
            param.grad = torch.randn(param.shape, dtype=param.dtype, generator=random)
        optimizer.step()
    optimizer.zero_grad()
    return list(model.parameters())


def moved(first, second, options, form, folder):
    """Return a fresh model and optimizer that go on where a first one stopped after 5 steps and saved."""
    model = a_model()
    optimizer = first(model.parameters(), **options)
    trained(model, optimizer, 5)
    dcp.save(
        {"optimizer": get_optimizer_state_dict(model, optimizer, options=form)}, checkpoint_id=folder, no_dist=True
    )

    fresh = a_model()
    fresh.load_state_dict(model.state_dict())
    loaded = second(fresh.parameters(), **options)
    target = {"optimizer": get_optimizer_state_dict(fresh, loaded, options=form)}
    dcp.load(target, checkpoint_id=folder, no_dist=True)
    set_optimizer_state_dict(fresh, loaded, target["optimizer"], options=form)
    return fresh, loaded


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("first", "second"), DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_goes_on_as_if_never_interrupted(options, first, second, form, tmp_path):
    # Where v is taken apart again, d = v − m² loses little: m² ≤ (1 − ρᵗ)·v, so v/d ≤ 0.99⁻⁵ = 1.05 when it is loaded.
    # An update is at most lr·1.03/√(1 − ρ)/(1 − μ) ≈ 1; ten of them, each off by a few roundings of 1.1e-16.
    fresh, loaded = moved(first, second, options, form, tmp_path)
    model = a_model()
    whole = TORCHS(model.parameters(), **options)
    trained(model, whole, 5)
    expected = trained(model, whole, 5, seed=2)
    torch.testing.assert_close(trained(fresh, loaded, 5, seed=2), expected, rtol=1e-13, atol=1e-13)
    assert [state["step"].item() for state in loaded.state_dict()["state"].values()] == [10.0] * 4


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("options", [*OPTIONS, *OF_OTHER_DIALECTS], ids=str)
def test_in_every_dialect_training_goes_on_to_the_bit(options, form, tmp_path):
    fresh, loaded = moved(RMSprop, RMSprop, options, form, tmp_path)
    model = a_model()
    whole = RMSprop(model.parameters(), **options)
    trained(model, whole, 5)
    expected = trained(model, whole, 5, seed=2)
    bound = 1e-14 if options.get("centered") else 0  # as above, where only d is off by a rounding
    torch.testing.assert_close(trained(fresh, loaded, 5, seed=2), expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_saved_groups_have_the_keys_and_values_of_torchs(options):
    found, expected = (
        cls(a_model().named_parameters(), **options).state_dict()["param_groups"] for cls in (RMSprop, TORCHS)
    )
    assert found == expected


def test_saved_groups_name_what_torch_does_not_mean():
    optimizer = RMSprop(a_model().parameters(), dialect="keras", fused=False)
    group = optimizer.state_dict()["param_groups"][0]
    assert {key: group[key] for key in EXTRA if key in group} == {
        "eps_inside_sqrt": True,
        "lr_in_momentum": True,
        "weight_decay_mode": "decoupled",
        "fused": False,
    }


@pytest.mark.parametrize(("key", "value"), EXTRA.items())
def test_live_groups_answer_for_every_option(key, value):
    params = list(a_model().parameters())
    optimizer = RMSprop(params[:2])
    optimizer.add_param_group({"params": params[2:], "alpha": 0.9})
    assert [group[key] for group in optimizer.param_groups] == [value, value]
    optimizer.load_state_dict(optimizer.state_dict())
    assert [group[key] for group in optimizer.param_groups] == [value, value]


def test_a_live_group_still_lacks_what_nobody_knows():
    with pytest.raises(KeyError, match="betas"):
        RMSprop(a_model().parameters()).param_groups[0]["betas"]


NOT_TORCHS = {
    "eps_inside_sqrt": True,
    "initial_square_avg": 1.0,
    "nesterov": True,
    "lr_in_momentum": True,
    "bias_correction": True,
    "weight_decay_mode": "decoupled",
}


def test_what_a_group_of_torchs_leaves_out_means_what_torch_does():
    saved = TORCHS(a_model().parameters(), momentum=0.9).state_dict()
    optimizer = RMSprop(a_model().parameters(), momentum=0.9, **NOT_TORCHS)
    optimizer.load_state_dict(saved)
    assert {key: optimizer.param_groups[0][key] for key in NOT_TORCHS} == {key: EXTRA[key] for key in NOT_TORCHS}


def test_what_an_older_group_leaves_out_stays_as_the_optimizer_has_it():
    saved = TORCHS(a_model().parameters(), momentum=0.9).state_dict()
    for key in ("capturable", "foreach", "maximize", "differentiable"):
        del saved["param_groups"][0][key]
    optimizer = RMSprop(a_model().parameters(), momentum=0.9, foreach=False, **NOT_TORCHS)
    optimizer.load_state_dict(saved)
    group = optimizer.param_groups[0]
    assert {key: group[key] for key in NOT_TORCHS} == NOT_TORCHS
    assert group["foreach"] is False


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_variance_is_saved_only_where_it_cannot_be_rebuilt(dtype):
    # A zero gradient's variance is rebuilt as zero. Of 1000 random ones some v − m² have another last bit than d.
    still, moving = torch.zeros(3, dtype=dtype), torch.zeros(1000, dtype=dtype)
    optimizer = RMSprop([still, moving], centered=True)
    still.grad = torch.zeros_like(still)
    for _ in range(5):
        moving.grad = torch.randn(1000).to(dtype)
        optimizer.step()
    saved = optimizer.state_dict()["state"]
    assert saved[0].keys() == {"step", "square_avg", "grad_avg"}
    assert saved[1].keys() == {"step", "square_avg", "grad_avg", "grad_var"}
    assert not torch.equal(saved[1]["grad_var"], saved[1]["square_avg"] - saved[1]["grad_avg"].square())


@pytest.mark.parametrize("first", [TORCHS, RMSprop], ids=["from torch", "from ours"])
def test_state_without_a_mean_serves_once_centered_is_turned_on(first):
    # In torch the next step is a KeyError; here the mean starts from zero, as for a new parameter.
    model, other = a_model(), a_model()
    optimizer = first(model.parameters())
    trained(model, optimizer, 3)
    torchs, ours = TORCHS(model.parameters()), RMSprop(other.parameters())
    for loaded in (torchs, ours):
        loaded.load_state_dict(optimizer.state_dict())
        loaded.param_groups[0]["centered"] = True
    with pytest.raises(KeyError, match="grad_avg"):
        trained(model, torchs, 1)
    trained(other, ours, 1)
    assert all((ours.state[param]["grad_var"] > 0).all() for param in other.parameters())
