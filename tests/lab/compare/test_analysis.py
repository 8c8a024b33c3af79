"""The verdict on comparisons whose outcome is known."""

import dataclasses
import math

import numpy as np
import pytest
from lab.compare.made_up import EPOCHS, STEPS, comparison, curve

from rmsprop.lab.compare.analysis import analyse
from rmsprop.lab.compare.statistics import differences, estimate, resamples
from rmsprop.lab.compare.targets import best_losses, main_target, targets, until_half


def outcomes(found, key="loss", track="tuned"):
    return {s.optimizer: s.outcome for s in found.ranking(track, key).standings}


@pytest.fixture(scope="module")
def known():
    return analyse(comparison({"sgd": 0.2, "adam": 0.1, "rmsprop": 0.101, "adagrad": 0.05, "momentum": 0.3}))


def test_what_is_clearly_better_or_worse_is_said_and_what_is_not_is_not(known):
    assert outcomes(known) == {
        "sgd": "worse",
        "adam": "not distinguishable",
        "rmsprop": None,
        "adagrad": "better",
        "momentum": "worse",
    }
    assert known.ranking("tuned", "loss").leader.optimizer == "adagrad"
    assert outcomes(known, "metric") == outcomes(known)


def test_a_metric_that_should_rise_is_compared_the_other_way_round(known):
    ranking = known.ranking("defaults", "metric")
    best = ranking.of("adagrad")
    assert ranking.measure.shown(best.center.value) == pytest.approx(0.995, abs=0.001)
    assert best.difference.high < 0
    assert best.improvement.value == 1.0


def test_all_intervals_of_a_measure_hold_together(known):
    assert known.level == pytest.approx(1 - 0.05 / 4)
    assert known.ranking("tuned", "loss").of("sgd").difference.level == known.level
    assert known.ranking("tuned", "loss").of("sgd").center.level == 0.95


def test_equal_optimizers_are_called_different_at_most_as_often_as_the_level_says():
    wrong = 0
    for seed in range(10):
        one = comparison({"rmsprop": 0.1, "adam": 0.1}, tracks=("defaults",))
        rng = np.random.default_rng(seed)
        runs = tuple(dataclasses.replace(run, curve=curve(0.1 * math.exp(rng.normal(scale=0.1)))) for run in one.runs)
        wrong += (
            outcomes(analyse(dataclasses.replace(one, runs=runs)), track="defaults")["adam"] != "not distinguishable"
        )
    assert wrong <= 2  # 10 × 5 % are 0.5; 2 or fewer in 99 % of such series, and this one is always the same


def tuned_apart(factors, track):
    """What is said of Adam where all seeds of a study give the same run, and its studies differ by these factors."""
    one = comparison({"rmsprop": 0.2, "adam": 0.1}, noise=0.0)
    ends = {"rmsprop": (0.2, 0.2, 0.2), "adam": [0.1 * factor for factor in factors]}
    runs = tuple(dataclasses.replace(r, curve=curve(ends[r.optimizer][r.study or 0])) for r in one.runs)
    found = analyse(dataclasses.replace(one, runs=runs))
    assert found.alike == {"tuned", "defaults"}
    return outcomes(found, track=track)["adam"]


@pytest.mark.parametrize(
    ("factors", "track", "outcome"),
    [
        ((1.9, 0.5, 0.1), "tuned", "not distinguishable"),  # better in all, as equals are in one of eight cases
        ((1.0, 1.01, 0.99), "tuned", "better"),
        ((1.9, 1.0, 1.0), "defaults", "better"),  # there is one run, and its difference is exact
    ],
)
def test_without_noise_the_studies_alone_can_tell(factors, track, outcome):
    assert tuned_apart(factors, track) == outcome


def test_seeds_that_differ_are_no_repetitions(known):
    assert known.alike == frozenset()


def test_pairing_by_seed_finds_what_the_spread_over_seeds_would_hide():
    paired = comparison({"rmsprop": 0.100, "adam": 0.098}, noise=0.0, tracks=("defaults",))
    rng = np.random.default_rng(0)
    shift = {seed: math.exp(rng.normal()) for seed in range(20)}
    ends = {"rmsprop": 0.100, "adam": 0.098}
    runs = tuple(dataclasses.replace(r, curve=curve(ends[r.optimizer] * shift[r.seed])) for r in paired.runs)
    found = analyse(dataclasses.replace(paired, runs=runs))
    mine, other = (found.ranking("defaults", "loss").of(name).center for name in ("rmsprop", "adam"))
    assert mine.low < other.high
    assert outcomes(found, track="defaults")["adam"] == "better"


@pytest.mark.parametrize(
    ("lost", "outcome", "infinite"),
    [
        ([("adam", seed) for seed in range(20)], "worse", True),
        ([("adam", seed) for seed in range(2)], "better", False),
        ([(name, seed) for seed in range(20) for name in ("adam", "rmsprop")], "not distinguishable", True),
        ([("rmsprop", seed) for seed in range(20)], "better", False),
    ],
    ids=["it alone", "rarely", "both", "the reference alone"],
)
def test_divergence_counts_against_whoever_diverges(lost, outcome, infinite):
    found = analyse(comparison({"rmsprop": 0.2, "adam": 0.1}, lost=lost, tracks=("defaults",)))
    assert outcomes(found, track="defaults")["adam"] == outcome
    assert math.isinf(found.ranking("defaults", "loss").of("adam").center.value) is infinite


def test_a_run_that_diverges_late_is_lost_whatever_it_had_reached():
    one = comparison({"rmsprop": 0.2, "adam": 0.1})
    (target,) = targets(one)
    late = dataclasses.replace(one.runs[0], curve=curve(0.001, lost_at=47))
    assert late.curve.validation[8] < target.level
    assert np.isinf(best_losses([late])).all()
    assert math.isinf(target.steps(late))
    fine = dataclasses.replace(late, curve=dataclasses.replace(late.curve, diverged_at=None))
    assert math.isfinite(target.steps(fine))


def test_the_loss_before_the_first_step_is_nobodys_merit():
    one = comparison({"rmsprop": 0.1})
    worse = curve(0.1)
    worse.validation[1:] = 3.0
    assert best_losses([dataclasses.replace(one.runs[0], curve=worse)])[0] == 3.0


def test_the_target_is_never_set_by_rmsprop_or_its_kin():
    ends = {"rmsprop": 0.01, "rmsprop-keras": 0.01, "adagrad": 0.02, "adam+swa": 0.02, "momentum": 0.2, "sgd": 0.3}
    (target,) = targets(comparison(ends))
    assert target.setter == "momentum"
    assert target.level == pytest.approx(0.2, rel=0.05)
    assert targets(comparison({"rmsprop": 0.1, "adagrad": 0.2})) == ()
    everything = [("sgd", seed) for seed in range(20)]
    assert targets(comparison({"rmsprop": 0.1, "sgd": 0.2}, lost=everything)) == ()


def test_the_target_is_set_by_the_tuned_runs_for_both_tracks():
    one = comparison({"rmsprop": 0.1, "sgd": 0.2})
    better = tuple(
        dataclasses.replace(run, curve=curve(0.01)) if (run.track, run.optimizer) == ("defaults", "sgd") else run
        for run in one.runs
    )
    assert targets(dataclasses.replace(one, runs=better)) == targets(one)


def test_a_known_optimum_sets_the_targets():
    one = comparison({"rmsprop": 1e-7, "sgd": 1e-3, "adam": 5e-5}, optimum=0.5)
    found = targets(one)
    assert [target.level for target in found] == [0.51, 0.5001, 0.500001]
    assert main_target(one, found).gap == 1e-4  # Adam reaches it; that RMSProp reaches more doesn't matter
    analysis = analyse(one)
    assert analysis.rankings[0].measure.key == "gap"
    assert outcomes(analysis, "gap") == {"rmsprop": None, "sgd": "worse", "adam": "worse"}


def test_time_is_counted_to_the_end_of_the_epoch_that_reaches_the_target():
    one = comparison({"rmsprop": 0.02, "sgd": 0.2}, noise=0.0, evaluations={"rmsprop": 2, "sgd": 1})
    analysis = analyse(one)
    found = {r.optimizer: r for r in analysis.reached("tuned", analysis.target)}
    # 2 × 0.01^(n/10) is first at most 0.2 after five epochs.
    assert found["rmsprop"].half == 5 * STEPS
    assert found["rmsprop"].evaluations == 10 * STEPS
    assert found["rmsprop"].seconds == pytest.approx(5 * STEPS * 0.001)
    assert (found["sgd"].half, found["sgd"].share) == (EPOCHS * STEPS, 1.0)


def test_half_of_the_runs_are_enough():
    assert until_half([3.0, 1.0, math.inf, 2.0]) == 2.0
    assert until_half([3.0, 1.0, math.inf, math.inf]) == 3.0
    assert until_half([3.0, math.inf, math.inf]) == math.inf
    assert until_half([3.0]) == 3.0


def test_one_seed_decides_nothing():
    found = analyse(comparison({"rmsprop": 0.2, "adam": 0.1}, seeds=1, tracks=("defaults",)))
    assert outcomes(found, track="defaults")["adam"] == "not distinguishable"


def test_verdicts_of_few_independent_runs_take_students_interval_too():
    few, many = (analyse(comparison({"rmsprop": 0.1, "adam": 0.105}, noise=0.1, seeds=n)) for n in (6, 20))
    for found, wider in ((few, True), (many, False)):
        standing = found.ranking("defaults", "loss").of("adam")
        values = differences(standing.costs, found.ranking("defaults", "loss").of("rmsprop").costs)
        alone = estimate(values, resamples([0] * len(values)), level=found.level)
        assert (standing.difference.high - standing.difference.low > alone.high - alone.low) is wider
