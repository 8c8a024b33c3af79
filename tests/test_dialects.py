"""The rows of the dialect table, and that a dialect gives defaults which an explicit argument wins over."""

import dataclasses

import pytest
import torch
from support import TracedNumber

import rmsprop
from rmsprop import DIALECTS, Dialect, Rule
from rmsprop.dialects import get_dialect, learning_rate

# What each framework's documentation or source gives: lr, decay, epsilon, its place, v0, lr inside the momentum.
ROWS = {
    "hinton": (None, 0.9, 1e-8, False, 0.0, False),
    "graves": (1e-4, 0.95, 1e-4, True, 0.0, True),
    "dqn": (2.5e-4, 0.95, 1e-2, True, 0.0, False),
    "torch": (1e-2, 0.99, 1e-8, False, 0.0, False),
    "tensorflow1": (None, 0.9, 1e-10, True, 1.0, True),
    "keras": (1e-3, 0.9, 1e-7, True, 0.0, True),
    "keras_legacy": (1e-3, 0.9, 1e-7, False, 0.0, True),
    "optax": (None, 0.9, 1e-8, True, 0.0, True),
    "timm": (1e-2, 0.9, 1e-10, True, 1.0, True),
    "sb3": (1e-2, 0.99, 1e-8, True, 1.0, False),
    "d2l": (1e-2, 0.9, 1e-6, True, 0.0, False),
    "paddle": (None, 0.95, 1e-6, True, 0.0, True),
    "mxnet": (1e-3, 0.9, 1e-8, True, 0.0, True),
    "chainer": (1e-2, 0.99, 1e-8, False, 0.0, False),
    "mlx": (None, 0.99, 1e-8, False, 0.0, False),
}
# What else differs from the defaults of `Rule`.
OTHER_CHOICES = {
    "graves": {"centered": True, "momentum": 0.9},
    "dqn": {"centered": True},
    "keras": {"weight_decay_mode": "decoupled"},
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name):
    dialect = DIALECTS[name]
    fields = ("decay", "eps", "eps_inside_sqrt", "initial_square_avg", "lr_in_momentum")
    assert dialect.lr == ROWS[name][0]
    assert dialect.rule == Rule(**dict(zip(fields, ROWS[name][1:], strict=True)), **OTHER_CHOICES.get(name, {}))
    assert dialect.source
    assert dialect.notes


def test_the_table_is_complete_and_read_only():
    assert set(DIALECTS) == set(ROWS)
    with pytest.raises(TypeError):
        DIALECTS["mine"] = DIALECTS["torch"]


def test_the_torch_row_has_the_defaults_of_the_installed_torch():
    defaults = torch.optim.RMSprop([torch.zeros(1, requires_grad=True)]).defaults
    dialect = DIALECTS["torch"]
    assert (dialect.lr, dialect.rule.decay, dialect.rule.eps) == (defaults["lr"], defaults["alpha"], defaults["eps"])


def test_explicit_arguments_win_and_none_stands_for_the_default():
    assert Rule.from_dialect("keras") == DIALECTS["keras"].rule
    assert Rule.from_dialect("keras", decay=None, eps=1e-3) == dataclasses.replace(DIALECTS["keras"].rule, eps=1e-3)


def test_a_default_may_depend_on_another_choice():
    legacy, mxnet = DIALECTS["keras_legacy"], DIALECTS["mxnet"]
    assert not legacy.rule.eps_inside_sqrt
    assert legacy.rule_with(momentum=0.5).eps_inside_sqrt
    assert not legacy.rule_with(momentum=0.5, eps_inside_sqrt=False).eps_inside_sqrt
    assert (mxnet.rule.momentum, mxnet.rule_with(centered=True).momentum) == (0.0, 0.9)
    assert mxnet.rule_with(centered=True, momentum=0.0).momentum == 0.0
    assert legacy.rule_with(momentum=TracedNumber()).eps_inside_sqrt


def test_a_dialect_is_a_value_that_stays():
    when = {"momentum": {"eps_inside_sqrt": True}}
    dialect = Dialect(rule=Rule(), lr=None, source="", notes="", when=when)
    when["momentum"]["eps_inside_sqrt"] = False
    when.clear()
    assert dialect.rule_with(momentum=0.5).eps_inside_sqrt
    with pytest.raises(TypeError):
        dialect.when["momentum"] = {}
    with pytest.raises(TypeError):
        dialect.when["momentum"]["eps"] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        dialect.lr = 0.1
    with pytest.raises(TypeError):
        Dialect(Rule(), None, "", "")
    assert not hasattr(dialect, "__dict__")


def test_a_default_learning_rate_is_used_only_where_there_is_one():
    assert learning_rate("torch", None) == 0.01
    assert learning_rate("torch", 0.5) == 0.5
    with pytest.raises(ValueError, match="dialect 'optax' has no default learning rate: pass one"):
        learning_rate("optax", None)


def test_an_unknown_dialect_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"Unknown dialect 'tf' .known: chainer, d2l, dqn, graves, hinton, keras, keras_legacy, mlx, "
    ):
        get_dialect("tf")


def test_the_package_sends_who_wants_an_optimizer_to_the_front_ends():
    with pytest.raises(ImportError, match=r"from rmsprop\.torch, rmsprop\.numpy or rmsprop\.keras import RMSprop"):
        rmsprop.RMSprop  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'rmsprops'"):
        rmsprop.rmsprops  # noqa: B018
