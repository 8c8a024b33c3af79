"""RMSProp for Keras 3: an optimizer for the TensorFlow, JAX and torch backends, in every framework's dialect."""

try:
    import keras  # noqa: F401
except ImportError as error:
    raise ImportError(
        "rmsprop.keras needs Keras 3 and one of its backends: pip install 'rmsprop[keras]', and tensorflow, jax or "
        "torch, named in the environment variable KERAS_BACKEND"
    ) from error

from rmsprop.keras.optimizer import RMSprop

__all__ = ["RMSprop"]
