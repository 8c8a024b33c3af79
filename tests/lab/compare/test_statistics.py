import numpy as np
import pytest
from scipy import stats

from rmsprop.lab.compare.statistics import (
    Estimate,
    best_of,
    differences,
    estimate,
    improvement,
    interquartile_mean,
    quantile,
    resamples,
    simultaneous,
)

INF = np.inf


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 20, 21])
def test_finite_samples_have_the_averages_of_numpy_and_scipy(count):
    values = np.random.default_rng(count).normal(size=(3, count))
    for share in (0.0, 0.25, 0.5, 0.9, 1.0):
        np.testing.assert_allclose(quantile(values, share), np.quantile(values, share, axis=-1), rtol=1e-14)
    np.testing.assert_allclose(interquartile_mean(values), stats.trim_mean(values, 0.25, axis=-1), rtol=1e-13)


@pytest.mark.parametrize(
    ("values", "median", "mean"),
    [
        ([1.0, 2.0, 3.0, INF], 2.5, 2.5),
        ([1.0, 2.0, INF, INF], INF, INF),
        ([INF] * 4, INF, INF),
        ([1.0, INF], INF, INF),
        ([-INF, -INF, 1.0, 2.0], -INF, -INF),
        ([-INF, 1.0, 2.0, INF], 1.5, 1.5),
        ([-INF, -INF, INF, INF], 0.0, 0.0),
        ([1.0, 2.0, 3.0, 4.0, INF], 3.0, 3.0),
    ],
)
def test_divergence_is_neither_dropped_nor_turned_into_nan(values, median, mean):
    assert quantile(np.array(values), 0.5) == median
    assert interquartile_mean(np.array(values)) == mean


def test_a_run_loses_by_diverging_alone_and_draws_by_diverging_together():
    found = differences(np.array([1.0, INF, 1.0, INF]), np.array([2.0, 2.0, INF, INF]))
    np.testing.assert_array_equal(found, [-1.0, INF, -INF, 0.0])


def test_resamples_draw_studies_and_then_runs_of_them():
    studies = [0, 1, 2, 0, 1, 2, 0]
    drawn = resamples(studies, 4000).indices
    assert drawn.shape == (4000, 7)
    assert np.array_equal(drawn, resamples(studies, 4000).indices)
    found = np.array(studies)[drawn]
    # The seven places belong to three slots, of three, two and two runs, and a slot draws one study.
    for slot in ([0, 1, 2], [3, 4], [5, 6]):
        assert (found[:, slot] == found[:, slot[:1]]).all()
    shares = np.bincount(found[:, 0], minlength=3) / 4000
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)  # four standard deviations
    within = np.bincount(drawn[found[:, 0] == 0, 0], minlength=7)
    assert set(np.flatnonzero(within)) == {0, 3, 6}


def test_one_study_is_the_ordinary_bootstrap():
    values = np.random.default_rng(3).normal(size=40)
    drawn = resamples([0] * 40)
    own = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=1).confidence_interval
    low, high = np.quantile(values[drawn.indices].mean(axis=-1), [0.025, 0.975])
    assert low == pytest.approx(own.low, abs=0.03)
    assert high == pytest.approx(own.high, abs=0.03)


def coverage(seeds, studies, tuning_noise, level=0.95, repetitions=400):
    """How often an interval holds the true value, when each study's tuning shifts all of its runs."""
    rng = np.random.default_rng(0)
    study = np.arange(seeds) % studies
    drawn = resamples(study.tolist(), 1000)
    shifts = tuning_noise * rng.normal(size=(repetitions, studies))
    samples = shifts[:, study] + rng.normal(size=(repetitions, seeds))
    found = [estimate(sample, drawn, level=level) for sample in samples]
    return sum(one.low <= 0.0 <= one.high for one in found) / repetitions


@pytest.mark.parametrize(
    ("seeds", "studies", "tuning_noise", "least"),
    [(20, 1, 0.0, 0.92), (6, 1, 0.0, 0.92), (20, 3, 0.0, 0.95), (20, 3, 1.0, 0.92), (50, 5, 1.0, 0.94)],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(seeds, studies, tuning_noise, least):
    assert coverage(seeds, studies, tuning_noise) >= least


def test_few_runs_decide_only_if_they_agree():
    drawn = resamples([0] * 6)
    level = simultaneous(7)
    assert estimate(np.array([1.0, 2.0, 1.5, 1.2, 1.7, 1.1]), drawn, level=level).decided
    assert not estimate(np.array([1.0, 2.0, 1.5, -0.2, 1.7, 1.1]), drawn, level=level).decided


def test_one_run_decides_nothing():
    only = estimate(np.array([3.0]), resamples([0]))
    assert only == Estimate(3.0, -INF, INF, 0.95)
    assert not only.decided
    assert (improvement(np.array([1.0]), np.array([2.0]), resamples([0])).low) == 0.0


def test_a_few_divergences_leave_the_upper_end_open():
    values = np.array([1.0] * 15 + [INF] * 5)
    found = estimate(values, resamples([0] * 20))
    assert (found.value, found.low, found.high) == (1.0, 1.0, INF)


@pytest.mark.parametrize(
    ("costs", "reference", "chance"),
    [
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 1.0),
        ([4.0, 5.0, INF], [1.0, 2.0, 3.0], 0.0),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.5),
        ([INF, INF], [INF, INF], 0.5),
        ([1.0, INF], [2.0, INF], 0.625),
    ],
)
def test_the_probability_of_improvement_is_that_of_mann_and_whitney(costs, reference, chance):
    costs, reference = np.array(costs), np.array(reference)
    found = improvement(costs, reference, resamples([0] * len(costs)))
    assert found.value == chance
    u = stats.mannwhitneyu(reference, costs).statistic / len(costs) ** 2
    assert found.value == pytest.approx(u)
    assert found.low <= chance <= found.high


def test_the_best_of_k_is_that_of_random_draws():
    scores = np.array([5.0, 1.0, INF, 2.0, 3.0, INF, 4.0])
    found = best_of(scores, [0.25, 0.5, 0.75])
    rng = np.random.default_rng(0)
    for k in (1, 2, 7):
        drawn = scores[rng.integers(len(scores), size=(20_000, k))].min(axis=1)
        low, middle, high = found[:, k - 1]
        # Between two scores the quantile may fall on either side of a jump: the drawn share must be about right.
        for value, share in ((low, 0.25), (middle, 0.5), (high, 0.75)):
            assert (drawn <= value).mean() >= share - 0.02
            assert (drawn < value).mean() <= share + 0.02
    assert (np.diff(found, axis=1) <= 0)[np.isfinite(found[:, 1:])].all()
