"""One precision policy: in which precision an update works, and what its state is kept in.

By the names that every framework gives its dtypes; this module knows none of them.

1. An update works in at least 32 bits, and state is kept in the precision in which it works: an average kept in 16 bits
   stops moving, because what a step adds to it is less than half of its last digit.
2. What is wider keeps its width, and what is complex stays complex. Where complex arithmetic is done, averages of
   squares are real (`real_dtype`).
3. The kernel takes 16 bits as they are stored, and a complex number as two reals (`KERNEL_DTYPES`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# In which nothing is computed or kept, though parameters and gradients may be stored in it.
NARROW_DTYPES = frozenset({"float16", "bfloat16", "complex32"})

# From here on a float32 can't count: adding 1 to it changes nothing.
FLOAT32_IS_FULL = 2**24

_REAL: Mapping[str, str] = MappingProxyType({"complex64": "float32", "complex128": "float64"})
_WIDE = frozenset({"float32", "float64", *_REAL})

# dtype of a parameter -> what the kernel is told that its numbers are, a key of `rmsprop.native.DTYPES`.
KERNEL_DTYPES: Mapping[str, str] = MappingProxyType(
    {"float16": "float16", "bfloat16": "bfloat16", "float32": "float32", "float64": "float64", **_REAL}
)


def working_dtype(name: str) -> str:
    """Return the precision in which a parameter is updated and its state is kept.

    Args:
        name: The dtype that it is stored in, of any framework.

    Returns:
        The same, but at least 32 bits: ``"complex64"`` for ``"complex32"``, ``"float32"`` for all else that is narrower
        or holds no floating-point numbers.

    Examples:
        >>> [working_dtype(name) for name in ("bfloat16", "float32", "float64", "complex32")]
        ['float32', 'float32', 'float64', 'complex64']
    """
    if name in _WIDE:
        return name
    return "complex64" if name.startswith("complex") else "float32"


def real_dtype(name: str) -> str:
    """Return the precision of the real numbers in a working precision: what a mean of |g|² is kept in.

    Args:
        name: What `working_dtype` returned.

    Returns:
        ``"float32"`` for ``"complex64"`` and ``"float32"``, ``"float64"`` for ``"complex128"`` and ``"float64"``.

    Examples:
        >>> real_dtype("complex128")
        'float64'
    """
    return _REAL.get(name, name)
