"""State in 8 bits, ours and bitsandbytes', as the numbers that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rmsprop.checkpoint.bitsandbytes import check_order, is_code, numbers
from rmsprop.checkpoint.neutral import CheckpointError
from rmsprop.torch.state.packing import CODES, SCALES, unpacked


def unpacked_state(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter's state with arrays of 8 bits as numbers.

    Args:
        name: What an error calls the parameter.
        state: Its state, flat.

    Raises:
        CheckpointError: If codes have no scales, or such as this doesn't know, or an order that tells nothing.
    """
    found = dict(state)
    for array, codes in CODES.items():
        if codes in state:
            found[array] = _ours(name, array, state[codes], state.get(SCALES[array]))
    check_order(name, state)
    if is_code(state.get("state1")):
        found["state1"] = numbers(name, state)
    return found


def _ours(name: str, array: str, codes: Tensor, scales: Any) -> Tensor:
    if not isinstance(scales, Tensor):
        raise CheckpointError(f"parameter {name!r} has {CODES[array]}, but no {SCALES[array]}: save its state again")
    return unpacked(array, codes, scales)
