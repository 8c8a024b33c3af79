"""What only TensorFlow has: distribution, checkpoints, compiled sparse steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rmsprop import reference
from rmsprop.keras import RMSprop
from rmsprop.keras.graph import MOST_RULES
from rmsprop.keras.optimizer import SLOTS

OPTIONS = {"learning_rate": 0.125, "momentum": 0.5, "centered": True, "weight_decay": 0.1, "bias_correction": True}


def test_replicas_take_the_step_of_their_summed_gradient(array):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        mirrored, optimizer = keras.Variable([1.0, 2.0]), RMSprop(**OPTIONS)

    def step():
        optimizer.apply([tf.constant([0.5, -1.0])], [mirrored])

    alone, single = keras.Variable([1.0, 2.0]), RMSprop(**OPTIONS)
    for _ in range(3):
        strategy.run(step)
        single.apply([tf.constant([1.0, -2.0])], [alone])
    for value in (*strategy.experimental_local_results(mirrored.value),):
        np.testing.assert_allclose(value.numpy(), array(alone), rtol=1e-6)


def test_a_checkpoint_of_keras_restores_ours(tmp_path, array):
    def built(class_):
        variable, optimizer = keras.Variable([1.0, 2.0], name="w"), class_(0.125, momentum=0.5)
        optimizer.apply([tf.constant([0.5, -1.0])], [variable])
        return optimizer

    theirs, ours = built(keras.optimizers.RMSprop), built(RMSprop)
    theirs.apply([tf.constant([2.0, 2.0])])
    path = tf.train.Checkpoint(optimizer=theirs).save(tmp_path / "checkpoint")
    tf.train.Checkpoint(optimizer=ours).restore(path)
    for mine, real in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(array(mine), array(real))


def test_a_sparse_step_compiles(array):
    def stepped(compiled):
        variable, optimizer = keras.Variable(np.ones((5, 2), np.float32)), RMSprop(0.125)
        optimizer.build([variable])

        @tf.function(jit_compile=compiled)
        def step(rows):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(variable.value, rows) ** 2)
            optimizer.apply([tape.gradient(loss, variable.value)], [variable])

        step(tf.constant([0, 0, 3]))
        return array(variable)

    np.testing.assert_allclose(stepped(True), stepped(False), rtol=1e-6)


def test_a_shape_that_is_not_known_yet_is_not_refused(array):
    def stepped(signature, grad=(0.5, -1.0)):
        variable, optimizer = keras.Variable([1.0, 2.0]), RMSprop(0.125)
        optimizer.build([variable])

        @tf.function(input_signature=[signature])
        def step(grad):
            optimizer.apply([grad], [variable])

        step(tf.constant(grad))
        return array(variable)

    known = stepped(tf.TensorSpec([2]))
    np.testing.assert_array_equal(stepped(tf.TensorSpec([None])), known)
    with pytest.raises(ValueError, match=r"has shape \(None, 2\), but needs \(2,\)"):
        stepped(tf.TensorSpec([None, 2]), [[0.5, -1.0]])


def test_a_variable_of_tensorflow_is_named_too():
    variable = tf.Variable([1.0, 2.0], name="w")
    with pytest.raises(ValueError, match=r"the gradient of w:0 has shape \(1,\), but needs \(2,\)"):
        RMSprop(0.125).apply([tf.constant([1.0])], [variable])
    with pytest.raises(ValueError, match="w:0 twice"):
        RMSprop(0.125).apply([tf.constant([1.0, 1.0])] * 2, [variable] * 2)


def steps_of(optimizer, grads, graph):
    """Return the variable and its state after steps, in a graph of the caller's or outside of one."""
    variable = keras.Variable(np.ones(grads.shape[1], np.float32))
    optimizer.build([variable])

    def step(grad):
        optimizer.apply([grad], [variable])

    step = tf.function(step) if graph else step
    for grad in grads:
        step(tf.constant(grad))
    return [np.asarray(each) for each in (variable.value, *(each.value for each in optimizer.variables[2:]))]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"centered": True}, {"rho": 0.25}, {"epsilon": 0.0}, {"epsilon": 1e-40}], ids=str
)
def test_infinite_averages_stay_infinite(options, graph):
    # Squares overflow from 1.8e19 on: once, twice in a row, and with the other sign.
    grads = np.ones((5, 6), np.float32)
    grads[1, :2], grads[2, 1:3], grads[3, 3], grads[1, 4], grads[2, 5] = 1e20, -3e38, 1e30, np.inf, np.nan
    optimizer = RMSprop(0.125, **options)
    rule, start = optimizer.rule, np.ones(6, np.float32)
    value, state = start, reference.init(rule, start)
    for step, grad in enumerate(grads, 1):
        value, state = reference.update(rule, 0.125, step, value, grad, state)
    found, *found_state = steps_of(optimizer, grads, graph)
    names = [name for name in SLOTS if name in state]
    assert any(np.isinf(state[name]).any() for name in names)
    # Infinities and NaN in the same places; TensorFlow's √ may be a unit off in each of 5 steps of less than 1.
    np.testing.assert_allclose(found, value, rtol=0, atol=5 * 2**-22)
    for name, slot in zip(names, found_state, strict=True):
        np.testing.assert_allclose(slot, state[name], rtol=5 * 2**-22, err_msg=name)


def test_a_rule_that_changes_before_every_step_makes_no_more_graphs():
    variable, optimizer = keras.Variable([1.0, 2.0]), RMSprop(0.125, momentum=0.5)
    for step in range(2 * MOST_RULES):
        optimizer.momentum = 0.5 + step / 64
        optimizer.apply([tf.constant([0.5, -1.0])], [variable])
    assert len(optimizer._update._graphs) == MOST_RULES
