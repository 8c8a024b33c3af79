"""`rmsprop_bind` on descriptions of arrays that no framework gives: it ends, and binds nothing that isn't an array.

Run as ``python -m attack.c_interface INPUTS SEED`` in tests/; prints how many were bound and how many refused, in a
process of its own: what it looks for ends one.
"""

import ctypes
import json
import math
import random
import sys

import numpy as np

from rmsprop import Rule, layout
from rmsprop.batch import Batch
from rmsprop.stretch_table import NOWHERE, Stretches

LENGTHS = [0, 1, 1, 2, 3, 4, 5, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -1, -2, -(2**31), -(2**63)]
BITS = [0, 1, 4, 7, 8, 16, 32, 32, 64, 128, 255]


class DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class Tensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", layout.DeviceStruct),
        ("ndim", ctypes.c_int32),
        ("dtype", DataType),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


DESCRIBE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(Tensor))


def numbers(values):
    return (ctypes.c_int64 * max(1, len(values)))(*values)


def sensible(rng, data):
    """Return shape, strides and a description that the kernel takes: dense, in any order of the dimensions."""
    shape = [rng.choice([1, 2, 3, 5]) for _ in range(rng.randrange(4))]
    strides, expected = [0] * len(shape), 1
    for place in rng.sample(range(len(shape)), len(shape)):
        strides[place] = expected
        expected *= shape[place]
    tensor = Tensor(data=data, ndim=len(shape), dtype=DataType(2, 32, 1), device=layout.DeviceStruct(1, 0))
    return shape, strides, tensor


def spoilt(rng, shape, strides, tensor):
    """Change a few things about a description."""
    shape, strides = list(shape), list(strides)
    for _ in range(rng.choice([1, 1, 2, 4])):
        what = rng.randrange(9)
        if what < 3 and shape:
            (shape if what else strides)[rng.randrange(len(shape))] = rng.choice(LENGTHS)
        elif what == 3:
            tensor.dtype = DataType(rng.randrange(8), rng.choice(BITS), rng.randrange(3))
        elif what == 4:
            tensor.device = layout.DeviceStruct(rng.choice([0, 1, 2, -1]), rng.randrange(2))
        elif what == 5:
            tensor.byte_offset = rng.choice([0, 1, 4, 2**63, 2**64 - 4, 2**64 - 1])
        elif what == 6:
            tensor.data = rng.choice([None, 1, 4, 2**64 - 4, tensor.data])
        elif what == 7 and shape:
            more = rng.randrange(1, 9)
            shape, strides = shape + [rng.choice(LENGTHS)] * more, strides + [rng.choice(LENGTHS)] * more
            tensor.ndim = len(shape)
        else:
            tensor.ndim = rng.choice([-1, -(2**31), 0, tensor.ndim])
    return shape, strides, rng.random() < 0.05, rng.random() < 0.05


def one(rng, memory):
    """Bind a tensor with its gradient and its state; return what came of it."""
    rule = rng.choice([Rule(), Rule(momentum=0.9), Rule(momentum=0.9, centered=True)])
    batch = Batch(rng.choice(list(layout.DTYPES)) if rng.random() < 0.2 else "float32", 1, rule)
    first = sensible(rng, memory.ctypes.data)
    described, kept = [], []
    batch.place([7], [memory.ctypes.data] * batch.columns)
    alike = rng.random() < 0.5 and spoilt(rng, *first)
    for _ in range(batch.columns):
        shape, strides, tensor = [*first[:2], Tensor.from_buffer_copy(first[2])]
        shape, strides, no_shape, no_strides = alike or (shape, strides, False, False)
        if not alike and rng.random() < 0.3:
            shape, strides, no_shape, no_strides = spoilt(rng, shape, strides, tensor)
        kept += [numbers(shape), numbers(strides)]
        tensor.shape = None if no_shape else ctypes.addressof(kept[-2])
        tensor.strides = None if no_strides else ctypes.addressof(kept[-1])
        described.append((tensor, shape))

    def describe(number, out):
        out[0] = described[number - 1][0]
        return 0

    function = DESCRIBE(describe)
    objects = (ctypes.c_void_p * batch.columns)(*range(1, batch.columns + 1))
    address = ctypes.cast(function, ctypes.c_void_p).value
    written = NOWHERE if rng.random() < 0.5 else Stretches(np.array([1 << 20]), np.array([1 << 40]))
    found = batch.bind(ctypes.addressof(objects), address, written)
    if found is not None:
        assert 0 <= found < batch.columns, found
        return "refused"
    tensor, shape = described[0]
    rightly = shape[: max(0, tensor.ndim)]
    assert tensor.ndim >= 0
    assert min(rightly, default=0) >= 0, shape
    elements = math.prod(rightly) * (2 if tensor.dtype.code == 5 else 1)
    assert batch.sizes[0] == elements <= 2**57, (batch.sizes[0], shape)
    return "bound"


def main(inputs, seed):
    """Attack; print what came of it."""
    rng, memory = random.Random(seed), np.zeros(256, np.float32)
    found = [one(rng, memory) for _ in range(inputs)]
    print(json.dumps({"inputs": inputs, "bound": found.count("bound"), "refused": found.count("refused")}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
