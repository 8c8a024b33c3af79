"""Every piece of advice, followed literally on a run that it is given to, ends no worse."""

import ast
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from dialects.timm_optimizers import RMSpropTF
from lab.diagnose.loops import same, train
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch import nn
from torch.nn import functional as F

from benchmarks.advised import ADVISED
from benchmarks.loops import Loop, perceptron, run
from rmsprop.lab import diagnose as diagnose_package
from rmsprop.lab.diagnose.history import History, Series, Statistics
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.diagnose.warm_up import warm_up
from rmsprop.torch import RMSprop

STEPS = tuple(range(1, 1001))
JUMP = Series(STEPS, (2.0, 9.0, 40.0, 12.0, 9.0, *[1.0] * 995))


@pytest.mark.parametrize("advised", ADVISED, ids=lambda each: f"{each.finding}: {each.name}")
def test_advice_that_is_followed_helps(advised):
    found = advised.obey()
    assert math.isfinite(found.after)
    assert found.helped, found


@pytest.mark.parametrize(
    ("optimizer", "group", "corrected", "steps", "rate"),
    [
        ("RMSprop", {"decay": 0.99}, True, 300, "0.0033"),
        ("RMSprop", {"decay": 0.9, "momentum": 0.9}, True, 30, "0.0033"),
        ("RMSprop", {"decay": 0.99, "centered": True}, False, 300, "0.0033"),
        ("RMSprop", {"decay": 0.99, "initial_square_avg": 1.0}, False, 200, "0.001"),
        ("RMSprop", {"decay": 0.99, "bias_correction": True}, False, 200, "0.001"),
        ("RMSpropTF", {"decay": 0.99, "initial_square_avg": 1.0}, False, 200, "0.001"),
        ("Adam", {"decay": 0.999}, False, 200, "0.001"),
        ("SGD", {"momentum": 0.9}, False, 200, "0.001"),
        ("", {}, False, 200, "0.001"),
    ],
)
def test_bias_correction_is_advised_only_where_it_makes_the_first_steps_shorter(
    optimizer, group, corrected, steps, rate
):
    lr = Series(STEPS, (0.01,) * 1000)
    (found,) = warm_up(
        History(name="hot", source="a test", unit="step", train=JUMP, lr=lr, optimizer=optimizer, group=group)
    )
    assert ("bias correction" in found.remedy) is corrected
    assert ("v forgets" in found.remedy) is (group.get("decay") is not None and rate == "0.0033")
    assert f"slowly {'to that ' if corrected else ''}over the first {steps} steps" in found.remedy
    assert f"what it was ({rate})" in found.remedy
    assert "v₀ = 1" not in found.remedy


def test_a_learning_rate_that_was_raised_slowly_is_lowered():
    lr = Series(STEPS, tuple(min(1.0, step / 300) for step in STEPS))
    (found,) = warm_up(History(name="hot", source="a test", unit="step", train=JUMP, lr=lr, group={"decay": 0.99}))
    assert found.remedy == "The learning rate was raised slowly already: lower it to a tenth of what it was (0.1)."


def test_a_run_that_never_comes_down_again_had_no_hot_start():
    losses = Series(STEPS, (*JUMP.values[:5], *[2.5] * 995))
    assert warm_up(History(name="high", source="a test", unit="step", train=losses, group={"decay": 0.99})) == []


@pytest.mark.parametrize(("noise", "found"), [(0.0, True), (0.2, False)])
def test_a_first_loss_that_noise_made_low_is_no_jump(noise, found):
    course = 1.5 * np.exp(-np.arange(1000) / 100) + 0.5
    losses = course * (1.0 + noise * np.random.default_rng(0).normal(size=1000))
    losses[0] = 0.9  # less than half of what follows
    train = Series(STEPS, tuple(losses))
    history = History(name="noisy", source="a test", unit="step", train=train, group={"decay": 0.99})
    assert bool(warm_up(history)) is found


@pytest.mark.parametrize("kind", [RMSpropTF, RMSpropTFLike])
def test_timm_and_stable_baselines_start_from_one(tmp_path, kind):
    model = perceptron()
    found = train(tmp_path, model, kind(model.parameters(), lr=1e-3), same(torch.rand(8, 64), torch.arange(8)), 20)
    assert found.history.optimizer == kind.__name__
    assert (found.history.group["initial_square_avg"], found.history.group["eps_inside_sqrt"]) == (1.0, True)


BLOCKED = partial(perceptron, hidden=2, bias=-20.0)


def test_the_dead_layer_is_told_from_the_one_that_it_blocks():
    model, (x, _) = BLOCKED(), Loop({}).rows()
    assert 0.3 < float((model[0](x) > 0).float().mean()) < 0.7  # it is alive
    assert not (model[:3](x) > 0).any()
    (found,) = [each for each in run(Loop({"lr": 1e-3}, model=BLOCKED)).diagnosis.findings if each.severity == "bad"]
    assert (found.kind, found.layers) == ("dead layer", ("2",))
    assert "nor does a gradient get past it to 0" in found.evidence
    assert "all weights of 4" in found.evidence


def made(**values):
    """A history of three layers, the first two without a gradient."""
    shapes = {"gradient": [0.0, 0.0, 1.0], "still": [1.0, 1.0, 0.9]} | values
    layers = tuple({"name": name, "size": 100, "averages": "float32", "weights": True} for name in "abc")
    statistics = Statistics(tuple(range(1, 13)), layers, {name: np.array([row] * 12) for name, row in shapes.items()})
    return History(name="made", source="a test", unit="step", train=Series(), statistics=statistics)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"still_weights": [1.0, 1.0, 1.0]}, [("dead layer", ("b",), "No unit of it is active")]),
        ({"still_weights": [1.0, 1.0, 0.9]}, [("dead layers", ("a", "b"), "No gradient gets to them")]),
        ({}, [("dead layers", ("a", "b"), "No gradient gets to them")]),  # a file of an earlier version
        ({"gradient": [1e-9, 1e-9, 1.0]}, []),  # the sample of coordinates is 0, the rest isn't
        ({"gradient": [0.0, 0.0, 0.0], "still": [1.0, 1.0, 1.0]}, []),
        (
            {"gradient": [0.0, 1.0, 1.0], "still": [1.0, 0.9, 0.1], "still_weights": [1.0, 1.0, 0.1]},
            [("dead layer", ("a",), "No unit of it is active")],
        ),
    ],
    ids=str,
)
def test_units_are_called_inactive_only_where_that_is_measured(values, found):
    findings = [each for each in diagnose(made(**values)).findings if each.severity == "bad"]
    assert [(each.kind, each.layers) for each in findings] == [(kind, layers) for kind, layers, _ in found]
    assert all(words in each.remedy for each, (*_, words) in zip(findings, found, strict=True))


def test_a_bias_that_is_pulled_as_much_up_as_down_is_not_dead(tmp_path):
    torch.manual_seed(0)
    model, x = nn.Linear(2, 1), torch.randn(4, 2)
    y = model(x).detach() + torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    found = train(tmp_path, model, RMSprop(model.parameters(), lr=1e-6), same(x, y), 40, loss_of=F.l1_loss)
    assert found.history.statistics.of("gradient")[-1][1] == 0.0
    assert not [each for each in found.findings if each.kind.startswith("dead")]


def test_no_learning_rate_is_called_too_low_where_no_gradient_moves_the_weights():
    kinds = [each.kind for each in run(Loop({"lr": 1e-3}, model=BLOCKED)).diagnosis.findings]
    assert "learning rate too low" not in kinds


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_a_norm_whose_squares_are_no_numbers_is_one(tmp_path, scale):
    model = nn.Linear(2, 1)
    found = train(
        tmp_path,
        model,
        torch.optim.SGD(model.parameters(), lr=0.0),
        same(torch.ones(4, 2), torch.zeros(4, 1)),
        12,
        loss_of=lambda out, y: scale * (out - y).sum(),
    )
    norms = found.history.statistics.of("gradient")
    assert norms[0] == pytest.approx([4 * scale * 2**0.5, 4 * scale], rel=1e-5)
    assert not [each for each in found.findings if each.kind == "gradient not finite"]


def test_eps_is_left_as_it_is_while_the_run_learns():
    learns, stalls = (run(Loop({"lr": lr, "eps": 1.0})).diagnosis.findings for lr in (0.3, 1e-3))
    remedies = [next(each.remedy for each in found if each.kind.startswith("ε")) for found in (learns, stalls)]
    assert remedies[0].startswith("The loss falls all the same, so leave it as it is; or lower ε")
    assert remedies[1].startswith("Lower ε")
    assert all("search the learning rate anew" in remedy for remedy in remedies)


@pytest.mark.parametrize(
    "loop",
    [
        Loop({"lr": 1e-3}, dtype=torch.bfloat16),
        Loop({"lr": 1e-3}, dtype=torch.float16, steps=100),
        Loop({"lr": 3e-4, "rounding": "stochastic"}, dtype=torch.bfloat16),
        Loop({"lr": 3e-4, "rounding": "kahan"}, dtype=torch.bfloat16),
        Loop({"lr": 1e-3, "eps": 1e-20}, optimizer=torch.optim.RMSprop, dtype=torch.bfloat16),
        Loop({"lr": 1e-3, "eps": 1e-3}, optimizer=torch.optim.RMSprop, dtype=torch.float16, steps=100),
        Loop({"lr": 1e-3, "alpha": 0.999, "bias_correction": True, "state_dtype": torch.bfloat16}),
        Loop({"lr": 1e-3, "centered": True}),
        Loop({"lr": 1e-3, "bias_correction": True}),
        Loop({"lr": 1e-3}, optimizer=torch.optim.Adam),
    ],
    ids=str,
)
def test_healthy_runs_of_these_kinds_get_no_advice(loop):
    findings = run(loop).diagnosis.findings
    assert [each.headline for each in findings if each.severity in ("bad", "warning")] == []


def test_every_finding_that_is_made_has_advice_that_is_followed():
    made = set()
    for path in Path(diagnose_package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                kind = next(each.value for each in node.keywords if each.arg == "kind")
                made |= {part.value for part in ast.walk(kind) if isinstance(part, ast.Constant)}
    of_curves = {"learning rate too low", "learning rate too high", "plateau"}
    assert {each.finding for each in ADVISED} == made - {"dead layers"} | of_curves  # of several it is the same


def test_float32_that_underflows_is_not_told_to_keep_32_bits():
    tiny = Loop({"lr": 1e-3}, optimizer=torch.optim.RMSprop, times=1e-25, steps=60, every=1)
    (found,) = [each for each in run(tiny).diagnosis.findings if each.kind == "squared gradients underflow"]
    factor = float(re.search(r"Multiply the loss by about (\S+);", found.remedy)[1])
    assert "32 bits" not in found.remedy
    assert run(replace(tiny, times=1e-25 * factor)).loss < 0.9 * run(tiny).loss
