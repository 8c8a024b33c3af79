"""`RMSprop.from_recipe`: the recipe's numbers arrive in the parameter groups, and what is said explicitly wins."""

import pytest
import torch

from rmsprop import RECIPES
from rmsprop.torch import RMSprop
from rmsprop.torch.groups import rule_of


def weights():
    return [torch.zeros(3, requires_grad=True)]


@pytest.mark.parametrize("name", RECIPES)
def test_a_group_has_the_recipes_rule_and_learning_rate(name):
    (group,) = RMSprop.from_recipe(weights(), name).param_groups
    assert rule_of(group) == RECIPES[name].rule
    assert group["lr"] == RECIPES[name].lr


@pytest.mark.parametrize("name", RECIPES)
def test_it_takes_the_steps_of_the_class_with_the_same_arguments(name):
    recipe = RECIPES[name]
    settings = dict(recipe.settings)
    if "decay" in settings:
        settings["alpha"] = settings.pop("decay")
    ours, theirs = weights(), weights()
    optimizers = (
        RMSprop.from_recipe(ours, name),
        RMSprop(theirs, lr=recipe.lr, dialect=recipe.dialect, **settings, **recipe.clipping),
    )
    for step in range(3):
        for (weight,), optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = torch.tensor([1e-3, -1.0, 0.5]) * (step + 1)
            optimizer.step()
    assert ours[0].abs().min() > 0
    assert torch.equal(ours[0], theirs[0])


def test_overrides_win_and_none_stands_for_the_recipes():
    optimizer = RMSprop.from_recipe(
        weights(), "efficientnet", lr=0.016, alpha=0.95, eps=None, weight_decay=1e-5, maximize=True
    )
    (group,) = optimizer.param_groups
    assert (group["lr"], group["alpha"], group["eps"], group["momentum"]) == (0.016, 0.95, 1e-3, 0.9)
    assert (group["weight_decay"], group["maximize"]) == (1e-5, True)
    # The rest is still TensorFlow's.
    assert (group["eps_inside_sqrt"], group["initial_square_avg"], group["lr_in_momentum"]) == (True, 1.0, True)


def test_another_dialect_wins_over_the_recipes():
    (group,) = RMSprop.from_recipe(weights(), "efficientnet", dialect="torch").param_groups
    assert (group["eps_inside_sqrt"], group["initial_square_avg"], group["eps"]) == (False, 0.0, 1e-3)


def test_a_parameter_group_wins_over_the_recipe():
    groups = [{"params": weights(), "weight_decay": 1e-5}, {"params": weights()}]
    optimizer = RMSprop.from_recipe(groups, "efficientnet")
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-5, 0.0]
    optimizer.add_param_group({"params": weights(), "lr": 0.1})
    assert (optimizer.param_groups[2]["lr"], optimizer.param_groups[2]["eps"]) == (0.1, 1e-3)


def test_a_subclass_stays_itself():
    class Mine(RMSprop):
        pass

    assert type(Mine.from_recipe(weights(), "dqn")) is Mine


@pytest.mark.parametrize(
    ("name", "overrides", "error", "words"),
    [
        ("dqm", {}, ValueError, r"Unknown recipe 'dqm' \(known: a2c_baselines, .*wgan\)"),
        ("dqn", {"rho": 0.9}, TypeError, "unexpected keyword argument 'rho'"),
        ("dqn", {"decay": 0.9}, TypeError, "unexpected keyword argument 'decay'"),
        ("dqn", {"alpha": 1.5}, ValueError, "Invalid alpha value: 1.5"),
        ("dqn", {"dialect": "lua"}, ValueError, "Unknown dialect 'lua'"),
    ],
)
def test_errors(name, overrides, error, words):
    with pytest.raises(error, match=words):
        RMSprop.from_recipe(weights(), name, **overrides)
