"""State in 8 bits, ours and bitsandbytes', as the numbers that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rmsprop.checkpoint.neutral import CheckpointError
from rmsprop.torch.packing import CODES, SCALES, unpacked

# Under which bitsandbytes keeps everything but the step since 0.45, so that sharding leaves it alone.
NESTED = "__bnb_optimizer_quant_state__"
_BLOCK_SIZES = (256, 2048, 64, 128, 512, 1024, 4096)


def flat(state: Any) -> Mapping[str, Any]:
    """Return a parameter's state with what bitsandbytes keeps a level below on the first.

    Args:
        state: A parameter's state in a state dict; whatever is no mapping counts as none.
    """
    if not isinstance(state, Mapping):
        return {}
    nested = state.get(NESTED)
    return {**state, **nested} if isinstance(nested, Mapping) else state


def unpacked_state(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter's state with arrays of 8 bits as numbers.

    Args:
        name: What an error calls the parameter.
        state: Its state, flat.

    Raises:
        CheckpointError: If codes have no scales, or such as this doesn't know.
    """
    found = dict(state)
    for array, codes in CODES.items():
        if codes in state:
            found[array] = _ours(name, array, state[codes], state.get(SCALES[array]))
    if _is_code(state.get("state1")):
        found["state1"] = _bitsandbytes(name, state)
    return found


def _ours(name: str, array: str, codes: Tensor, scales: Any) -> Tensor:
    if not isinstance(scales, Tensor):
        raise CheckpointError(f"parameter {name!r} has {CODES[array]}, but no {SCALES[array]}: save its state again")
    return unpacked(array, codes, scales)


def _is_code(value: Any) -> bool:
    return isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex())


def _bitsandbytes(name: str, state: Mapping[str, Any]) -> Tensor:
    codes, values, largest = state["state1"], state.get("qmap1"), state.get("absmax1")
    if not (isinstance(values, Tensor) and isinstance(largest, Tensor)):
        raise CheckpointError(
            f"the state of parameter {name!r} is bitsandbytes' 8-bit code of a time before it had blocks (state1 "
            "without qmap1 and absmax1): convert the checkpoint of a 32-bit run"
        )
    size = next((size for size in _BLOCK_SIZES if -(codes.numel() // -size) == largest.numel()), None)
    if size is None:
        raise CheckpointError(
            f"the state of parameter {name!r} has {codes.numel()} codes of bitsandbytes and {largest.numel()} values "
            f"in absmax1, which belongs to no size of blocks ({', '.join(map(str, sorted(_BLOCK_SIZES)))}): save it "
            "again"
        )
    numbers = values.float()[codes.flatten().long()]
    return (numbers * largest.float().repeat_interleave(size)[: codes.numel()]).view(codes.shape)
