"""The structs of native/rmsprop.h: the numbers of an update and the tables of a batch, as ctypes has them.

`layout` tells where each field is; the library tells the same when it loads, and the two must agree.
"""

from __future__ import annotations

import ctypes
from typing import Any

from rmsprop.clipping import LIMBS

DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
CPU = (1, 0)  # a device as DLPack has it: its type and its number
RESTS = -1  # the size of a tensor that takes no part in an update
# The numbers of an update, in the order in which the kernel has them.
NUMBERS: dict[str, Any] = {
    "lr": ctypes.c_double,
    "grad_scale": ctypes.c_double,
    "gain": ctypes.c_double,
    "keep": ctypes.c_double,
    "eps_inside": ctypes.c_double,
    "eps_outside": ctypes.c_double,
    "momentum": ctypes.c_double,
    "momentum_loss": ctypes.c_double,
    "momentum_gain": ctypes.c_double,
    "weight_decay": ctypes.c_double,
    "max_grad": ctypes.c_double,
    "max_quotient": ctypes.c_double,
    "is_first": ctypes.c_double,
    "share": ctypes.c_double,
    "average_lr": ctypes.c_double,
    "new_is_base": ctypes.c_int32,
    "centered": ctypes.c_int32,
    "has_momentum": ctypes.c_int32,
    "short_momentum": ctypes.c_int32,
    "nesterov": ctypes.c_int32,
    "lr_in_momentum": ctypes.c_int32,
    "weight_decay_mode": ctypes.c_int32,
    "delayed": ctypes.c_int32,
    "limits": ctypes.c_int32,
    "averages": ctypes.c_int32,
    "caution": ctypes.c_int32,
}
WEIGHT_DECAY_MODES = {"l2": 1, "decoupled": 2, "cautious": 3}
_SCALES = ("spread_scales", "mean_scales", "buffer_scales")
STATE_TABLES = {"square_avg": "spreads", "grad_var": "spreads", "grad_avg": "means"}
STATE_TABLES |= {"momentum_buffer": "buffers", "z": "buffers"}  # a rule has one of the two


class RuleStruct(ctypes.Structure):
    """The numbers of an update: ``rmsprop_rule``."""

    _fields_ = tuple(NUMBERS.items())


class DeviceStruct(ctypes.Structure):
    """A device, as DLPack has it."""

    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class BatchStruct(ctypes.Structure):
    """The tables of tensors that share a device and a storage type: ``rmsprop_batch``."""

    _fields_ = (
        ("rule", RuleStruct),
        ("dtype", ctypes.c_int32),
        ("device", DeviceStruct),
        ("equal_steps", ctypes.c_int32),
        ("count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("sizes", "params", "grads", "spreads", "means", "buffers", "steps")),
        ("wide_steps", ctypes.c_int32),
        ("step", ctypes.c_double),
        ("rounding", ctypes.c_int32),
        ("seed", ctypes.c_uint64),
        ("places", ctypes.c_void_p),
        ("lost", ctypes.c_void_p),
        ("update_scales", ctypes.c_void_p),
        ("agreement_scales", ctypes.c_void_p),
        ("unit_sizes", ctypes.c_void_p),
        ("unit_scales", ctypes.c_void_p),
        ("packing", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in _SCALES),
    )


class SquaresStruct(ctypes.Structure):
    """A sum of squares: ``rmsprop_squares``."""

    _fields_ = (
        ("limbs", ctypes.c_int64 * 2 * LIMBS),
        ("infinities", ctypes.c_int64),
        ("nans", ctypes.c_int64),
    )


class RowsStruct(ctypes.Structure):
    """Which rows have gradients, and what steps without them left of averages: ``rmsprop_rows``."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("per_unit", ctypes.c_int64),
        ("last", ctypes.c_void_p),
        ("now", ctypes.c_int64),
        ("entries", ctypes.c_int64),
        ("indices", ctypes.c_void_p),
        ("segments", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("begins", "corrected", "kept", "lost", "later_kept", "later_lost")),
        ("chosen", ctypes.c_int64),
        ("units", ctypes.c_void_p),
        ("drift_begin", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("drift_kept", "drift_taken", "drift_left")),
        ("rowwise", ctypes.c_int32),
        ("stale_decay", ctypes.c_double),
    )


def scales_of(name: str) -> str:
    """Return the table with the scales of an array of state.

    Examples:
        >>> scales_of("grad_var")
        'spread_scales'
    """
    return f"{STATE_TABLES[name].removesuffix('s')}_scales"


class StretchStruct(ctypes.Structure):
    """Stretches of memory: ``rmsprop_stretches``."""

    _fields_ = (("count", ctypes.c_int64), ("begins", ctypes.c_void_p), ("ends", ctypes.c_void_p))


NUMBERS_BYTES = ctypes.sizeof(RuleStruct)


def offset(number: str) -> int:
    """Return where one of `NUMBERS` stands in the kernel's struct, in bytes.

    Examples:
        >>> offset("grad_scale")
        8
    """
    place: int = getattr(RuleStruct, number).offset
    return place


def layout() -> str:
    """Return where the fields of the structs above are, in the words of ``rmsprop_layout``."""

    def told(name: str, struct: Any) -> list[str]:
        places = [f"{field}:{getattr(struct, field).offset}" for field, *_ in struct._fields_]
        return [*places, f"{name}:{ctypes.sizeof(struct)}"]

    return " ".join(
        [
            *told("rmsprop_rule", RuleStruct),
            *told("rmsprop_batch", BatchStruct),
            *told("rmsprop_squares", SquaresStruct),
            *told("rmsprop_rows", RowsStruct),
        ]
    )
