"""A run moved from one framework to another in its middle goes on as if it had never moved."""

from dataclasses import asdict
from functools import cache
from itertools import permutations, product

import numpy as np
import pytest
from checkpoint.runs import RUNS, KerasRun, OptaxRun, TorchRun, double_precision

from rmsprop import Rule, checkpoint, reference
from rmsprop.checkpoint.optax_trees import leaves_of
from rmsprop.numpy import RMSprop as NumPyRMSprop

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
    assert_moves_corrected(source, target, {"centered": centered})


@pytest.mark.parametrize(("source", "target"), list(permutations(OURS, 2)))
@pytest.mark.parametrize("corrected", [False, True])
def test_averaged_momentum(source, target, corrected):
    assert_moves_corrected(source, target, {"averaged_momentum": True, "bias_correction": corrected})


def assert_moves_corrected(source, target, choices):
    rule = {"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": False, "bias_correction": True}
    rule |= {"initial_square_avg": 0.0, "nesterov": True, **choices}
    options = {"decay": 0.9}
    if source == "rmsprop.jax":
        options |= {"bias_correction": rule["bias_correction"], "lr_in_momentum": True}
        options |= {"averaged_momentum": True, "momentum": 0.9} if "averaged_momentum" in rule else {}
    if target == "rmsprop.jax":
        options |= {"rule": Rule.from_dialect("optax", **rule)}
    weights = moved(source, target, rule, changing=True, **options)
    assert_same(weights, stayed(source, rule, changing=True))


AVERAGED = {"decay": 0.9, "eps": 1e-3, "momentum": 0.9, "averaged_momentum": True}
BUFFERS = {"sum": {"averaged_momentum": False}, "average": {}, "corrected average": {"bias_correction": True}}


@pytest.mark.parametrize(("source", "target"), list(permutations(BUFFERS, 2)))
def test_a_buffer_becomes_what_the_target_keeps(source, target):
    rules = [Rule(**AVERAGED | BUFFERS[name]) for name in (source, target)]
    first, second = (NumPyRMSprop({"w": np.ones(3)}, lr=0.01, **asdict(rule)) for rule in rules)
    grads = np.random.default_rng(0).standard_normal((5, 3))
    for grad in grads:
        first.step({"w": grad}), second.step({"w": grad})
    notes = []
    moved = checkpoint.convert(first.state_dict(), "numpy", like=second, notes=notes)
    np.testing.assert_allclose(moved["w/momentum_buffer"], buffer_of(rules, first, grads), rtol=1e-12)
    assert any("averaged_momentum" in note or "bias_correction" in note for note in notes)


def buffer_of(rules, optimizer, grads):
    """What the second rule would keep of the quotients that the first one made."""
    state = reference.init(rules[0], np.zeros(3))
    buffer = 0.0
    for step, grad in enumerate(grads, 1):
        state = reference.update(rules[0], 0.01, step, np.zeros(3), grad, state)[1]
        taken, kept = rules[1].momentum_gains(step)
        buffer = kept * buffer + taken * grad / (np.sqrt(state["square_avg"]) + 1e-3)
    return buffer


def test_the_convention_of_a_buffer_is_not_restated():
    source = NumPyRMSprop({"w": np.ones(3)}, lr=0.01, **AVERAGED)
    with pytest.raises(checkpoint.CheckpointError, match="averaged_momentum=True, but averaged_momentum=False"):
        checkpoint.convert(source.state_dict(), "numpy", averaged_momentum=False)


def test_what_an_average_is_of_the_sum_must_be_known():
    run = RUNS["rmsprop.jax"]({**AVERAGED, "centered": False})
    run.train(range(2))
    weights = {name: np.array(weight) for name, weight in run.weights().items()}
    target = NumPyRMSprop(weights, lr=0.1, momentum=0.9)
    with pytest.raises(checkpoint.CheckpointError, match="is an average: pass momentum"):
        checkpoint.convert(run.state(), "numpy", like=target, averaged_momentum=True, lr_in_momentum=False)


def test_a_buffer_that_does_not_tell_is_taken_to_be_a_sum():
    run, notes = RUNS["rmsprop.jax"]({**AVERAGED, "centered": False}), []
    run.train(range(2))
    said = {"lr_in_momentum": True, "lr": 0.1, "decay": 0.9, "eps": 1e-3, "momentum": 0.9}
    checkpoint.convert(run.state(), "numpy", notes=notes, **said)
    assert "a state of rmsprop.jax doesn't say its rule: averaged_momentum=False is taken" in notes


NEEDS_STEP = [{"init_from_gradient": True}, {"delayed": True}, {"bias_correction": True}]


@pytest.mark.parametrize("choice", NEEDS_STEP, ids=str)
def test_what_depends_on_the_number_of_updates_is_told_it(choice):
    run = RUNS["optax"]({"decay": 0.9, "eps": 1e-3, "momentum": 0.0, "centered": False})
    run.train(range(2))
    weights = {name: np.array(weight) for name, weight in run.weights().items()}
    target = NumPyRMSprop(weights, lr=0.1, decay=0.9, eps=1e-3, **choice)
    said = {"lr": 0.1, "decay": 0.9, "eps": 1e-3, "notes": []}
    with pytest.raises(checkpoint.CheckpointError, match="takes the number of updates, but the Optax checkpoint"):
        checkpoint.convert(without_counts(run.state()), "numpy", like=target, **said)
    moved = checkpoint.convert(without_counts(run.state()), "numpy", like=target, step=2, **said)
    assert moved["a/bias/step"] == 2


def without_counts(state):
    return {path: leaf for path, leaf in leaves_of(state).by_path.items() if "count" not in path}


def test_an_average_that_started_from_a_gradient_can_not_be_corrected():
    source = NumPyRMSprop({"w": np.ones(3)}, lr=0.01, init_from_gradient=True)
    source.step({"w": np.ones(3)})
    target = NumPyRMSprop({"w": np.ones(3)}, lr=0.01, bias_correction=True)
    with pytest.raises(checkpoint.CheckpointError, match="started from a gradient, which the checkpoint doesn't keep"):
        checkpoint.convert(source.state_dict(), "numpy", like=target)


def test_timm_goes_on_without_caution_and_it_is_said():
    source = NumPyRMSprop({"w": np.ones(3)}, lr=0.01, weight_decay=0.1, weight_decay_mode="cautious")
    source.step({"w": np.ones(3)})
    moved = checkpoint.convert(source.state_dict(), "timm", names={"w": "0"}, notes=(notes := []))
    assert moved["param_groups"][0]["decoupled_decay"]
    assert any("weight_decay_mode='decoupled' where the checkpoint has 'cautious'" in note for note in notes)
