"""What only TensorFlow has: distribution, checkpoints, compiled sparse steps."""

import keras
import numpy as np
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
