"""Every row of the dialect table against the framework itself, at every step of every trajectory, in float64."""

import optax
import pytest
import tensorflow as tf
from dialects import live_torch
from dialects.agreement import TOLERANCE, excess, expectation, mutations, rule_and_rates
from dialects.frameworks import FRAMEWORKS, trace
from dialects.trajectories import CASES, FRAMEWORK_CASES

import rmsprop.torch
from rmsprop import DIALECTS

PAIRS = [(framework, case) for framework, cases in FRAMEWORK_CASES.items() for case in cases]
ROUNDED = [(framework, name) for framework, row in FRAMEWORKS.items() for name in row.rounded]
CHOICES = [(name, choice) for name, dialect in DIALECTS.items() for choice, _ in mutations(dialect)]

# What a framework has no option for cannot show in its trajectories. The lecture has no ε.
_NO_MOMENTUM = {"lr_in_momentum", "nesterov", "averaged_momentum", "caution"}
_ONLY_L2 = {"weight_decay_max_lr"}
_NO_WEIGHT_DECAY = {"weight_decay_mode", *_ONLY_L2}
NOT_TO_BE_SEEN = {
    "hinton": {*_NO_MOMENTUM, *_NO_WEIGHT_DECAY, "eps", "eps_inside_sqrt"},
    "graves": _NO_WEIGHT_DECAY,
    "dqn": {*_NO_MOMENTUM, *_ONLY_L2},
    **dict.fromkeys(("torch", "sb3", "paddle", "mxnet"), _ONLY_L2),
    "tensorflow1": _NO_WEIGHT_DECAY,
    "keras_legacy": _NO_WEIGHT_DECAY,
    "optax": _NO_WEIGHT_DECAY,
    "d2l": {*_NO_MOMENTUM, *_NO_WEIGHT_DECAY},
    "chainer": {*_NO_MOMENTUM, *_NO_WEIGHT_DECAY},
    "mlx": {*_NO_MOMENTUM, *_NO_WEIGHT_DECAY},
}


def expected(case, dialect, rounded):
    """Return what a row makes of a case."""
    return expectation(*rule_and_rates(dialect, CASES[case], rounded), CASES[case])


@pytest.mark.parametrize(("framework", "case"), PAIRS)
def test_the_row_computes_what_the_framework_computes(framework, case):
    row = FRAMEWORKS[framework]
    assert expected(case, DIALECTS[row.dialect], row.rounded).disagreement(trace(framework, case)) <= 1.0


@pytest.mark.parametrize(("dialect", "choice"), CHOICES)
def test_the_proof_sees_every_choice_of_every_row(dialect, choice):
    otherwise = dict(mutations(DIALECTS[dialect]))[choice]

    def differs(framework, case):
        wrong = expected(case, otherwise, FRAMEWORKS[framework].rounded)
        return wrong.disagreement_of_params(trace(framework, case).params) > 1.0

    proofs = [pair for pair in PAIRS if FRAMEWORKS[pair[0]].dialect == dialect]
    assert any(differs(*proof) for proof in proofs) == (choice not in NOT_TO_BE_SEEN.get(dialect, ()))


@pytest.mark.parametrize(("framework", "name"), ROUNDED)
def test_what_is_said_to_be_rounded_is_rounded(framework, name):
    row = FRAMEWORKS[framework]
    others = [other for other in row.rounded if other != name]
    assert any(
        expected(case, DIALECTS[row.dialect], others).disagreement(trace(framework, case)) > 1.0
        for case in FRAMEWORK_CASES[framework]
    )


@pytest.mark.parametrize("framework", [framework for framework, row in FRAMEWORKS.items() if row.rounded])
def test_with_hyperparameters_as_they_were_given_single_precision_is_what_is_left(framework):
    # docs/limits.md says that they are up to 4e-7 off then, of the way that a parameter has come.
    dialect = DIALECTS[FRAMEWORKS[framework].dialect]
    off = [
        expected(case, dialect, ()).disagreement_of_params(trace(framework, case).params)
        for case in FRAMEWORK_CASES[framework]
    ]
    assert 3e-8 < max(off) * TOLERANCE < 4e-7


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("framework", "case"), PAIRS)
def test_the_torch_front_end_computes_it_too(framework, case, fused):
    row, found, case = FRAMEWORKS[framework], trace(framework, case), CASES[case]
    rule, rates = rule_and_rates(DIALECTS[row.dialect], case, row.rounded)
    given = {**case.settings, **{name: getattr(rule, name) for name in row.rounded if name != "lr"}}
    if not (case.lr is None and "lr" not in row.rounded):
        given["lr"] = rates[0]
    if "decay" in given:
        given["alpha"] = given.pop("decay")
    ours, _ = live_torch.train(rmsprop.torch.RMSprop, case, rates, dialect=row.dialect, fused=fused, **given)
    assert excess(found.params, ours, expectation(rule, rates, case).allowed.params) <= 1.0


@pytest.mark.parametrize(
    ("dialect", "make"), [("optax", optax.rmsprop), ("tensorflow1", tf.compat.v1.train.RMSPropOptimizer)]
)
def test_a_row_has_no_learning_rate_where_the_framework_demands_one(dialect, make):
    assert DIALECTS[dialect].lr is None
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'learning_rate'"):
        make()


def test_every_row_is_proven():
    assert {row.dialect for row in FRAMEWORKS.values()} == set(DIALECTS)
    assert FRAMEWORKS.keys() == FRAMEWORK_CASES.keys()
    assert {case for _, case in PAIRS} == set(CASES)
