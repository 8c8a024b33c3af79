"""What the page says in numbers is so."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import rmsprop
from rmsprop import DIALECTS, Rule
from rmsprop.lab.explain.drawing import readable
from rmsprop.lab.explain.figures import FIGURES
from rmsprop.lab.explain.figures.adam import steps
from rmsprop.lab.explain.figures.averages import sizes
from rmsprop.lab.explain.figures.rare import frequencies, losses
from rmsprop.lab.explain.figures.use import FRAMEWORKS
from rmsprop.lab.explain.page import words
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.paths import by_reference, by_torch

ROOT = Path(__file__).parents[3]

BY_NAME = {figure.name: figure for figure in FIGURES}


def readouts(name, **given):
    figure = BY_NAME[name]
    return figure.content(**{**figure.settings, **given}).readouts


def rarest_at_first():
    return BY_NAME["rare"].content(gd_lr=30.0, lr=0.05).plots[0].lines[2].points[0][1]


# Figure, where it is said, the words, and the numbers in them.
CLAIMS = [
    ("ravine", "question", "SGD needs 23 steps", lambda: [readouts("ravine")["steps"]]),
    ("ravine", "why", "SGD needs 184 steps", lambda: [readouts("ravine", kappa=200)["steps"]]),
    ("ten", "choices", "8 steps lower", lambda: [-readouts("ten")["sign"]]),
    *[
        ("ten", "after", said, lambda rho=rho: [round(readouts("ten", rho=rho)["rmsprop"], 2)])
        for rho, said in ((0.0, "the sign: −8.0"), (0.5, "by −4.27"), (0.9, "0.9 by −0.68"), (0.99, "0.99 by −0.07"))
    ],
    ("averages", "why", "after 102 steps", lambda: [readouts("averages")["back"]]),
    ("averages", "why", "1.4 % of a", lambda: [round(100 * readouts("averages")["mean"], 1)]),
    ("memory", "why", "10 learning rates at ρ", lambda: [round(readouts("memory")["first"])]),
    ("memory", "why", "3.2 at 0.9", lambda: [round(readouts("memory", rho=0.9)["first"], 1)]),
    ("memory", "why", "31.6 at 0.999", lambda: [round(readouts("memory", rho=0.999)["first"], 1)]),
    ("variants", "why", "the slope to 0.158,", lambda: [round(readouts("variants")["one"], 3)]),
    ("variants", "why", "Keras's to 0.0905", lambda: [round(readouts("variants")["other"], 4)]),
    ("adam", "before", "31.6 learning rates", lambda: [round(readouts("adam")["first"], 1)]),
    ("adam", "why", "3.16 learning rates", lambda: [round(readouts("adam", average=True)["first"], 2)]),
    (
        "rare",
        "before",
        "is 5.89 above",
        lambda: [round(rarest_at_first(), 2)],
    ),
    ("rare", "why", "still 5.57 above", lambda: [round(readouts("rare")["gd_rare"], 2)]),
    ("rare", "why", "down to 0.0011,", lambda: [round(readouts("rare")["rms_rare"], 4)]),
    ("rare", "why", "commonest to 0.0002", lambda: [round(readouts("rare")["rms_common"], 4)]),
    ("rare", "after", "rarest class 4.81 above", lambda: [round(readouts("rare", gd_lr=100.0)["gd_rare"], 2)]),
    ("rare", "after", "still has 3.75 to go", lambda: [round(readouts("rare", gd_lr=200.0)["gd_rare"], 2)]),
    ("race", "why", "best rate is 4.6", lambda: [readouts("race", rate="best")["lr_adagrad"]]),
    ("race", "question", "for all, 0.046", lambda: [readouts("race")["lr_adagrad"]]),
    ("preconditioner", "why", "109 steps", lambda: [readouts("preconditioner", angle=45)["rmsprop"]]),
    ("preconditioner", "why", "it needed 13", lambda: [readouts("preconditioner")["rmsprop"]]),
    ("preconditioner", "why", "SGD needs 69 on either", lambda: [readouts("preconditioner")["sgd"]]),
    ("preconditioner", "why", "SGD needs 69 on either", lambda: [readouts("preconditioner", angle=45)["sgd"]]),
]


@pytest.mark.parametrize(("name", "place", "said", "numbers"), CLAIMS, ids=lambda part: str(part)[:30])
def test_a_number_in_the_text_is_what_the_figure_computes(name, place, said, numbers):
    text = words("en")["figures"][name][place]
    text = text if isinstance(text, str) else " ".join(text)
    assert said.removesuffix(".0") in text
    for number in numbers():
        assert readable(number) in said or f"{number:.4f}" in said


def test_the_first_step_is_one_learning_rate_with_bias_correction():
    for rho in (0.9, 0.999):
        assert readouts("memory", rho=rho, correction=True)["first"] == pytest.approx(1.0, rel=1e-6)
    assert readouts("memory", start="1")["first"] < 0.05


def test_rprop_does_not_see_the_size_of_gradients_and_sgd_does():
    ends = [
        readouts("signs", scale=scale, kappa=kappa)["rprop"] for scale in (0.001, 1.0, 1000.0) for kappa in (1, 1000)
    ]
    assert len(set(ends)) == 1
    assert readouts("signs", scale=10.0)["sgd"] > 1e10


@pytest.mark.parametrize("kappa", [2, 20, 1000])
def test_sgd_is_stable_up_to_two_over_kappa(kappa):
    assert readouts("ravine", kappa=kappa, share=0.98)["steps"] is not None
    assert readouts("ravine", kappa=kappa, share=1.02)["steps"] is None


@pytest.mark.parametrize("angle", [5, 45])
def test_turning_the_bowl_takes_the_stretch_away(angle):
    plain, turned = (readouts("preconditioner", angle=at) for at in (0, angle))
    assert turned["condition"] > 2 * plain["condition"]
    assert turned["rmsprop"] > plain["rmsprop"]
    if angle == 45:
        assert math.isclose(turned["condition"], 100, rel_tol=0.01)


def test_at_099_the_leaky_average_does_not_come_back_within_the_run():
    assert readouts("averages", rho=0.99)["back"] is None


def test_bias_correction_alone_brings_the_first_step_of_rmsprop_down():
    assert readouts("adam", correction=True)["first"] == pytest.approx(1.0, rel=1e-6)
    built = BY_NAME["adam"].content(average=True, correction=False).plots[0].lines[1]
    assert max(length for _, length in built.points) > 6
    assert readouts("adam", average=True, correction=True)["apart"] == 0.0


def test_what_is_built_without_the_average_is_rmsprop():
    g = np.array([0.3, -0.2, 0.5, 0.1])
    for correction in (False, True):
        rule = Rule(decay=0.999, bias_correction=correction)
        np.testing.assert_allclose(steps(g, False, correction), sizes(by_reference(rule, 1.0, size=1), g), rtol=1e-12)


def test_torch_and_keras_part_on_small_gradients_alone():
    assert readouts("variants")["parts"] == 1
    assert readouts("variants", scale=1.0)["parts"] is None
    assert readouts("variants", second="tensorflow1")["other_loss"] > 10
    assert len(DIALECTS) == 15


def places(**given):
    """The racers by the height at which they end, the lowest first."""
    of = {key: value for key, value in readouts("race", **given).items() if key.startswith("f_")}
    return sorted(of, key=of.__getitem__)


def test_adagrad_is_last_at_the_common_rate_and_first_at_its_best():
    assert places(rate="common")[-1] == "f_adagrad"
    assert places(rate="best")[0] == "f_adagrad"
    assert len({places(rate="best", surface=surface)[0] for surface in SURFACES}) > 1


def test_two_numbers_per_class_stand_for_the_whole_matrix():
    classes, steps_taken = 12, 30
    share = torch.from_numpy(frequencies(classes))
    labels = torch.full((classes, classes), 0.1 / (classes - 1), dtype=torch.float64).fill_diagonal_(0.9)
    least = -(labels * labels.log()).sum(1)
    optimizers = {
        "sgd": (lambda params: torch.optim.SGD(params, lr=5.0), by_torch),
        "rmsprop": (lambda params: torch.optim.RMSprop(params, lr=0.05), by_torch),
    }
    for make, by in optimizers.values():
        weights = torch.zeros(classes, classes, dtype=torch.float64, requires_grad=True)
        optimizer, found = make([weights]), []
        for _ in range(steps_taken + 1):
            loss = torch.nn.functional.cross_entropy(weights, labels, reduction="none")
            found.append((loss.detach() - least).numpy())
            optimizer.zero_grad()
            (loss * share).sum().backward()
            optimizer.step()
        ours = losses(by(make, size=2 * classes), classes, steps_taken)
        np.testing.assert_allclose(ours, np.array(found), rtol=1e-12, atol=1e-12)


def test_the_table_is_what_compare_printed():
    log = (ROOT / "benchmarks/results/2026-11-21-amd-epyc-2-cpus/compare.txt").read_text(encoding="utf-8")
    tuned, default = log.split("Default settings: 20 seeds")
    after = "".join(words("en")["figures"]["use"]["after"])
    rows = [re.sub(r"</t[dh]><td>", "|", row) for row in re.findall(r'<th scope="row">(.*?)</td></tr>', after)]
    assert len(rows) == 8
    for row in rows:
        name, loss, interval, against, accuracy = row.split("|")
        line = next(line for line in tuned.splitlines() if re.match(rf"{re.escape(name)}  ", line))
        assert re.split(r"  +", line)[:4] == [name, loss, interval, against]
        assert f" {accuracy} " in line
    for said in ("0.2584", "0.0960"):
        assert said in default
        assert said in after
    assert "3 of 20 runs of RMSProp + momentum diverged" in " ".join(default.split())


GIVEN = [
    {},
    {"rho": 0.9, "eps": 1e-7, "momentum": 0.9, "lr": 0.0003},
    {"centered": True, "eps": 0.001, "momentum": 0.5, "lr": 0.1},
]


@pytest.mark.parametrize("given", GIVEN, ids=str)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_line_of_code_makes_the_optimizer_with_these_settings(framework, given):
    """Three steps of what it makes are those of the reference, within the framework's own float32."""
    settings = {**BY_NAME["use"].settings, "framework": framework, **given}
    module, line = readouts("use", **settings)["call"].split("\n")
    rule = Rule(
        decay=settings["rho"],
        eps=settings["eps"],
        momentum=settings["momentum"],
        centered=settings["centered"],
        eps_inside_sqrt=FRAMEWORKS[framework][4],
    )
    gradients = [np.array([0.3, -0.02]), np.array([0.1, 0.05]), np.array([-0.2, 0.01])]
    expected, move = np.zeros(2), by_reference(rule, settings["lr"])
    for step, g in enumerate(gradients, start=1):
        expected = move(step, expected, g)
    np.testing.assert_allclose(_end(framework, module, line, gradients), expected, rtol=1e-4)


def _end(framework, module, line, gradients):
    space = {}
    if framework in ("PyTorch", "rmsprop.torch"):
        weight = torch.zeros(2, requires_grad=True)
        exec(f"{module}\n{line}", space := {"params": [weight], "rmsprop": rmsprop, "torch": torch})
        for g in gradients:
            weight.grad = torch.tensor(g, dtype=torch.float32)
            space["optimizer"].step()
        return weight.detach().numpy()
    if framework == "NumPy":
        exec(f"{module}\n{line}", space := {"arrays": (arrays := [np.zeros(2)])})
        for g in gradients:
            space["optimizer"].step([g])
        return arrays[0]
    if framework == "JAX":
        exec(f"{module}\n{line}", space)
        weight = np.zeros(2, np.float32)
        state = space["optimizer"].init(weight)
        for g in gradients:
            moved, state = space["optimizer"].update(g.astype(np.float32), state)
            weight = weight + np.asarray(moved)
        return weight
    import keras

    exec(f"{module}\n{line}", space)
    weight = keras.Variable(np.zeros(2, np.float32))
    space["optimizer"].build([weight])
    for g in gradients:
        space["optimizer"].apply([keras.ops.convert_to_tensor(g.astype(np.float32))], [weight])
    return np.asarray(keras.ops.convert_to_numpy(weight))


def test_at_200_gradient_descent_does_not_settle_on_the_commonest_class():
    line = BY_NAME["rare"].content(gd_lr=200.0, lr=0.05).plots[0].lines[0]
    assert min(loss for _, loss in line.points[-10:]) > 0.01
    assert readouts("rare")["gd_common"] < 1e-9
