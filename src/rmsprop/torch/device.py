"""Which devices have a kernel, why one has none, and what DLPack calls them."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from rmsprop import layout, native

# Types of devices that the Triton kernel runs on. torch calls AMD's "cuda" too.
DEVICE_TYPES = {"cuda"}
_DLPACK_CUDA, _DLPACK_ROCM = 2, 10


def is_on_gpu(value: object) -> bool:
    """Whether a value lies on a device that the Triton kernel runs on, so that the kernel reads it there.

    Args:
        value: A parameter, a learning rate, a scale, or None.

    Returns:
        The answer.
    """
    return isinstance(value, Tensor) and value.device.type in DEVICE_TYPES


def dlpack_device(device: torch.device) -> tuple[int, int]:
    """Return DLPack's type and number of a device."""
    if device.type == "cpu":
        return layout.CPU
    return _DLPACK_ROCM if torch.version.hip else _DLPACK_CUDA, device.index


def missing(device: torch.device) -> str | None:
    """Return why no kernel runs on a device, or None if one does.

    Args:
        device: Where a parameter is.

    Returns:
        A reason that completes "the parameter ...".
    """
    if device.type not in {"cpu", *DEVICE_TYPES}:
        return f"is on device {device}; the kernels take tensors on {' and '.join(sorted({'cpu', *DEVICE_TYPES}))}"
    if reason := native.missing():  # on a GPU it looks at the tensors
        return f"is on {'the CPU' if device.type == 'cpu' else f'device {device}'}, where {reason}"
    return _missing_triton(device) if device.type in DEVICE_TYPES else None


def _missing_triton(device: torch.device) -> str | None:
    if device.type == "cuda" and _is_too_old(device):
        return f"is on device {device}, which is older than what Triton compiles for, compute capability 7.0"
    if obstacle := _obstacle():
        return f"is on device {device}, where {obstacle}"
    return None


@cache
def _is_too_old(device: torch.device) -> bool:
    return not torch.version.hip and torch.cuda.get_device_capability(device) < (7, 0)


@cache
def _obstacle() -> str | None:
    """Return what keeps Triton from running on this machine, or None."""
    try:
        if find_spec("triton") is None:
            return "the kernel needs Triton: pip install 'rmsprop[gpu]'"
        from triton.runtime import driver

        driver.active.get_current_target()  # builds what it talks to the GPU with, for which it needs a C compiler
    except Exception as error:
        return f"Triton does not work: {error}"
    return None
