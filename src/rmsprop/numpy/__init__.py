"""RMSProp for NumPy arrays, in place, in every framework's dialect.

- `optimizer`: the class and what a step does in which order.
- `memory`: which arrays are taken, and the way from their axes to their memory.
- `plan`: the tables of the compiled kernel, kept from step to step, and the checks of the gradients.
- `rows`: gradients of some rows, ``(rows, values)``, which update these alone.
- `operations`: the same update where the kernel is missing.
- `saved`: the state as a flat dict of arrays, and back.
"""

from rmsprop.numpy.optimizer import RMSprop

__all__ = ["RMSprop"]
