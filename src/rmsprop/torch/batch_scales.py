"""What the compiled kernel multiplies gradients and updates of whole tensors with, measured before it updates them.

Adaptive clipping multiplies the gradient of each unit with a factor, ``max_update_rms`` the quotients g/√v of a tensor,
and ``caution`` those of its steps that agree with their gradients. `rmsprop.torch.gpu_scales` is the same on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from rmsprop import layout, native
from rmsprop.batch import Batch
from rmsprop.threads import torch_threads
from rmsprop.torch.clipping.limits import Limits
from rmsprop.torch.clipping.units import CutUnits, cuts, units_of
from rmsprop.torch.local import as_real, is_shard


class BatchScales:
    """What scales the updates of the tensors of a batch.

    Args:
        batch: The batch.
        numbers: The number of each parameter in the optimizer.
        params: The parameters, all shards or none.
        memories: What the kernel updates of them.
        limits_updates: Whether the root mean square of each tensor's update is limited.
        clips_units: Whether gradients are clipped unit by unit.
    """

    def __init__(
        self,
        batch: Batch,
        numbers: Sequence[int],
        params: Sequence[Tensor],
        memories: Sequence[Tensor],
        limits_updates: bool,
        clips_units: bool,
    ) -> None:
        self._batch, self._numbers, self._params = batch, numbers, params
        self.limits_updates, self.clips_units = limits_updates, clips_units
        self._of_updates = batch.limit_updates() if limits_updates else None
        self._of_units = _parted(batch, memories) if clips_units else []

    def clip_units(self, limits: Limits) -> list[CutUnits]:
        """Set what clips the gradient of each unit; return what remains to be set because processes share units.

        Args:
            limits: The limits of the update.
        """
        self._batch.scale_units(limits.max_grad_ratio, *torch_threads())
        if not is_shard(self._params[0]):
            return []
        rows = zip(self._numbers, self._params, self._of_units, self._batch.sizes, strict=True)
        return [
            CutUnits(number, param, scales, limits)
            for number, param, scales, size in rows
            if size != layout.RESTS and cuts(param)
        ]

    def measured_updates(self, max_rms: float) -> list[tuple[int, Tensor, np.ndarray[Any, Any], float]]:
        """Return of each tensor its number, itself, the sum of the squares of its g/√v, and the limit to their RMS.

        Args:
            max_rms: The limit.
        """
        words = native.update_squares(self._batch, *torch_threads())
        return [(*each, max_rms) for each in zip(self._numbers, self._params, words, strict=True)]

    def scale_updates(self, scales: Mapping[int, float]) -> None:
        """Set what g/√v of each tensor is multiplied with, by its number."""
        assert self._of_updates is not None, "only what is limited is measured"
        self._of_updates[:] = [scales[number] for number in self._numbers]

    def agreements(self) -> list[tuple[int, Tensor, int]]:
        """Return of each tensor its number, itself, and in how many elements its step agrees with its gradient."""
        counts = self._batch.agreements(*torch_threads())
        return list(zip(self._numbers, self._params, counts.tolist(), strict=True))

    def scale_agreements(self, scales: Mapping[int, float]) -> None:
        """Set what the steps that agree are multiplied with in each tensor, by its number."""
        self._batch.scale_agreements([scales[number] for number in self._numbers])


def _parted(batch: Batch, memories: Sequence[Tensor]) -> list[np.ndarray[Any, Any]]:
    counts = list(map(units_of, memories))
    sizes = [as_real(each).numel() // max(n, 1) for each, n in zip(memories, counts, strict=True)]
    return batch.part_units(counts, sizes)
