"""The state of the NumPy front end leaves and comes back to the last bit: files, other processes, copies."""

import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from support import ALL_RULES

from rmsprop import Rule
from rmsprop.numpy import RMSprop

SETTINGS = ["lr", "maximize", *(f"rule/{field}" for field in Rule.__slots__)]


def make_arrays():
    rng = np.random.default_rng(0)
    return {
        "layer/w": rng.standard_normal((3, 4)).astype(ml_dtypes.bfloat16).T,
        "rule": rng.standard_normal((6, 2))[::2],
        "lr": np.array(0.5, np.float32),
        "z": rng.standard_normal(3) + 1j,
        "never": np.zeros(0, np.float16),
    }


def grads_of(arrays, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(a.shape).astype(a.dtype) if a.size else None for name, a in arrays.items()}


def run(optimizer, steps):
    for seed in steps:
        optimizer.step(grads_of(optimizer.arrays, seed))


def same_bits(one, other):
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


def assert_equal(one, other):
    assert (one.rule, one.lr) == (other.rule, other.lr)
    for name, array in one.arrays.items():
        assert same_bits(array, other.arrays[name])
        assert one.state[name]["step"] == other.state[name]["step"]
        for state_name in one.rule.state_names:
            assert same_bits(one.state[name][state_name], other.state[name][state_name])


def through_file(optimizer, tmp_path):
    """Return an optimizer with other settings and zeroed state, which then loaded a file."""
    np.savez(tmp_path / "state.npz", **optimizer.state_dict())
    other = RMSprop({name: array.copy() for name, array in optimizer.arrays.items()}, 0.5, dialect="graves")
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        other.load_state_dict(file)
    return other


def through_dict(optimizer, tmp_path):
    other = RMSprop(copy.deepcopy(optimizer.arrays), 0.5, decay=0.5)
    other.load_state_dict(optimizer.state_dict())
    return other


WAYS = {
    "file": through_file,
    "dict": through_dict,
    "pickle": lambda optimizer, _: pickle.loads(pickle.dumps(optimizer)),
    "deepcopy": lambda optimizer, _: copy.deepcopy(optimizer),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_run_goes_on_to_the_same_bits(way, tmp_path):
    for rule in ALL_RULES[:: 7 if way is through_file else 29]:
        options = {name: getattr(rule, name) for name in Rule.__slots__}
        optimizer = RMSprop(make_arrays(), 0.02, **options, maximize=True)
        run(optimizer, range(3))
        other = way(optimizer, tmp_path)
        assert_equal(optimizer, other)
        run(optimizer, range(3, 6))
        run(other, range(3, 6))
        assert_equal(optimizer, other)
        assert optimizer.state["z"]["step"] == 6


def test_keys_are_stable():
    saved = RMSprop([np.zeros(2), np.zeros((2, 2), np.float16)], momentum=0.9, centered=True).state_dict()
    of_arrays = [f"{i}/{name}" for i in range(2) for name in ("step", "grad_avg", "grad_var", "momentum_buffer")]
    assert set(saved) == {*SETTINGS, *of_arrays}
    assert all(type(value) is np.ndarray for value in saved.values())
    assert saved["1/grad_avg"].dtype == np.float32
    assert saved["rule/weight_decay_mode"].item() == "l2"


def test_another_process_goes_on_to_the_same_bits(tmp_path):
    theta = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    optimizer = RMSprop([theta], momentum=0.9, bias_correction=True)
    for _ in range(3):
        optimizer.step([theta.copy()])
    np.savez(tmp_path / "run.npz", theta=theta, **optimizer.state_dict())
    script = """
import sys
import numpy as np
from rmsprop.numpy import RMSprop
with np.load(sys.argv[1]) as file:
    saved = dict(file)
theta = saved.pop("theta")
optimizer = RMSprop([theta])
optimizer.load_state_dict(saved)
optimizer.step([theta.copy()])
np.save(sys.argv[2], theta)
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "run.npz", tmp_path / "theta.npy"], check=True)
    optimizer.step([theta.copy()])
    assert same_bits(theta, np.load(tmp_path / "theta.npy"))


def test_going_back_to_a_saved_state():
    optimizer = RMSprop([np.zeros(2)])
    optimizer.step([np.ones(2)])
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    for _ in range(2):
        optimizer.step([np.full(2, 3.0)])
        after = optimizer.state
        assert after[0]["step"] == 2
        optimizer.load_state_dict(saved)
        np.testing.assert_equal(optimizer.state_dict(), before)
    optimizer.step([np.full(2, 3.0)])
    np.testing.assert_equal(optimizer.state, after)
    np.testing.assert_equal(saved, before)


def test_a_state_dict_without_maximize_keeps_the_optimizers_own():
    theta = np.zeros(2)
    optimizer = RMSprop([theta], maximize=True)
    saved = optimizer.state_dict()
    del saved["maximize"]
    optimizer.load_state_dict(saved)
    optimizer.step([np.ones(2)])
    assert (theta > 0.0).all()


def _without(key):
    return lambda saved: saved.pop(key)


def _with(key, value):
    return lambda saved: saved.update({key: np.asarray(value)})


DAMAGES = {
    "no lr": (_without("lr"), ValueError, "the state dict has no 'lr', nor 0 others"),
    "no field": (_without("rule/eps"), ValueError, "the state dict has no 'rule/eps', nor 0 others"),
    "no state": (_without("b/square_avg"), ValueError, "the state dict has no 'b/square_avg'"),
    "no step": (_without("b/step"), ValueError, "the state dict has no 'b/step'"),
    "another array": (_with("c/step", 1), ValueError, "the state dict has 'c/step', which belongs to none of"),
    "another rule": (_with("rule/centered", True), ValueError, "the state dict has no 'w/grad_avg', nor 3 others"),
    "too much state": (_with("b/grad_avg", [0.0]), ValueError, "the state dict has 'b/grad_avg', which belongs to"),
    "bad lr": (_with("lr", np.nan), ValueError, "Invalid learning rate: nan"),
    "a text for lr": (_with("lr", "fast"), TypeError, "Invalid learning rate: 'fast' is a str"),
    "two lrs": (_with("lr", [1.0, 2.0]), ValueError, "'lr' in the state dict has shape (2,), but must be a single"),
    "bad field": (_with("rule/decay", 2.0), ValueError, "Invalid decay value: 2.0"),
    "bad mode": (_with("rule/weight_decay_mode", "l1"), ValueError, "Invalid weight_decay_mode value: 'l1'"),
    "a number for a flag": (_with("rule/centered", 0), TypeError, "Invalid centered value: 0 (allowed: True or"),
    "bad maximize": (_with("maximize", 1), TypeError, "maximize in the state dict is 1 (allowed: True or False)"),
    "shape": (
        _with("b/square_avg", [0.0] * 3),
        ValueError,
        "'b/square_avg' in the state dict has shape (3,) and dtype",
    ),
    "dtype": (_with("b/square_avg", [0, 0]), ValueError, "'b/square_avg' in the state dict has shape (2,) and dtype"),
    "negative step": (_with("b/step", -1), ValueError, "'b/step' in the state dict is -1 (allowed: a whole number"),
    "half a step": (_with("b/step", 0.5), ValueError, "'b/step' in the state dict is 0.5 (allowed: a whole number"),
    "no number of steps": (_with("b/step", np.nan), ValueError, "'b/step' in the state dict is nan (allowed: a whole"),
}


@pytest.mark.parametrize(("damage", "error", "message"), DAMAGES.values(), ids=DAMAGES)
def test_refuses_a_damaged_state_dict_and_changes_nothing(damage, error, message):
    optimizer = RMSprop({"w": np.ones((2, 2)), "b": np.ones(2)}, 0.1)
    optimizer.step({"w": np.ones((2, 2)), "b": np.ones(2)})
    saved = RMSprop({"w": np.zeros((2, 2)), "b": np.zeros(2)}, 0.2).state_dict()
    damage(saved)
    before = pickle.dumps(optimizer)
    with pytest.raises(error) as caught:
        optimizer.load_state_dict(saved)
    assert str(caught.value).startswith(message)
    assert pickle.dumps(optimizer) == before


def test_refuses_what_is_no_mapping():
    with pytest.raises(TypeError, match=r"^the state dict is a str, but a dict or the result of np\.load"):
        RMSprop([np.zeros(2)]).load_state_dict("state.npz")


def test_a_copy_updates_its_own_arrays():
    optimizer = RMSprop([np.zeros(2)])
    other = copy.deepcopy(optimizer)
    other.step([np.ones(2)])
    assert optimizer.arrays[0].tolist() == [0.0, 0.0]
    assert optimizer.state[0]["step"] == 0
    assert other.arrays[0][0] < 0.0
