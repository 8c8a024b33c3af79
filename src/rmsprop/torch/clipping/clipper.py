"""Clipping in the step: the norm of all gradients in one read of them, which the update then scales by.

`rmsprop.clipping` states what the norm is. Its sum is exact, so that it is the same whoever adds: kernels, tensor
operations, threads, and the processes that share a `DTensor`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import clipping, native
from rmsprop.threads import torch_threads
from rmsprop.torch import gpu, gpu_norm
from rmsprop.torch.clipping.exact_sum import counts_here, home_of, squares_of, summed
from rmsprop.torch.local import inside, is_sparse

if TYPE_CHECKING:
    from rmsprop.torch.bucket import Bucket
    from rmsprop.torch.plan import Plan


class GradientSum:
    """Gradients that are summed over the processes together: those of one mesh, or of plain tensors.

    Args:
        mesh: The mesh, or None.
        device: Where the first of them is.
    """

    def __init__(self, mesh: Any, device: torch.device) -> None:
        self._mesh, self._device = mesh, device
        self.buckets: list[Bucket] = []
        self.params: list[Tensor] = []
        self._words = np.zeros(clipping.WORDS, np.int64)

    def prepare(self) -> None:
        """Get ready for `add`, after all have been put in."""
        on_cpu = [bucket.batch for bucket in self.buckets if not bucket.on_gpu]
        self._call = native.squares(on_cpu, self._words) if on_cpu else None
        self._on_gpu = gpu_norm.launches([bucket for bucket in self.buckets if bucket.on_gpu])

    def on_host(self) -> np.ndarray[Any, Any]:
        """Return the sum of squares where it can be read."""
        self._words[:] = 0
        if self._call and (status := self._call(*torch_threads())):
            raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
        for words in self._by_tensor_operations():
            self._words += words.cpu().numpy()
        for launch in self._on_gpu:
            self._words += gpu_norm.squares([launch], launch.device, []).cpu().numpy()
        if self._mesh is None:
            return self._words
        return summed(torch.from_numpy(self._words).to(self._mesh.device_type), self._mesh).cpu().numpy()

    def on_device(self, kept: list[Any]) -> Tensor:
        """Return the sum of squares where it is computed, on a GPU."""
        device = self._device
        same = [launch for launch in self._on_gpu if launch.device == device]
        words = gpu_norm.squares(same, device, kept)
        others = [gpu_norm.squares([each], each.device, kept) for each in self._on_gpu if each.device != device]
        for other in (*others, *self._by_tensor_operations()):
            words += other.to(device, non_blocking=True)
        return words if self._mesh is None else summed(words, self._mesh)

    def _by_tensor_operations(self) -> Iterable[Tensor]:
        grads = (param.grad for param in self.params)
        return (squares_of(_numbers(inside(grad))) for grad in grads if grad is not None)


def _numbers(grad: Tensor) -> Tensor:
    """Return the numbers of a gradient, those of a row that it has several times added up."""
    return grad.coalesce().values() if is_sparse(grad) else grad


def parts_of(plan: Plan) -> list[GradientSum]:
    """Return the gradients of a plan, by how they are summed."""
    parts: dict[Any, GradientSum] = {}

    def part(param: Tensor) -> GradientSum | None:
        home = home_of(param)
        found = parts.setdefault(home[0], GradientSum(home[0], inside(param).device))
        return found if counts_here(home) else None

    for bucket in plan.first.buckets:
        if found := part(bucket.params[0]):
            found.buckets.append(bucket)
    for member in (*plan.by_tensor, *(row.member for row in plan.rows)):
        if found := part(member.param):
            found.params.append(member.param)
    for each in parts.values():
        each.prepare()
    return list(parts.values())


class Clipper:
    """What clips the gradients of an optimizer by their norm, and keeps what came of it.

    Attributes:
        norm: The norm in the last step, a number, or a tensor on the device that knows it; None before the first.
    """

    def __init__(self) -> None:
        self.norm: float | Tensor | None = None
        self._skipped: int | Tensor = 0
        self.forget()

    def forget(self) -> None:
        """Let go of the plan of the last step."""
        self._plan: Plan | None = None
        self._parts: list[GradientSum] = []

    @property
    def skipped(self) -> int:
        """How many steps were skipped; waits for a GPU that knows it."""
        return int(self._skipped)

    def skip(self, max_norm: float | None) -> None:
        """Count a step that was skipped, if gradients are clipped by their norm at all."""
        if max_norm is not None:
            self._skipped = self._skipped + 1

    def clip(
        self, plan: Plan, max_norm: float, scaling: gpu.Scaling, scale: float, kept: list[Any]
    ) -> tuple[gpu.Scaling, float | None]:
        """Return what scales the gradients of a step, that of the clipping included.

        Args:
            plan: The plan of the step, bound.
            max_norm: The largest norm that is left as it is.
            scaling: What scales them on a device.
            scale: What they are multiplied with here.
            kept: If a stream is being captured, what the graph will need is added here.

        Returns:
            Both again. The second is None if the norm is known to be infinite, so that nothing may change.
        """
        if plan is not self._plan:
            self._plan, self._parts = plan, parts_of(plan)
        if plan.counts_on_device and plan.all_on_gpu and not plan.all_on_cpu:
            return self._on_device(max_norm, scaling, scale, kept), scale
        _check_not_captured()
        words = [part.on_host() for part in self._parts]
        norm = clipping.norm(np.add.reduce(words)) * scale if words else 0.0
        self.norm = norm
        if not math.isfinite(norm):
            self.skip(max_norm)
            return scaling, None
        return scaling, scale * clipping.factor(norm, max_norm)

    def _on_device(self, max_norm: float, scaling: gpu.Scaling, scale: float, kept: list[Any]) -> gpu.Scaling:
        words = [part.on_device(kept) for part in self._parts]
        total = words[0]
        for other in words[1:]:
            total = total + other.to(total.device, non_blocking=True)
        if not isinstance(self._skipped, Tensor):
            self._skipped = torch.full((), self._skipped, dtype=torch.int64, device=total.device)
        found = gpu_norm.finish(total, max_norm, scale, scaling, self._skipped, kept)
        self.norm = found.norm
        return gpu.Scaling(scaling.grad_scale, found.found_inf, found.factor)


def _check_not_captured() -> None:
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "`max_grad_norm` must wait for the norm where tensor operations update a parameter, which a CUDA graph "
            "can't: paths() of the optimizer tells which one and why"
        )
