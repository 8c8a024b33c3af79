"""A rule refuses what it can't mean, in one sentence."""

import dataclasses
import math
from types import SimpleNamespace
from typing import get_type_hints

import numpy as np
import pytest
import torch
from support import ALL_RULES, TracedFloat, TracedNumber

from rmsprop import Rule
from rmsprop.hyperparameters import check_number, check_step_lr, known_below, known_from
from rmsprop.rule import FLAGS, RuleOptions, agreement_scale
from rmsprop.rule import NUMBERS as FIELDS_OF_NUMBERS

NUMBERS = {
    "decay": ("decay value", "a number from 0 to 1"),
    "eps": ("epsilon value", "a finite number >= 0"),
    "initial_square_avg": ("initial_square_avg value", "a finite number >= 0"),
    "momentum": ("momentum value", "a number from 0 to 1"),
    "weight_decay": ("weight_decay value", "a finite number >= 0"),
}


@pytest.mark.parametrize("value", [-1.0, -1e-300, math.nan, math.inf, -math.inf, np.float32(-2)])
@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_out_of_range_are_named_with_the_allowed_range(field, value):
    label, allowed = NUMBERS[field]
    with pytest.raises(ValueError) as caught:
        Rule(**{field: value})
    assert str(caught.value) == f"Invalid {label}: {value} (allowed: {allowed})"


def test_an_error_may_call_a_number_by_another_name():
    with pytest.raises(ValueError, match=r"^Invalid alpha: 2 \(allowed: a number from 0 to 1\)$"):
        check_number("decay", 2, "alpha")
    with pytest.raises(TypeError, match=r"^Invalid alpha: 'x' is a str \(allowed: a number from 0 to 1\)$"):
        check_number("decay", "x", "alpha")


@pytest.mark.parametrize("field", ["decay", "momentum"])
def test_shares_above_one_are_refused(field):
    with pytest.raises(ValueError, match=r"1\.0000001 \(allowed: a number from 0 to 1\)"):
        Rule(**{field: 1.0000001})


@pytest.mark.parametrize("value", ["0.9", None, True, [0.9], 1j, np.zeros(2), np.zeros(1), torch.ones(1)])
@pytest.mark.parametrize("field", NUMBERS)
def test_what_is_not_a_number_is_a_type_error(field, value):
    with pytest.raises(TypeError, match=f"Invalid {NUMBERS[field][0]}: .* is a {type(value).__name__}"):
        Rule(**{field: value})


@pytest.mark.parametrize("value", [np.array(0.5), np.float16(0.5), torch.tensor(0.5), np.array(0.5, np.float32)])
@pytest.mark.parametrize("field", NUMBERS)
def test_an_array_without_axes_is_a_number(field, value):
    assert type(getattr(Rule(**{field: value}), field)) is float
    assert getattr(Rule(**{field: value}), field) == 0.5


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.array(True), "bool"), (torch.tensor(True), "bool"), (np.array(1j), "complex"), (np.array("1"), "str")],
)
def test_an_array_without_axes_of_something_else_is_none(value, kind):
    with pytest.raises(TypeError, match=rf"Invalid decay value: .* is a {kind} \(allowed: a number from 0 to 1\)"):
        Rule(decay=value)


@pytest.mark.parametrize("value", [0.1, 0, -1e-19, -3, np.float32(-0.5), np.array(-0.5), torch.tensor(0.25)])
def test_a_learning_rate_of_a_step_may_be_any_finite_number(value):
    assert check_step_lr(value) == float(value)
    assert type(check_step_lr(value)) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.array(np.nan), 10**400])
def test_a_learning_rate_of_a_step_is_finite(value):
    with pytest.raises(ValueError, match=r"Invalid learning rate: .* \(allowed: a finite number\)"):
        check_step_lr(value)


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1], np.ones(1), np.array(True)])
def test_a_learning_rate_of_a_step_is_a_number(value):
    with pytest.raises(TypeError, match=r"Invalid learning rate: .* \(allowed: a finite number\)"):
        check_step_lr(value)


@pytest.mark.parametrize("number", [0.25, 0.5, 0.75])
def test_what_is_known_of_a_number_at_a_bound(number):
    assert known_below(number, 0.5) is (number < 0.5)
    assert known_from(number, 0.5) is (number >= 0.5)


def test_nothing_is_known_of_a_traced_number():
    number = TracedNumber()
    assert known_below(number, 0.5) is False
    assert known_from(number, 0.5) is False
    assert check_number("decay", number, traced=True) is number
    with pytest.raises(TypeError, match=r"Invalid decay value: .* is a TracedNumber"):
        check_number("decay", number)


@pytest.mark.parametrize("field", NUMBERS)
def test_a_rule_takes_a_traced_number_and_says_what_it_needs_it_for(field):
    number = TracedNumber()
    rule = Rule(**{field: number})
    assert getattr(rule, field) is number
    with pytest.raises(TypeError, match=f"Invalid {NUMBERS[field][0]}: .* is a TracedNumber"):
        rule.known()


def test_a_traced_number_counts_as_above_zero_and_below_one():
    number = TracedNumber()
    assert Rule(momentum=number, nesterov=True).state_names == ("square_avg", "momentum_buffer")
    assert Rule(weight_decay=number).decays_weights("l2")
    assert not Rule(weight_decay=number).decays_weights("decoupled")
    assert Rule(decay=number, bias_correction=True).decay is number


COUNTS = SimpleNamespace(expm1=np.expm1)  # what a library must have, and what more for a decay that it traces
TRACES = SimpleNamespace(expm1=np.expm1, log=np.log, maximum=np.maximum)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("of_decay", "of_step", "xp", "unit"),
    [
        (float, np.float64, COUNTS, 2.0**-53),
        (float, np.float32, COUNTS, 2.0**-24),
        (TracedFloat, np.float64, TRACES, 2.0**-53),
        (TracedFloat, None, TRACES, 2.0**-53),
    ],
)
def test_gains_are_the_same_where_a_library_counts_or_traces(decay, step, of_decay, of_step, xp, unit):
    gain, keep = Rule(decay=decay, bias_correction=True).gains(step)
    found = Rule(decay=of_decay(decay), bias_correction=True).gains(np.array(step, of_step) if of_step else step, xp)
    # In float64 1 − ρᵗ is off by up to 2⁻⁵² where ρᵗ was rounded, and 1 − ρ or more; a share is made of two such. What
    # a library makes of it is rounded at most 8 times: the product with log ρ, twice expm1, difference and quotient.
    np.testing.assert_allclose(found, (gain, keep), rtol=2 * 2.0**-52 / (1.0 - decay) + 8 * unit)


@pytest.mark.parametrize("of_largest", [float, TracedFloat])
@pytest.mark.parametrize(("largest", "expected"), [(0.0, 0.75), (0.5, 0.375), (1.0, 0.1875)])
def test_a_decay_is_corrected_by_a_largest_learning_rate_that_is_traced_too(largest, expected, of_largest):
    rule = Rule(weight_decay=0.75, weight_decay_mode="decoupled", weight_decay_max_lr=of_largest(largest))
    assert rule.decay_at(0.25) == expected


@pytest.mark.parametrize(("count", "size", "expected"), [(2, 5, 2.5), (5, 5, 1.0), (1, 2000, 1000.0), (0, 5, 1000.0)])
def test_the_scale_of_what_agrees_is_the_same_of_a_count_in_an_array(count, size, expected):
    assert agreement_scale(count, size) == expected
    with np.errstate(divide="ignore"):
        assert agreement_scale(np.array(float(count)), np.array(float(size)), np) == expected


def test_the_options_are_the_fields():
    fields = get_type_hints(Rule)
    assert get_type_hints(RuleOptions) == {name: kind | None for name, kind in fields.items()}
    assert not RuleOptions.__required_keys__
    assert set(FIELDS_OF_NUMBERS) == {name for name, kind in fields.items() if kind is float}
    assert set(FLAGS) == {name for name, kind in fields.items() if kind is bool}


# Flags that only papers' code has.
OF_PAPERS = ["averaged_momentum", "caution", "init_from_gradient", "delayed"]


@pytest.mark.parametrize("value", [0, 1, "yes", None])
@pytest.mark.parametrize(
    "field", ["eps_inside_sqrt", "centered", "nesterov", "lr_in_momentum", "bias_correction", *OF_PAPERS]
)
def test_flags_are_bools(field, value):
    with pytest.raises(TypeError, match=rf"Invalid {field} value: .* \(allowed: True or False\)"):
        Rule(**{field: value})


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"weight_decay_mode": "L2"},
            "Invalid weight_decay_mode value: 'L2' (allowed: 'l2', 'decoupled' or 'cautious')",
        ),
        (
            {"caution": True},
            "caution=True needs a momentum above 0: without it no step has another sign than its gradient; "
            "set momentum, or leave caution off",
        ),
        (
            {"weight_decay_max_lr": 0.1},
            "weight_decay_max_lr=0.1 needs weight_decay_mode='decoupled' or 'cautious': L2 decay is part of the "
            "gradient, which no learning rate scales",
        ),
        ({"nesterov": True}, "nesterov=True needs a momentum above 0: set momentum, or leave nesterov off"),
        (
            {"bias_correction": True, "decay": 1.0},
            "bias_correction=True needs a decay below 1: at decay 1 it would divide by zero",
        ),
        (
            {"averaged_momentum": True, "momentum": 1.0},
            "averaged_momentum=True needs a momentum below 1: at 1 the average would stay at 0",
        ),
    ],
)
def test_choices_that_contradict_each_other_are_refused(choices, message):
    with pytest.raises(ValueError) as caught:
        Rule(**choices)
    assert str(caught.value) == message


def test_the_defaults():
    defaults = {
        "decay": 0.99,
        "eps": 1e-8,
        "eps_inside_sqrt": False,
        "initial_square_avg": 0.0,
        "centered": False,
        "momentum": 0.0,
        "nesterov": False,
        "lr_in_momentum": False,
        "bias_correction": False,
        "weight_decay": 0.0,
        "weight_decay_mode": "l2",
    }
    assert {name: getattr(Rule(), name) for name in defaults} == defaults


def test_a_rule_is_a_value():
    assert Rule() == Rule(decay=0.99)
    assert hash(Rule()) == hash(Rule())
    assert Rule(decay=np.float64(0.5)) == Rule(decay=0.5)
    assert type(Rule(momentum=1).momentum) is float
    with pytest.raises(dataclasses.FrozenInstanceError):
        Rule().decay = 0.5
    with pytest.raises(TypeError):
        Rule(0.5)
    assert not hasattr(Rule(), "__dict__")


@pytest.mark.parametrize("rule", [rule for rule in ALL_RULES if rule.bias_correction][::16])
def test_bias_corrected_gains_are_those_of_the_corrected_average(rule):
    gradients = np.random.default_rng(0).standard_normal(30)
    v, corrected, v0 = rule.initial_square_avg, 0.0, rule.initial_square_avg
    for t, g in enumerate(gradients, 1):
        v = rule.decay * v + (1 - rule.decay) * g**2
        gain, keep = rule.gains(t)
        assert gain + keep == pytest.approx(1.0, rel=1e-15)
        corrected = keep * corrected + gain * g**2
        assert corrected == pytest.approx((v - rule.decay**t * v0) / (1 - rule.decay**t), rel=1e-12)


def test_a_correction_starts_from_zero_and_others_from_what_is_asked_for():
    assert Rule(initial_square_avg=1.0).start("square_avg") == 1.0
    assert Rule(initial_square_avg=1.0, bias_correction=True).start("square_avg") == 0.0
    assert Rule(initial_square_avg=1.0, momentum=0.9).start("momentum_buffer") == 0.0


def test_an_unknown_field_of_a_dialect_is_named():
    with pytest.raises(
        TypeError,
        match=r"Unknown hyperparameter 'alpha' .known: averaged_momentum, bias_correction, caution,",
    ):
        Rule.from_dialect("torch", alpha=0.9)


@pytest.mark.parametrize(
    ("changes", "depends", "large"),
    [
        ({}, False, True),
        ({"initial_square_avg": 1.0}, False, False),
        ({"bias_correction": True}, True, False),
        ({"init_from_gradient": True}, True, False),
        ({"delayed": True}, True, False),
        ({"bias_correction": True, "delayed": True, "initial_square_avg": 1.0}, True, False),
    ],
    ids=str,
)
def test_what_the_number_of_an_update_decides(changes, depends, large):
    rule = Rule(**changes)
    assert (rule.depends_on_step, rule.starts_large) == (depends, large)
