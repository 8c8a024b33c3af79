"""How numbers are stored: how a group rounds parameters of 16 bits and packs state, and which random bits it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.storage import ROUNDINGS, Packing, Rounding, noise, round_stochastically, split, working_dtype
from rmsprop.torch.local import inside, is_shard

LOST = "compensation"  # the name of the state that holds what rounding took off
_NAMES = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
_WHOLE = 2**62  # a run that no parameter is longer than
MOST_SEED = 2**64 - 1


@dataclass(frozen=True, slots=True)
class RoundingChoice:
    """How a group rounds its parameters of 16 bits, and what it packs state into.

    Args:
        rounding: ``"nearest"``, ``"stochastic"`` or ``"kahan"``.
        seed: Chooses the random bits.
        packing: ``"bfloat16"``, ``"8bit"``, or None for state in the precision in which updates work.
    """

    rounding: Rounding = "nearest"
    seed: int = 0
    packing: Packing | None = None

    def of(self, dtype: torch.dtype) -> Rounding:
        """Return how a parameter of a dtype is rounded: with more than 16 bits to the nearest, which it is already."""
        return self.rounding if dtype in _NAMES else "nearest"

    def is_plain(self, dtype: torch.dtype) -> bool:
        """Whether a parameter of a dtype and its state are stored as torch has them."""
        return self.packing is None and self.of(dtype) == "nearest"

    @property
    def words(self) -> str:
        """The option that asks for something else than torch does."""
        if self.packing is None:
            return f"rounding={self.rounding!r}"
        return f"state_dtype={'torch.bfloat16' if self.packing == 'bfloat16' else repr(self.packing)}"

    def keeps_lost(self, dtype: torch.dtype) -> bool:
        """Whether what rounding takes off a parameter of a dtype is kept."""
        return self.of(dtype) == "kahan"


TO_NEAREST = RoundingChoice()


def state_dtype(param: Tensor) -> torch.dtype:
    """Return the dtype of a parameter's state: its own, but at least 32 bits."""
    return _state_dtype(param.dtype)


def kept_dtype(param: Tensor, choice: RoundingChoice) -> torch.dtype:
    """Return the dtype of what is held of each array of a parameter's state."""
    if choice.packing is None:
        return state_dtype(param)
    return torch.bfloat16 if choice.packing == "bfloat16" else torch.uint8


@cache
def _state_dtype(dtype: torch.dtype) -> torch.dtype:
    kept: torch.dtype = getattr(torch, working_dtype(str(dtype).removeprefix("torch.")))
    return kept


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in the precision in which updates work."""
    return tensor.to(_state_dtype(tensor.dtype))


def choice_of(group: Mapping[str, Any]) -> RoundingChoice:
    """Return what a parameter group chooses.

    Args:
        group: A parameter group of `rmsprop.torch.RMSprop`.

    Raises:
        TypeError: If ``seed`` is no whole number.
        ValueError: If a choice is unknown or out of range.
        RuntimeError: If the step can't be what it must be for it.
    """
    rounding, seed, packing = group["rounding"], group["seed"], _packing_of(group["state_dtype"])
    if rounding == "nearest" and seed == 0 and packing is None:
        return TO_NEAREST
    if rounding not in ROUNDINGS:
        raise ValueError(f"Invalid rounding: {rounding!r} (allowed: {', '.join(map(repr, ROUNDINGS))})")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"Invalid seed: {seed!r} is a {type(seed).__name__} (allowed: a whole number)")
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"Invalid seed: {seed} (allowed: a whole number from 0 to 2**64 - 1)")
    if rounding != "nearest" and group["differentiable"]:
        raise RuntimeError(f"`rounding={rounding!r}` has no derivative: use rounding='nearest' with `differentiable`")
    if packing is not None and group["differentiable"]:
        chosen = group["state_dtype"]
        raise RuntimeError(f"`state_dtype={chosen!r}` has no derivative: use state_dtype=None with `differentiable`")
    return RoundingChoice(rounding, seed, packing)


def _packing_of(state_dtype: object) -> Packing | None:
    if state_dtype is None:
        return None
    if isinstance(state_dtype, torch.dtype) and state_dtype == torch.bfloat16:
        return "bfloat16"
    if isinstance(state_dtype, str) and state_dtype == "8bit":
        return "8bit"
    raise ValueError(
        f"Invalid state_dtype: {state_dtype!r} (allowed: torch.bfloat16, '8bit', or None, which keeps state in float32)"
    )


def check_dtype(name: str, param: Tensor, choice: RoundingChoice) -> None:
    """Refuse a parameter that nobody can mean: float64 has its own noise, far below that of 16 bits.

    Args:
        name: What an error calls the parameter.
        param: The parameter.
        choice: What its group chooses.

    Raises:
        ValueError: If it is float64 or complex128 and to be rounded otherwise than to the nearest, or its state can't
            be packed.
    """
    if choice.packing is not None and (param.is_complex() or param.dtype == torch.float64):
        raise ValueError(
            f"parameter {name} is {param.dtype}, but {choice.words} is for state of float32: put it into a group with "
            "state_dtype=None"
        )
    if choice.rounding != "nearest" and param.dtype in (torch.float64, torch.complex128):
        raise ValueError(
            f"parameter {name} is {param.dtype}, but rounding={choice.rounding!r} is for parameters of 16 bits (those "
            "of float32 beside them are left as they are): put it into a group with rounding='nearest'"
        )


def unfit_rounding(param: Tensor, choice: RoundingChoice) -> str | None:
    """Return why no kernel can round a parameter as its group chooses, or None if one can.

    Args:
        param: The parameter.
        choice: What its group chooses.

    Returns:
        A reason that completes "the parameter ...".
    """
    is_nearest = choice.of(param.dtype) == "nearest"
    if not is_nearest and param.grad is not None and param.grad.dtype != param.dtype:
        return f"is {param.dtype} with rounding={choice.rounding!r}, but its gradient {param.grad.dtype}"
    takes_chances = choice.of(param.dtype) == "stochastic" or choice.packing is not None
    if takes_chances and is_shard(param) and _place_of_shard(0, param) is None:
        return f"is cut along dimensions after its first, so that its elements can't be numbered for {choice.words}"
    return None


def place_of(number: int, param: Tensor) -> tuple[int, int, int, int]:
    """Return what `rmsprop.batch.Batch.number` takes for a parameter, or for this process' shard of it.

    Args:
        number: The number of the parameter in the optimizer.
        param: The parameter.
    """
    place = _place_of_shard(number, param) if is_shard(param) else (number, 0, _WHOLE, 0)
    assert place is not None  # see `unfit_rounding`
    return place


def _place_of_shard(number: int, param: Any) -> tuple[int, int, int, int] | None:
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset  # loaded: there is a shard

    shape, offset = compute_local_shape_and_global_offset(param.shape, param.device_mesh, param.placements)
    cut = [d for d, (here, all_) in enumerate(zip(shape, param.shape, strict=True)) if here != all_]
    if not cut:
        return number, 0, _WHOLE, 0
    # Runs of the last dimension cut follow each other evenly if nothing but the outermost dimension is cut beside it.
    are_even = len(cut) == 1 or (len(cut) == 2 and prod(param.shape[: cut[0]]) == 1)
    if not are_even or not inside(param).is_contiguous():
        return None
    inner = prod(param.shape[cut[-1] + 1 :])
    start = sum(offset[d] * prod(param.shape[d + 1 :]) for d in cut)
    return number, start, max(1, shape[cut[-1]] * inner), param.shape[cut[-1]] * inner


class Rounder:
    """What rounds one parameter in one update, where NumPy makes it.

    Args:
        choice: What its group chooses.
        number: Its number in the optimizer.
        step: The number of the update, counted from 1.
        param: The parameter, which is written to.
        lost: What rounding took off it so far, which is written to; None if that isn't kept.
    """

    def __init__(
        self, choice: RoundingChoice, number: int, step: int, param: Tensor, lost: Tensor | None = None
    ) -> None:
        self._choice, self._number, self._step = choice, number, step
        self._dtype = _NAMES[param.dtype]
        self._param, self._lost = param, lost

    def read(self) -> Tensor:
        """Return the parameter in float32, with what was taken off it."""
        values = self._param.detach().float()
        return values if self._lost is None else values + self._lost.float()

    def write(self, values: Tensor) -> None:
        """Write the parameter's new numbers.

        Args:
            values: float32, of its shape.
        """
        numbers = values.contiguous().numpy()
        if self._lost is not None:
            high, low = split(numbers, self._dtype)
            self._lost.copy_(self._as_tensor(low))
        else:
            index = _positions(self._param).numpy()
            high = round_stochastically(numbers, noise(self._choice.seed, self._step, self._number, index), self._dtype)
        self._param.copy_(self._as_tensor(high))

    def _as_tensor(self, stored: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(stored.view(np.int16)).view(self._param.dtype)


def _positions(param: Tensor) -> Tensor:
    """Return the place of each element in the order in which a kernel goes through the parameter's memory."""
    order = torch.empty_like(param, dtype=torch.int64)
    order.as_strided((order.numel(),), (1,)).copy_(torch.arange(order.numel(), device=order.device))
    return order.contiguous()
