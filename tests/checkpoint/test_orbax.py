"""Folders of Orbax, written by Orbax: a checkpoint, a manager's steps and items, and what else a folder can be."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rmsprop.checkpoint import CheckpointError, convert, load, save
from rmsprop.jax import rmsprop

ocp = pytest.importorskip("orbax.checkpoint")
pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
PARAMS = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}}
RULE = {"decay": 0.9, "eps": 1e-8, "momentum": 0.9, "lr": 0.1}


def state_of(transformation):
    state = transformation.init(PARAMS)
    for step in range(3):
        _, state = transformation.update(jax.tree.map(lambda p, s=step: p + s + 0.5, PARAMS), state, PARAMS)
    return state


STATES = {
    "optax": optax.rmsprop(0.1, momentum=0.9),
    "centered": optax.rmsprop(0.1, centered=True),
    "corrected": optax.rmsprop(0.1, bias_correction=True),
    "injected": optax.inject_hyperparams(optax.rmsprop)(learning_rate=0.1, momentum=0.9),
    "ours": rmsprop(0.1, momentum=0.9, centered=True),
}


def written(folder, tree, **options):
    with ocp.PyTreeCheckpointer(**options) as checkpointer:
        checkpointer.save(folder, tree)
    return folder


def assert_same(loaded, expected):
    assert loaded.format == expected.format
    found = {p.name: p for p in loaded.parameters}
    assert found.keys() == {p.name for p in expected.parameters}
    for parameter in expected.parameters:
        assert found[parameter.name].step == parameter.step
        assert found[parameter.name].arrays.keys() == parameter.arrays.keys()
        for name, array in parameter.arrays.items():
            np.testing.assert_array_equal(found[parameter.name].arrays[name], array)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("use_ocdbt", [True, False], ids=["ocdbt", "zarr"])
def test_a_state_is_read_as_the_live_one(name, use_ocdbt, tmp_path):
    state = state_of(STATES[name])
    stated = {"bias_correction": False} if name == "ours" else {}
    folder = written(tmp_path / "run", state, use_ocdbt=use_ocdbt)
    assert_same(load(folder, **stated), load(state, **stated))


def test_a_state_inside_a_training_state(tmp_path):
    state = state_of(STATES["optax"])
    folder = written(tmp_path / "run", {"step": 3, "params": PARAMS, "opt_state": state})
    assert_same(load(folder), load(state))
    assert load(folder).groups[0].settings["lr_in_momentum"]


def test_it_goes_on_where_it_stood(tmp_path):
    state = state_of(STATES["optax"])
    folder = written(tmp_path / "run", state)
    new = convert(folder, "optax", like=STATES["optax"].init(PARAMS), notes=[])
    jax.tree.map(np.testing.assert_array_equal, new, state)
    save(folder, tmp_path / "run.npz", "numpy", notes=[], **RULE)
    assert load(tmp_path / "run.npz").groups[0].lr == 0.1


def managed(folder, steps):
    with ocp.CheckpointManager(folder, item_names=("params", "opt_state")) as manager:
        for step in steps:
            items = {"params": PARAMS, "opt_state": state_of(STATES["optax"])}
            manager.save(step, args=ocp.args.Composite(**{k: ocp.args.StandardSave(v) for k, v in items.items()}))
            manager.wait_until_finished()
    return folder


def test_the_folder_of_a_manager(tmp_path):
    expected = load(state_of(STATES["optax"]))
    one = managed(tmp_path / "one", [100])
    for folder in (one, one / "100", one / "100" / "opt_state"):
        assert_same(load(folder), expected)
    two = managed(tmp_path / "two", [100, 200])
    said = ", ".join(repr(str(two / step / "opt_state")) for step in ("100", "200"))
    with pytest.raises(CheckpointError, match=re.escape(f"holds several checkpoints: give one of the folders {said}")):
        load(two)
    with pytest.raises(CheckpointError, match="has no optimizer's state in it, only 'dense/bias', 'dense/kernel'"):
        load(two / "100" / "params")


@pytest.mark.parametrize("damage", ["{", "[]", '{"tree_metadata": 1}', '{"tree_metadata": {"a": {}}}'])
def test_a_damaged_description(damage, tmp_path):
    folder = written(tmp_path / "run", state_of(STATES["optax"]))
    (folder / "_METADATA").write_text(damage)
    with pytest.raises(CheckpointError, match="_METADATA is not a whole description of an Orbax checkpoint"):
        load(folder)


def test_a_folder_that_lost_a_file(tmp_path, capfd):
    many = {f"layer{i}": jnp.ones((3, 2)) for i in range(60)}
    folder = written(tmp_path / "run", optax.rmsprop(0.1, momentum=0.9).init(many))
    for file in (folder / "d").iterdir():
        file.write_bytes(file.read_bytes()[:20])
    for file in (folder / "ocdbt.process_0" / "d").iterdir():
        file.unlink()
    capfd.readouterr()
    with pytest.raises(CheckpointError, match=r"run is not a whole checkpoint of Orbax"):
        load(folder)
    assert capfd.readouterr() == ("", "")  # the threads that were reading the others end in silence
    (folder / "_METADATA").unlink()
    with pytest.raises(CheckpointError, match="is a folder of Orbax without the description of a tree"):
        load(folder)


def test_one_that_was_not_written_to_its_end(tmp_path):
    folder = written(tmp_path / "run", state_of(STATES["optax"]))
    half = folder.rename(tmp_path / "run.orbax-checkpoint-tmp")
    with pytest.raises(CheckpointError, match="was not written to its end"):
        load(half)


def test_without_orbax_the_message_says_what_to_install(tmp_path, monkeypatch):
    folder = written(tmp_path / "run", state_of(STATES["optax"]))
    monkeypatch.setitem(sys.modules, "orbax", None)
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match="this checkpoint needs orbax: pip install orbax-checkpoint"):
        load(folder)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "is a folder: give a checkpoint file$"),
        (["rng_state.pth", "optimizer.pt", "model.safetensors"], "give a checkpoint file in it: .*optimizer.pt$"),
        (["last.ckpt", "epoch=1.ckpt", "hparams.yaml"], "in it: .*epoch=1.ckpt or .*last.ckpt$"),
        (["checkpoint", "ckpt-3.index", "ckpt-3.data-00000-of-00001"], "the prefix of TensorFlow's, such as .*ckpt-3$"),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", [None, "torch", "optax"])
def test_a_folder_that_is_something_else(files, said, form, tmp_path):
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=said):
        load(tmp_path, form)
