"""State of bitsandbytes' RMSprop, read and written: float32, or its 8-bit code.

In the code a byte stands for a fraction of the largest number in its block of 256, the nearest of the 256 fractions of
`_fractions`. Parameters of fewer than 4096 numbers stay in float32. All as in `bitsandbytes.optim.RMSprop8bit` 0.50.2
(``optim/optimizer.py``, ``functional.create_dynamic_map``, ``csrc/kernels.cu``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.neutral import CheckpointError, Group, Parameter, narrowed

# Under which its state dicts keep everything but the step since 0.49.2, so that sharding leaves it alone.
NESTED = "__bnb_optimizer_quant_state__"
_BLOCK_SIZES = (256, 2048, 64, 128, 512, 1024, 4096)
_BLOCK_SIZE = _BLOCK_SIZES[0]
_MIN_8BIT_SIZE = 4096
_DECADES = 7
_MUCH = 0.1  # of a number; a change above it is counted in a note


def flat(state: Any) -> Mapping[str, Any]:
    """Return a parameter's state with what bitsandbytes keeps a level below on the first.

    Args:
        state: A parameter's state in a state dict; whatever is no mapping counts as none.
    """
    if not isinstance(state, Mapping):
        return {}
    nested = state.get(NESTED)
    return {**state, **nested} if isinstance(nested, Mapping) else state


def settings_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `rmsprop.Rule` that a parameter group of bitsandbytes' says."""
    if "betas" not in group or "lr" not in group:
        raise CheckpointError("a parameter group has no betas or lr, so this is not a state dict of bitsandbytes")
    # It takes a momentum and does nothing with it.
    return {
        "decay": float(group["betas"][0]),
        "eps": group["eps"],
        "weight_decay": group["weight_decay"],
        "momentum": 0.0,
    }


def new_group(group: Group) -> dict[str, Any]:
    """Return a parameter group of bitsandbytes' for what is known of one: the inverse of `settings_of`."""
    settings = group.settings
    betas = (settings["decay"], 0.0)
    return {"lr": group.lr, "betas": betas, "eps": settings["eps"], "weight_decay": settings["weight_decay"]}


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Check that a live optimizer is an RMSprop of bitsandbytes', whatever its class is called."""
    if getattr(optimizer, "optimizer_name", None) != "rmsprop":
        raise CheckpointError(f"{type(optimizer).__name__} is not bitsandbytes' RMSprop: give one, or its state dict")


def check_method(names: set[str], groups: Sequence[Mapping[str, Any]]) -> None:
    """Check that a state dict of bitsandbytes' is not another method's, as far as that can be told.

    Args:
        names: What the states in it have, flat.
        groups: Its parameter groups.

    Raises:
        CheckpointError: If it has two averages, or no decay.
    """
    if "state2" in names:
        raise CheckpointError(
            "the state dict is not an RMSProp's, but one of bitsandbytes' Adam or its kin, which have two averages "
            "(state1 and state2)"
        )
    if any(not group["betas"][0] for group in groups if "betas" in group):
        raise CheckpointError(
            "the state dict is not an RMSProp's, but one of bitsandbytes' Adagrad: its parameter groups have no decay "
            "(betas[0] is 0)"
        )


def notes_of(states: Mapping[Any, Any], groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what whoever reads a state dict of bitsandbytes' must know.

    Args:
        states: Its state for each parameter.
        groups: Its parameter groups.
    """
    if any(group["betas"][1] for group in groups):
        yield "bitsandbytes was given a momentum, which its RMSprop ignores: there is no buffer to move"
    if any("absmax1" in flat(state) for state in states.values()):
        yield (
            "the state is bitsandbytes' 8-bit code, whose averages move in jumps: they are taken as they are, and come "
            "right within some 4/(1 - decay) steps"
        )


def is_code(value: Any) -> bool:
    """Whether a ``state1`` holds bytes, not numbers."""
    return isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex())


def check_order(name: str, state: Mapping[str, Any]) -> None:
    """Check that it can be told which number belongs to which element of a parameter.

    bitsandbytes makes state in the parameter's memory order, and then the parameter contiguous (`update_step` in its
    ``optim/optimizer.py``). Its kernels for GPUs go through both as they lie in memory; on a CPU, elements are paired.

    Args:
        name: What an error calls the parameter.
        state: Its state, flat.

    Raises:
        CheckpointError: If ``state1`` lies in memory in another order.
    """
    if isinstance(state.get("state1"), Tensor) and not state["state1"].is_contiguous():
        raise CheckpointError(
            f"state1 of parameter {name!r} lies in another memory order (channels_last, say), in which bitsandbytes on "
            "a GPU pairs other elements with the parameter's than on a CPU: put state1.contiguous() in its place if it "
            "was trained on a CPU, and its numbers in the order of memory if on a GPU"
        )


def numbers(name: str, state: Mapping[str, Any]) -> Tensor:
    """Return the numbers that a parameter's codes stand for.

    Args:
        name: What an error calls the parameter.
        state: Its state, flat.

    Returns:
        float32, of the parameter's shape.

    Raises:
        CheckpointError: If the code can't be read.
    """
    codes, fractions, largest = state["state1"], state.get("qmap1"), state.get("absmax1")
    if not (isinstance(fractions, Tensor) and isinstance(largest, Tensor)):
        raise CheckpointError(
            f"the state of parameter {name!r} is bitsandbytes' 8-bit code of a time before it had blocks (state1 "
            "without qmap1 and absmax1): convert the checkpoint of a 32-bit run"
        )
    size = _block_size(codes, largest)
    if size is None:
        raise CheckpointError(
            f"the state of parameter {name!r} has {codes.numel()} codes of bitsandbytes and {largest.numel()} values "
            f"in absmax1, which belongs to no size of blocks ({', '.join(map(str, sorted(_BLOCK_SIZES)))}): save it "
            "again"
        )
    return _ByteCode(fractions=fractions.float(), block_size=size).decoded(codes, largest.float())


def _block_size(codes: Tensor, largest: Tensor) -> int | None:
    return next((size for size in _BLOCK_SIZES if -(codes.numel() // -size) == largest.numel()), None)


@cache
def _fractions() -> Tensor:
    """Return what the bytes stand for, in ascending order: 0, 1, and both signs of 127 numbers between.

    The numbers from 10⁻⁷ to 1 are given out by decades: 1 to the lowest, twice as many to each above it, in the middles
    of as many equal parts. In torch's float32, as bitsandbytes makes them: equal bits are meant.
    """
    decades = []
    for decade in range(_DECADES):
        bounds = torch.linspace(0.1, 1, 2**decade + 1, dtype=torch.float32, device="cpu")
        decades.append(10.0 ** (decade - _DECADES + 1) * ((bounds[:-1] + bounds[1:]) / 2))
    between = torch.cat(decades)
    return torch.cat([-between, torch.tensor([0.0, 1.0], device="cpu"), between]).sort().values


@dataclass(frozen=True, kw_only=True, slots=True)
class _ByteCode:
    """What the bytes of one parameter stand for."""

    fractions: Tensor
    block_size: int

    def encoded(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes nearest to numbers, in the numbers' shape, and the largest number of each block."""
        row = values.flatten()
        blocks = torch.nn.functional.pad(row, (0, -row.numel() % self.block_size)).view(-1, self.block_size)
        largest = blocks.amax(1)
        codes = torch.bucketize(
            blocks / largest[:, None], (self.fractions[:-1] + self.fractions[1:]) / 2, out_int32=True
        ).to(torch.uint8)
        codes[largest == 0] = 0  # 0 times any fraction; bitsandbytes takes the first
        return codes.flatten()[: row.numel()].view(values.shape), largest

    def decoded(self, codes: Tensor, largest: Tensor) -> Tensor:
        """Return the numbers that codes stand for, in the codes' shape."""
        shares = self.fractions[codes.flatten().long()]
        scales = largest.repeat_interleave(self.block_size)[: codes.numel()]
        return (shares * scales + 0.0).view(codes.shape)  # + 0.0 for the sign of -0.0


class Writer:
    """A state dict of bitsandbytes' in the making.

    Args:
        old: The state dict of what is to go on, whose choice of code holds, or None.
        like: That optimizer itself, if it is there: it says how parameters that it never stepped are kept.
    """

    def __init__(self, old: Mapping[str, Any] | None, like: Any) -> None:
        states = old["state"] if old else {}
        self._states = {key: flat(state) for key, state in states.items()}
        self._nests = any(NESTED in state for state in states.values() if isinstance(state, Mapping))
        self._configs = _configs(like)
        self._written = self._rounded = self._numbers = self._changed = self._vanished = 0

    def state(self, key: int, parameter: Parameter) -> dict[str, Any]:
        """Return the state of a parameter.

        Args:
            key: What it is called in the state dict.
            parameter: The parameter, translated, with its arrays.

        Raises:
            CheckpointError: If it is complex, or has numbers that can't be kept.
        """
        array, name = parameter.arrays["square_avg"], parameter.name
        if array.dtype.kind == "c":
            raise CheckpointError(
                f"parameter {name!r} is complex, which bitsandbytes' optimizers don't take: convert to torch or "
                "rmsprop.torch"
            )
        v = torch.from_numpy(np.array(narrowed(array, "float32", f"square_avg of {name!r}"), order="C"))
        self._written += 1
        code = self._code(key, v.numel())
        kept = {"state1": v} if code is None else self._encoded(name, v, code)
        return {"step": parameter.step or 0, **({NESTED: kept} if self._nests else kept)}

    def notes(self) -> Iterator[str]:
        """Yield what the rounding has changed so far."""
        if self._numbers:
            yield (
                f"v of {self._rounded} of {self._written} parameters is rounded to bitsandbytes' 8-bit code: "
                f"{self._changed} of its {self._numbers} numbers change by more than a tenth, and {self._vanished} of "
                f"these become 0; a 32-bit state of bitsandbytes, given with {called('like')}, keeps every bit"
            )

    def _code(self, key: int, size: int) -> _ByteCode | None:
        """Return the code for a parameter, or None if it stays in float32."""
        codes, fractions, largest = (self._states.get(key, {}).get(name) for name in ("state1", "qmap1", "absmax1"))
        if isinstance(codes, Tensor) and isinstance(fractions, Tensor) and isinstance(largest, Tensor):
            return _ByteCode(fractions=fractions.float().cpu(), block_size=_block_size(codes, largest) or _BLOCK_SIZE)
        if isinstance(codes, Tensor):
            return None
        config = self._configs.get(key, {"optim_bits": 8 if self._has_codes() else 32, "min_8bit_size": _MIN_8BIT_SIZE})
        if config["optim_bits"] != 8 or size < config["min_8bit_size"]:
            return None
        return _ByteCode(fractions=_fractions(), block_size=_BLOCK_SIZE)

    def _has_codes(self) -> bool:
        """Whether the state dict can be one with codes, as far as it shows."""
        large = [state for state in self._states.values() if _size(state) >= _MIN_8BIT_SIZE]
        return not large or any(is_code(state["state1"]) for state in large)

    def _encoded(self, name: str, v: Tensor, code: _ByteCode) -> dict[str, Tensor]:
        if not v.isfinite().all():
            raise CheckpointError(
                f"square_avg of {name!r} has numbers that are NaN or infinite, which bitsandbytes' 8-bit code can't "
                "hold: convert an earlier checkpoint"
            )
        codes, largest = code.encoded(v)
        self._count(v, code.decoded(codes, largest))
        return {"state1": codes, "qmap1": code.fractions, "absmax1": largest}

    def _count(self, v: Tensor, rounded: Tensor) -> None:
        if torch.equal(v, rounded):
            return
        self._rounded += 1
        self._numbers += v.numel()
        self._changed += int(((v - rounded).abs() > _MUCH * v).sum())
        self._vanished += int(((rounded == 0) & (v != 0)).sum())


def _size(state: Mapping[str, Any]) -> int:
    return state["state1"].numel() if isinstance(state.get("state1"), Tensor) else 0


def _configs(like: Any) -> dict[int, Mapping[str, Any]]:
    """Return what a live optimizer has chosen for each parameter, by its position."""
    if not isinstance(like, torch.optim.Optimizer):
        return {}
    places = [(number, nth) for number, group in enumerate(like.param_groups) for nth in range(len(group["params"]))]
    asked: Any = like
    return {key: asked.get_config(*place, like.param_groups[place[0]]) for key, place in enumerate(places)}
