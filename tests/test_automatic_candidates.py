"""Candidates for lr="auto": they are what they are said to be, and are judged by the rule."""

import math
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
import torch

from benchmarks import automatic_rates
from benchmarks.automatic_candidates import (
    BASELINE,
    CANDIDATES,
    ON_DATA,
    WARM_UP,
    Vmapped,
    constant,
    cosine,
    warm_up_and_cosine,
)
from benchmarks.automatic_rates import (
    CALIBRATION,
    GRID,
    OPTIMA,
    REPORTED,
    TUNING,
    Unit,
    calibrated,
    loss,
    scores,
    train,
    trainings_of,
    with_data,
)
from benchmarks.automatic_rates_table import (
    losses,
    times,
    verdict,
)
from rmsprop.lab import find_lr
from rmsprop.lab.problems import load
from rmsprop.lab.problems.defaults import PROBLEMS

STEPS = 40


def gradients():
    return np.random.default_rng(0).standard_normal((STEPS, 2, 3))


def moved(name, lr=0.01, steps=STEPS):
    """Return where two models of three weights are after each step with a candidate."""
    flat, gradient = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, 0.0]], dtype=torch.float64), torch.zeros(2, 3).double()
    with jax.enable_x64(True):
        stepper = Vmapped(CANDIDATES[name].make, np.full(2, lr), steps, flat, gradient)
        places = [flat.numpy().copy()]
        for each in gradients()[:steps]:
            gradient.copy_(torch.from_numpy(each))
            stepper.step()
            places.append(flat.numpy().copy())
    return np.array(places)


def directions(decay=0.99, eps=1e-8):
    """Yield RMSProp's."""
    v = 0.0
    for g in gradients():
        v = decay * v + (1 - decay) * g**2
        yield g / (np.sqrt(v) + eps)


def by_fixed(shape, lr=0.01):
    x = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, 0.0]])
    yield x
    for step, u in enumerate(directions()):
        x = x - lr * shape(step) * u
        yield x


def norm(x):
    return np.linalg.norm(x, axis=1, keepdims=True)


def by_dog(shape):
    x = x0 = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, 0.0]])
    r, total = 1e-6 * (1 + norm(x0)), 0.0
    yield x
    for step, u in enumerate(directions()):
        r, total = np.maximum(r, norm(x - x0)), total + norm(u) ** 2
        x = x - shape(step) * r / np.sqrt(total + 1e-8) * u
        yield x


def by_dowg(shape):
    x = x0 = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, 0.0]])
    square, total = 1e-4, 0.0
    yield x
    for step, u in enumerate(directions()):
        square = np.maximum(square, norm(x - x0) ** 2)
        total = total + square * norm(u) ** 2
        x = x - shape(step) * square / (np.sqrt(total) + 1e-4) * u
        yield x


def by_prodigy(shape, decay=0.99, first=1e-6):
    x = x0 = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, 0.0]])
    d, v, s, top = np.full((2, 1), first), 0.0, 0.0, 0.0
    yield x
    for step, g in enumerate(gradients()):
        rate = d * shape(step) * math.sqrt(1 - decay ** (step + 1))
        top = math.sqrt(decay) * top + d / first * rate * (g * (x0 - x)).sum(axis=1, keepdims=True)
        s = math.sqrt(decay) * s + d / first * rate * g
        v = decay * v + (1 - decay) * (d * g) ** 2
        direction, d = d * g, np.maximum(d, top / np.abs(s).sum(axis=1, keepdims=True))
        x = x - rate * direction / (np.sqrt(v) + d * 1e-8)
        yield x


def by_mechanic(shape, decay=0.01, eps=1e-8, first=1e-6):
    """The recursion of Mechanic's paper, whose sum of updates is told from where the weights are, as Optax does."""
    x = x0 = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, 0.0]])
    betas = 1 - 0.1 ** np.arange(1, 7)
    r, m, v, s = np.zeros((2, 6)), np.zeros((2, 6)), np.zeros((2, 6)), np.full((2, 6), first)
    yield x
    for step, (g, u) in enumerate(zip(gradients(), directions(), strict=True)):
        scale = s.sum(axis=1, keepdims=True)
        before = (x0 - x) / (scale + eps)
        decayed = g + decay * scale * norm(g) / (norm(x) + eps) * x
        h = (decayed * before).sum(axis=1, keepdims=True)
        r = betas * r + np.clip(h, -m, m) * s
        m, v = np.maximum(betas * m, np.abs(h) + eps), betas**2 * v + h**2
        s = (first / 6 * m + np.maximum(0, r)) / (np.sqrt(v) + eps)
        x = x0 - s.sum(axis=1, keepdims=True) * (before + shape(step) * u)
        yield x


def falling(step):
    return (1 + math.cos(math.pi * step / STEPS)) / 2


def rising_and_falling(step):
    rising = round(WARM_UP * STEPS)
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising + 1) / (STEPS - rising + 1))) / 2


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (BASELINE, by_fixed(rising_and_falling)),
        (ON_DATA, by_fixed(rising_and_falling)),
        ("range test", by_fixed(lambda step: 1.0)),
        ("DoG", by_dog(lambda step: 1.0)),
        ("DoG, cosine", by_dog(falling)),
        ("DoWG", by_dowg(lambda step: 1.0)),
        ("DoWG, cosine", by_dowg(falling)),
        ("Prodigy", by_prodigy(lambda step: 1.0)),
        ("Prodigy, cosine", by_prodigy(falling)),
        ("Mechanic", by_mechanic(lambda step: 1.0)),
        ("Mechanic, cosine", by_mechanic(rising_and_falling)),
    ],
)
def test_a_candidate_is_its_formula(name, meant):
    places = np.array([*meant])
    path = np.abs(np.diff(places, axis=0)).sum()  # Optax computes the warm-up in float32
    np.testing.assert_allclose(moved(name), places, rtol=1e-9, atol=2**-23 * path)


def test_schedules_are_positive_and_peak_at_one():
    for schedule in (constant, cosine, warm_up_and_cosine):
        rates = [float(schedule(STEPS)(step)) for step in range(STEPS)]
        assert max(rates) == 1.0
        assert min(rates) > 0.0


@pytest.fixture
def short(monkeypatch):
    """Two epochs of a problem only."""
    monkeypatch.setattr(automatic_rates, "load", lambda name: replace(load(name), epochs=2))


@pytest.mark.usefixtures("short")
def test_trainings_are_done_together_as_if_alone():
    names = (BASELINE, "DoG, averaged", "Prodigy", "range test")
    lrs = {"all problems": 0.01}
    together = train(Unit("wine", names, lrs))
    alone = [line for name in names for line in train(Unit("wine", (name,), lrs))]
    numbers = ("best", "last", "test")
    for one, other in zip(together, alone, strict=True):
        assert [one[key] for key in numbers] == pytest.approx([other[key] for key in numbers], rel=1e-5)
        assert {**one, **dict.fromkeys((*numbers, "seconds"))} == {**other, **dict.fromkeys((*numbers, "seconds"))}
    assert len({one["best"] for one in together}) == len(together)


@pytest.mark.usefixtures("short")
def test_a_range_test_without_a_suggestion_loses_the_run(monkeypatch):
    nothing = partial(find_lr, high=2e-7)
    monkeypatch.setattr("benchmarks.automatic_candidates.find_lr", nothing)
    for one in train(Unit("wine", ("range test",))):
        assert one["lr"] is one["best"] is None
        assert loss(one) == math.inf
        assert one["evaluations"] == 2 * 7 + 300


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_least_objectives_are_the_problems_own(name):
    assert OPTIMA.get(name, 0.0) == pytest.approx(load(name).optimum or 0.0, rel=1e-9)


def test_what_is_no_surface_has_data():
    assert len(with_data([{"problem": name} for name in PROBLEMS])) == 13


def test_seeds_are_disjoint_and_one_where_nothing_is_random():
    assert not {*TUNING} & {*REPORTED}
    assert [one.seed for one in trainings_of(load("bowl"), "DoG", {})] == [0]
    assert len(trainings_of(load("bowl-noisy"), "DoG", {})) == len(REPORTED)
    assert len(trainings_of(load("wine"), CALIBRATION, {})) == len(GRID) * len(TUNING)


def made_up(fixed, own, problem="wine", candidate="DoG"):
    return [
        {"problem": problem, "candidate": name, "seed": seed, "best": value, "last": value, "first": 10.0}
        for name, values in ((BASELINE, fixed), (candidate, own))
        for seed, value in enumerate(values)
    ]


NOISE = np.linspace(-0.01, 0.01, 10)


@pytest.mark.parametrize(
    ("own", "outcome"),
    [
        (1.0 + NOISE, "same"),
        (0.9 + NOISE, "better"),
        (1.05 + NOISE, "worse"),
        (1.2 + NOISE, "harm"),
        ([None] * 10, "harm"),
        ([0.9] * 9 + [None], "same"),  # draws with three of them are too many to be sure
        ([1.3] * 2 + [0.99] * 8, "same"),
    ],
)
def test_verdicts_are_by_the_rule(own, outcome):
    assert verdict(made_up(1.0 + NOISE[::-1], own), "wine", "DoG").outcome == outcome


def test_where_the_fixed_rate_diverges_who_does_not_is_better():
    better, same = (verdict(made_up([None] * 10, own), "wine", "DoG") for own in ([1.0] * 10, [None] * 10))
    assert (better.outcome, better.ratio, better.lost) == ("better", 0.0, 0)
    assert (same.outcome, same.ratio, same.lost) == ("same", 1.0, 10)


@pytest.mark.parametrize(("own", "outcome"), [(1.0, "same"), (0.999, "better"), (1.09, "worse"), (1.11, "harm")])
def test_what_is_not_random_is_told_apart_exactly(own, outcome):
    assert verdict(made_up([1.0], [own], "bowl"), "bowl", "DoG").outcome == outcome


def test_a_gap_that_is_closed_counts_as_closed():
    lines = made_up([1e-9], [1e-30], "bowl")
    assert verdict(lines, "bowl", "DoG").outcome == "same"
    assert losses(lines, "bowl", "DoG", "best") == pytest.approx([1e-5], rel=1e-12)


def test_the_calibrated_rate_is_that_of_the_least_score():
    lines = [
        {"problem": problem, "candidate": CALIBRATION, "seed": 0, "lr": lr, "best": value, "first": 1.0}
        for problem, good in (("wine", GRID[3]), ("digits", GRID[4]), ("diabetes", GRID[4]))
        for lr in GRID
        for value in [1.0 if lr == good else 2.0 if lr in GRID[3:5] else None]
    ]
    assert calibrated(lines) == GRID[4]
    assert scores(lines)[GRID[4]] == pytest.approx(math.log10(2) / 3)
    assert scores(lines)[GRID[0]] == 1.0


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.984, "0.98"), (12.3, "12"), (150.4, "150"), (3.2e5, "3e5"), (math.inf, "∞")]
)
def test_ratios_have_two_digits(ratio, text):
    assert times(ratio) == text
