"""The fused kernels: which tensors they take, and the tables they read them from.

A step must look at every tensor, because a user may replace any of them between two steps. It does so in C, through
DLPack's exchange interface, over tables that are built once: `Bucket`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import is_, itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import native
from rmsprop.rule import Rule
from rmsprop.torch import gpu
from rmsprop.torch.state import ARRAYS, ParamState

_DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.complex64: "float32",
    torch.complex128: "float64",
}
_PLAIN = (Tensor, torch.nn.Parameter)
_GRADS_OF_THE_KERNEL = {Tensor}
_read_step = itemgetter("step")


def unfit(param: Tensor) -> str | None:
    """Return why the kernel can't update a parameter, or None if it can.

    Args:
        param: The parameter, with a gradient.

    Returns:
        A reason that completes "the fused kernel can't update a parameter that ...".
    """
    if not hasattr(Tensor, "__dlpack_c_exchange_api__"):
        return f"belongs to PyTorch {torch.__version__}; it needs 2.10 or newer"
    if type(param) not in _PLAIN:
        return f"is a {type(param).__name__}, not a plain tensor"
    if param.device.type != "cpu" and (reason := gpu.missing(param.device)):
        return reason
    if param.layout != torch.strided:
        return f"has layout {param.layout}; it takes strided tensors"
    if param.dtype not in _DTYPES:
        return f"has dtype {param.dtype}; it takes {', '.join(str(dtype) for dtype in _DTYPES)}"
    if param.grad is not None and (type(param.grad) is not Tensor or param.grad.dtype != param.dtype):
        return f"of dtype {param.dtype} has a gradient of type {type(param.grad).__name__}, {param.grad.dtype}"
    if not _is_dense(param):
        return "has gaps or overlaps in memory"
    if _is_lazy(param):
        return "is a lazily negated or conjugated view"
    return None


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one stretch of memory, each once."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride != expected:
                return tensor.numel() == 0
            expected *= size
    return True


def _is_lazy(tensor: Tensor) -> bool:
    """Whether a minus sign or a conjugation is still to be done, which DLPack does not show."""
    return tensor.is_neg() or tensor.is_conj()


class Bucket:
    """Parameters of one group that a kernel takes together: one device, one dtype and one step counter.

    Args:
        params: The parameters, all with gradients and none `unfit`.
        states: The state of each.
        rule: The rule of the group.
        counts_on_device: Whether the step counter is where the parameters are, and nobody may wait for its value.
    """

    def __init__(
        self, params: Sequence[Tensor], states: Sequence[ParamState], rule: Rule, counts_on_device: bool
    ) -> None:
        self.params = params
        self.states = states
        self.rule = rule
        self.counter: Tensor = states[0]["step"]
        self.on_gpu = gpu.holds(params[0])
        self.counts_on_device = self.on_gpu and counts_on_device
        self._needs_count = rule.bias_correction and not self.counts_on_device
        self.device_lr: Tensor | None = None  # a learning rate that the kernel reads on the device
        device = native.CPU if params[0].device.type == "cpu" else gpu.dlpack_device(params[0].device)
        self.batch = native.Batch(_DTYPES[params[0].dtype], len(params), rule, device)
        # NumPy fills an array of objects several times faster than Python converts as many ids.
        self._objects = np.empty((self.batch.columns, len(params)), dtype=object)
        self._objects[0] = _object_row(params, len(params))
        self._address: int = self._objects.ctypes.data
        self._counters = [self.counter] * len(params)
        # A complex gradient may be a lazy conjugate, a real one a lazily negated imaginary part; the latter's strides
        # are even, so that it gets past the check of strides only with a single element.
        self._may_be_lazy = [i for i, param in enumerate(params) if param.is_complex() or param.numel() == 1]
        self._readers = [itemgetter(name) for name in self._state_columns(rule)]
        self._addresses = b""
        self._numbers: tuple[Any, ...] = ()

    @staticmethod
    def _state_columns(rule: Rule) -> tuple[str, ...]:
        return tuple(name for name in ARRAYS if name in rule.state_names)

    def bind(self) -> bool:
        """Look at every tensor as it is now; return whether the kernel can run on all of them.

        Returns:
            False if something no longer fits: a gradient is missing or of another kind, a tensor was replaced by one
            of another shape, dtype or device, or a parameter has moved in memory.
        """
        grads = [param.grad for param in self.params]
        if set(map(type, grads)) != _GRADS_OF_THE_KERNEL:
            return False
        if not all(map(is_, map(_read_step, self.states), self._counters)):
            return False
        has_lazy = any(_is_lazy(grads[i]) for i in self._may_be_lazy)  # type: ignore[arg-type]
        if (has_lazy or not self._bind(grads)) and not self._bind(self._in_order(grads)):
            return False
        addresses = self.batch.param_addresses  # when one moves, it may come to lie where another is
        self._addresses = self._addresses or addresses
        return addresses == self._addresses

    def _bind(self, grads: Sequence[Any]) -> bool:
        self._objects[1] = _object_row(grads, len(grads))
        try:
            for column, read in enumerate(self._readers, 2):
                self._objects[column] = _object_row(map(read, self.states), len(grads))
            return self.batch.bind(self._address, _describe()) is None
        except (BufferError, KeyError, RuntimeError):  # no plain memory (sparse), or state was taken away
            return False

    def _in_order(self, grads: Sequence[Any]) -> list[Tensor]:
        """Return the gradients, copied into their parameter's memory order where they have another one."""

        def in_order(param: Tensor, grad: Tensor) -> Tensor:
            alike = grad.layout == torch.strided and grad.dtype == param.dtype and grad.shape == param.shape
            same = not alike or (grad.stride() == param.stride() and not _is_lazy(grad))
            return grad if same else torch.empty_like(param).copy_(grad)

        return [in_order(param, grad) for param, grad in zip(self.params, grads, strict=True)]

    def release(self) -> None:
        """Let go of the gradients, so that they can be freed."""
        self._objects[1] = None

    def set_numbers(self, lr: float | Tensor, maximize: bool, scale: float) -> None:
        """Set what the next update computes, if it changed.

        Args:
            lr: The learning rate, a number or a tensor of one element.
            maximize: Ascend instead of descend.
            scale: What gradients are multiplied with first.
        """
        self.device_lr = None
        if isinstance(lr, Tensor):
            self.device_lr = lr if self.on_gpu and gpu.holds(lr) else None
            lr = lr.item() if self.device_lr is None else 1.0  # float() of one that requires a gradient warns
        step = int(self.counter.item()) + 1 if self._needs_count else 1
        numbers = lr, step, maximize, scale
        if numbers != self._numbers:
            self.batch.set_numbers(lr, step, maximize=maximize, grad_scale=scale)
            self._numbers = numbers


def _object_row(objects: Iterable[object], count: int) -> np.ndarray[Any, Any]:
    return np.fromiter(objects, dtype=object, count=count)


def run(buckets: Sequence[Bucket], launches: Sequence[Callable[[], None]]) -> None:
    """Update all parameters of all buckets: on the CPU in one parallel region, on torch's threads.

    Args:
        buckets: What to update, bound and with its numbers set.
        launches: Those of the buckets that are on a GPU, from `gpu.Launch.prepared`.
    """
    try:
        if on_cpu := [bucket.batch for bucket in buckets if not bucket.on_gpu]:
            native.update(on_cpu, _parallel_for(), torch.get_num_threads())
        for launch in launches:
            launch()
        for bucket in buckets:
            torch.autograd.graph.increment_version(bucket.params)  # as in-place operations do, for autograd's checks
    finally:
        for bucket in buckets:
            bucket.release()


@cache
def _describe() -> int:
    """Return the address of torch's function that describes a tensor to C (DLPack's exchange table)."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = get(Tensor.__dlpack_c_exchange_api__, b"dlpack_exchange_api")
    header_and_three_functions = 16 + 3 * 8
    address = ctypes.c_void_p.from_address(table + header_and_three_functions).value
    assert address is not None, "torch fills this entry of the table"
    return address


@cache
def _parallel_for() -> int | None:
    """Return the address of ``torch_parallel_for``, or None where torch does not export it (before 2.10)."""
    folder = os.path.join(os.path.dirname(torch.__file__), "lib")
    names = ("libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll")
    found = [path for path in (os.path.join(folder, name) for name in names) if os.path.exists(path)]
    function = getattr(ctypes.CDLL(found[0]), "torch_parallel_for", None) if found else None
    return ctypes.cast(function, ctypes.c_void_p).value if function else None
