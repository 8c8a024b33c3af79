"""A comparison goes through JSON and comes back the same."""

import dataclasses
import json
import math

import numpy as np
import pytest

from rmsprop.lab.batched import Curve
from rmsprop.lab.compare import Budget, Comparison, Facts, Run, Trial
from rmsprop.lab.compare.results import curve_as_dict, curve_from
from rmsprop.lab.optimizers import choose

CURVES = {
    "finished": Curve(
        train=np.array([1.0, 0.1 + 0.2]),
        validation=np.array([1.0, 0.4]),
        metric=np.array([0.1, 1 / 3]),
        lr=np.array([0.1, 0.2]),
        test=0.5,
        test_metric=0.3,
        diverged_at=None,
        epochs=1,
        steps_per_epoch=3,
    ),
    "diverged": Curve(
        train=np.array([1.0, np.inf]),
        validation=np.array([1.0, np.inf]),
        metric=np.array([0.1, -np.inf]),
        lr=np.array([0.1, 0.2]),
        test=math.inf,
        test_metric=-math.inf,
        diverged_at=2,
        epochs=1,
        steps_per_epoch=3,
    ),
    "not tested": Curve(
        train=np.array([1.0, 0.5]),
        validation=np.array([1.0, 0.4]),
        metric=np.array([0.1, 0.2]),
        lr=np.array([0.1, 0.2]),
        test=math.nan,
        test_metric=math.nan,
        diverged_at=None,
        epochs=1,
        steps_per_epoch=3,
    ),
}


def same(one, other):
    for field in dataclasses.fields(Curve):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_a_curve_comes_back_from_strict_json(curve):
    back = curve_from(json.loads(json.dumps(curve_as_dict(curve), allow_nan=False)))
    same(back, curve)
    assert back.train.dtype == np.float64


def comparison():
    facts = Facts(
        problem="digits",
        about="digits",
        loss_name="cross-entropy",
        metric="accuracy",
        metric_unit="",
        higher_is_better=True,
        optimum=None,
        rows=(3, 2, 1),
        epochs=1,
        batch_size=1,
        steps_per_epoch=3,
        parameters=4,
    )
    adam = choose("adam", lr=0.1)
    trials = [
        Trial(optimizer="adam", study=s, choice=adam, seed=9, score=v, widened=s == 1)
        for s, v in ((0, 0.25), (1, math.inf))
    ]
    runs = [
        Run(track="tuned", optimizer="adam", study=0, seed=i, choice=adam, curve=curve)
        for i, curve in enumerate(CURVES.values())
    ]
    return Comparison(
        facts=facts,
        budget=Budget(name="tiny", trials=1, studies=2, seeds=3),
        optimizers=("adam",),
        trials=tuple(trials),
        runs=tuple(runs),
        seconds_per_step={"adam": 0.001},
        evaluations={"adam": 1},
        reference="adam",
        notes=("a note",),
        versions={"torch": "2"},
    )


def test_a_comparison_comes_back_from_strict_json():
    before = comparison()
    after = Comparison.from_dict(json.loads(json.dumps(before.as_dict(), allow_nan=False)))
    for name in ("facts", "budget", "optimizers", "reference", "trials", "seconds_per_step", "notes", "versions"):
        assert getattr(after, name) == getattr(before, name)
    for one, other in zip(after.runs, before.runs, strict=True):
        assert dataclasses.replace(one, curve=other.curve) == other
        same(one.curve, other.curve)


def test_another_form_is_refused():
    with pytest.raises(ValueError, match="a comparison of format 7 can't be read: only 1 can"):
        Comparison.from_dict({**comparison().as_dict(), "format": 7})
