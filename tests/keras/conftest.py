"""One backend per process: KERAS_BACKEND names it, and without it these tests run on torch."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest

from rmsprop import reference

BACKEND = os.environ["KERAS_BACKEND"]
if keras.backend.backend() != BACKEND:
    raise pytest.UsageError(
        f"Keras was imported with the {keras.backend.backend()} backend before KERAS_BACKEND={BACKEND} was set: "
        "set it for the whole process"
    )
ONLY_ON = {
    "test_tensorflow.py": {"tensorflow"},
    "test_shipped_sparse.py": {"tensorflow", "jax"},
    "test_torch_kernel.py": {"torch"},
}
collect_ignore = [name for name, backends in ONLY_ON.items() if BACKEND not in backends]
if BACKEND == "tensorflow":
    import tensorflow as tf

    # Two devices, so that tf.distribute has something to distribute over; possible only before the first operation.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "requires_trainable_backend: of Keras' own tests; all our backends are")


@pytest.fixture
def float64():
    """Lets JAX have float64; the other backends always do."""
    if BACKEND != "jax":
        yield
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def array():
    """Returns the value of a variable or tensor as a NumPy array."""
    return lambda value: np.array(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(value)))


@pytest.fixture
def follow(array):
    """Takes steps with an optimizer and returns the variable after each of them."""

    def run(optimizer, start, grads, lrs=None):
        variable = keras.Variable(start, dtype=start.dtype.name, name="w")
        path = []
        for step, grad in enumerate(grads):
            if lrs is not None:
                optimizer.learning_rate = lrs[step]
            optimizer.apply([keras.ops.convert_to_tensor(grad)], [variable])
            path.append(array(variable))
        return np.stack(path)

    return run


@pytest.fixture
def oracle():
    """Returns the variable after each step of `rmsprop.reference`."""

    def run(rule, start, grads, lrs):
        param, state, path = start, reference.init(rule, start), []
        for step, (grad, lr) in enumerate(zip(grads, lrs, strict=True), 1):
            param, state = reference.update(rule, lr, step, param, grad, state)
            path.append(param)
        return np.stack(path)

    return run
