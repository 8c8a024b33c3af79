"""The tests of the Triton kernel run in Triton's interpreter on CPU tensors, and on a GPU where there is one.

Triton decides when a kernel is defined whether it will be interpreted. So the package of the kernels is loaded a second
time for these tests, with TRITON_INTERPRET set while it loads: no other test, and no compiler, sees the variable.

The interpreter computes with NumPy, whose float32 and float64 round as a GPU does with div_rn and sqrt_rn. It rounds
bfloat16 in a way of its own, so ml_dtypes does that here, and it reduces element by element, so NumPy does. What it
cannot show is what a compiler makes of the kernel, which test_gpu_compiled.py looks at, and streams, graphs and time
(test_gpu_streams.py, `make bench-gpu`).
"""

import importlib
import sys

import ml_dtypes
import numpy as np
import pytest
import torch

import rmsprop.torch
from rmsprop.torch import device as devices
from rmsprop.torch import gpu, gpu_launch

ON_GPU = torch.cuda.is_available()


@pytest.fixture(scope="session")
def interpreted_kernels():
    """The package of the kernels, to be interpreted."""
    if sys.platform != "linux":
        pytest.skip("Triton is for Linux")
    from triton import language
    from triton.runtime import interpreter

    convert, generic = interpreter._convert_float, interpreter.ReduceOps.generic_reduce

    def exactly(values, source, target, rounding):
        if (source.name, target.name) == ("fp32", "bf16"):
            return values.astype(ml_dtypes.bfloat16).view(np.uint16)
        if (source.name, target.name) == ("bf16", "fp32"):
            return values.astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
        return convert(values, source, target, rounding)

    def reduced(operation, inputs):
        ours = {"_larger": np.maximum, "_smaller": np.minimum, "_plus": np.add}.get(operation.combine_fn.fn.__name__)
        if ours is None:
            return generic(operation, inputs)
        (only,) = inputs
        result = ours.reduce(only.handle.data, axis=operation.axis, keepdims=operation.keep_dims)
        return [operation.to_tensor(result, only.dtype)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_convert_float", exactly)
        patch.setattr(interpreter.ReduceOps, "generic_reduce", reduced)
        kernels = loaded_again()
        # Triton's own functions are not loaded again.
        patch.setattr(kernels.norm, "total", lambda x: language.reduce(x, 0, language.standard._sum_combine))
        patch.setattr(kernels.norm, "largest_of", lambda x: language.reduce(x, 0, language.standard._elementwise_max))
        yield kernels


def loaded_again():
    """The package of the kernels, loaded beside the one that others use."""
    name = "rmsprop.torch.triton"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        for module in [module for module in sys.modules if f"{module}.".startswith(f"{name}.")]:
            patch.delitem(sys.modules, module)
        if hasattr(rmsprop.torch, "triton"):
            patch.delattr(rmsprop.torch, "triton")
        found = importlib.import_module(name)
        for module in [module for module in sys.modules if f"{module}.".startswith(f"{name}.")]:
            del sys.modules[module]
        del rmsprop.torch.triton
    return found


@pytest.fixture(params=["interpreter", *["cuda"] * ON_GPU])
def device(request, monkeypatch):
    """Where parameters are, for the Triton kernel to update them."""
    if request.param == "cuda":
        yield "cuda"
        return
    kernels = request.getfixturevalue("interpreted_kernels")
    monkeypatch.setattr(devices, "DEVICE_TYPES", {"cpu"})
    monkeypatch.setattr(devices, "_obstacle", lambda: None)
    monkeypatch.setattr(gpu, "kernels", lambda: kernels)
    with np.errstate(all="ignore"):
        yield "cpu"


@pytest.fixture
def launches(monkeypatch):
    """The launches made since the test began."""
    made, prepared = [], gpu_launch.Launch.prepared

    def noted(launch, *arguments):
        made.append(launch)
        return prepared(launch, *arguments)

    monkeypatch.setattr(gpu_launch.Launch, "prepared", noted)
    return made
