"""Sparse gradients are dense ones written economically: duplicate rows are added up before all else."""

import keras
import numpy as np
import pytest

from rmsprop.keras import RMSprop

SHAPE = (5, 2)
OPTIONS = [
    {},
    {"momentum": 0.9},
    {"centered": True, "momentum": 0.5},
    {"weight_decay": 0.1},
    {"clipnorm": 1.0},
    {"clipvalue": 0.5},
    {"global_clipnorm": 1.0},
    {"loss_scale_factor": 8.0},
    {"gradient_accumulation_steps": 2},
]


def sparse(rows, values):
    values = np.asarray(values, np.float32)
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant(SHAPE))
        case "jax":
            import jax.numpy as jnp
            from jax.experimental.sparse import BCOO

            return BCOO((jnp.asarray(values), jnp.asarray(rows)[:, None]), shape=SHAPE)
        case "torch":
            import torch

            return torch.sparse_coo_tensor(np.array([rows]), torch.tensor(values), SHAPE, check_invariants=True)


def dense(rows, values):
    total = np.zeros(SHAPE, np.float32)
    np.add.at(total, rows, np.asarray(values, np.float32))
    return keras.ops.convert_to_tensor(total)


def test_the_square_is_taken_of_the_sum_of_duplicates(array):
    variable, optimizer = keras.Variable(np.zeros(SHAPE, np.float32)), RMSprop(0.5, rho=0.0)
    optimizer.apply([sparse([0, 0], [[1, 1], [2, 2]])], [variable])
    np.testing.assert_array_equal(array(optimizer.variables[2])[:2], [[9, 9], [0, 0]])  # Keras has 5


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_sparse_run_is_the_dense_run(options, array):
    random = np.random.default_rng(2)
    variables = [keras.Variable(np.ones(SHAPE, np.float32)) for _ in range(2)]
    optimizers = [RMSprop(0.125, **options) for _ in range(2)]
    for _ in range(2):
        rows, values = random.integers(0, 5, 6), random.integers(-8, 9, (6, 2)) / 8  # sums of these are exact
        for make, optimizer, variable in zip((sparse, dense), optimizers, variables, strict=True):
            optimizer.apply([make(rows, values)], [variable])
    np.testing.assert_array_equal(array(variables[0]), array(variables[1]))
    for mine, other in zip(*(optimizer.variables for optimizer in optimizers), strict=True):
        np.testing.assert_array_equal(array(mine), array(other))


def test_an_embedding_is_a_matrix_product_with_one_hot_rows(array):
    tokens = np.array([[0, 0, 3], [3, 3, 3], [4, 0, 1], [1, 2, 2]], np.int32)  # JAX 0.12 has no int64 unasked
    targets = np.arange(4.0)[:, None]
    table = np.linspace(-1, 1, 10).reshape(SHAPE)

    def train(layer, inputs):
        model = keras.Sequential([layer, keras.layers.Flatten(), keras.layers.Dense(1, kernel_initializer="ones")])
        model.build(inputs.shape)
        layer.set_weights([table])
        model.compile(RMSprop(0.125, momentum=0.5), "mse")
        model.fit(inputs, targets, batch_size=4, epochs=3, verbose=0)
        return array(layer.weights[0])

    ours = train(keras.layers.Embedding(5, 2), tokens)
    expected = train(keras.layers.Dense(2, use_bias=False), np.eye(5, dtype=np.float32)[tokens])
    # Three steps of less than 1, on gradients whose sums may round differently.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
