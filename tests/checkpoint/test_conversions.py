"""What a conversion keeps, rescales, tells, asks for and refuses, one case each."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from checkpoint.runs import TimmRun
from dialects.timm_optimizers import RMSpropTF

import rmsprop.numpy
import rmsprop.torch
from rmsprop import Rule, checkpoint
from rmsprop.checkpoint import CheckpointError, ConversionWarning, convert, load

W = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
B = np.array([0.5, -0.5, 0.25], np.float32)


def numpy_run(steps=2, **settings):
    """A run on two arrays, {"w": (2, 3), "b": (3,)}."""
    arrays = {"w": W.copy(), "b": B.copy()}
    optimizer = rmsprop.numpy.RMSprop(arrays, **{"lr": 0.1, "dialect": "optax", **settings})
    for step in range(steps):
        optimizer.step({"w": W * (step + 1), "b": B - step})
    return optimizer


def torch_run(cls=torch.optim.RMSprop, stepped=("w", "b"), **settings):
    params = {"w": torch.nn.Parameter(torch.from_numpy(W.copy())), "b": torch.nn.Parameter(torch.from_numpy(B.copy()))}
    optimizer = cls(list(params.items()), **{"lr": 0.1, **settings})
    for _ in range(2):
        for name in stepped:
            params[name].grad = params[name].detach().clone()
        optimizer.step()
    return optimizer


def fails(message, *args, **options):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        convert(*args, **{"notes": [], **options})


PARAMS = {"w": jnp.asarray(W), "b": jnp.asarray(B)}


# ----------------------------------------------------------------------------------------------------------- arrays


def test_names_signs_and_scales_of_optax():
    """By hand: Optax traces what it adds, so its buffer has the other sign, and the learning rate inside."""
    run = numpy_run(momentum=0.9, centered=True)
    state = convert(run, "optax", like=optax.rmsprop(0.1, momentum=0.9, centered=True).init(PARAMS), notes=[])
    own = run.state["w"]
    np.testing.assert_allclose(state[0].nu["w"], own["grad_var"] + own["grad_avg"] ** 2, rtol=1e-6)
    np.testing.assert_array_equal(state[0].mu["w"], own["grad_avg"])
    np.testing.assert_array_equal(state[2].trace["w"], -own["momentum_buffer"])
    assert state[0].nu["w"].dtype == jnp.float32


def test_buffer_by_hand():
    """b inside = lr · b outside. One float32 rounding of the product: half a ULP."""
    buffer = torch_run(momentum=0.9).state_dict()["state"][0]["momentum_buffer"].numpy().astype(np.float64)
    inside = convert(torch_run(momentum=0.9), "tensorflow1", notes=[])["w/RMSProp_1"]
    np.testing.assert_allclose(inside, 0.1 * buffer, rtol=6e-8, atol=0.0)
    run = torch_run(RMSpropTF, momentum=0.9)
    outside = convert(run, "torch", notes=[])["state"][0]["momentum_buffer"]
    own = run.state_dict()["state"][0]["momentum_buffer"].double() / 0.1
    np.testing.assert_allclose(outside, own, rtol=6e-8, atol=0.0)


def test_timm_can_keep_the_learning_rate_outside():
    """So nothing is rescaled, and a schedule may go on."""
    notes = []
    saved = convert(torch_run(momentum=0.9), "timm", notes=notes)
    own = torch_run(momentum=0.9).state_dict()["state"][0]["momentum_buffer"]
    assert torch.equal(saved["state"][0]["momentum_buffer"], own)
    assert saved["param_groups"][0]["lr_in_momentum"] is False
    assert not any("learning rate" in note for note in notes)


def test_bits_survive_where_the_conventions_agree():
    run = numpy_run(momentum=0.9, centered=True, dialect="tensorflow1")
    names = {"w": "0", "b": "1"}
    saved = convert(convert(run, "rmsprop.torch", names=names), "numpy", names={"0": "w", "1": "b"})
    expected = run.state_dict()
    assert {key: value.tolist() for key, value in saved.items()} == {k: v.tolist() for k, v in expected.items()}
    assert saved["w/grad_var"].dtype == np.float32


@pytest.mark.parametrize("dialect", ["torch", "tensorflow1", "optax"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_rule_survives_between_our_own(dialect, centered, correction, momentum):
    """Through raw averages and back: at most the rounding of one float32 number."""
    run = numpy_run(dialect=dialect, centered=centered, bias_correction=correction, momentum=momentum, lr=0.1)
    there = convert(run, "rmsprop.torch", names={"w": "0", "b": "1"})
    back = convert(
        there, "numpy", names=["w", "b"] if there["param_groups"][0].get("param_names") else {"0": "w", "1": "b"}
    )
    for key, value in run.state_dict().items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(back[key], value, rtol=1.2e-7, atol=1e-12, err_msg=key)
        else:
            assert back[key] == value, key


def test_sixteen_bits_become_thirty_two():
    state = {"state": {0: {"step": torch.tensor(1.0), "square_avg": torch.ones(2, dtype=torch.bfloat16)}}}
    state["param_groups"] = [{**torch_run().state_dict()["param_groups"][0], "params": [0], "param_names": ["0"]}]
    assert convert(state, "rmsprop.torch")["state"][0]["square_avg"].dtype == torch.float32


def test_complex_state_moves_between_torch_and_numpy_only():
    param = torch.nn.Parameter(torch.tensor([1 + 2j, 3 - 1j]))
    optimizer = torch.optim.RMSprop([param], centered=True)
    param.grad = param.detach().clone()
    optimizer.step()
    run = rmsprop.numpy.RMSprop([np.array([1 + 2j, 3 - 1j], np.complex64)], centered=True)
    run.step([np.array([1 + 2j, 3 - 1j], np.complex64)])
    saved = convert(optimizer, "numpy")
    for name, array in run.state[0].items():
        np.testing.assert_allclose(saved[f"0/{name}"], array, rtol=1e-6, err_msg=name)
    fails("is complex", optimizer, "tensorflow1")


def test_a_matrix_is_transposed_on_request():
    torch_state = torch_run().state_dict()
    like = optax.rmsprop(0.1).init({"w": jnp.zeros((3, 2)), "b": jnp.zeros(3)})
    message = "parameter 'w' has shape (2, 3) in the checkpoint but (3, 2) in the target"
    fails(message, torch_state, "optax", like=like)
    state = convert(torch_state, "optax", like=like, transpose=["w"], notes=[])
    np.testing.assert_array_equal(state[0].nu["w"], torch_state["state"][0]["square_avg"].numpy().T)
    with_axes = convert(torch_state, "optax", like=like, transpose={"w": (1, 0)}, notes=[])
    np.testing.assert_array_equal(with_axes[0].nu["w"], state[0].nu["w"])
    fails("whose axes can't be put in the order (1, 0)", torch_state, "optax", like=like, transpose=["b"])
    fails("transpose names 'x'", torch_state, "optax", like=like, transpose=["x"])
    fails("one string", torch_state, "optax", like=like, transpose="w")


# ------------------------------------------------------------------------------------------------------------ names


def test_names_must_agree_or_be_given():
    state = torch_run().state_dict()
    like = optax.rmsprop(0.1).init({"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)})
    fails(
        "the checkpoint has 'w', 'b', which the target lacks; the target has 'bias', 'kernel'",
        state,
        "optax",
        like=like,
    )
    by_mapping = convert(state, "optax", like=like, names={"w": "kernel", "b": "bias"}, notes=[])
    by_list = convert(state, "optax", like=like, names=["kernel", "bias"], notes=[])
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), by_mapping, by_list))
    # Optax has them in alphabetical order, bias first
    fails("parameter 'bias' has shape (2, 3) in the checkpoint but (3,)", state, "optax", like=like, names="order")
    fewer = optax.rmsprop(0.1).init({"w": jnp.zeros((2, 3))})
    fails("the checkpoint has 'b', which the target lacks: say which is which", state, "optax", like=fewer)
    more = optax.rmsprop(0.1).init({**PARAMS, "c": jnp.zeros(3)})
    fails("the target has 'c', which the checkpoint lacks: say which is which", state, "optax", like=more)
    fails("names speaks of 'x'", state, "optax", like=like, names={"x": "kernel"})
    fails("1 names are given for 2 parameters", state, "optax", like=like, names=["kernel"])
    fails("names='alphabet' is not understood", state, "optax", like=like, names="alphabet")
    fails("two parameters are called 'a'", state, "numpy", names=["a", "a"])
    fails("needs a target that lists its parameters", state, "numpy", names="order")


def test_torch_needs_positions():
    run = numpy_run(dialect="torch")
    fails("torch knows parameters by their position", run, "torch")
    fails("torch counts parameters from 0", run, "torch", names={"w": "1", "b": "2"})
    saved = convert(run, "torch", names={"w": "1", "b": "0"}, notes=[])
    assert saved["state"][0]["square_avg"].shape == (3,)
    assert saved["param_groups"][0]["params"] == [0, 1]
    saved = convert(run, "torch", like=torch_run(), notes=[])  # a torch optimizer with names
    assert saved["state"][0]["square_avg"].shape == (2, 3)
    assert saved["param_groups"][0]["param_names"] == ["w", "b"]


def test_positions_pair_by_themselves():
    params = [torch.nn.Parameter(torch.from_numpy(W.copy())), torch.nn.Parameter(torch.from_numpy(B.copy()))]
    optimizer = torch.optim.RMSprop(params, lr=0.1)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    state = convert(optimizer, "optax", like=optax.rmsprop(0.1).init([jnp.asarray(W), jnp.asarray(B)]), notes=[])
    np.testing.assert_array_equal(state[0].nu[1], optimizer.state[params[1]]["square_avg"])


# ------------------------------------------------------------------------------------- what is asked for and refused


def test_hyperparameters_that_the_source_lacks_are_asked_for():
    state = optax.rmsprop(0.1, momentum=0.9).init([jnp.asarray(W)])
    fails("doesn't say decay, eps, momentum, lr: pass them", state, "torch")
    fails("doesn't say lr: pass it", state, "torch", decay=0.9, eps=1e-8, momentum=0.9)
    notes = []
    saved = convert(state, "rmsprop.torch", decay=0.9, eps=1e-8, momentum=0.9, lr=0.1, notes=notes)
    assert saved["param_groups"][0]["eps_inside_sqrt"] is True
    assert any("eps_inside_sqrt=True" in note and "default of Optax" in note for note in notes)


def test_settings_are_checked():
    with pytest.raises(TypeError, match="Unknown hyperparameter 'alpha'"):
        convert(torch_run(), "timm", alpha=0.9)
    with pytest.raises(ValueError, match="Invalid decay value: 2"):
        convert(torch_run(), "timm", decay=2.0)
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        convert(torch_run(), "timm", lr=-1.0)
    with pytest.raises(ValueError, match="Invalid step: -1"):
        convert(torch_run(), "timm", step=-1)
    fails("there is no checkpoint format 'adam'", torch_run(), "adam")


def test_the_buffer_needs_a_learning_rate():
    state = optax.rmsprop(0.1, momentum=0.9)
    updates, moved = state.update([jnp.asarray(W)], state.init([jnp.asarray(W)]))
    like = torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(2, 3))], lr=0.1, momentum=0.9)
    saved = convert(moved, "torch", like=like, notes=[])  # its lr is that of like
    torch.testing.assert_close(saved["state"][0]["momentum_buffer"], torch.tensor(np.asarray(-updates[0])) / 0.1)
    like.param_groups[0]["lr"] = 0.0
    fails("can't be taken out or put in at lr=0", moved, "torch", like=like)
    fails("doesn't say what it is: pass lr", torch_like_unknown_lr(), "tensorflow1")


def torch_like_unknown_lr():
    loaded = load(torch_run(momentum=0.9))
    groups = tuple(checkpoint.Group(settings=group.settings) for group in loaded.groups)
    return checkpoint.Checkpoint(format="torch", parameters=loaded.parameters, groups=groups, ordered=True)


def test_an_explicit_learning_rate_wins():
    notes = []
    like = torch_run(RMSpropTF, momentum=0.9)
    saved = convert(torch_run(momentum=0.9), "timm", lr=0.5, like=like, notes=notes)
    buffer = torch_run(momentum=0.9).state_dict()["state"][0]["momentum_buffer"]
    torch.testing.assert_close(saved["state"][0]["momentum_buffer"], 0.5 * buffer)
    assert saved["param_groups"][0]["lr"] == 0.5
    assert any("multiplied by the learning rate 0.5" in note for note in notes)


def test_notes_are_warnings_unless_a_list_takes_them():
    with pytest.warns(ConversionWarning, match="the run continues exactly while the learning rate stays there"):
        convert(torch_run(RMSpropTF, momentum=0.9), "sb3")


def test_a_changed_rule_is_told():
    notes = []
    convert(torch_run(RMSpropTF, weight_decay=0.1, decoupled_decay=True), "torch", notes=notes)
    assert len(notes) == 2
    assert any("eps_inside_sqrt=False where the checkpoint has True" in note for note in notes)
    assert any("weight_decay_mode='l2' where the checkpoint has 'decoupled'" in note for note in notes)
    notes = []
    convert(torch_run(alpha=0.5), "torch", like=torch_run(), notes=notes)
    assert notes == [
        "torch.optim.RMSprop goes on with decay=0.99 where the checkpoint has 0.5: the run continues under another rule"
    ]
    notes = []
    convert(torch_run(maximize=True), "timm", eps_inside_sqrt=True, notes=notes)
    assert "maximize=False where the checkpoint has True" in notes[0]


def test_state_without_a_place_is_not_dropped_silently():
    centered = torch_run(centered=True, momentum=0.9)
    plain = optax.rmsprop(0.1, momentum=0.9).init(PARAMS)
    fails("the checkpoint is centered", centered, "optax", like=plain)
    assert convert(centered, "optax", like=plain, centered=False, notes=[])[0].nu.keys() == {"w", "b"}
    no_momentum = optax.rmsprop(0.1, centered=True).init(PARAMS)
    fails("has a momentum buffer for 'b', but the target has no place", centered, "optax", like=no_momentum)
    convert(centered, "optax", like=no_momentum, momentum=0.0, notes=[])


def test_state_that_is_missing():
    centered = optax.rmsprop(0.1, centered=True).init(PARAMS)
    fails("the target is centered, but the checkpoint has no average gradient", torch_run(), "optax", like=centered)
    notes = []
    like = torch_run(momentum=0.9)
    saved = convert(torch_run(), "torch", like=like, notes=notes)
    assert not saved["state"][0]["momentum_buffer"].any()
    assert "the checkpoint has no momentum buffer: the target's starts from 0" in notes


# ------------------------------------------------------------------------------------------------- steps, groups, v0


def test_never_stepped_parameters_keep_v0():
    run = torch_run(RMSpropTF, stepped=["w"])
    saved = convert(run, "sb3", notes=[])
    assert 1 not in saved["state"]  # Stable-Baselines3 starts from 1 too
    fails(
        "parameter 'b' was never stepped and starts from the checkpoint's v₀ (1.0; the target's is 0.0)", run, "torch"
    )
    saved = convert(run, "torch", like=torch_run(stepped=[]), notes=[])
    assert saved["state"][1]["square_avg"].tolist() == [1.0, 1.0, 1.0]
    assert saved["state"][1]["step"] == 0
    target = torch_run(stepped=[])
    target.load_state_dict(saved)
    target.param_groups[0]["params"][1].grad = torch.ones(3)
    target.step()
    assert target.state[target.param_groups[0]["params"][1]]["square_avg"].tolist() == pytest.approx([1.0, 1.0, 1.0])
    state = convert(run, "optax", like=optax.rmsprop(0.1).init(PARAMS), notes=[])
    assert state[0].nu["b"].tolist() == [1.0, 1.0, 1.0]


def test_different_step_counts():
    run = torch_run(stepped=["w"])
    params = run.param_groups[0]["params"]
    params[1].grad = torch.ones(3)
    run.step()
    notes = []
    like = optax.rmsprop(optax.constant_schedule(0.1)).init(PARAMS)
    state = convert(run, "optax", like=like, notes=notes)
    assert state[1].count == 3
    assert any("is set to 3; the update doesn't depend on it" in note for note in notes)
    corrected = optax.rmsprop(0.1, bias_correction=True).init(PARAMS)
    fails("have had different numbers ('b: 1', 'w: 3')", run, "optax", like=corrected)


def test_a_corrected_target_needs_the_step():
    state = optax.rmsprop(0.1).init([jnp.asarray(W)])
    rule = Rule(decay=0.9, bias_correction=True)
    options = {"decay": 0.9, "eps": 1e-8, "lr": 0.1, "rule": rule}
    fails(
        "takes the number of updates, but the Optax checkpoint doesn't say it for '0': pass step",
        state,
        "numpy",
        **options,
    )
    saved = convert(numpy_run(dialect="tensorflow1"), "numpy", rule=Rule(decay=0.9, bias_correction=True), notes=[])
    expected = (0.1 * (0.9 * W**2 + (2 * W) ** 2)) / (1 - 0.9**2)  # without v₀'s share
    np.testing.assert_allclose(saved["w/square_avg"], expected, rtol=2e-6)


def test_an_unknown_step_is_told():
    state = optax.rmsprop(0.1).init([jnp.asarray(W)])
    notes = []
    saved = convert(state, "torch", decay=0.9, eps=1e-8, lr=0.1, eps_inside_sqrt=False, notes=notes)
    assert saved["state"][0]["step"] == 0
    assert "the checkpoint has no step counts: step is set to 0, which nothing in the update depends on" in notes
    assert convert(state, "torch", decay=0.9, eps=1e-8, lr=0.1, step=7, notes=[])["state"][0]["step"] == 7


def grouped(lrs, cls=torch.optim.RMSprop):
    params = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))]
    groups = [{"params": [param], "lr": lr, "eps": 1e-3 * lr} for param, lr in zip(params, lrs, strict=True)]
    optimizer = cls(groups, momentum=0.9)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    return optimizer


def test_groups_keep_their_own_rules():
    saved = convert(grouped([0.1, 0.2]), "timm", like=grouped([1.0, 1.0], RMSpropTF), notes=[])
    assert [(g["lr"], g["params"]) for g in saved["param_groups"]] == [(0.1, [0]), (0.2, [1])]
    for number, lr in enumerate((0.1, 0.2)):
        own = grouped([0.1, 0.2]).state_dict()["state"][number]["momentum_buffer"]
        torch.testing.assert_close(saved["state"][number]["momentum_buffer"], lr * own)
    like = optax.rmsprop(0.1, momentum=0.9).init([jnp.zeros(2), jnp.zeros(3)])
    fails("different learning rates (0.1, 0.2) would come into one group", grouped([0.1, 0.2]), "optax", like=like)
    convert(grouped([0.1, 0.2]), "optax", like=like, lr=0.1, notes=[])
    fails("has one rule and one learning rate for all arrays", grouped([0.1, 0.2]), "numpy")


# ------------------------------------------------------------------------------------------------------ Optax's trees


def injected(**settings):
    return optax.inject_hyperparams(optax.rmsprop)(learning_rate=0.1, decay=0.8, eps=1e-3, **settings)


def test_injected_hyperparameters_are_read_and_set():
    tx = injected(momentum=0.7)
    _, state = tx.update(PARAMS, tx.init(PARAMS))
    loaded = load(state)
    settings = loaded.groups[0].settings
    assert (loaded.groups[0].lr, loaded.parameters[0].step) == (pytest.approx(0.1), 1)
    assert (settings["decay"], settings["eps"], settings["momentum"]) == pytest.approx((0.8, 1e-3, 0.7))
    new = convert(torch_run(lr=0.25, momentum=0.7), "optax", like=tx.init(PARAMS), notes=[])
    assert new.hyperparams["learning_rate"] == 0.25
    assert new.hyperparams["decay"] == pytest.approx(0.8)  # the template's
    assert new.count == 2


def test_wrapped_states():
    tx = optax.MultiSteps(optax.masked(optax.rmsprop(0.1, momentum=0.9), {"w": True, "b": False}), 2)
    state = tx.init(PARAMS)
    assert [parameter.name for parameter in load(state).parameters] == ["w"]
    tx = optax.multi_transform({"a": optax.rmsprop(0.1), "b": optax.rmsprop(0.2)}, {"w": "a", "b": "b"})
    assert sorted(parameter.name for parameter in load(tx.init(PARAMS)).parameters) == ["b", "w"]
    fails("none of its leaves is called nu", optax.sgd(0.1, momentum=0.9).init(PARAMS), "numpy")
    two = (optax.rmsprop(0.1).init(PARAMS), optax.rmsprop(0.1).init(PARAMS))
    fails("there are two nu for 'b'", two, "numpy")


def test_a_trace_elsewhere_in_the_chain_is_asked_about():
    tx = optax.chain(optax.scale_by_rms(0.9), optax.trace(0.9), optax.scale(-0.1))
    _, state = tx.update([jnp.asarray(W)], tx.init([jnp.asarray(W)]))
    options = {"decay": 0.9, "eps": 1e-8, "momentum": 0.9, "lr": 0.1}
    fails("pass lr_in_momentum=True or False", state, "torch", **options)
    saved = convert(state, "torch", lr_in_momentum=False, notes=[], **options)
    np.testing.assert_array_equal(saved["state"][0]["momentum_buffer"].numpy(), state[1].trace[0])


def test_a_template_is_needed_and_left_alone():
    fails("give like=tx.init(params)", torch_run(), "optax")
    fails("give the built optimizer", torch_run(), "keras")
    like = optax.rmsprop(0.1).init(PARAMS)
    convert(torch_run(), "optax", like=like, notes=[])
    assert not like[0].nu["w"].any()


def test_importing_it_imports_no_framework():
    code = (
        "import sys, rmsprop, rmsprop.checkpoint;"
        "print({'torch', 'jax', 'optax', 'keras', 'tensorflow', 'h5py', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_real_timm_run_says_who_it_is():
    run = TimmRun({"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": False})
    run.train(range(1))
    assert load(run.state()).format == "timm"
    assert load(run.optimizer).format == "timm"


@pytest.mark.parametrize("setting", [{"lr_in_momentum": False}, {"bias_correction": True}, {"initial_square_avg": 0.5}])
def test_a_setting_that_contradicts_what_the_arrays_mean_is_refused(setting):
    """It would only reinterpret them; a rule says what the target is to have, and they are converted."""
    optimizer = rmsprop.numpy.RMSprop([np.ones(2)], lr=0.1, momentum=0.9, dialect="tensorflow1")
    optimizer.step([np.ones(2)])
    (field,) = setting
    with pytest.raises(checkpoint.CheckpointError, match=f"the checkpoint says {field}=.*rule or like"):
        checkpoint.convert(optimizer, "rmsprop.torch", **setting)


def test_an_array_may_have_any_name():
    optimizer = rmsprop.numpy.RMSprop({"rule": np.ones(2), "lr": np.ones(1), "a/step": np.ones(1)}, lr=0.1)
    optimizer.step({"rule": np.ones(2), "lr": np.ones(1), "a/step": np.ones(1)})
    assert {p.name: p.step for p in checkpoint.load(optimizer).parameters} == {"rule": 1, "lr": 1, "a/step": 1}


@pytest.mark.parametrize(("package", "extra"), [("safetensors", "safetensors"), ("torch", "'rmsprop.torch.'")])
def test_a_missing_package_is_named_with_what_to_install(package, extra, tmp_path):
    path = tmp_path / ("run.safetensors" if package == "safetensors" else "run.pt")
    path.write_bytes(b"x")
    code = f"import sys; sys.modules[{package!r}] = None; import rmsprop.checkpoint as c; c.load({str(path)!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.search(f"ImportError: this checkpoint needs {package}: pip install {extra}", run.stderr)


def test_a_warning_points_at_the_caller():
    with pytest.warns(ConversionWarning) as caught:
        convert(torch_run(RMSpropTF, momentum=0.9), "torch")
    assert caught[0].filename == __file__
