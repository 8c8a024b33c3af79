"""What is read off the losses of a range test."""

import json
import math

import numpy as np
import pytest

from rmsprop.lab.tune.lr_range import LrRange

LRS = np.geomspace(1e-7, 10.0, 161)  # 20 steps a decade


def falling(place, lost=None, noise=0.0, repeats=3, offset=0.0):
    """A loss that falls from 2 to 1 within half a decade around a learning rate, and is lost at another."""
    random = np.random.default_rng(0)
    losses = 1.0 + 1.0 / (1.0 + (LRS / place) ** 2) + noise * random.normal(size=(repeats, len(LRS))) + offset
    if lost:
        losses[:, lost <= LRS] = math.inf
    return LrRange(LRS, losses)


@pytest.mark.parametrize("place", [1e-5, 1e-3, 1e-1])
@pytest.mark.parametrize(("noise", "factor"), [(0.0, 1.3), (0.1, 1.6), (0.3, 2.5)])
def test_the_suggestion_is_where_the_loss_has_done_three_tenths_of_its_fall(place, noise, factor):
    expected = place * math.sqrt(3 / 7)  # there 1 / (1 + x²) has fallen from 1 to 0.7
    assert 1 / factor < falling(place, noise=noise).suggestion / expected < factor


def test_more_repeats_make_less_noise():
    wrong = {
        repeats: abs(math.log(falling(1e-3, noise=0.5, repeats=repeats).suggestion / falling(1e-3).suggestion))
        for repeats in (1, 25)
    }
    assert wrong[25] < 0.3 < math.log(10)
    assert wrong[25] <= wrong[1]


def test_a_constant_added_to_the_loss_changes_little():
    assert falling(1e-3, offset=-10.0).suggestion == pytest.approx(falling(1e-3, offset=10.0).suggestion, rel=0.2)


def test_a_single_repeat_that_is_lost_early_does_not_end_the_curve():
    found = falling(1e-3, lost=1.0, noise=0.02)
    found.losses[0, 40:] = math.inf
    assert found.diverges_at == pytest.approx(1.0)
    assert found.suggestion == pytest.approx(falling(1e-3, lost=1.0).suggestion, rel=0.2)
    assert len(found.suggestions) == 2  # the lost one has none of its own
    assert "more steps" in LrRange(LRS, found.losses[:1]).problem


@pytest.mark.parametrize("steps", [20, 40, 100, 400])
@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_pure_noise_is_rarely_taken_for_a_fall_however_many_steps_there_are(steps, spread):
    random, lrs = np.random.default_rng(0), np.geomspace(1e-7, 10.0, steps)
    found = [LrRange(lrs, np.exp(spread * random.normal(size=(3, steps)))) for _ in range(300)]
    assert sum(not one.problem for one in found) <= 9


def test_more_steps_find_a_smaller_fall():
    def found(steps):
        random, lrs = np.random.default_rng(0), np.geomspace(1e-7, 10.0, steps)
        losses = 1.0 + 0.3 / (1.0 + (lrs / 1e-3) ** 2) + 0.3 * random.normal(size=(50, 1, steps))
        return sum(not LrRange(lrs, each).problem for each in losses)

    assert found(40) < 25 < 45 < found(800)


@pytest.mark.parametrize("height", [0.05, 0.1])
def test_a_small_fall_is_found_where_the_noise_is_smaller(height):
    random = np.random.default_rng(0)
    losses = 1.0 - height / (1.0 + (1e-3 / LRS) ** 2) + 0.02 * random.normal(size=(3, len(LRS)))
    assert LrRange(LRS, losses).problem == ""


def test_everything_is_there_as_numbers():
    content = falling(1e-3, lost=1.0).as_dict()
    assert content["suggestion"] == falling(1e-3, lost=1.0).suggestion
    assert len(content["losses"]) == 3
    assert len(content["smoothed"]) < len(content["lrs"]) == len(LRS)
    assert json.loads(json.dumps(content)) == content
    nothing = LrRange(LRS, np.full((1, len(LRS)), math.inf)).as_dict()
    assert nothing["suggestion"] is None
    assert nothing["suggestions"] == []
