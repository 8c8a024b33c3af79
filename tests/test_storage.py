"""One precision policy, the same for every framework that has a dtype of the name."""

import jax
import ml_dtypes
import numpy as np
import pytest
import torch

from rmsprop import Rule, layout, reference
from rmsprop.jax import rmsprop
from rmsprop.numpy import RMSprop
from rmsprop.storage import KERNEL_DTYPES, NARROW_DTYPES, real_dtype, working_dtype

ROWS = {
    "float16": ("float32", "float32"),
    "bfloat16": ("float32", "float32"),
    "float32": ("float32", "float32"),
    "float64": ("float64", "float64"),
    "complex32": ("complex64", "float32"),
    "complex64": ("complex64", "float32"),
    "complex128": ("complex128", "float64"),
    "float8_e4m3fn": ("float32", "float32"),
    "int64": ("float32", "float32"),
}


@pytest.mark.parametrize(("name", "working", "real"), [(name, *row) for name, row in ROWS.items()])
def test_the_working_precision_and_its_real_numbers(name, working, real):
    assert working_dtype(name) == working
    assert real_dtype(working) == real
    assert (name in NARROW_DTYPES) == (name in KERNEL_DTYPES | {"complex32": ""} and name != working)


def numpy_dtype(name):
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize("name", KERNEL_DTYPES)
def test_state_is_kept_in_the_working_precision(name):
    """By `reference` and in JAX with averages of squares real, in NumPy as the kernel has them: two reals."""
    rule, working = Rule(momentum=0.9, centered=True), numpy_dtype(ROWS[name][0])
    param = np.zeros(2, numpy_dtype(name))
    real = numpy_dtype(ROWS[name][1])
    state = reference.init(rule, param)
    assert [state[key].dtype for key in ("grad_var", "grad_avg", "momentum_buffer")] == [real, working, working]
    assert all(state.dtype == working for key, state in RMSprop([param]).state[0].items() if key != "step")
    with jax.enable_x64(True):
        state = rmsprop(0.1, momentum=0.9).init(jax.numpy.asarray(param))
        assert (state.square_avg.dtype, state.momentum_buffer.dtype) == (real, working)


@pytest.mark.parametrize(("name", "told"), KERNEL_DTYPES.items())
def test_the_kernel_knows_what_it_is_told(name, told):
    assert told in layout.DTYPES
    assert told == (ROWS[name][1] if name.startswith("complex") else name)


def test_torch_calls_its_dtypes_so():
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in ROWS)
