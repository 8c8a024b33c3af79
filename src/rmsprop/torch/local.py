"""What a kernel can see of a parameter: the plain memory beneath a subclass, a shard or a view with gaps.

- A subclass without a ``__torch_dispatch__`` of its own is a plain tensor underneath.
- A `DTensor` is updated where it is: on each rank its shard, if gradient and state are placed as the parameter is.
- A view with gaps in memory, or one that is lazily negated or conjugated, is updated in a dense copy of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

_PLAIN_DISPATCH = Tensor.__torch_dispatch__
_ORDINARY = {Tensor, torch.nn.Parameter}  # the classes that nearly all are of, to which most questions have one answer


def is_plain_class(cls: type) -> bool:
    """Whether tensors of a class have memory of their own that holds their numbers."""
    return cls in _ORDINARY or getattr(cls, "__torch_dispatch__", None) is _PLAIN_DISPATCH


def is_sparse(grad: Tensor | None) -> bool:
    """Whether a gradient is one of some rows alone."""
    return grad is not None and grad.layout == torch.sparse_coo


def is_uninitialized(param: Tensor) -> bool:
    """Whether a parameter of a lazy module has no shape yet."""
    return isinstance(param, torch.nn.parameter.UninitializedTensorMixin)  # type: ignore[attr-defined]  # not in its stub


def is_shard(tensor: Any) -> bool:
    """Whether a tensor is a `DTensor`, of which this process holds a shard."""
    if type(tensor) in _ORDINARY:
        return False
    module = sys.modules.get("torch.distributed.tensor")  # else there is none; importing it takes half a second
    return module is not None and isinstance(tensor, module.DTensor)


def shard_of(tensor: Any) -> Tensor:
    """Return this process' part of a `DTensor`, once it has arrived."""
    local: Tensor = tensor._local_tensor
    return local if type(local) is Tensor or is_plain_class(type(local)) else tensor.to_local()


def shard_like(local: Tensor, other: Any) -> Any:
    """Return a `DTensor` of the shards that the processes give, placed as another one of its shape is."""
    dtensor = sys.modules["torch.distributed.tensor"].DTensor
    mesh, placements = other.device_mesh, other.placements
    return dtensor.from_local(local, mesh, placements, run_check=False, shape=other.shape, stride=other.stride())


def inside(tensor: Tensor) -> Tensor:
    """Return the tensor whose memory a kernel can work on: a shard, or the tensor itself."""
    return tensor if type(tensor) in _ORDINARY or not is_shard(tensor) else shard_of(tensor)


def is_partial(tensor: Any) -> bool:
    """Whether a `DTensor` is still to be summed over the processes."""
    return is_shard(tensor) and any(placement.is_partial() for placement in tensor.placements)


def shards_of_gradients(params: Sequence[Any], grads: Sequence[Any]) -> list[Tensor | None] | None:
    """Return the parts of gradients that belong to this process' shards of their parameters.

    Args:
        params: The parameters, each a `DTensor`.
        grads: Their gradients, or None.

    Returns:
        The parts, None where there is no gradient; None instead of the list if a gradient is no `DTensor`, or not
        placed as its parameter is.
    """
    dtensor = sys.modules["torch.distributed.tensor"].DTensor
    shards: list[Tensor | None] = []
    for param, grad in zip(params, grads, strict=True):
        if grad is None:
            shards.append(None)
        elif type(grad) is dtensor and are_placed_alike(param, grad):
            local = grad._local_tensor
            shards.append(local if type(local) is Tensor else shard_of(grad))
        else:
            return None
    return shards


def are_placed_alike(tensor: Any, other: Any) -> bool:
    """Whether two tensors of the class `DTensor` have their elements on the same processes."""
    spec, its = tensor._spec, other._spec
    if spec is its:
        return True
    same_mesh = spec.mesh is its.mesh or spec.mesh == its.mesh
    return bool(same_mesh and spec.placements == its.placements)


read_local: Callable[[Any], Tensor] = attrgetter("_local_tensor")


def is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one stretch of memory, each once."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride != expected:
                return tensor.numel() == 0
            expected *= size
    return True


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether an element may stand in the memory of another: some stride steps over less than lies inside it."""
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride < reach:
                return tensor.numel() > 0
            reach += stride * (size - 1)
    return False


def as_real(tensor: Tensor) -> Tensor:
    """Return a complex tensor as pairs of real numbers (a view, unless it is a lazy conjugate), any other as it is."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def is_lazy(tensor: Tensor) -> bool:
    """Whether a minus sign or a conjugation is still to be done, which DLPack does not show."""
    return tensor.is_neg() or tensor.is_conj()


def is_odd(tensor: Tensor) -> bool:
    """Whether a tensor's numbers are not simply those in one stretch of memory, each at a multiple of its size."""
    return not is_dense(tensor) or is_lazy(tensor) or tensor.data_ptr() % tensor.element_size() != 0


def reader(is_sharded: bool) -> Callable[[Any], Any]:
    """Return the function that reads the memory to work on: `shard_of` for shards, else the tensor itself."""
    return shard_of if is_sharded else _itself


def _itself(tensor: Any) -> Any:
    return tensor
