"""What only TensorFlow has: distribution, checkpoints, compiled sparse steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rmsprop.keras import RMSprop

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
