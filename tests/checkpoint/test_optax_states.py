"""What an Optax state says about itself, what it can't, and what is not taken for an RMSProp's."""

import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import rmsprop.numpy
import rmsprop.torch
from rmsprop import Rule, checkpoint
from rmsprop.checkpoint import CheckpointError, Group, Parameter, convert, load
from rmsprop.checkpoint.neutral import narrowed

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.full(3, 2.0)}


def fails(message, work, *args, **options):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        work(*args, **options)


def stepped(tx, params=PARAMS, steps=1):
    state = tx.init(params)
    for _ in range(steps):
        _, state = tx.update(params, state, params)
    return state


def torch_run(shapes, frozen=(), cls=torch.optim.RMSprop, dtype=torch.float32, **settings):
    params = {name: torch.nn.Parameter(torch.ones(shape, dtype=dtype)) for name, shape in shapes.items()}
    optimizer = cls(list(params.items()), **{"lr": 0.1, **settings})
    for name, param in params.items():
        if name not in frozen:
            param.grad = torch.full_like(param, 2.0)
    optimizer.step()
    return optimizer


W_B = {"w": (2, 3), "b": (3,)}


def saved(state, folder):
    checkpoint.save(state, folder / "state.npz", "optax", notes=[])
    return folder / "state.npz"


# ------------------------------------------------------------------------------------ several transformations in one


def injected(lr, **settings):
    return optax.inject_hyperparams(optax.rmsprop)(learning_rate=lr, **settings)


def two(first, second):
    return optax.multi_transform({"a": first, "b": second}, {"w": "a", "b": "b"})


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ({"lr": 0.1}, {"lr": 0.2}, "different learning rates (0.1, 0.2)"),
        ({"lr": 0.1, "decay": 0.9}, {"lr": 0.1, "decay": 0.5}, "different values of decay (0.5, 0.9)"),
        ({"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.5}, "different values of momentum (0.5, 0.9)"),
    ],
)
def test_transformations_with_different_hyperparameters(first, second, what):
    """One value would win silently: neither is such a state read nor is one filled."""
    state = two(injected(**first), injected(**second)).init(PARAMS)
    message = f"transformations in the state have {what}: convert one inner state at a time"
    fails(message, load, state)
    fails(message, convert, torch_run(W_B, momentum=0.9), "optax", like=state, notes=[])
    inner = load(state.inner_states["a"])
    assert ([p.name for p in inner.parameters], inner.groups[0].lr) == (["w"], pytest.approx(0.1))


def test_transformations_that_agree():
    state = two(injected(0.1), injected(0.1)).init(PARAMS)
    assert load(state).groups[0].lr == pytest.approx(0.1)
    new = convert(torch_run(W_B, lr=0.25), "optax", like=state, notes=[])
    inner = [new.inner_states[label].inner_state.hyperparams["learning_rate"] for label in "ab"]
    assert inner == [0.25, 0.25]


def test_a_value_that_holds_for_a_part():
    fails(
        "some transformations in the state keep their values",
        load,
        two(injected(0.1), optax.rmsprop(0.2)).init(PARAMS),
    )
    # of a transformation that is no RMSProp, nothing is taken
    state = two(injected(0.1), optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)).init(PARAMS)
    assert load(state).groups[0].lr == pytest.approx(0.1)
    like = torch_run({"w": (2, 3)}, lr=0.25)
    new = convert(like, "optax", like=state, notes=[])
    assert new.inner_states["b"].inner_state.hyperparams["learning_rate"] == 0.5


@pytest.mark.parametrize("other", [{"momentum": 0.9}, {"centered": True}, {"bias_correction": True}])
def test_transformations_with_different_states(other):
    state = two(optax.rmsprop(0.1, **other), optax.rmsprop(0.1)).init(PARAMS)
    fails("so they come under different rules: convert one inner state at a time", load, state)


# --------------------------------------------------------------------------------------------------- other methods

ADAMS = {
    name: getattr(optax, name) for name in ("adam", "adamw", "yogi", "adabelief", "nadam", "amsgrad", "lamb", "adamax")
} | {"novograd": optax.novograd, "sm3": optax.sm3}


@pytest.mark.parametrize("name", ADAMS)
def test_a_state_of_another_method(name, tmp_path):
    """Live it says so by its class; its file has the names of a centered, bias-corrected RMSProp."""
    state = stepped(ADAMS[name](0.1))
    with pytest.raises(CheckpointError, match="whose nu is not that of an RMSProp"):
        load(state)
    if name not in ("sm3", "novograd"):
        by_path = {path: np.asarray(leaf) for path, leaf in paths_of(state).items()}
        message = "its nu_max is AMSGrad's" if name == "amsgrad" else "can be those of Adam and its kin"
        fails(message, load, by_path)


def paths_of(state):
    from jax.tree_util import keystr, tree_flatten_with_path

    return {keystr(path, simple=True, separator="/"): leaf for path, leaf in tree_flatten_with_path(state)[0]}


def test_a_file_that_could_be_adams_must_be_called_an_rmsprops(tmp_path):
    state = stepped(optax.rmsprop(0.1, centered=True, bias_correction=True))
    path = saved(state, tmp_path)
    fails("if it is that, give format='optax'", load, path)
    loaded = load(path, "optax")
    np.testing.assert_array_equal(loaded.parameters[1].arrays["square_avg"], state[0].nu["w"])
    assert loaded.groups[0].settings["bias_correction"]


# ------------------------------------------------------------------------------------------------- traces and steps


def test_a_trace_is_taken_for_rmsprops_only_where_it_stands_like_that():
    """After a clip, it is third and yet before the learning rate."""
    inner = optax.chain(optax.clip(1.0), optax.scale_by_rms(0.9), optax.trace(0.9))
    state = stepped(optax.chain(inner, optax.scale(-0.01)))
    rule = {"decay": 0.9, "eps": 1e-8, "momentum": 0.9, "lr": 0.01, "names": {"b": "0", "w": "1"}, "notes": []}
    fails("pass lr_in_momentum=True or False", convert, state, "torch", **rule)
    fails("pass lr_in_momentum=True or False", convert, paths_of(state), "torch", **rule)
    new = convert(state, "torch", lr_in_momentum=False, **rule)
    np.testing.assert_array_equal(new["state"][1]["momentum_buffer"], state[0][2].trace["w"])


@pytest.mark.parametrize(
    ("prefix", "is_known"), [("0/2", True), ("2", True), ("12", False), ("0/12", False), ("1/2", False)]
)
def test_a_trace_in_a_file(prefix, is_known):
    nu = "0/0" if prefix == "0/2" else "0"
    leaves = {f"{nu}/nu/w": np.ones(2), f"{prefix}/trace/w": np.ones(2)}
    assert ("lr_in_momentum" in load(leaves, "optax").groups[0].settings) == is_known


def test_what_a_chain_may_hide_is_told():
    notes = []
    state = stepped(optax.rmsprop(0.1, momentum=0.9))
    options = {"decay": 0.9, "eps": 1e-8, "momentum": 0.9, "lr": 0.1, "names": {"b": "0", "w": "1"}}
    convert(state, "torch", notes=notes, **options)
    assert any("such as weight decay or clipping, doesn't show in its state" in note for note in notes)
    assert any("trace is taken to come after the learning rate" in note for note in notes)
    stated = []
    convert(state, "torch", lr_in_momentum=True, notes=stated, **options)
    assert not any("is taken to come after" in note for note in stated)
    same = []
    convert(state, "optax", like=state, notes=same)
    assert same == []


def test_gathered_gradients_are_told():
    tx = optax.MultiSteps(optax.rmsprop(0.1), 4)
    assert any("gathered the gradients of 3 mini-steps" in note for note in load(stepped(tx, steps=3)).notes)
    assert load(stepped(tx, steps=4)).notes == ()


@pytest.mark.parametrize("is_live", [True, False])
def test_parameters_with_the_names_of_states(is_live):
    """A variational autoencoder's: mu and nu are layers, also among the gradients that MultiSteps gathers."""
    params = {name: {"kernel": jnp.full(2, float(k))} for k, name in enumerate(("mu", "nu", "trace", "z"), start=1)}
    tx = optax.MultiSteps(optax.rmsprop(0.1, momentum=0.9), 2)
    state = stepped(tx, params, steps=3)
    loaded = load(state if is_live else paths_of(state), "optax")
    assert [p.name for p in loaded.parameters] == ["mu/kernel", "nu/kernel", "trace/kernel", "z/kernel"]
    assert not loaded.groups[0].settings["centered"]
    for parameter in loaded.parameters:
        name = parameter.name.partition("/")[0]
        np.testing.assert_array_equal(parameter.arrays["square_avg"], state.inner_opt_state[0].nu[name]["kernel"])
    again = convert(loaded, "optax", like=tx.init(params), notes=[])
    np.testing.assert_array_equal(
        again.inner_opt_state[2].trace["mu"]["kernel"], state.inner_opt_state[2].trace["mu"]["kernel"]
    )


def test_a_label_with_the_name_of_a_state():
    tx = optax.multi_transform({"mu": optax.rmsprop(0.1), "nu": optax.rmsprop(0.1)}, {"w": "mu", "b": "nu"})
    for source in (tx.init(PARAMS), paths_of(tx.init(PARAMS))):
        assert sorted(p.name for p in load(source).parameters) == ["b", "w"]


def test_many_arrays_in_a_list_keep_their_order(tmp_path):
    params = [jnp.full(2, float(k)) for k in range(11)]
    path = tmp_path / "state.safetensors"  # which sorts by name
    checkpoint.save(stepped(optax.rmsprop(0.1), params), path, "optax", notes=[])
    assert [p.name for p in load(path).parameters] == [str(k) for k in range(11)]


# -------------------------------------------------------------------------------------------------- Optax as target


def test_what_the_transformation_must_have_is_told():
    notes = []
    like = optax.rmsprop(0.1, momentum=0.9).init(PARAMS)
    convert(torch_run(W_B, momentum=0.9, alpha=0.5), "optax", like=like, notes=notes)
    told = "learning_rate=0.1, decay=0.5, eps=1e-08, eps_in_sqrt=False, momentum=0.9, nesterov=False"
    assert f"Optax keeps no rule with its state: what goes on with it must have been made with {told}" in notes
    notes = []
    like = injected(0.1, decay=0.5, eps=1e-8).init(PARAMS)  # which keeps these itself
    convert(torch_run(W_B, alpha=0.5), "optax", like=like, notes=notes)
    assert notes[0].endswith("made with eps_in_sqrt=False")


def test_the_rule_of_tensorflow_is_told_too():
    notes = []
    convert(torch_run(W_B, momentum=0.9), "tensorflow1", notes=notes)
    assert any(note.endswith("made with learning_rate=0.1, decay=0.99, epsilon=1e-08, momentum=0.9") for note in notes)


def test_a_buffer_that_starts_from_0_is_told():
    notes = []
    convert(torch_run(W_B), "optax", like=optax.rmsprop(0.1, momentum=0.9).init(PARAMS), notes=notes)
    assert "the checkpoint has no momentum buffer: the target's starts from 0" in notes
    source, notes = load(optax.rmsprop(0.1).init(PARAMS)), []  # which says that it has no momentum
    convert(source, "optax", like=optax.rmsprop(0.1, momentum=0.9).init(PARAMS), notes=notes)
    assert "the checkpoint has no momentum buffer: the target's starts from 0" in notes


def test_groups_with_different_rules_come_under_one():
    params = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]
    groups = [{"params": [param], "alpha": alpha} for param, alpha in zip(params, (0.9, 0.5), strict=True)]
    optimizer = torch.optim.RMSprop(groups, lr=0.1)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    like = optax.rmsprop(0.1).init([jnp.ones(2), jnp.ones(3)])
    for target, options in (("optax", {"like": like}), ("tensorflow1", {})):
        notes = []
        convert(optimizer, target, notes=notes, **options)
        assert any("parameters had different decay (0.9, 0.5) and come under one rule of" in n for n in notes)
    notes = []
    convert(optimizer, "optax", like=like, decay=0.5, notes=notes)
    assert not any("different decay" in note for note in notes)
    optimizer.param_groups[1]["lr"] = 0.2
    fails("different learning rates (0.1, 0.2)", convert, optimizer, "tensorflow1", notes=[])


@pytest.mark.parametrize("value", [1e-12, 1e8])
def test_a_number_that_the_template_cannot_hold(value):
    """float16 ends at 6e-8 and 65504: 0 or infinity would take its place."""
    optimizer = rmsprop.numpy.RMSprop({"w": np.ones(2, np.float32)}, lr=0.1)
    optimizer.step({"w": np.full(2, np.sqrt(value * 100), np.float32)})
    like = optax.rmsprop(0.1).init({"w": jnp.ones(2, jnp.float16)})
    fails("which the target's float16 can't hold", convert, optimizer, "optax", like=like, notes=[])
    wide = optax.rmsprop(0.1).init({"w": jnp.ones(2, jnp.bfloat16)})
    kept = np.asarray(convert(optimizer, "optax", like=wide, notes=[])[0].nu["w"], np.float64)
    np.testing.assert_allclose(kept, value, rtol=2**-8, atol=0.0)


def test_what_narrowing_keeps():
    old = np.array([0.5, 0.0, np.inf, np.nan, 1e-44])
    np.testing.assert_array_equal(narrowed(old, np.float16, "v"), [0.5, 0.0, np.inf, np.nan, 0.0])
    fails(
        "count has the number 3e+09, which the target's int32 can't hold",
        narrowed,
        np.asarray(3 * 10**9),
        "int32",
        "count",
    )


# -------------------------------------------------------------------------------------------- names and their order


def test_two_names_for_one_place():
    """One of the two parameters would be lost."""
    optimizer = rmsprop.numpy.RMSprop([np.ones(2), np.ones(2), np.ones(2)], lr=0.1)
    optimizer.step([np.ones(2)] * 3)
    like = optax.rmsprop(0.1).init([jnp.ones(2), jnp.ones(2)])
    message = "two parameters are called '1': names sends '1' and '2' both to it"
    fails(message, convert, optimizer, "optax", like=like, names={"2": "1"}, notes=[])


def test_order_against_an_alphabet():
    """JAX has layer_10 before layer_2: of equal shapes, nobody would notice."""
    names = ["layer_1", "layer_2", "layer_10"]
    source = torch_run(dict.fromkeys(names, (2,)))
    like = optax.rmsprop(0.1).init({f"my_{name}": jnp.ones(2) for name in names})
    fails("Optax sorts them by name", convert, source, "optax", like=like, names="order", notes=[])
    back = stepped(optax.rmsprop(0.1), {name: jnp.ones(2) for name in names})
    rule = {"decay": 0.9, "eps": 1e-8, "lr": 0.1, "notes": []}
    fails("Optax sorts them by name", convert, back, "torch", like=source, names="order", **rule)
    new = convert(back, "optax", like=like, names="order", notes=[])  # sorted both
    assert new[0].nu["my_layer_2"].shape == (2,)
    distinct = torch_run({"b": (2,), "w": (3,)})
    like = optax.rmsprop(0.1).init({"bias": jnp.ones(2), "kernel": jnp.ones(3)})
    assert convert(distinct, "optax", like=like, names="order", notes=[])[0].nu["bias"].all()


def test_names_that_are_partly_positions():
    source = rmsprop.numpy.RMSprop({"0": np.ones(2), "1": np.ones(2)}, lr=0.1)
    fails("'1', 'x' are positions and some are not", convert, source, "torch", names={"0": "1", "1": "x"}, notes=[])


# ----------------------------------------------------------------------------------------- never-stepped parameters


def test_frozen_parameters_that_the_target_leaves_out():
    source = torch_run({"a": (2,), "b": (3,), "c": (4,)}, frozen=["b"])
    notes = []
    like = optax.rmsprop(0.1).init({"a": jnp.ones(2), "c": jnp.ones(4)})
    state = convert(source, "optax", like=like, notes=notes)
    assert state[0].nu["c"].all()
    assert "the target lacks 'b', never stepped in the checkpoint: there is no state to move" in notes
    # by position, its number is taken by the next one
    counted = source.state_dict()
    del counted["param_groups"][0]["param_names"]
    notes = []
    state = convert(
        counted, "optax", like=optax.rmsprop(0.1).init([jnp.ones(2), jnp.ones(4)]), names={"2": "1"}, notes=notes
    )
    assert state[0].nu[1].shape == (4,)
    assert any("the target lacks '1'" in note for note in notes)
    fails(
        "the checkpoint has 'c', which the target lacks",
        convert,
        source,
        "optax",
        like=stepped(optax.rmsprop(0.1), {"a": jnp.ones(2)}),
        notes=[],
    )


def test_frozen_parameters_that_the_source_leaves_out():
    tx = optax.masked(optax.rmsprop(0.1), {"w": True, "b": False})
    notes = []
    target = torch_run(W_B, frozen=W_B)
    new = convert(stepped(tx), "torch", like=target, notes=notes)
    assert new["state"].keys() == {0}
    assert "the target has 'b', which the checkpoint lacks: left without state, as if new" in notes
    target.load_state_dict(new)
    like = torch_run({"x": (2,), "y": (3,)}, frozen=["x", "y"])
    fails("the target has 'x', 'y', which", convert, stepped(tx), "torch", like=like, notes=[])


def unstepped(form, settings, shape=(2,)):
    """A checkpoint with one parameter that was stepped and one that wasn't."""
    first = Parameter(name="0", arrays={"square_avg": np.ones(2)}, shape=(2,), step=3, dtype="float64")
    group = Group(settings={"decay": 0.9, "eps": 1e-8, "momentum": 0.0, "centered": False, **settings}, lr=0.1)
    second = Parameter(name="1", shape=shape)
    return checkpoint.Checkpoint(format=form, parameters=(first, second), groups=(group,), ordered=True)


def test_a_never_stepped_parameter_under_bias_correction_starts_from_0():
    """The correction divides by what gradients make up of the average, so that v₀ would never leave it."""
    source = unstepped("sb3", {"initial_square_avg": 1.0})
    rule = Rule(decay=0.9, bias_correction=True, initial_square_avg=0.0)
    new = convert(source, "numpy", rule=rule, notes=[])
    assert new["1/square_avg"].tolist() == [0.0, 0.0]
    assert new["1/step"] == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_never_stepped_parameter_has_its_groups_precision(dtype):
    source = torch_run({"0": (2,), "1": (3,)}, frozen=["1"], dtype=dtype)
    own = {"0": np.ones(2), "1": np.ones(3)}
    like = rmsprop.numpy.RMSprop({k: v.astype(str(dtype)[6:]) for k, v in own.items()}, lr=0.1)
    new = convert(source, "numpy", like=like, notes=[])
    assert new["1/square_avg"].dtype == str(dtype)[6:]
    like.load_state_dict(new)
    assert (
        convert(unstepped("torch", {"initial_square_avg": 0.5}), "numpy", notes=[])["1/square_avg"].dtype == np.float64
    )
