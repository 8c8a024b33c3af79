"""Learning rates verified by runs around them."""

import math

import pytest
from lab.tune.stubs import Formula, bowl, setting, tried

from rmsprop.lab.tune.verification import as_good, verify


@pytest.mark.parametrize("best", [1e-5, 1e-3, 0.03, 1.0])
def test_it_moves_until_the_best_is_between_two_that_are_worse(best):
    trials = Formula(bowl(best))
    found = verify(trials, "verifying", setting(1e-3), (0, 1), 10)
    rates = [one.setting.lr for one in found.tried]
    place = rates.index(found.best.setting.lr)
    assert 0 < place < len(rates) - 1
    assert found.bracketed
    assert max(found.best.setting.lr / best, best / found.best.setting.lr) < 1.8  # half a step of three
    assert rates == sorted(rates)
    assert found.moved == (best != 1e-3)


def test_a_third_it_and_three_times_it_are_run_first_and_no_rate_twice():
    trials = Formula(bowl(1.0))
    verify(trials, "verifying", setting(1e-3), (0, 1, 2), 10)
    assert trials.calls[0] == ("verifying", [0.00033, 0.001, 0.003], (0, 1, 2), 10)
    rates = [lr for _, lrs, _, _ in trials.calls for lr in lrs]
    assert len(rates) == len(set(rates))


def test_where_all_diverge_it_goes_down():
    found = verify(Formula(bowl(1e-5, lost=3e-4)), "verifying", setting(1e-1), (0, 1), 10)
    assert found.best.setting.lr < 3e-4
    assert math.isinf(found.tried[-1].typical)


def test_a_loss_that_falls_at_every_rate_ends_somewhere_and_says_so():
    found = verify(Formula(lambda one, seed: 1 / one.lr), "verifying", setting(1.0), (0, 1), 10)
    assert not found.bracketed
    assert len(found.tried) < 15


def rates(**losses):
    return [tried(setting(float(lr[2:].replace("_", "."))), [loss] * 4) for lr, loss in losses.items()]


def test_the_flat_region_ends_where_the_loss_is_five_percent_above_the_best():
    # Between 0.1 and 1 the loss rises by 0.1 within a decade: by 0.05 it has half-way.
    low, high = as_good(rates(lr0_01=1.1, lr0_1=1.0, lr1=1.1, lr10=9.0))
    assert (low, high) == pytest.approx((10**-1.5, 10**-0.5), rel=0.02)


def test_the_flat_region_stops_at_a_rate_that_diverges():
    assert as_good(rates(lr0_01=1.5, lr0_1=1.0, lr1=math.inf)) == (pytest.approx(0.079, rel=0.02), 0.1)


def test_the_flat_region_may_reach_all_that_was_tried():
    assert as_good(rates(lr0_01=1.01, lr0_1=1.0, lr1=1.02)) == (0.01, 1.0)


def test_a_rate_beyond_a_worse_one_does_not_count():
    low, high = as_good(rates(lr0_01=1.0, lr0_1=2.0, lr1=1.0))
    assert (low, high) == (0.01, pytest.approx(0.011, rel=0.05))
