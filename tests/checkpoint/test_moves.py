"""A run moved from one framework to another in its middle goes on as if it had never moved."""

from functools import cache
from itertools import permutations, product

import numpy as np
import pytest
from checkpoint.runs import RUNS, KerasRun, OptaxRun, TorchRun, double_precision

from rmsprop import Rule, checkpoint

BEFORE, AFTER = 7, 8
# The frameworks, with one torch optimizer of each kind: ours and a real one. ε inside the root, lr inside the buffer.
INSIDE = ("rmsprop.torch", "timm", "optax", "keras", "tensorflow1")
RULES = [
    {"decay": 0.9, "eps": 1e-7, "momentum": momentum, "centered": centered}
    for momentum, centered in product((0.0, 0.9), (False, True))
]
# TensorFlow rounds its hyperparameters, and Keras its learning rate, to float32: 6e-8 of each. The sum of 15 steps is
# a small part of the weights, which lie around 1.
TOLERANCE = 1e-6


def name_of(rule):
    return f"momentum {rule['momentum']}" + (" centered" if rule["centered"] else "")


def stayed(form, rule, changing):
    return _stayed(form, tuple(rule.items()), changing)


@cache
def _stayed(form, rule, changing):
    run = RUNS[form](dict(rule))
    run.train(range(BEFORE + AFTER), changing)
    return run.weights()


def moved(source, target, settings, changing, folder=None, **options):
    first = RUNS[source](settings)
    first.train(range(BEFORE), changing)
    second = RUNS[target](settings, first.weights())
    options = {"names": first.names_to(second), "notes": [], **options}
    if source == "tensorflow1":  # its slots don't tell, because there is always one for momentum
        options["momentum"] = settings["momentum"]
    if folder is None:
        with double_precision():
            second.take(checkpoint.convert(first.state(), target, format=source, like=second.like(), **options))
    else:
        through_files(first, second, folder, options)
    second.train(range(BEFORE, BEFORE + AFTER), changing)
    return second.weights()


def through_files(first, second, folder, options):
    state = checkpoint.load(first.write(folder), first.format)
    like = None if isinstance(second, OptaxRun) else second.like()
    if isinstance(first, KerasRun) or isinstance(second, KerasRun):  # a file counts the variables
        options["names"] = "order" if isinstance(first, TorchRun) or isinstance(second, TorchRun) else None
        numbers = [str(number) for number in range(len(first.names))]
        if options["names"] is None:
            given = numbers if isinstance(first, KerasRun) else first.names
            wanted = numbers if isinstance(second, KerasRun) else second.names
            options["names"] = dict(zip(given, wanted, strict=True))
    if isinstance(second, KerasRun):
        (folder / "template").mkdir()
        like = second.write(folder / "template")
    out = folder / f"moved{second.suffix}"
    checkpoint.save(state, out, second.format, like=like, **options)
    second.read(out)


def assert_same(weights, expected):
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, expected[name], rtol=TOLERANCE, atol=0.0, err_msg=name)


@pytest.mark.parametrize("rule", RULES, ids=name_of)
@pytest.mark.parametrize(("source", "target"), list(permutations(INSIDE, 2)))
def test_in_memory_with_a_changing_learning_rate(source, target, rule):
    weights = moved(source, target, rule, changing=True)
    assert_same(weights, stayed(source, rule, changing=True))


@pytest.mark.parametrize("rule", RULES, ids=name_of)
@pytest.mark.parametrize(("source", "target"), list(permutations(INSIDE, 2)))
def test_through_files_with_a_constant_learning_rate(source, target, rule, tmp_path):
    weights = moved(source, target, rule, changing=False, folder=tmp_path)
    assert_same(weights, stayed(source, rule, changing=False))


# ε outside the root. Without momentum or at a constant learning rate it doesn't matter where that stands.
OUTSIDE = [
    ("torch", "optax"),
    ("optax", "torch"),
    ("torch", "rmsprop.jax"),
    ("rmsprop.jax", "torch"),
    ("torch", "rmsprop.keras"),
    ("rmsprop.keras", "torch"),
    ("rmsprop.jax", "rmsprop.keras"),
    ("rmsprop.keras", "optax"),
]


@pytest.mark.parametrize("rule", RULES, ids=name_of)
@pytest.mark.parametrize(("source", "target"), OUTSIDE)
def test_eps_outside_the_root(source, target, rule):
    rule = {**rule, "eps": 1e-3, "eps_inside_sqrt": False}
    options = {"lr": 0.01} if source in ("optax", "rmsprop.jax") else {}
    if source == "rmsprop.jax":  # whose state doesn't say its rule
        options |= {"lr_in_momentum": True}
    if target == "rmsprop.jax":
        options |= {"rule": Rule.from_dialect("optax", **rule)}
    weights = moved(source, target, rule, changing=False, **options)
    assert_same(weights, stayed(source, rule, changing=False))


# torch's own optimizer has ε outside and these have it inside: next to the roots of these gradients' squares, no ε.
@pytest.mark.parametrize("rule", RULES, ids=name_of)
@pytest.mark.parametrize("files", [False, True], ids=["in memory", "through files"])
@pytest.mark.parametrize(
    ("source", "target"), [*permutations(("torch", "keras"), 2), *permutations(("torch", "tensorflow1"), 2)]
)
def test_between_torchs_own_and_an_eps_inside_the_root(source, target, files, rule, tmp_path):
    rule = {**rule, "eps": 1e-16}
    weights = moved(source, target, rule, changing=False, folder=tmp_path if files else None)
    assert_same(weights, stayed(source, rule, changing=False))


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize(
    ("source", "target"), [("timm", "sb3"), ("sb3", "timm"), ("sb3", "tensorflow1"), ("keras", "sb3")]
)
def test_the_learning_rate_moves_in_and_out_of_the_buffer(source, target, changing):
    """Exact while the learning rate stays, as the note says, and not when it changes."""
    notes = []
    rule = {"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": False}
    weights = moved(source, target, rule, changing, notes=notes)
    (note,) = [note for note in notes if "by the learning rate" in note]
    assert "exactly while the learning rate stays" in note
    difference = max(np.abs(weights[name] / w - 1).max() for name, w in stayed(source, rule, changing).items())
    assert (difference > TOLERANCE) == changing


OURS = ["rmsprop.torch", "rmsprop.jax", "rmsprop.keras"]


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    ("source", "target"), [*permutations(OURS, 2), ("optax", "rmsprop.jax"), ("rmsprop.torch", "optax")]
)
def test_bias_correction(source, target, centered):
    rule = {"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": centered, "bias_correction": True}
    rule |= {"initial_square_avg": 0.0, "nesterov": True}
    options = {"decay": 0.9}
    if source == "rmsprop.jax":
        options |= {"bias_correction": True, "lr_in_momentum": True}
    if target == "rmsprop.jax":
        options |= {"rule": Rule.from_dialect("optax", **rule)}
    weights = moved(source, target, rule, changing=True, **options)
    assert_same(weights, stayed(source, rule, changing=True))
