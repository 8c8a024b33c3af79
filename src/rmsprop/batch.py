"""The tables that the compiled kernel reads, of tensors that share a device and a storage type.

The library knows no framework. A front end gives it addresses (`Batch.place`), and may let it look at its tensor
objects before each update through DLPack's C exchange (`Batch.bind`).
"""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from rmsprop.layout import CPU, DTYPES, NUMBERS_BYTES, STATE_TABLES, BatchStruct, DeviceStruct, RuleStruct, scales_of
from rmsprop.library import libraries
from rmsprop.rule import Rule, agreement_scale
from rmsprop.storage import PACKINGS, ROUNDINGS, Packing, Rounding
from rmsprop.stretch_table import Stretches
from rmsprop.update_numbers import numbers_of

_BOUND, _NOT_DESCRIBED = -1, -2


class Batch:
    """Tensors that share a device, the arrays of their state and a storage type, as the tables that the kernel reads.

    Args:
        dtype: What parameters and gradients are stored as, a key of `DTYPES`. The kernel works in float64 for float64
            and in float32 for the others.
        count: The number of tensors.
        rule: What to compute; it decides which state arrays there are (`Rule.state_names`).
        device: DLPack's type and number of the device that the tensors are on. `rmsprop.native.update` takes batches
            on the CPU alone. Default: the CPU.
        steps: ``"float32"`` or ``"float64"`` if an update is to count one more in an element of that dtype per tensor,
            on the CPU. Default None: somebody else counts.
        rounding: How parameters of 16 bits are rounded; ``"stochastic"`` needs ``steps``. Default ``"nearest"``.
        seed: Chooses the random bits of stochastic rounding. Default 0.
        packing: What state is packed into, by random bits, which needs ``steps`` and `number`; not for float64.
            Default None: it is kept in the precision in which the kernel works.
        averages: Whether an iterate per tensor, an array ``z``, takes the steps that it averages. Default False.

    Examples:
        >>> Batch("float32", 0, Rule(momentum=0.9)).state_columns
        ('square_avg', 'momentum_buffer')
    """

    def __init__(
        self,
        dtype: str,
        count: int,
        rule: Rule,
        device: tuple[int, int] = CPU,
        steps: str | None = None,
        rounding: Rounding = "nearest",
        seed: int = 0,
        packing: Packing | None = None,
        averages: bool = False,
    ) -> None:
        self.dtype, self.rounding, self.packing = dtype, rounding, packing
        self._not_yet_averaged = (0.0, 0.0, 0.0) if averages else None
        kept = (*rule.state_names, "z") if averages else rule.state_names
        self.state_columns = tuple(name for name in STATE_TABLES if name in kept)
        self._columns = (
            "params",
            "grads",
            *(STATE_TABLES[name] for name in self.state_columns),
            *(scales_of(name) for name in self.state_columns if packing == "8bit"),
            *(("lost",) if rounding == "kahan" else ()),
            *(("steps",) if steps else ()),
        )
        self.sizes = array("q", bytes(8 * count))
        self._tables = array("Q", bytes(8 * count * len(self._columns)))
        self.struct = BatchStruct(
            dtype=DTYPES[dtype],
            device=DeviceStruct(*device),
            equal_steps=bool(steps) and rule.depends_on_step,
            count=count,
            sizes=self.sizes.buffer_info()[0],
            wide_steps=steps == "float64",
            rounding=ROUNDINGS.index(rounding),
            seed=seed,
            packing=(None, *PACKINGS).index(packing),
        )
        start = self._tables.buffer_info()[0]
        for position, name in enumerate(self._columns):
            setattr(self.struct, name, start + 8 * count * position)
        self.rule = rule
        self._numbers: tuple[Any, ...] = ()
        self.set_numbers(0.0, 1)  # the options among them decide which tables are read

    @property
    def columns(self) -> int:
        """How many tensors the kernel is given per parameter: itself, its gradient, its state, its counter of steps."""
        return len(self._columns)

    def set_numbers(
        self,
        lr: float,
        step: int,
        *,
        maximize: bool = False,
        grad_scale: float = 1.0,
        max_grad: float = math.inf,
        rule: Rule | None = None,
        averaged: tuple[float, float, float] | None = None,
    ) -> None:
        """Set what the next update computes, if it changed.

        Args:
            lr: The learning rate.
            step: The number of the update, counted from 1.
            maximize: Ascend instead of descend. Default False.
            grad_scale: What gradients are multiplied with first. Default 1.
            max_grad: What the magnitude of each of their elements is then limited to. Default: nothing.
            rule: What to compute from now on, with the same state arrays. Default None: what it was.
            averaged: As for `numbers_of`, of a batch that averages.
        """
        rule = self.rule if rule is None else rule
        averaged = averaged or self._not_yet_averaged
        numbers = rule, lr, step, maximize, grad_scale, max_grad, averaged
        if numbers != self._numbers:
            self._numbers = ()  # unknown, should a Ctrl-C come in between
            self.rule = rule
            self.struct.rule = RuleStruct(
                **numbers_of(
                    rule,
                    lr,
                    step,
                    maximize=maximize,
                    grad_scale=grad_scale,
                    max_grad=max_grad,
                    limits_update=bool(self.struct.update_scales),
                    averaged=averaged,
                )
            )
            self._numbers = numbers

    def place(self, sizes: Iterable[int], addresses: Iterable[int]) -> None:
        """Set the tables from addresses; the caller answers for them.

        Args:
            sizes: The number of elements of each tensor.
            addresses: The addresses, in rows: of the parameters, of their gradients, of ``square_avg`` or ``grad_var``,
                of ``grad_avg`` and of ``momentum_buffer``, as far as the rule has them, of the scales of each if they
                are codes of 8 bits, of what rounding took off, and of the counters of steps.

        Raises:
            ValueError: If there are not as many as the batch was made for.
        """
        new_sizes, new_tables = array("q", sizes), array("Q", addresses)
        if (len(new_sizes), len(new_tables)) != (len(self.sizes), len(self._tables)):
            raise ValueError(
                f"{len(new_sizes)} sizes and {len(new_tables)} addresses were given to a batch of {len(self.sizes)} "
                f"tensors, which takes {len(self._tables)} addresses"
            )
        self.sizes[:], self._tables[:] = new_sizes, new_tables

    def number(self, places: Iterable[tuple[int, int, int, int]]) -> None:
        """Set what random bits go by.

        Args:
            places: Per tensor the number of its parameter, the index of its first element in the whole parameter, the
                length of a run of elements that follow each other there too, and how far the next run begins from it.
        """
        self._places = array("q", chain.from_iterable(places))
        self.struct.places = self._places.buffer_info()[0]

    def limit_updates(self) -> np.ndarray[Any, Any]:
        """Return what the quotients of each tensor will be multiplied with, an array of ones to be written to."""
        self._update_scales = np.ones(len(self.sizes))
        self.struct.update_scales = self._update_scales.ctypes.data
        self._numbers = ()
        return self._update_scales

    def part_units(self, counts: Sequence[int], sizes: Sequence[int]) -> list[np.ndarray[Any, Any]]:
        """Let parts of a tensor have gradients that are scaled apart; not with state in 8 bits.

        Args:
            counts: How many units each tensor has, one behind the other in memory.
            sizes: The numbers in each of them.

        Returns:
            Per tensor what the gradient of each unit is multiplied with: ones, to be written to, or by `scale_units`.
        """
        scales = [np.ones(count) for count in counts]
        self._unit_sizes, self._unit_tables = array("q", sizes), array("Q", [each.ctypes.data for each in scales])
        self.struct.unit_sizes = self._unit_sizes.buffer_info()[0]
        self.struct.unit_scales = self._unit_tables.buffer_info()[0]
        return scales

    def scale_units(self, max_ratio: float, parallel_for: int | None, threads: int) -> None:
        """Set what clips the gradient of each unit, as `rmsprop.clipping.unit_factors` tells.

        Args:
            max_ratio: What the norm of a gradient is at most, in norms of its parameters.
            parallel_for: As for `rmsprop.native.update`.
            threads: As for `rmsprop.native.update`.

        Raises:
            RuntimeError: If ``parallel_for`` fails.
        """
        scale = libraries()[0].rmsprop_scale_units
        if status := scale(ctypes.pointer(self.struct), max_ratio, parallel_for, threads):
            raise RuntimeError(f"the parallel region of the kernel failed with status {status}")

    def scale_agreements(self, scales: Sequence[float]) -> None:
        """Set what the steps of each tensor that agree with their gradients are multiplied with, for ``caution``."""
        self._agreement_scales = np.array(scales, np.float64)
        self.struct.agreement_scales = self._agreement_scales.ctypes.data

    def count_agreements(self, parallel_for: int | None, threads: int) -> None:
        """Count which steps agree with their gradients, and set what they are multiplied with.

        For tensors that no other process has a part of. Everything else about the update must be set.

        Args:
            parallel_for: As for `rmsprop.native.update`.
            threads: As for `rmsprop.native.update`.

        Raises:
            RuntimeError: If ``parallel_for`` fails.
        """
        counts = self.agreements(parallel_for, threads).tolist()
        self.scale_agreements([agreement_scale(n, size) for n, size in zip(counts, self.sizes, strict=True)])

    def agreements(self, parallel_for: int | None, threads: int) -> np.ndarray[Any, Any]:
        """Return in how many elements of each tensor the step of an update agrees with the gradient.

        Everything about the update must be set, and it must have momentum.

        Args:
            parallel_for: As for `rmsprop.native.update`.
            threads: As for `rmsprop.native.update`.

        Returns:
            A count per tensor.

        Raises:
            RuntimeError: If ``parallel_for`` fails.
        """
        counts = np.zeros(len(self.sizes), np.int64)
        count = libraries()[0].rmsprop_count_agreements
        if status := count(ctypes.pointer(self.struct), parallel_for, threads, counts.ctypes.data):
            raise RuntimeError(f"the parallel region of the kernel failed with status {status}")
        return counts

    def place_grads(self, addresses: Iterable[int]) -> None:
        """Set where the gradients are, after `place` has set the rest; the caller answers for them.

        Args:
            addresses: The addresses, one per tensor.

        Raises:
            ValueError: If there are not as many as the batch was made for.
        """
        new, count = array("Q", addresses), len(self.sizes)
        if len(new) != count:
            raise ValueError(f"{len(new)} addresses were given to a batch of {count} tensors")
        self._tables[count : 2 * count] = new

    def bind(self, objects: int, describe: int | None, written: Stretches, steps_stay: bool = False) -> int | None:
        """Look at tensor objects, checking each against what the kernel can do and against the tables.

        Gradients may lie anywhere but where updates write; everything else must lie where `place` said.

        Args:
            objects: The address of a table of references to Python objects, in the rows of `place`. A gradient that is
                None lets its tensor rest.
            describe: The address of the framework's DLPack function ``dltensor_from_py_object_no_sync``.
            written: Where updates write.
            steps_stay: Whether the counters of steps are certain to lie where `place` said, so that their objects need
                not be looked at. Default False.

        Returns:
            None if all fit, else the position in ``objects`` of the first that does not.

        Raises:
            Exception: Whatever the framework raises for an object that DLPack cannot describe.
        """
        found: int = libraries()[1].rmsprop_bind(self.struct, objects, id(None), describe, written.struct, steps_stay)
        if found == _NOT_DESCRIBED:
            raise BufferError("a tensor has no memory that DLPack can describe")
        return None if found == _BOUND else found

    def count(self) -> None:
        """Count a step of every tensor that takes part in an update which somebody else makes."""
        libraries()[0].rmsprop_count(self.struct)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """Return the addresses in one of the tables, one per tensor, as they are now and will be.

        Args:
            name: ``"params"``, ``"grads"``, ``"spreads"`` (square_avg or grad_var), ``"means"`` (grad_avg),
                ``"buffers"`` (momentum_buffer), what `scales_of` returns, ``"lost"`` or ``"steps"``.

        Returns:
            A view of them, or zeros if the batch has no such array.
        """
        if name not in self._columns:
            return np.zeros(len(self.sizes), dtype=np.int64)
        return self.row(self._columns.index(name))

    def row(self, number: int) -> np.ndarray[Any, Any]:
        """Return the addresses in one row of `place`, counted from 0, as they are now and will be."""
        count = len(self.sizes)
        return np.frombuffer(self._tables, np.int64, count, 8 * count * number)

    @property
    def numbers(self) -> np.ndarray[Any, Any]:
        """The numbers of the next update, the struct of `NUMBERS`, in words of 8 bytes."""
        return np.frombuffer(memoryview(self.struct), dtype=np.int64, count=NUMBERS_BYTES // 8)
