"""What the kernel needs to know of a tensor of torch, which only the torch backend of Keras imports."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import keras

from rmsprop import native

# Not looked up in a step: a compiler that traces one can look into a global, but not into sys.modules.
torch: Any = sys.modules["torch"] if keras.backend.backend() == "torch" else None


def dtype_name(tensor: Any) -> str:
    """Return the name of a tensor's dtype, as all frameworks have it."""
    return str(tensor.dtype).removeprefix("torch.")


def is_plain(tensor: Any) -> bool:
    """Whether a tensor has memory of its own that holds its numbers, whatever its subclass."""
    dispatch = getattr(type(tensor), "__torch_dispatch__", None)
    return dispatch is torch.Tensor.__torch_dispatch__ and tensor.layout == torch.strided


def has_memory(tensor: Any) -> bool:
    """Whether a tensor, or None, has elements where the kernel could read them."""
    return tensor is not None and is_plain(tensor) and tensor.device.type == "cpu" and tensor.numel() > 0


def stretch(tensor: Any) -> tuple[int, int]:
    """Return where a tensor's memory begins and where it ends; gaps inside count as its own."""
    reach = sum(stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    begin = tensor.data_ptr()
    return begin, begin + (reach + 1) * tensor.element_size()


@cache
def describe_function() -> int | None:
    """Return the address of the C function that describes torch's tensors, or None if this torch has none."""
    return native.describe_function(torch.Tensor)
