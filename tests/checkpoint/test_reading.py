"""What is told apart, and what is asked about: state dicts, slots, numbered variables."""

import re

import keras
import numpy as np
import pytest
import torch
from checkpoint.runs import KerasRun, OurKerasRun, TensorFlowRun

from rmsprop import checkpoint
from rmsprop.checkpoint import CheckpointError, convert, load
from rmsprop.torch import RMSprop

# Keras 3.15's variables under NumPy 2, in model.save


def fails(message, *args, **options):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load(*args, **options)


def stepped(cls, **settings):
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = cls([param], lr=0.1, **settings)
    param.grad = torch.ones(2)
    optimizer.step()
    return optimizer


# ------------------------------------------------------------------------------------------------------------- torch


def old_state_dict():
    """The groups of torch before 1.12, and of Stable-Baselines3."""
    group = {"lr": 0.1, "momentum": 0, "alpha": 0.99, "eps": 1e-8, "centered": False, "weight_decay": 0, "params": [0]}
    return {"state": {0: {"step": 1, "square_avg": torch.ones(2)}}, "param_groups": [group]}


def test_torch_and_sb3_are_asked_about():
    fails("it can't be told whose RMSProp this is", old_state_dict())
    assert load(old_state_dict(), "sb3").groups[0].settings["initial_square_avg"] == 1.0
    assert load(old_state_dict(), "torch").groups[0].settings["initial_square_avg"] == 0.0


def test_what_tells_them_apart():
    import rmsprop.torch

    own = stepped(torch.optim.RMSprop)
    assert load(own).format == load(own.state_dict()).format == "torch"
    ours = stepped(rmsprop.torch.RMSprop, dialect="sb3")
    assert load(ours).format == load(ours.state_dict()).format == "rmsprop.torch"
    plain = stepped(rmsprop.torch.RMSprop)  # its state dict is torch's, to the last key
    assert load(plain).format == load(plain.state_dict(), "rmsprop.torch").format == "rmsprop.torch"
    assert load(plain.state_dict()).format == "torch"
    fails("it is given as 'timm', but it is of torch.optim.RMSprop", own.state_dict(), "timm")
    fails("it is given as 'sb3', but it is of rmsprop.torch", ours, "sb3")
    for other in (torch.optim.Adam, torch.optim.ASGD, torch.optim.Adadelta, torch.optim.SGD):
        fails("not an RMSProp's", stepped(other).state_dict())
    averaged = rmsprop.torch.ScheduleFreeRMSprop([torch.nn.Parameter(torch.ones(2))])
    for source in (averaged, averaged.state_dict()):
        fails("one of ScheduleFreeRMSprop, whose weights are averages", source)
    rows = rmsprop.torch.RMSprop([torch.nn.Parameter(torch.ones(2, 2))], sparse="rowwise")
    rows.param_groups[0]["params"][0].grad = torch.ones(2, 2).to_sparse(1)
    rows.step()
    for source in (rows, rows.state_dict()):
        fails("has one average of squares per row (sparse='rowwise'), which doesn't tell those", source)
    own.load_state_dict(ours.state_dict())  # torch keeps our groups
    assert load(own).format == load(own.state_dict(), "torch").format == "torch"


def test_a_variance_that_torch_carried_along_is_not_taken_for_current():
    import rmsprop.torch

    ours, own = stepped(rmsprop.torch.RMSprop, centered=True), stepped(torch.optim.RMSprop, centered=True)
    ours.state[ours.param_groups[0]["params"][0]]["grad_var"].fill_(1e-12)  # which v and m don't tell
    own.load_state_dict(ours.state_dict())
    assert "grad_var" in load(own).parameters[0].arrays
    own.param_groups[0]["params"][0].grad = torch.full((2,), 5.0)
    own.step()
    loaded = load(own).parameters[0].arrays
    assert "grad_var" not in loaded
    saved = convert(own, "rmsprop.torch")["state"][0]
    torch.testing.assert_close(saved["grad_var"] + saved["grad_avg"] ** 2, own.state_dict()["state"][0]["square_avg"])


def test_a_state_dict_inside_a_checkpoint(tmp_path):
    own = stepped(torch.optim.RMSprop).state_dict()
    assert load({"epoch": 3, "optimizer": own}).groups[0].lr == 0.1
    lightning = {"optimizer_states": [own], "state_dict": {"weight": torch.ones(2)}}
    assert load(lightning).parameters[0].step == 1
    two = {"generator": own, "critic": old_state_dict()}
    fails("there are several optimizer state dicts: say which with key; it is one of 'generator', 'critic'", two)
    assert load(two, key="generator").format == "torch"
    fails("there is no optimizer state dict under 'actor'", two, key="actor")
    torch.save({"a": {"optimizers": [own, own]}}, tmp_path / "run.pt")
    fails(f"{tmp_path / 'run.pt'}: there are several", tmp_path / "run.pt")
    assert load(tmp_path / "run.pt", key="a.optimizers.1").parameters[0].step == 1
    fails("there is no optimizer state dict", {"weight": torch.ones(2)}, "torch")


@pytest.mark.parametrize("state_dtype", [torch.bfloat16, "8bit"], ids=str)
@pytest.mark.parametrize("centered", [False, True], ids=["plain", "centered"])
def test_our_packed_state(state_dtype, centered):
    param = torch.ones(20, 30, requires_grad=True)
    ours = RMSprop([param], state_dtype=state_dtype, momentum=0.9, centered=centered)
    param.grad = torch.linspace(-1, 1, 600).view(20, 30)
    ours.step()
    for source in (ours, ours.state_dict()):
        loaded = load(source)
        assert loaded.format == "rmsprop.torch"
        assert "state_dtype=" in loaded.notes[0]
        saved = convert(loaded, "torch", notes=[])["state"][0]
        for name in ("square_avg", "momentum_buffer"):
            assert torch.equal(saved[name], ours.state[param][name].float())


def test_packed_state_is_written_where_an_optimizer_keeps_it_so():
    theirs = torch.optim.RMSprop([torch.ones(20, 30, requires_grad=True)])
    theirs.param_groups[0]["params"][0].grad = torch.ones(20, 30)
    theirs.step()
    ours = RMSprop([torch.ones(20, 30, requires_grad=True)], state_dtype="8bit")
    ours.load_state_dict(convert(theirs, "rmsprop.torch", like=ours, notes=[]))
    (state,) = ours.state.values()
    assert state["square_avg_codes"].dtype == torch.uint8
    torch.testing.assert_close(state["square_avg"], torch.full((20, 30), 0.01), rtol=0.02, atol=0)


# -------------------------------------------------------------------------------------------------------- TensorFlow

V, M = np.full(2, 4.0), np.full(2, 1.0)


def slots(*values, name="RMSProp"):
    """A graph's checkpoint of one variable."""
    names = [f"net/w/{name}" + (f"_{number}" if number else "") for number in range(len(values))]
    return {"net/w": np.zeros(2), **dict(zip(names, values, strict=True))}


def test_slots_by_their_number():
    loaded = load(slots(V, M))
    assert loaded.parameters[0].name == "net/w"
    assert loaded.parameters[0].arrays.keys() == {"square_avg", "momentum_buffer"}
    assert "pass centered=True if it is the average gradient" in loaded.notes[0]
    loaded = load(slots(V, M, 2 * M))
    assert loaded.groups[0].settings["centered"]
    assert loaded.parameters[0].arrays["momentum_buffer"].tolist() == [2.0, 2.0]
    assert load(slots(V, M), centered=True).parameters[0].arrays.keys() == {"square_avg", "grad_avg"}


def test_slots_that_are_asked_about():
    fails("there is one slot called RMSProp per variable, but TensorFlow's optimizer also keeps momentum", slots(V))
    assert load(slots(V), momentum=0.0).parameters[0].arrays.keys() == {"square_avg"}
    fails("variables have 4 slots called RMSProp, where an RMSProp has 2 or 3", slots(V, M, V, M))
    uneven = slots(V, M) | {"b": np.zeros(1), "b/RMSProp": np.ones(1)}
    fails("variables have different numbers of slots", uneven)
    fails("net/w/RMSProp_1 can't be the average gradient of 'net/w'", slots(V, 3 * M, M))
    two = slots(V, M, name="first") | slots(V, M, name="second")
    fails("say with key which of 'first', 'second'", two, "tensorflow1")
    assert load(two, "tensorflow1", key="first").parameters[0].arrays["square_avg"].tolist() == V.tolist()
    fails("no optimizer called 'third'", two, "tensorflow1", key="third")
    fails("there are no slots of an RMSProp", {"net/w": V}, "tensorflow1")


def test_object_based_checkpoints(tmp_path):
    """Slots have names there; Keras' legacy optimizer keeps its hyperparameters beside them."""
    import tensorflow as tf
    import tf_keras

    weight = tf.Variable(np.ones(3))
    for number, centered in enumerate((False, True)):
        optimizer = tf.compat.v1.train.RMSPropOptimizer(0.1, momentum=0.9, centered=centered)
        optimizer.apply_gradients([(tf.constant([1.0, 2.0, 3.0], tf.float64), weight)])
        prefix = tf.train.Checkpoint(w=weight, opt=optimizer).write(str(tmp_path / f"v1-{number}"))
        loaded = load(prefix)
        assert (loaded.format, loaded.parameters[0].name) == ("tensorflow1", "w")
        rms = optimizer.get_slot(weight, "rms").numpy()
        np.testing.assert_array_equal(loaded.parameters[0].arrays["square_avg"], rms)
        assert ("grad_avg" in loaded.parameters[0].arrays) == centered
    optimizer = tf_keras.optimizers.legacy.RMSprop(0.125, rho=0.75, momentum=0.5)
    optimizer.apply_gradients([(tf.constant([1.0, 2.0, 3.0], tf.float64), weight)])
    loaded = load(tf.train.Checkpoint(w=weight, opt=optimizer).write(str(tmp_path / "legacy")))
    settings = loaded.groups[0].settings
    assert (loaded.format, loaded.groups[0].lr, loaded.parameters[0].step) == ("keras_legacy", 0.125, 1)
    assert (settings["decay"], settings["momentum"], settings["eps_inside_sqrt"]) == (0.75, 0.5, True)


def test_a_template_keeps_everything_else(tmp_path):
    rule = {"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": True}
    run = TensorFlowRun(rule)
    run.train(range(2))
    before = run.state()
    run.train(range(2))
    merged = convert(run.state(), "tensorflow1", like=before | {"global_step": np.int64(7)}, notes=[])
    assert merged["global_step"] == 7
    for name in before:
        expected = before[name] if name in run.names else run.state()[name]
        np.testing.assert_array_equal(merged[name], expected)


# ------------------------------------------------------------------------------------------------------------- Keras


def keras_run(cls=KerasRun, momentum=0.9, centered=True):
    run = cls({"decay": 0.8, "eps": 1e-5, "momentum": momentum, "centered": centered})
    run.train(range(3))
    return run


def assert_alike(loaded, expected):
    assert len(loaded.parameters) == len(expected.parameters)
    for parameter, other in zip(loaded.parameters, expected.parameters, strict=True):
        assert (parameter.step, parameter.arrays.keys()) == (other.step, other.arrays.keys())
        for name, array in parameter.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


@pytest.mark.parametrize("cls", [KerasRun, OurKerasRun])
@pytest.mark.parametrize(("momentum", "centered"), [(0.0, False), (0.9, False), (0.0, True), (0.9, True)])
def test_every_file_of_keras(cls, momentum, centered, tmp_path):
    run = keras_run(cls, momentum, centered)
    live = load(run.state())
    run.model.save(tmp_path / "run.keras")
    run.model.save_weights(tmp_path / "run.weights.h5")
    assert_alike(load(tmp_path / "run.keras"), live)
    assert load(tmp_path / "run.keras").groups[0].settings == pytest.approx(live.groups[0].settings)
    assert_alike(load(tmp_path / "run.weights.h5", momentum=momentum, centered=centered), live)
    if cls is KerasRun:  # the old format can't hold what it doesn't know
        keras.saving.save_model(run.model, tmp_path / "run.h5")
        assert_alike(load(tmp_path / "run.h5"), live)


def test_a_weights_file_says_nothing_about_its_rule(tmp_path):
    run = keras_run()
    path = tmp_path / "run.weights.h5"
    run.model.save_weights(path)
    fails(f"{path} numbers the optimizer's variables and doesn't say what they are: pass momentum and centered", path)
    fails("has 14 optimizer variables, which are not those of an RMSProp", path, momentum=0.9, centered=False)
    saved = convert(path, "torch", momentum=0.8, centered=True, decay=0.9, eps=1e-7, notes=[])
    assert saved["state"][3]["grad_avg"].shape == (1,)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_files_are_written_as_copies_of_a_template(suffix, tmp_path):
    run, target = keras_run(), keras_run()
    target.train(range(3, 6))
    like, out = tmp_path / f"like{suffix}", tmp_path / f"out{suffix}"
    save = target.model.save_weights if "weights" in suffix else target.model.save
    save(like)
    settings = {"momentum": 0.8, "centered": True} if "weights" in suffix else {}
    names = [str(number) for number in range(4)]
    checkpoint.save(run.state(), out, "keras", like=like, names=names, notes=[], **settings)
    assert_alike(load(out, **settings), load(run.state()))
    if "weights" in suffix:
        target.model.load_weights(out)
    model = target.model if "weights" in suffix else keras.models.load_model(out, compile=suffix == ".keras")
    assert "weights" not in suffix or load(target.model.optimizer).parameters[0].step == 3
    for variable, weight in zip(model.trainable_variables, target.weights().values(), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable.value), weight)


def test_an_optimizer_of_keras_that_is_not_ready():
    fails("has no variables yet: call optimizer.build", keras.optimizers.RMSprop(0.1))
    adam = keras.optimizers.Adam(0.1)
    adam.build([keras.Variable(np.zeros(2))])
    fails("a Adam is not an RMSProp of Keras", adam)


def test_a_schedule_and_accumulation():
    variable = keras.Variable(np.ones(2, np.float32), name="w")
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    optimizer = keras.optimizers.RMSprop(schedule, gradient_accumulation_steps=2)
    optimizer.build([variable])
    for _ in range(4):
        optimizer.apply([keras.ops.ones(2)], [variable])
    loaded = load(optimizer)
    # Keras hands gradients, not updates, to its schedules
    assert (loaded.parameters[0].step, loaded.groups[0].lr) == (2, pytest.approx(0.5**5))
    source = stepped(torch.optim.RMSprop)
    convert(source, "keras", like=optimizer, names=["w"], step=5, notes=[])
    assert int(optimizer.iterations) == 5
    assert float(optimizer.learning_rate) == pytest.approx(0.5**11)


def test_a_file_whose_learning_rate_is_a_schedule(tmp_path):
    """There is no variable for it then, so all others have another number."""
    run = keras_run()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    run.model.compile(keras.optimizers.RMSprop(schedule, momentum=0.5, use_ema=True), loss="mse")
    run.model.optimizer.build(run.model.trainable_variables)
    run.model.save(tmp_path / "run.keras")
    loaded = load(tmp_path / "run.keras")
    assert loaded.groups[0].lr is None
    assert [parameter.shape for parameter in loaded.parameters] == [(2, 3), (3,), (3, 1), (1,)]
    like = tmp_path / "missing.keras"
    with pytest.raises(CheckpointError, match=r"missing\.keras does not exist"):
        checkpoint.save(loaded, tmp_path / "out.keras", "keras", like=like, notes=[])


def test_a_failed_conversion_leaves_the_optimizer_alone():
    run = keras_run()
    before = load(run.state())
    state = keras_run().state()
    with pytest.raises(CheckpointError, match="has shape"):
        convert(state, "keras", like=run.like(), transpose=["m/b/kernel"], notes=[])
    assert_alike(load(run.state()), before)


def test_what_is_no_checkpoint():
    fails("it can't be told what a int is: give its format, one of torch, timm", 3)
    fails("there is no checkpoint format 'adam'", {}, "adam")
