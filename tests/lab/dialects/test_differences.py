"""What is said about two rules, and where a small run of both parts."""

from dataclasses import fields, replace
from itertools import combinations

import numpy as np
import pytest
from support import ALL_RULES

from rmsprop import DIALECTS, Rule
from rmsprop.lab.dialects.differences import APART, Side, differences, parting
from rmsprop.lab.dialects.first_steps import first_steps
from rmsprop.lab.dialects.small_run import DROP_AT, dropping, small_run

SIDES = {name: Side(name=name, rule=dialect.rule) for name, dialect in DIALECTS.items()}


def between(a, b):
    return differences(Side(name="a", rule=a), Side(name="b", rule=b))


def parts_at(a, b, lr=0.05):
    return parting(Side(name="a", rule=a), Side(name="b", rule=b), lr).step


@pytest.mark.parametrize(("a", "b"), list(combinations(DIALECTS, 2)))
def test_a_run_of_two_dialects_parts_just_where_a_difference_matters(a, b):
    matters = [found for found in differences(SIDES[a], SIDES[b]) if found.matters]
    found = parting(SIDES[a], SIDES[b], 0.05)
    assert bool(matters) == (found.step is not None)
    if [difference.choice for difference in matters] == ["epsilon"]:
        assert found.scale < 1.0 or DIALECTS[a].rule.centered


@pytest.mark.parametrize("field", [field.name for field in fields(Rule)])
def test_every_field_has_words_of_its_own(field):
    mode = "decoupled" if field == "weight_decay_max_lr" else "l2"
    base = Rule(decay=0.9, eps=1e-3, momentum=0.9, weight_decay=0.1, weight_decay_mode=mode)
    other = {"weight_decay_mode": "decoupled"}.get(field)
    if other is None:
        value = getattr(base, field)
        other = not value if isinstance(value, bool) else value / 2 or 1.0
    (found,) = between(base, replace(base, **{field: other}))
    assert found.matters
    assert found.meaning.endswith(".")
    assert parts_at(base, replace(base, **{field: other})) is not None


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({}, "lr_in_momentum", True),
        ({}, "weight_decay_mode", "decoupled"),
        ({"bias_correction": True}, "initial_square_avg", 1.0),
    ],
)
def test_a_choice_without_effect_is_said_to_have_none(given, field, value):
    (found,) = between(Rule(**given), Rule(**given | {field: value}))
    assert not found.matters
    assert "No effect" in found.meaning
    assert parts_at(Rule(**given), Rule(**given | {field: value})) is None


def test_equal_rules_have_no_differences():
    for rule in ALL_RULES:
        assert between(rule, rule) == []
    assert parts_at(ALL_RULES[0], ALL_RULES[0]) is None


def test_without_epsilon_its_place_is_no_difference():
    assert between(Rule(eps=0.0), Rule(eps=0.0, eps_inside_sqrt=True)) == []


def test_torch_and_keras_in_words_and_numbers():
    found = {difference.choice: difference for difference in differences(SIDES["torch"], SIDES["keras"])}
    assert list(found) == ["weight decay", "decay", "epsilon", "lr and the buffer"]
    assert found["decay"].values == ("0.99", "0.9")
    assert "after 69 steps, in keras after 6.58 steps" in found["decay"].meaning
    assert found["epsilon"].values == ("1e-8 outside the root", "1e-7 inside the root")
    assert "torch divides by 1e-8 and keras by √1e-7 = 0.000316" in found["epsilon"].meaning


@pytest.mark.parametrize(("centered", "effect"), [(False, "as long as later ones"), (True, "it is divided by ε alone")])
def test_bias_correction_says_what_the_first_steps_are(centered, effect):
    (found,) = between(Rule(centered=centered, bias_correction=True), Rule(centered=centered))
    assert effect in found.meaning
    first = first_steps(Rule(centered=centered, bias_correction=True))[1.0].sizes
    assert (first[1] > 1e3) == centered


def test_the_place_of_the_learning_rate_shows_when_that_changes():
    inside, outside = Rule(momentum=0.9, lr_in_momentum=True), Rule(momentum=0.9)
    assert parts_at(inside, outside) == DROP_AT + 1


def test_the_step_of_parting_is_the_first_of_its_kind():
    a, b = SIDES["torch"].rule, replace(SIDES["torch"].rule, momentum=0.5)
    found = parting(Side(name="a", rule=a), Side(name="b", rule=b), 0.05)
    first, second = found.thetas
    assert found.step == 2  # the first step has nothing in the buffer
    assert first[1] == second[1]
    assert abs(first[2] - second[2]) > APART * abs(first[2])


def test_runs_that_are_lost_to_infinity_are_compared_too():
    lost = Rule(decay=0.9, momentum=1.0)
    assert not np.isfinite(small_run(lost, lambda step: 1e307).theta[-1]).all()
    assert parts_at(lost, lost, lr=1e307) is None
    assert parts_at(lost, Rule(decay=0.8), lr=1e307) == 1


def test_the_small_run_learns_the_line():
    run = small_run(Rule.from_dialect("tensorflow1", momentum=0.9), dropping(0.05), steps=400)
    points = np.array([-1.75, 1.25, -0.75, 0.25, -0.25, 0.75, -1.25, 1.75])
    targets = 2.0 * points + 3.0 + [0.3, -0.2, -0.4, 0.1, 0.2, 0.3, -0.1, -0.2]
    slope, offset = np.polyfit(points, targets, 1)
    np.testing.assert_allclose(run.theta[-1], [slope, offset], atol=0.02)
    assert 0.0 <= run.loss[-1] < 1e-3
    assert (run.loss >= 0.0).all()
    np.testing.assert_allclose(run.loss[0], (targets**2).mean() - np.polyfit(points, targets, 1, full=True)[1][0] / 8)
