"""Writes what driver.cpp runs: updates by every rule in every storage type, with what the specification makes of them.

Run as ``python tests/native/write_cases.py FILE``.
"""

import struct
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import ALL_RULES, BOUNDARY_RULES, wild_gradients

from rmsprop import layout, native, reference

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
COLUMNS = (("square_avg", "grad_var"), ("grad_avg",), ("momentum_buffer",))
RULES = [*ALL_RULES, *BOUNDARY_RULES * 5]
LARGE = 600_011  # enough for the library's threads to divide


UPDATE = {"maximize": True, "grad_scale": 0.7}


def packed(rule, lr, step):
    """Return the struct `rmsprop_rule`."""
    numbers = native.numbers_of(rule, lr, step, **UPDATE)
    return bytes(layout.RuleStruct(**{name: numbers[name] for name in layout.NUMBERS}))


def rows(arrays):
    """Return arrays, their number first and before each its size."""
    return b"".join(
        [struct.pack("<i", len(arrays)), *(struct.pack("<q", len(each)) + each for each in map(bytes_of, arrays))]
    )


def bytes_of(array):
    return b"" if array is None else array.tobytes()


def columns(state):
    """Return state in the order of the kernel's tables, None where the rule has none."""
    return [next((state[name] for name in names if name in state), None) for names in COLUMNS]


def _averages(rng, size):
    """Return averages, some of which have met an infinite gradient, and some no gradient but 0."""
    special = rng.choice([np.inf, 0.0, 0.0], size)
    return np.where(rng.random(size) < 0.3, special, np.abs(rng.standard_normal(size)))


def case(rng, rule, name, size):
    """Return one update, as driver.cpp reads it."""
    dtype = DTYPES[name]
    with np.errstate(all="ignore"):
        param, grad = rng.standard_normal(size).astype(dtype), wild_gradients(rng, size).astype(dtype)
    state = reference.init(rule, param)
    state = {key: value + _averages(rng, size).astype(value.dtype) for key, value in state.items()}
    new, new_state = reference.update(rule, 0.01, 3, param, grad, state, **UPDATE)
    head = packed(rule, 0.01, 3) + struct.pack("<iq", layout.DTYPES[name], size)
    return head + rows([param, grad, *columns(state)]) + rows([new, *columns(new_state)])


def main(path):
    """Write the file."""
    rng = np.random.default_rng(0)
    cases = [case(rng, rule, name, size) for rule in RULES for name, size in zip(DTYPES, (83, 31, 66, 5), strict=True)]
    cases += [case(rng, ALL_RULES[-1], name, LARGE) for name in DTYPES]
    Path(path).write_bytes(struct.pack("<q", len(cases)) + b"".join(cases))


if __name__ == "__main__":
    main(sys.argv[1])
