"""Tuning from end to end on small problems: maps, search, words, report."""

import dataclasses
import html
import json
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from rmsprop import Rule
from rmsprop.lab.batched import Job, train_together
from rmsprop.lab.compare.statistics import Estimate
from rmsprop.lab.drawing import draw_figure
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import Data, load
from rmsprop.lab.tune import figures
from rmsprop.lab.tune.budgets import BUDGETS
from rmsprop.lab.tune.comparison import DEFAULT, FOUND, Contender, outcome
from rmsprop.lab.tune.maps import draw_maps
from rmsprop.lab.tune.report import FIGURE, REPORT, RESULT, rows, write_report
from rmsprop.lab.tune.sentences import summary, verdict
from rmsprop.lab.tune.trials import Setting, Trials
from rmsprop.lab.tune.tuning import tune
from rmsprop.lab.tune.verification import search

SMALL = dataclasses.replace(BUDGETS["quick"], decays=(0.5, 0.999), epsilons=(1e-3, 10.0), samples=4, reach=1)


@pytest.fixture(scope="module")
def linear():
    return dataclasses.replace(load("linear"), epochs=20)


@pytest.fixture(scope="module")
def found(linear):
    return tune(linear, budget="quick")


def setting(lr=0.02, dialect="torch", **fields):
    return Setting(dialect=dialect, rule=Rule.from_dialect(dialect, **fields), lr=lr)


@pytest.mark.parametrize("fields", [{}, {"eps_inside_sqrt": True}, {"momentum": 0.9}, {"centered": True}])
@pytest.mark.parametrize("dialect", ["torch", "tensorflow1", "keras_legacy"])
def test_a_setting_is_the_optimizer_that_its_call_makes(linear, dialect, fields):
    import rmsprop.torch

    one = setting(0.02, dialect, **fields)
    tried = Trials(linear).run("", [one], [0, 1], 3)[0]
    made = eval(one.calls["torch"], {"rmsprop": rmsprop, "params": [torch.zeros(1, requires_grad=True)]})
    assert made.param_groups[0]["alpha"] == one.rule.decay
    assert made.param_groups[0]["eps_inside_sqrt"] == one.rule.eps_inside_sqrt
    assert np.isfinite(tried.losses).all()
    assert len(set(tried.losses)) == 2


def test_a_run_is_judged_by_where_it_ends_and_not_by_its_best_epoch(linear):
    one = setting(0.7)
    curve = train_together(linear, [Job(choice=one.choice, seed=0)], epochs=20)[0]
    loss = Trials(linear).run("", [one], [0], 20)[0].losses[0]
    assert loss == np.median(curve.validation[-4:])
    assert 1.5 * curve.validation.min() < loss < math.inf


def test_maps_are_over_both_places_of_epsilon_and_hold_the_given_rule(linear):
    centre = setting()
    maps = draw_maps(Trials(linear), centre, SMALL, {}, [0], 3)
    assert [one.name for one in maps] == ["decay", "eps-outside", "eps-inside"]
    assert [one.values for one in maps] == [(0.5, 0.99, 0.999), (1e-8, 1e-3, 10.0), (1e-8, 1e-3, 10.0)]
    for one in maps:
        assert one.lrs == (0.0067, 0.02, 0.06)
        assert one.losses.shape == (3, 3)
        for row, value in zip(one.cells, one.values, strict=True):
            for cell, lr in zip(row, one.lrs, strict=True):
                assert (cell.setting.lr, getattr(cell.setting.rule, one.field)) == (lr, value)
                assert cell.setting.rule.eps_inside_sqrt == one.inside
    outside, inside = maps[1].losses, maps[2].losses
    assert (outside[2] != inside[2]).all()  # √(v + 10) isn't √v + 10
    again = Trials(linear).run("", [centre], [0], 3)[0]
    assert maps[1].losses[0, 1] == again.typical  # the same run as any other


def test_divergence_is_marked_in_a_map(linear):
    maps = draw_maps(Trials(linear), setting(6.0), SMALL, {}, [0, 1], 3)
    for one in maps:
        counts = [[cell.diverged for cell in row] for row in one.cells]
        assert (np.isinf(one.losses) == (np.array(counts) >= 1)).all()
    assert np.isinf(maps[0].losses).any()
    assert np.isfinite(maps[1].losses[2]).any()  # ε = 10 tames even that
    assert math.isfinite(maps[1].best.typical)


@pytest.mark.parametrize(
    ("fixed", "names"),
    [
        ({"decay": 0.9}, ["eps-outside", "eps-inside"]),
        ({"eps": 1e-3}, ["decay"]),
        ({"eps_inside_sqrt": True}, ["decay", "eps-inside"]),
        ({"decay": 0.9, "eps": 1e-3}, []),
    ],
)
def test_what_is_fixed_has_no_map_and_is_not_searched(linear, fixed, names):
    centre = setting(**fixed)
    assert [one.name for one in draw_maps(Trials(linear), centre, SMALL, fixed, [0], 3)] == names
    samples = search(Trials(linear), centre, 4, fixed, [0], 3)
    assert len(samples) == (0 if {"decay", "eps"} <= fixed.keys() else 4)
    for one in samples:
        assert all(getattr(one.setting.rule, name) == value for name, value in fixed.items())


def test_the_search_covers_its_space_and_is_the_same_each_time(linear):
    first, second = (search(Trials(linear), setting(), 32, {}, [0], 3) for _ in range(2))
    assert [one.setting for one in first] == [one.setting for one in second]
    lrs = np.log10([one.setting.lr / 0.02 for one in first])
    forgetting = np.log10([1 - one.setting.rule.decay for one in first])
    epsilons = np.log10([one.setting.rule.eps for one in first])
    for values, low, high in ((lrs, -1, 1), (forgetting, -3, math.log10(0.5)), (epsilons, -10, -1)):
        shares = np.sort((values - low) / (high - low))
        assert shares.min() > -0.02
        assert shares.max() < 1.02
        assert np.abs(shares - np.linspace(0, 1, 32)).max() < 0.12  # even
    assert abs(np.corrcoef([lrs, forgetting, epsilons]) - np.eye(3)).max() < 0.3


def test_the_recommended_setting_beats_a_hundredth_and_a_hundred_times_its_rate_on_digits():
    problem = dataclasses.replace(load("digits"), epochs=6)
    chosen = tune(problem, budget="quick", seeds=2, decay=0.99, eps=1e-8).recommended.tried
    low, high = Trials(problem).run(
        "", [chosen.setting.with_(lr=chosen.setting.lr * f) for f in (0.01, 100)], [0, 1], 6
    )
    assert 2 * chosen.typical < low.typical
    assert 2 * chosen.typical < high.typical


def test_the_test_rows_change_nothing(linear, found):
    spoilt = Data(torch.full_like(linear.test.x, 9.0), torch.full_like(linear.test.y, -9.0))
    again = tune(dataclasses.replace(linear, test=spoilt), budget="quick")
    assert again.as_dict() == found.as_dict()


def test_seeds_of_the_last_comparison_chose_nothing(found):
    assert min(found.seeds) >= 1000
    assert len(found.seeds) == BUDGETS["quick"].final_seeds
    assert all(len(one.tried.losses) == len(found.seeds) for one in found.contenders)


def test_what_to_expect_is_told_from_seeds_that_chose_nothing(found, linear):
    setting = found.recommended.tried.setting
    assert set(found.fresh_seeds).isdisjoint({*found.seeds, *range(1000)})
    again = Trials(linear).run("", [setting], found.fresh_seeds, found.epochs)[0]
    assert found.fresh.losses.tolist() == again.losses.tolist()
    assert found.as_dict()["fresh"]["loss"] == found.fresh.typical


@pytest.mark.parametrize(
    ("losses", "difference", "said"),
    [
        (0.25, Estimate(0.165, -0.05, 0.4, 0.95), "2.9 times as high here, which 5 seeds can't settle: not disti"),
        (0.08, Estimate(-0.005, -0.02, 0.01, 0.95), "lower by 6\u00a0% here, which 5 seeds can't settle: not disti"),
        (0.085, Estimate(0.0, -0.001, 0.002, 0.95), "as good: within 5\u00a0%"),
        (0.25, Estimate(0.165, 0.05, 0.4, 0.95), "2.9 times as high"),
        (0.05, Estimate(-0.035, -0.04, -0.02, 0.95), "lower by 41\u00a0%"),
    ],
)
def test_what_few_seeds_cannot_settle_is_said(found, losses, difference, said):
    tried = [dataclasses.replace(found.contenders[0].tried, losses=np.full(5, loss)) for loss in (0.085, losses)]
    first = Contender(role=FOUND, tried=tried[0], difference=None, outcome=None)
    other = Contender(role=DEFAULT, tried=tried[1], difference=difference, outcome=outcome(difference, 0.085))
    made = dataclasses.replace(found, contenders=(first, other), recommended=first)
    assert verdict(made, other).startswith(said)
    unsettled = "can't settle" in said
    assert summary(made)[-1].startswith("What 5 seeds can't settle, more may: --seeds 20 makes") is unsettled


def test_more_seeds_do_settle_more(linear):
    few, many = (tune(linear, budget="quick", seeds=seeds, eps=1e-8) for seeds in (5, 20))
    widths = [
        np.median([one.difference.high - one.difference.low for one in found.contenders[1:]]) for found in (few, many)
    ]
    assert widths[1] < 0.5 * widths[0]


def test_progress_reaches_the_end_of_each_stage(linear):
    told = {}
    tune(linear, budget="quick", seeds=2, on_progress=lambda stage, done, total: told.update({stage: (done, total)}))
    assert list(told) == [
        "range test", "verifying", "lr × decay", "lr × ε outside √", "lr × ε in √", "joint search", "full length",
        "final comparison", "fresh seeds",
    ]  # fmt: skip
    assert all(done == total for done, total in told.values())


def test_torch_keeps_its_threads_and_its_random_state(linear):
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    tune(linear, budget="quick", seeds=2, decay=0.99, eps=1e-8)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_words_hold_the_numbers(found):
    said = summary(found)
    chosen = found.recommended.tried
    expected = f"validation loss {found.fresh.typical:.3g} after 20 epochs, with 5 fresh seeds."
    assert said[0] == f"Use {chosen.setting.label}: {expected}"
    count = len(found.contenders)
    assert f"With the 5 seeds that chose it among {count} settings it has {chosen.typical:.3g};" in said[1]
    assert f"suggests {found.range_test.suggestion:.2g}" in said[2]
    assert f"{found.good_lrs[0]:g} to {found.good_lrs[1]:g} end within 5\u00a0% of the best" in said[4]
    assert all(sentence.endswith(".") for sentence in said)


def test_a_problem_with_a_known_optimum_is_judged_by_the_distance_from_it():
    bowl = dataclasses.replace(load("bowl"), epochs=30)
    found = tune(bowl, budget="quick", seeds=2, decay=0.9, eps=1e-8)
    assert found.measure == "loss above the optimum"
    assert found.recommended.tried.typical < 0.1 * bowl.evaluate(bowl.model(0), bowl.train)[0]


def test_where_everything_diverges_it_says_so(linear, tmp_path, monkeypatch):
    monkeypatch.setattr("rmsprop.lab.tune.trials._end", lambda curve: math.inf)
    found = tune(linear, budget="quick", seeds=2, decay=0.99, eps=1e-8)
    assert found.diverged
    assert not found.works
    assert summary(found)[0] == (
        "Every run diverged, at every learning rate that was tried: look at the model and its data."
    )
    write_report(found, tmp_path)
    assert "Every run diverged" in (tmp_path / "tune.html").read_text(encoding="utf-8")


def test_where_nothing_is_learnt_nothing_is_recommended(linear):
    found = tune(linear, budget="quick", seeds=2, decay=0.99, eps=1e38)
    assert summary(found)[0] == (
        "Nothing to recommend: no learning rate that was tried brings the validation loss below what it is before "
        f"training, {found.untrained:.3g}."
    )
    assert found.untrained == pytest.approx(
        np.mean([linear.evaluate(linear.model(seed), linear.validation)[0] for seed in found.seeds])
    )
    assert not any(row["chosen"] for row in rows(found))


def test_a_problem_of_ones_own_is_checked_before_anything_is_tried(linear):
    broken = dataclasses.replace(linear, loss=lambda outputs, targets: (outputs - targets).sum() * math.nan)
    with pytest.raises(InputError, match=r"^problem linear: the loss is nan before the first step"):
        tune(broken, budget="quick")


def test_the_name_of_a_problem_is_no_problem():
    with pytest.raises(
        TypeError, match=r"^problem is a str: give a Problem, such as rmsprop\.lab\.problems\.load gives$"
    ):
        tune("linear")


@pytest.mark.parametrize("fixed", [{"decay": 0.0}, {"decay": 1.0}, {"eps": 0.0}])
def test_the_joint_search_is_painted_whatever_is_fixed(linear, fixed):
    samples = search(Trials(linear), setting(**fixed), 4, fixed, [0], 3)
    picture = draw_figure(partial(figures.samples, samples, "loss"), "svg").decode()
    assert ("memory" in picture) == ("decay" not in fixed)


def test_the_report_is_one_file_that_loads_nothing_and_the_numbers_are_beside_it(found, tmp_path):
    write_report(found, tmp_path)
    page = (tmp_path / "tune.html").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {REPORT, FIGURE, RESULT}
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<script" not in page
    assert page.count("<svg") == 6
    assert '<span class="whole">1e-8</span>' in page  # a line that breaks in it is misread
    said = html.unescape(re.sub(r'<span class="whole">(.*?)</span>', r"\1", page))
    for sentence in summary(found):
        assert sentence in said
    content = json.loads((tmp_path / RESULT).read_text())
    assert content["recommended"]["lr"] == found.recommended.tried.setting.lr
    assert content["maps"].keys() == {"decay", "eps-outside", "eps-inside"}
    assert content["contenders"][1]["difference"]["level"] == pytest.approx(1 - 0.05 / (len(found.contenders) - 1))


def test_no_label_is_cut_at_the_edge_of_the_picture(found, tmp_path):
    lrs = np.logspace(-7, 1, 100)
    losses = 2.35 - 2.18 * np.exp(
        -np.square(np.log10(lrs) + 1.7)
    )  # few ticks fit its axis, or twice as many wider ones
    test = dataclasses.replace(found.range_test, lrs=lrs, losses=np.array([losses]))
    write_report(dataclasses.replace(found, range_test=test), tmp_path)
    with Image.open(tmp_path / FIGURE) as picture:
        pixels = np.asarray(picture.convert("L"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert edge.min() == 255


def test_losses_are_shown_with_their_unit(found, tmp_path):
    assert figures.outcome(found) == "validation loss at the end:\nmean squared error"
    write_report(found, tmp_path)
    page = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert page.count("mean squared error</text>") == 6


def test_the_rows_mark_the_recommended_setting(found):
    marked = [row for row in rows(found) if row["chosen"]]
    assert [row["loss"] for row in marked] == [f"{found.recommended.tried.typical:.3g}"]
    assert rows(found)[0]["difference"] == ""


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"budget": "huge"}, ValueError, "budget is 'huge': choose one of quick, standard, full"),
        ({"seeds": 1}, InputError, "--seeds is 1: at least 2 are needed to tell a difference from chance"),
        ({"seeds": 2.5}, TypeError, "seeds is 2.5: give a whole number"),
        ({"decay": 1.5}, ValueError, "Invalid decay value: 1.5 (allowed: a number from 0 to 1)"),
    ],
)
def test_bad_numbers_are_refused(linear, given, error, message):
    with pytest.raises(error) as raised:
        tune(linear, **given)
    assert str(raised.value) == message
