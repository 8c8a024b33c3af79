"""RMSProp for JAX: Optax gradient transformations in every framework's dialect.

- `optimizer`: what one calls, with the keywords of ``optax.rmsprop``.
- `transformation`: the state as a pytree and the update of its leaves.
"""

try:
    import jax as _jax  # noqa: F401
    import optax as _optax  # noqa: F401
except ImportError as error:
    raise ImportError("rmsprop.jax needs JAX and Optax: pip install 'rmsprop[jax]'") from error

from rmsprop.jax.optimizer import from_recipe, rmsprop, scale_by_rmsprop
from rmsprop.jax.transformation import RMSpropState

__all__ = ["RMSpropState", "from_recipe", "rmsprop", "scale_by_rmsprop"]
