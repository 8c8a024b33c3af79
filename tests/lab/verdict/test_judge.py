"""Every verdict on a curve of its kind, made by a real run."""

import math
import re
from dataclasses import replace
from statistics import median
from typing import get_args

import numpy as np
import polars as pl
import pytest

from rmsprop.lab.problems.defaults import PROBLEMS
from rmsprop.lab.problems.table.datasets import prepare
from rmsprop.lab.problems.table.tabular import from_dataset
from rmsprop.lab.train.sentences import terms
from rmsprop.lab.train.settings import resolve
from rmsprop.lab.verdict.curves import LossCurves, Lost, gaps_of
from rmsprop.lab.verdict.facts import Advice, Change
from rmsprop.lab.verdict.judge import judge
from rmsprop.lab.wording import remedy, statement


def said(curves, **given):
    """The verdict in the words of `rmsprop train`."""
    settings = resolve({"problem": "linear", **given}).as_dict()
    return statement(judge(curves)[0], terms(settings, holds_out=bool(curves.validation)))


# What was run, how it is judged, since when, a word of the remedy.
RUNS = {
    "diverged at once": ({"problem": "linear", "lr": 3.0}, "diverged at step 2", "--lr 0.01"),
    "diverged to infinity": ({"problem": "linear", "lr": 1e30}, "diverged at step 2", "--lr 0.01"),
    "few epochs": ({"problem": "linear", "epochs": 5}, "still falling", "--epochs 10"),
    "one epoch": ({"problem": "digits", "epochs": 1}, "still falling", "--epochs 2"),
    "hardly begun": ({"problem": "linear", "epochs": 1, "batch_size": 120}, "still falling", "--epochs 2"),
    "cut short": ({"problem": "digits", "lr": 1e-4, "epochs": 10}, "still falling", "--lr 0.0003"),
    "steps too small": ({"problem": "wine", "lr": 1e-6}, "stalled", "--lr 1e-05"),
    "steps too small on a line": ({"problem": "linear", "lr": 1e-5}, "stalled", "--lr 0.0001"),
    "lost again": ({"problem": "digits", "lr": 0.08, "warmup": 29.0}, "stalled since epoch 15", "--lr 0.008"),
    "up and down": ({"problem": "linear", "lr": 0.7, "warmup": 90.0}, "stalled", "--lr 0.07"),
    "overfitting": (
        {"problem": "diabetes", "model": "mlp", "hidden": (64,)},
        "overfitting since epoch 9",
        "--epochs 9",
    ),
}


@pytest.mark.parametrize(("given", "headline", "remedy"), RUNS.values(), ids=RUNS)
def test_a_sick_run_is_named_with_evidence_and_remedy(record, given, headline, remedy):
    verdict = said(record(**given), **given)
    assert verdict.headline == headline
    assert remedy in verdict.remedy
    assert len(re.findall(r"\d", verdict.evidence)) >= 2


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_built_in_problems_are_healthy_with_another_seed(record, problem):  # that of seed 0 is test_cli_train's
    facts = judge(record(problem, seed=1))
    assert [fact.kind for fact in facts] == ["converged"]
    assert facts[0].advice == ()


def test_a_short_run_is_not_called_converged_while_its_loss_falls():
    losses = [1.0, 0.7, 0.5, 0.48]  # the last of three epochs took 4 %
    assert judge(curve(losses, losses))[0].kind == "still falling"


def test_spikes_are_told_besides_the_verdict(record):
    settings = {"lr": 0.01, "momentum": 0.9, "schedule": "constant", "weight_decay": 0.0, "epochs": 20}
    spiky = record("digits", **settings)
    fact = judge(spiky)[1]
    assert (fact.kind, fact.numbers["of"]) == ("spikes", 20)  # which epoch it is depends on the last bits of the run
    assert spiky.worst[fact.since - 1] > 4 * median(spiky.worst[fact.since - 6 : fact.since - 1])
    calm = record("digits", **settings | {"lr": 0.001})
    assert len(judge(calm)) == 1


@pytest.mark.parametrize(
    "given", [RUNS["diverged at once"][0], RUNS["diverged to infinity"][0], {"problem": "digits", "lr": 10.0}]
)
def test_the_learning_rate_to_try_after_a_divergence_does_not_diverge(record, given):
    lower = judge(record(**given))[0].advice[0]
    assert lower.change == "lower lr"
    assert judge(record(**given | {"lr": lower.value}))[0].kind != "diverged"


def test_a_target_that_is_noise_is_stalled(record):
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"x": random.normal(size=2000), "y": random.normal(size=2000)})
    noise = from_dataset(prepare("noise", frame, "y", None), ())
    curves = record(noise)
    assert judge(curves)[0].kind in ("stalled", "loss no better than guessing")
    assert "may not tell the target" in said(curves).remedy


def curve(train, validation=(), lr=(), **more):
    """Made-up losses, the first of which are from before the first step."""
    return LossCurves(times=range(len(train)), train=train, validation=validation, rates=lr, lr=0.01, **more)


def test_a_schedule_that_lowers_noise_is_not_taken_for_one_that_cut_the_run_short():
    noisy = [0.50 + 0.01 * (-1) ** n for n in range(20)]
    calm = [0.40] * 10
    run = curve([2.0, *noisy, *calm], [2.0, *noisy, *calm], lr=[0.01] * 20 + [0.001] * 10)
    assert judge(run)[0].kind == "converged"


def test_one_bad_epoch_does_not_hide_that_the_schedule_cut_the_run_short():
    lively = [1.0, 0.6, 0.45, 0.35, 0.28, 0.22, 0.18, 0.15, 0.14, 0.126, 0.118, 0.092, 0.09, 0.088, 0.108, 0.078]
    losses = [*lively, *(0.0655 + 0.0007 * n for n in reversed(range(15)))]
    lr = [0.005 * (1 + math.cos(math.pi * n / 30)) for n in range(30)]
    assert judge(curve(losses, losses, lr))[0].kind == "still falling"
    level = [*lively[:8], *[0.1] * 23]
    assert "level at the end of the schedule: 0.1" in said(curve(level, level, lr)).evidence
    assert "level: 0.1" in said(curve(level, level)).evidence


@pytest.mark.parametrize(
    ("given", "longer"),
    [
        ({"schedule": "cosine"}, "--epochs 10 --force"),
        ({"schedule": "linear"}, "--epochs 10 --force"),
        ({"schedule": "exponential"}, "--epochs 10 --force"),
        ({"schedule": "exponential", "gamma": 0.81}, "--epochs 10 --gamma 0.9 --force"),
        ({"schedule": "step"}, "--epochs 10 --force"),
        ({"schedule": "step", "step_size": 1}, "--epochs 10 --step-size 2 --force"),
        ({"schedule": "constant"}, "--resume --epochs 10"),
        ({"schedule": "plateau"}, "--resume --epochs 10"),
        ({"schedule": "inverse-sqrt"}, "--resume --epochs 10"),
    ],
)
def test_a_run_is_made_longer_as_its_schedule_allows(given, longer):
    falling = [1.0, 0.8, 0.6, 0.4, 0.3, 0.2]
    remedy = said(curve(falling, falling), epochs=5, **given).remedy
    assert remedy == f"Train longer: {longer}."


def test_one_lucky_epoch_is_not_the_lowest_point():
    level = [2.0, 1.0, *[0.5] * 40]
    lucky = [*level[:10], 0.3, *level[11:]]
    falling = [2.0, *(1 / n for n in range(1, 42))]
    assert judge(curve(falling, lucky))[0].kind == "converged"


def test_overfitting_begins_where_a_level_curve_rises():
    falling, rising = [0.9 - 0.08 * n for n in range(8)], [0.30 + 0.01 * n for n in range(1, 13)]
    validation = [*falling, *[0.30] * 11, *rising]  # level from 8 to 18
    verdict = said(curve([1.0 / (1 + n) for n in range(len(validation))], validation))
    assert verdict.headline == "overfitting since epoch 18"
    assert "--epochs 18" in verdict.remedy


def test_overfitting_from_the_start_has_no_epoch_to_stop_at():
    curves = curve([2.0, 1.0, 0.5, 0.2], [2.0, 3.0, 4.0, 5.0])
    verdict = said(curves)
    spoken = terms(resolve({"problem": "linear", "keep": "best"}).as_dict(), holds_out=True, kept=1)
    assert verdict.headline == "overfitting since epoch 0"
    assert "Of the epochs after it the best was 1" in statement(judge(curves)[0], spoken).evidence
    assert verdict.remedy == "Raise the weight decay: --weight-decay."


def test_a_run_without_a_whole_epoch_is_judged():
    assert said(curve([2.0], [2.0], lost=Lost(1, math.nan))).headline == "diverged at step 1"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"problem": "bowl"}, "converged"),
        ({"problem": "bowl", "lr": 1e-5}, "stalled"),
        ({"problem": "bowl", "lr": 0.01}, "still falling"),
        ({"problem": "bowl-noisy", "lr": 0.6, "schedule": "constant"}, "stalled"),
        ({"problem": "rosenbrock", "lr": 3.0}, "diverged"),
    ],
)
def test_where_nothing_is_held_out_no_verdict_speaks_of_what_there_is_not(record, given, kind):
    curves = record(**given)
    verdict = said(curves)
    assert judge(curves)[0].kind == kind
    assert not re.search("validation|columns|constant|overfit", verdict.evidence + verdict.remedy)


def test_what_has_nothing_held_out_is_never_called_overfitting():
    train, validation = [2.0, 1.0, 0.5, 0.2, 0.1], [2.0, 3.0, 4.0, 5.0, 6.0]
    assert judge(curve(train, validation))[0].kind == "overfitting"
    assert judge(curve(train))[0].kind != "overfitting"


def test_a_loss_below_zero_is_judged_by_its_size():
    falling = [1.0, *(-0.1 * n for n in range(1, 31))]
    level = [1.0, *[-3.0] * 30]
    assert judge(curve(falling, falling))[0].kind == "still falling"
    assert judge(curve(level, level))[0].kind == "converged"


def noisy(level, noise, seed=0):
    level = np.asarray(level, dtype=float)
    return (level * (1.0 + noise * np.random.default_rng(seed).normal(size=len(level)))).tolist()


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.08, 0.2])
def test_a_flat_curve_of_any_noise_is_neither_too_fast_nor_converged(noise):
    found = [judge(curve(noisy([2.3] * 60, noise, seed), knows_start=False))[0] for seed in range(40)]
    assert sum((fact.kind, fact.cause) != ("stalled", None) for fact in found) <= 2


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.08, 0.2])
def test_a_curve_that_fell_and_is_level_has_converged_whatever_its_noise(noise):
    course = [2.2 * math.exp(-n / 5) + 0.2 for n in range(60)]
    found = [judge(curve(noisy(course, noise, seed), noisy(course, noise, seed + 99)))[0].kind for seed in range(40)]
    assert found.count("converged") >= 38


def test_a_first_loss_of_few_batches_is_not_the_yardstick_of_later_ones_of_many():
    flat = [1.0, *noisy([1.1] * 20, 0.01)]
    assert judge(curve(flat, knows_start=False))[0].cause == "learning rate too high"
    assert judge(curve(flat, knows_start=False, start_error=0.05))[0].cause is None


@pytest.mark.parametrize("constant", [0.2, 0.4, 0.5])
def test_no_better_than_guessing_is_not_converged(constant):
    course = [2.2 * math.exp(-n / 5) + 0.5 for n in range(60)]
    train = [loss - 0.45 for loss in course]
    fact = judge(curve(train, course, constant=constant, constant_validation=constant))[0]
    assert fact.kind == "loss no better than guessing"
    assert judge(curve(train, course, constant=0.7, constant_validation=0.7))[0].kind == "converged"


def test_what_was_never_of_use_is_not_called_overfitting_that_one_could_stop():
    train, validation = [0.7 / (1 + n) for n in range(30)], [0.70 + 0.02 * n for n in range(30)]
    fact = judge(curve(train, validation, constant=0.69, constant_validation=0.69))[0]
    assert fact.kind == "loss no better than guessing"
    assert "stop earlier" not in [advice.change for advice in fact.advice]


# The lowest validation loss, at epoch 2, next to a constant answer's 0.69; the headline, a sentence, the remedy.
KEPT = {
    "as good as a constant answer": (0.675, "loss no better than guessing at the end", "At epoch 2 it was 0.675, and"),
    "never better": (0.70, "loss no better than guessing", "best constant answer."),
    "better for an epoch": (0.62, "overfitting since epoch 2", "rose from 0.62 to"),
}


@pytest.mark.parametrize(("lowest", "headline", "evidence"), KEPT.values(), ids=KEPT)
def test_the_words_are_true_of_the_weights_that_were_kept(lowest, headline, evidence):
    train, validation = [0.7 / (1 + n) for n in range(30)], [0.78, 0.74, lowest, *(0.74 + 0.01 * n for n in range(27))]
    curves = curve(train, validation, constant=0.69, constant_validation=0.69)
    spoken = terms(resolve({"problem": "linear", "keep": "best"}).as_dict(), holds_out=True, kept=2)
    verdict = statement(judge(curves)[0], spoken)
    assert verdict.headline == headline
    assert evidence in verdict.evidence
    assert ("may not tell the target" in verdict.remedy) == (lowest > 0.65)
    assert "0.74" not in verdict.evidence  # a median is nobody's loss


def test_inputs_that_told_the_target_once_are_not_called_useless():
    course = [0.7, 0.6, 0.55, 0.6, *[0.68] * 26]
    fact = judge(curve([0.7 / (1 + n) for n in range(30)], course, constant=0.69, constant_validation=0.69))[0]
    assert "other inputs" not in [advice.change for advice in fact.advice]


def test_a_loss_that_falls_towards_a_constant_answer_still_falls():
    falling = [3.0 - 0.05 * n for n in range(30)]
    assert judge(curve(falling, falling, constant=1.0, constant_validation=1.0))[0].kind == "still falling"


def test_a_larger_learning_rate_is_not_advised_while_validation_rises():
    train = [1.0 - 0.001 * n for n in range(30)]
    assert judge(curve(train, train))[0].cause == "learning rate too low"
    rising = [1.0 + 0.003 * n for n in range(30)]  # too little to be called overfitting
    fact = judge(curve(train, rising))[0]
    assert "raise lr" not in [advice.change for advice in fact.advice]
    assert fact.cause != "learning rate too low"


@pytest.mark.parametrize(("largest", "advised"), [(True, True), (False, False)])
def test_a_warm_up_is_advised_where_the_first_steps_are_the_largest(largest, advised):
    fact = judge(curve([2.0], lost=Lost(1, math.nan), first_steps_largest=largest))[0]
    assert ("warm up" in [advice.change for advice in fact.advice]) == advised


@pytest.mark.parametrize(("lr", "advised"), [(0.1, True), (3.0, False)])
def test_no_warm_up_is_advised_where_it_would_not_save_the_run(lr, advised):
    fact = judge(replace(curve([2.0], lost=Lost(1, math.nan), first_steps_largest=True), lr=lr))[0]
    assert ("warm up" in [advice.change for advice in fact.advice]) == advised


@pytest.mark.parametrize(
    ("rule", "largest"),
    [
        ({}, True),
        ({"initial_square_avg": 1.0}, False),
        ({"bias_correction": True}, False),
        ({"warmup": 1.0}, False),
    ],
)
def test_the_first_steps_are_the_largest_from_v_0_without_correction_or_warm_up(record, rule, largest):
    assert record("linear", lr=3.0, **rule).first_steps_largest == largest


def test_a_number_of_epochs_is_named_only_where_the_fall_supports_it():
    steady = [3.0 - 0.04 * n for n in range(61)]
    assert judge(curve(steady, steady))[0].advice[0].value == 120
    ending = [1.0 + 2.0 * math.exp(-n / 15) for n in range(61)]  # it falls by less and less
    fact = judge(curve(ending, ending))[0]
    assert (fact.kind, fact.advice[0].value) == ("still falling", None)
    assert said(curve(ending, ending)).remedy == "Train longer."


def test_epochs_that_are_counted_from_0_are_one_more():
    steady = [3.0 - 0.04 * n for n in range(60)]
    assert judge(curve(steady, steady, knows_start=False))[0].advice[0].value == 120


def test_overfitting_is_told_from_validation_where_the_training_loss_is_0():
    train = [1.0, 0.3, 0.1, *[0.0] * 27]
    validation = [1.0, 0.6, 0.5, *(0.5 + 0.02 * n for n in range(27))]
    verdict = said(curve(train, validation))
    assert verdict.headline.startswith("overfitting since epoch")
    assert "stayed at 0." in verdict.evidence


def test_losses_below_zero_may_overfit():
    train = [-0.1 * n for n in range(31)]
    validation = [-0.1 * n for n in range(10)] + [-0.9 + 0.03 * n for n in range(21)]
    assert judge(curve(train, validation))[0].kind == "overfitting"


def test_a_few_losses_that_are_not_finite_are_counted_and_it_says_that_the_run_recovered():
    losses = [1.0 / (1 + n) for n in range(40)]
    gaps = gaps_of(range(40), [*losses[:20], math.nan, math.inf, *losses[22:]])
    fact = judge(curve(losses, gaps=gaps))[1]
    assert (fact.kind, fact.since) == ("loss not finite", 20)
    assert (fact.numbers["count"], fact.numbers["of"], fact.numbers["recovered"]) == (2, 40, 22)


def test_a_loss_that_is_never_finite_again_is_lost():
    losses = [1.0 / (1 + n) for n in range(20)]
    gaps = gaps_of(range(40), [*losses[:10], math.nan, *losses[11:], *[math.nan] * 20])
    (fact,) = judge(curve(losses, gaps=gaps))
    assert (fact.kind, fact.since, fact.numbers["first"]) == ("diverged", 20, 10)


def test_every_piece_of_advice_has_words():
    spoken = terms(resolve({"problem": "linear"}).as_dict(), holds_out=True)
    for change in get_args(Change):
        assert remedy([Advice("lower lr", 0.1), Advice(change, 2.0)], spoken)


@pytest.mark.parametrize(
    ("model", "advised"), [("mlp", "Shrink the model (--hidden), or raise"), ("linear", "Raise the weight decay: --")]
)
def test_a_model_is_shrunk_where_it_has_widths(model, advised):
    overfit = curve([2.0, 1.0, 0.5, 0.2], [2.0, 3.0, 4.0, 5.0])
    assert said(overfit, model=model).remedy.startswith(advised)


def test_a_validation_loss_that_falls_without_noise_is_not_called_too_noisy():
    falling = [1.0 / n for n in range(1, 11)]
    evidence = said(curve(falling, falling)).evidence
    assert evidence == "Over the last epoch the validation loss fell by 10\u00a0%, from 0.111 to 0.1."


@pytest.mark.parametrize(
    ("initial", "above"), [(1.0, "over ten times an initial 1."), (-1.0, "far above an initial -1.")]
)
def test_only_of_a_loss_above_zero_there_are_multiples(initial, above):
    assert said(curve([initial] * 5 + [50.0] * 15)).evidence.endswith(above)
