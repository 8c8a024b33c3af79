"""Buckets that are updated at the same time: on the CPU in one parallel region, on a GPU in few launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import call
from typing import Any

import numpy as np
import torch

from rmsprop import stretch_table
from rmsprop.threads import TorchUpdate
from rmsprop.torch import gpu, gpu_launch
from rmsprop.torch.bucket import Bucket
from rmsprop.torch.clipping.units import scale_cut_units
from rmsprop.torch.clipping.update_rms import agreement_scales, update_scales


class Stage:
    """Buckets that are updated at the same time.

    Args:
        buckets: The buckets, none of which writes where another one reads or writes.
    """

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self.buckets = buckets
        self._on_gpu = [bucket for bucket in buckets if bucket.on_gpu]
        self._copied = [bucket for bucket in buckets if bucket.copies.all]
        on_cpu = [bucket.batch for bucket in buckets if not bucket.on_gpu]
        # What scales updates on a GPU is measured by its launches.
        self._limited = [bucket for bucket in buckets if bucket.scales.limits_updates and not bucket.on_gpu]
        self._clipped = [bucket for bucket in buckets if bucket.scales.clips_units and not bucket.on_gpu]
        self._with_caution = [bucket for bucket in buckets if bucket.has_caution and not bucket.on_gpu]
        self.update = TorchUpdate(on_cpu) if on_cpu else None
        self._launches = gpu_launch.launches(self._on_gpu)
        self._ready: list[Callable[[], None]] = []

    def bind(self, written: stretch_table.Stretches, counters_stay: bool) -> bool:
        """Look at every tensor as it is now; return whether the kernels can run on all of them.

        Args:
            written: Where updates of other stages and of this one write.
            counters_stay: Whether no step counter was given other memory since the last time.
        """
        return all(bucket.bind(written, counters_stay) for bucket in self.buckets)

    def prepare(self, scaling: gpu.Scaling, kept: list[Any]) -> None:
        """Do what may fail because there is no memory, or the kernel does not compile, while nothing has changed.

        Args:
            scaling: What the Triton kernel reads on the device.
            kept: If a stream is being captured, what the graph will need is added here.
        """
        self._ready = [launch.prepared(scaling, kept) for launch in self._launches if launch.has_work]

    def run(self, scaling: gpu.Scaling) -> None:
        """Update everything and count the step.

        Args:
            scaling: What knows whether the step happens, if it is known on the device alone.

        Raises:
            RuntimeError: If torch's threads can't be used.
        """
        for bucket in self._copied:
            bucket.copies.fill(bucket.batch.sizes)
        if self._clipped:
            scale_cut_units([each for bucket in self._clipped for each in bucket.scales.clip_units(bucket.limits)])
        if self._limited:
            self._limit_updates()
        if self._with_caution:
            self._scale_agreements()
        for bucket in self._on_gpu:  # first, because a Ctrl-C is raised right after what C code was doing
            bucket.count(scaling.counted(bucket.device) if scaling.found_inf is not None else None)
        if self._copied:
            with torch.no_grad():
                self._run()
        else:
            self._run()
        for bucket in self.buckets:
            if not bucket.copied:  # copying raises it
                torch.autograd.graph.increment_version(bucket.active)  # as in-place operations do, for autograd

    def _limit_updates(self) -> None:
        """Compute what the update of each tensor is to be scaled by; in an order that all processes have."""
        measured = sorted(
            (row for bucket in self._limited for row in bucket.scales.measured_updates(bucket.limits.max_update_rms)),
            key=lambda row: row[0],
        )
        numbers, params, words, limits = zip(*measured, strict=True)
        scales = dict(zip(numbers, update_scales(params, np.stack(words), limits), strict=True))
        for bucket in self._limited:
            bucket.scales.scale_updates(scales)

    def _scale_agreements(self) -> None:
        """Count in which elements of each tensor the step agrees with the gradient; in an order as above."""
        counted = sorted(
            (row for bucket in self._with_caution for row in bucket.scales.agreements()), key=lambda row: row[0]
        )
        numbers, params, counts = zip(*counted, strict=True)
        scales = dict(zip(numbers, agreement_scales(params, np.array([counts]).T), strict=True))
        for bucket in self._with_caution:
            bucket.scales.scale_agreements(scales)

    def _run(self) -> None:
        if self.update:
            # In one call into C, which no Ctrl-C can cut in two: it comes before everything or after everything.
            status, *_ = map(call, [self.update.prepared(), *self._copies_out(on_gpu=False)])
            if status:
                raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
        for launch in [*self._ready, *self._copies_out(on_gpu=True)]:
            launch()

    def _copies_out(self, on_gpu: bool) -> list[Callable[[], Any]]:
        buckets = [bucket for bucket in self._copied if bucket.on_gpu is on_gpu]
        return [copy for bucket in buckets for copy in bucket.copies.copies_out(bucket.batch.sizes)]

    def release(self) -> None:
        """Let go of gradients, so that they can be freed."""
        self._ready = []
        for bucket in self.buckets:
            bucket.release()
