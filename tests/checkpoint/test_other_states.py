"""State that isn't RMSProp's beside, around or instead of it: mentioned or refused, never lost silently."""

import re

import keras
import numpy as np
import pytest
import torch
from checkpoint.runs import KerasRun, OurKerasRun

import rmsprop.keras
from rmsprop import checkpoint
from rmsprop.checkpoint import CheckpointError, convert, load
from rmsprop.torch import RMSprop

GRADIENT = np.array([1.0, -2.0], np.float32)


def fails(message, work, *args, **options):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        work(*args, **options)


def torch_optimizer(gradient=GRADIENT, **settings):
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.RMSprop([param], lr=0.1, **settings)
    param.grad = torch.from_numpy(gradient)
    optimizer.step()
    return optimizer


def keras_optimizer(cls=keras.optimizers.RMSprop, batches=0, dtype="float32", **settings):
    variable = keras.Variable(np.ones(2), dtype=dtype, name="w")
    optimizer = cls(settings.pop("learning_rate", 0.1), **settings)
    optimizer.build([variable])
    for batch in range(batches):
        optimizer.apply([keras.ops.convert_to_tensor(GRADIENT * (batch + 1), dtype=dtype)], [variable])
    return optimizer


def keras_run(optimizer, cls=KerasRun, batches=0):
    """A model's run with another optimizer."""
    run = cls({"decay": 0.9, "eps": 1e-7, "momentum": 0.0, "centered": False})
    run.model.compile(optimizer, loss="mse")
    optimizer.build(run.model.trainable_variables)
    run.train(range(batches))
    return run


def assert_alike(loaded, expected):
    for parameter, other in zip(loaded.parameters, expected.parameters, strict=True):
        assert (parameter.step, parameter.arrays.keys()) == (other.step, other.arrays.keys())
        for name, array in parameter.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


# --------------------------------------------------------------------------------------------- gradient accumulation


@pytest.mark.parametrize("cls", [keras.optimizers.RMSprop, rmsprop.keras.RMSprop])
def test_a_file_counts_updates_as_the_live_optimizer_does(cls, tmp_path):
    ours = {"bias_correction": True} if cls is rmsprop.keras.RMSprop else {}
    run = keras_run(cls(0.1, gradient_accumulation_steps=4, **ours), OurKerasRun, batches=8)
    run.model.save(tmp_path / "run.keras")
    assert {parameter.step for parameter in load(run.state()).parameters} == {2}
    assert_alike(load(tmp_path / "run.keras"), load(run.state()))
    checkpoint.save(
        run.state(), tmp_path / "new.keras", run.format if ours else "keras", like=tmp_path / "run.keras", step=3,
        names="order", notes=[],
    )  # fmt: skip
    assert int(keras.models.load_model(tmp_path / "new.keras").optimizer._iterations) == 12


def test_gradients_collected_for_the_next_update_are_mentioned_and_none_are_left_in_a_target(tmp_path):
    source = keras_run(keras.optimizers.RMSprop(0.1, gradient_accumulation_steps=4), batches=6)
    source.model.save(tmp_path / "source.keras")
    for state in (source.state(), tmp_path / "source.keras"):
        assert "collected 2 of the 4 gradients" in load(state).notes[0]
        assert load(state).parameters[0].step == 1
    assert load(keras_optimizer(batches=4, gradient_accumulation_steps=4)).notes == ()
    target = keras_optimizer(batches=3, gradient_accumulation_steps=2)
    convert(torch_optimizer(), "keras", like=target, names="order", notes=[])
    assert int(target._iterations) == 2
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(target._accumulated_gradients[0]), np.zeros(2))
    checkpoint.save(
        source.state(), tmp_path / "new.keras", "keras", like=tmp_path / "source.keras", names="order", notes=[]
    )
    loaded = keras.models.load_model(tmp_path / "new.keras").optimizer
    assert int(loaded._iterations) == 4
    assert not any(keras.ops.convert_to_numpy(gradient).any() for gradient in loaded._accumulated_gradients)


# --------------------------------------------------------------------- averages of the weights, loss scaling, several


def test_an_average_of_the_weights_is_mentioned(tmp_path):
    run = keras_run(keras.optimizers.RMSprop(0.1, use_ema=True), batches=2)
    run.model.save(tmp_path / "run.keras")
    for state in (run.state(), tmp_path / "run.keras"):
        assert "moving average of the weights (use_ema)" in load(state).notes[0]
    assert_alike(load(tmp_path / "run.keras"), load(run.state()))
    notes = []
    convert(torch_optimizer(), "keras", like=keras_optimizer(use_ema=True), names="order", notes=notes)
    assert any("the target's moving average of the weights (use_ema) stays as it is" in note for note in notes)
    notes = []
    convert(torch_optimizer(), "keras", like=keras_optimizer(), names="order", notes=notes)
    assert not any("use_ema" in note for note in notes)


@pytest.mark.parametrize("more", [{"use_ema": True}, {"gradient_accumulation_steps": 2}])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_weights_file_does_not_say_what_else_is_in_it(more, momentum, tmp_path):
    run = keras_run(keras.optimizers.RMSprop(0.1, momentum=momentum, **more), batches=2)
    run.set_weights({name: abs(weight) for name, weight in run.weights().items()})
    path = tmp_path / "run.weights.h5"
    run.model.save_weights(path)
    fails(
        "had an average of its weights (EMA), gradient accumulation or another optimizer",
        load, path, momentum=momentum, centered=False,
    )  # fmt: skip


def test_an_optimizer_inside_a_loss_scale(tmp_path):
    inner = keras.optimizers.RMSprop(0.125)
    run = keras_run(keras.optimizers.LossScaleOptimizer(inner), batches=2)
    fails("a LossScaleOptimizer is not an RMSProp of Keras: give its inner_optimizer", load, run.state())
    run.model.save(tmp_path / "run.keras")
    run.model.save_weights(tmp_path / "run.weights.h5")
    assert_alike(load(tmp_path / "run.keras"), load(inner))
    assert_alike(load(tmp_path / "run.weights.h5", momentum=0.0, centered=False), load(inner))
    fails(
        "inside another one, which keeps copies of its variables",
        checkpoint.save, inner, tmp_path / "new.keras", "keras", like=tmp_path / "run.keras", names="order", notes=[],
    )  # fmt: skip
    assert not (tmp_path / "new.keras").exists()


def test_a_file_in_bfloat16(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="bfloat16")])
    model.compile(keras.optimizers.RMSprop(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "run.keras")
    fails("keeps the optimizer's variables in bfloat16: convert the live optimizer", load, tmp_path / "run.keras")


class Pair(keras.Model):
    """A model that trains its parts with optimizers of their own; `compile` gives it one that stays empty."""

    def __init__(self):
        super().__init__()
        self.first, self.second = keras.layers.Dense(2), keras.layers.Dense(1)
        self.first.build((None, 2))
        self.second.build((None, 2))
        self.built = True
        self.optimizer_1, self.optimizer_2 = keras.optimizers.RMSprop(0.25), keras.optimizers.RMSprop(0.5)
        self.optimizer_1.build(self.first.trainable_variables)
        self.optimizer_2.build(self.second.trainable_variables)


def test_several_optimizers_in_a_weights_file(tmp_path):
    model, path = Pair(), tmp_path / "pair.weights.h5"
    model.compile()
    model.save_weights(path)
    rule = {"momentum": 0.0, "centered": False}
    fails(
        f"{path} has several optimizers in it: say with key which of 'optimizer_1', 'optimizer_2'", load, path, **rule
    )
    fails("has no optimizer called 'optimizer'", load, path, key="optimizer", **rule)
    loaded = load(path, key="optimizer_2", **rule)
    assert (loaded.groups[0].lr, [parameter.shape for parameter in loaded.parameters]) == (0.5, [(2, 1), (1,)])


class Scale(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones")
        self.shift = self.add_weight(shape=shape[-1:])

    def call(self, inputs):
        return inputs * self.scale + self.shift


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_parameter_without_axes_is_not_taken_for_the_learning_rate(momentum, tmp_path):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    model = keras.Sequential([keras.Input((2,)), Scale()])
    model.compile(keras.optimizers.RMSprop(schedule, momentum=momentum), loss="mse")
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / "run.weights.h5"
    model.save_weights(path)
    if momentum:
        assert [p.shape for p in load(path, momentum=momentum, centered=False).parameters] == [(), (2,)]
    else:
        fails("variable 1 is its learning rate or the state", load, path, momentum=0.0, centered=False)


# ----------------------------------------------------------------------------------------------------------- tf_keras


def tf_keras_model(optimizer):
    import tf_keras

    layers = [tf_keras.layers.Input((2,)), tf_keras.layers.Dense(3), tf_keras.layers.Dense(1)]
    model = tf_keras.Sequential(layers)
    model.compile(optimizer, loss="mse")
    model.fit(np.ones((8, 2)), np.ones(8), verbose=0)
    return model


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(("momentum", "centered"), [(0.0, False), (0.5, True)])
def test_files_of_tf_keras_have_no_variable_for_the_learning_rate(suffix, momentum, centered, tmp_path):
    import tf_keras

    model = tf_keras_model(tf_keras.optimizers.RMSprop(0.125, momentum=momentum, centered=centered))
    path = tmp_path / f"run{suffix}"
    model.save(path)
    own, loaded = model.optimizer, load(path)
    fails("a live optimizer of tf_keras is not read", load, own)
    slots = {
        "square_avg": own._velocities,
        **({"momentum_buffer": own._momentums} if momentum else {}),
        **({"grad_avg": own._average_gradients} if centered else {}),
    }
    assert (loaded.groups[0].lr, loaded.parameters[0].step, len(loaded.parameters)) == (0.125, 1, 4)
    for number, parameter in enumerate(loaded.parameters):
        assert parameter.arrays.keys() == slots.keys()
        for name, members in slots.items():
            np.testing.assert_array_equal(parameter.arrays[name], members[number].numpy(), err_msg=name)
    notes = []
    checkpoint.save(loaded, tmp_path / f"new{suffix}", "keras", like=path, lr=0.5, notes=notes)
    assert any("in its configuration, which stays: set 0.5 after loading it" in note for note in notes)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_the_legacy_optimizer_of_tf_keras_in_a_file_is_refused(tmp_path):
    """Its epsilon stands outside the root without momentum."""
    import tf_keras

    tf_keras_model(tf_keras.optimizers.legacy.RMSprop(0.125)).save(tmp_path / "run.h5")
    fails("is of tf_keras.optimizers.legacy or of Keras before 2.11", load, tmp_path / "run.h5")


# ------------------------------------------------------------------------------------------------------- TensorFlow 1


def saved_by(optimizer, folder):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default():
        weight = v1.get_variable("w", initializer=np.ones(2, np.float32))
        update = optimizer.apply_gradients([(tf.constant(GRADIENT), weight)])
        saver = v1.train.Saver()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            session.run(update)
            return saver.save(session, str(folder / "run"), write_meta_graph=False)


@pytest.mark.parametrize("name", ["Adam", "Adadelta", "Ftrl"])
def test_slots_of_another_optimizer_are_not_taken_for_an_rmsprops(name, tmp_path):
    import tensorflow as tf

    prefix = saved_by(getattr(tf.compat.v1.train, f"{name}Optimizer")(0.1), tmp_path)
    fails(f"the only slots in the checkpoint are called {name}", load, prefix)
    fails(f"the only slots in the checkpoint are called {name}", convert, torch_optimizer(), "tensorflow1", like=prefix)


@pytest.mark.filterwarnings("ignore:calling Ones.__init__:DeprecationWarning")
def test_an_rmsprop_of_another_name_is_named(tmp_path):
    import tensorflow as tf

    prefix = saved_by(tf.compat.v1.train.RMSPropOptimizer(0.1, name="generator"), tmp_path)
    fails("pass key='generator' if they are an RMSProp's", load, prefix)
    assert load(prefix, key="generator").parameters[0].name == "w"
    notes = []
    source = torch_optimizer(momentum=0.5)
    filled = convert(source, "tensorflow1", like=prefix, names=["w"], notes=notes)
    np.testing.assert_array_equal(filled["w/generator"], source.state_dict()["state"][0]["square_avg"].numpy())
    assert "the template's slots called generator are taken for an RMSProp's" in notes


# --------------------------------------------------------------------------------------- types that can't hold numbers


def test_a_narrow_template_refuses_what_it_can_not_hold():
    source = torch_optimizer(np.array([1.0, 1e4], np.float32))  # v = 1e6, beyond float16
    target = keras_optimizer(dtype="float16", batches=1)
    before = load(target)
    fails("float16 can't hold", convert, source, "keras", like=target, names="order", notes=[])
    assert_alike(load(target), before)
    template = {"w": np.ones(2, np.float16), "w/RMSProp": np.ones(2, np.float16), "w/RMSProp_1": np.ones(2, np.float16)}
    fails("float16 can't hold", convert, source, "tensorflow1", like=template, names=["w"], notes=[])


@pytest.mark.parametrize("step", [2**63, 10**26])
@pytest.mark.parametrize("form", ["torch", "sb3", "keras", "tensorflow1"])
def test_a_step_beyond_every_counter(form, step):
    slots = {name: np.ones(2) for name in ("w", "w/RMSProp", "w/RMSProp_1")}
    like = {"keras": keras_optimizer(), "tensorflow1": slots | {"global_step": np.int64(1)}}.get(form)
    names = None if like is None else ["w"]
    with pytest.raises(ValueError, match="step"):
        convert(torch_optimizer(), form, like=like, names=names, step=step, notes=[])


@pytest.mark.parametrize(("rounding", "words"), [("stochastic", "which doesn't move: give it again"), ("kahan", "off")])
def test_a_rounding_is_mentioned(rounding, words):
    optimizer = RMSprop([torch.ones(2, dtype=torch.bfloat16, requires_grad=True)], rounding=rounding)
    notes = []
    convert(optimizer, "torch", notes=notes)
    assert [note for note in notes if f"rounding='{rounding}'" in note and words in note]
    assert load(RMSprop([torch.ones(2)], seed=3)).notes == ()
    packed = RMSprop([torch.ones(2, dtype=torch.bfloat16)], rounding=rounding, state_dtype="8bit")
    said = load(packed).notes
    assert [word in note for word, note in zip(("state_dtype='8bit'", words), said, strict=True)] == [True, True]


# --------------------------------------------------------------------------------------------------------------- timm


def timm_optimizer(lr=0.5, **settings):
    from dialects.timm_optimizers import RMSpropTF

    param = torch.nn.Parameter(torch.ones(2))
    optimizer = RMSpropTF([param], lr=lr, momentum=0.9, decoupled_decay=True, weight_decay=0.1, **settings)
    for step in range(4):
        param.grad = torch.tensor([1.0, -1.0]) * (-1) ** step
        optimizer.param_groups[0]["lr"] = 0.125
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("options", "lost"),
    [
        ({"caution": True}, "caution=False where the checkpoint has True"),
        ({"corrected_weight_decay": True}, "weight_decay_max_lr=0.0 where the checkpoint has 0.5"),
    ],
    ids=["caution", "corrected_weight_decay"],
)
def test_what_papers_code_has_moves_to_what_knows_it(options, lost):
    source, notes = timm_optimizer(**options), []
    moved = convert(convert(source, "rmsprop.torch", notes=notes), "timm", notes=notes)
    theirs, found = source.state_dict()["param_groups"][0], moved["param_groups"][0]
    idle = set() if found["corrected_weight_decay"] else {"max_lr_snapshot"}
    assert {key: found[key] for key in theirs.keys() - idle} == {key: theirs[key] for key in theirs.keys() - idle}
    assert notes == []
    convert(source, "torch", notes=notes)
    assert any(lost in note for note in notes)


def test_a_template_of_timm_keeps_what_only_timm_has():
    target = timm_optimizer(0.25, corrected_weight_decay=True, caution=True)
    group = convert(timm_optimizer(caution=True), "timm", like=target, notes=[])["param_groups"][0]
    assert group == target.state_dict()["param_groups"][0]
