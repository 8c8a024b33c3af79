"""Which setting is recommended."""

import math

import numpy as np
import pytest
from lab.tune.stubs import Formula, bowl, setting

from rmsprop.lab.compare.statistics import simultaneous
from rmsprop.lab.tune.comparison import DEFAULT, FOUND, apart, compare, good_lrs, recommended

SEEDS = tuple(range(1000, 1010))
OTHER = setting(1e-3, decay=0.9)


def chosen(loss, others=None):
    found = compare(Formula(loss), setting(1e-3), {"lr × decay": OTHER} if others is None else others, SEEDS)[1]
    return recommended(found), found


def against(factor, noise=0.0):
    """The other rule's loss is a factor of the first one's, with noise of its own per seed."""

    def loss(one, seed):
        own = factor * (1 + noise * math.sin(7.0 * seed)) if one.rule.decay == 0.9 else 1.0
        return own * bowl(1e-3)(one, seed)

    return loss


@pytest.mark.parametrize(
    ("factor", "noise", "is_other"),
    [
        (0.5, 0.0, True),
        (0.85, 0.02, True),
        (0.97, 0.0, False),  # beyond chance, and of no use
        (0.85, 1.0, False),  # of use, if it weren't chance
        (1.0, 0.0, False),
        (1.5, 0.0, False),
    ],
)
def test_another_rule_is_recommended_if_it_is_better_by_five_percent_and_not_by_chance(factor, noise, is_other):
    best, _ = chosen(against(factor, noise))
    assert (best.tried.setting.rule.decay == 0.9) == is_other


def test_the_first_is_the_best_learning_rate_and_runs_of_full_length_may_move_it():
    best, found = chosen(bowl(1e-4))
    assert found[0] is best
    assert found[0].role == FOUND
    assert found[0].difference is None
    assert 0.5e-4 < best.tried.setting.lr < 2e-4
    same = [one.tried for one in found if one.tried.setting.rule == best.tried.setting.rule]
    assert best.tried.typical == min(one.typical for one in same)


def test_other_rules_may_move_with_it():
    _, found = chosen(bowl(1e-4))
    other = next(one for one in found if one.role == "lr × decay")
    assert other.tried.setting.lr == pytest.approx(1e-4, rel=0.2)


def test_the_default_learning_rate_takes_part():
    _, found = chosen(bowl(1e-3))
    assert [one.tried.setting.lr for one in found if one.role == DEFAULT] == [0.01]


def test_all_runs_see_the_same_new_seeds_in_full_length():
    trials = Formula(bowl(1e-3))
    compare(trials, setting(1e-3), {}, SEEDS)
    assert {(seeds, epochs) for _, _, seeds, epochs in trials.calls} == {(SEEDS, 30)}


def test_a_rule_that_diverges_is_not_recommended_and_counted():
    best, found = chosen(lambda one, seed: math.inf if one.rule.decay == 0.9 and seed > 1001 else bowl(1e-3)(one, seed))
    assert best is found[0]
    assert next(one for one in found if one.role == "lr × decay").tried.diverged == 8


def test_the_good_learning_rates_are_those_of_the_given_rule():
    _, found = chosen(against(0.5))
    low, high = good_lrs(found)
    # 1 + log10(lr / 1e-3)² is 5 % above 1 at 10^±0.22; straight lines between the rates put it a little nearer.
    assert low == pytest.approx(1e-3 * 10**-0.22, rel=0.15)
    assert high == pytest.approx(1e-3 * 10**0.22, rel=0.15)


def test_where_every_run_diverges_something_is_still_returned():
    best, _ = chosen(lambda one, seed: math.inf)
    assert best.tried.diverged == len(SEEDS)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_equal_settings_are_rarely_told_apart_however_few_the_seeds(seeds):
    random, level = np.random.default_rng(0), simultaneous(8)
    pairs = random.normal(size=(100, 2, seeds))
    assert sum(apart(one, other, level).decided for one, other in pairs) <= 3  # bootstrap alone, two seeds: 56


def test_a_difference_far_beyond_chance_is_seen_with_few_seeds():
    losses = np.array([1.0, 1.1, 0.9, 1.05, 0.95])
    assert apart(70 * losses, losses, simultaneous(8)).low > 0
    assert apart(np.full(5, math.inf), losses, simultaneous(8)).low == math.inf


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_four_times_as_many_seeds_make_intervals_half_as_wide_or_less(seeds):
    random, zeros = np.random.default_rng(0), np.zeros(4 * seeds)

    def width(count):
        intervals = [apart(random.normal(size=count), zeros[:count], 0.95) for _ in range(30)]
        return np.median([one.high - one.low for one in intervals])

    assert width(4 * seeds) <= 0.55 * width(seeds)
