"""The exact sum of squares of `rmsprop.clipping` by tensor operations, for what no kernel reads."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from rmsprop import clipping
from rmsprop.clipping import INFINITE, LIMB_BITS, LIMBS, LOWEST_LIMB, WORDS
from rmsprop.torch.local import is_shard
from rmsprop.torch.state import as_real

_PART = 1 << 20  # numbers that are added at a time


def squares_of(tensor: Tensor) -> Tensor:
    """Return the sum of the squares of a tensor's numbers, where it is; nothing waits for the device.

    Args:
        tensor: Floats of any width, real or complex.

    Returns:
        The sum, as `rmsprop.clipping.squares` has it.
    """
    flat = as_real(tensor.detach()).reshape(-1)
    if flat.device.type in ("cpu", "mps"):  # NumPy sees the one, and float64 is unknown to the other
        wide = flat.to("cpu", torch.promote_types(flat.dtype, torch.float32)).resolve_neg()
        return torch.from_numpy(clipping.squares(wide.numpy()))
    words = torch.zeros(WORDS, dtype=torch.int64, device=flat.device)
    for part in flat.split(_PART):
        if part.numel():
            words += _of_part(part.double())
    return words


def _of_part(values: Tensor) -> Tensor:
    terms = values * values
    largest = terms.max()
    is_nan, is_finite = largest.isnan(), largest < INFINITE
    terms = torch.where(is_finite, terms, 0.0)
    mantissa, exponent = torch.frexp(torch.where(is_finite, largest, 0.0))
    limb = torch.div(exponent - (mantissa == 0.5).int(), LIMB_BITS, rounding_mode="floor") - LOWEST_LIMB
    limb = limb.clamp(1, LIMBS - 1).long()
    weights = _weights(values.device)
    above = torch.round(terms / weights[limb])
    below = torch.round((terms - above * weights[limb]) / weights[limb - 1])
    sums = torch.stack([above.long().sum(), below.long().sum()])
    places = 2 * torch.stack([limb, limb - 1])
    words = torch.zeros(WORDS, dtype=torch.int64, device=values.device)
    words.scatter_add_(0, places, sums & 0xFFFFFFFF).scatter_add_(0, places + 1, sums >> 32)
    words[-1] += is_nan
    words[-2] += ~(is_nan | is_finite)
    return words


@cache
def _weights(device: torch.device) -> Tensor:
    weights = [2.0 ** (LIMB_BITS * (limb + LOWEST_LIMB)) for limb in range(LIMBS)]
    return torch.tensor(weights, dtype=torch.float64).to(device, non_blocking=True)


def summed(words: Tensor, mesh: Any) -> Tensor:
    """Return the sum over all processes of a mesh."""
    from torch.distributed import all_reduce  # loaded: there is a mesh

    for dimension in range(mesh.ndim):
        all_reduce(words, group=mesh.get_group(dimension))
    return words


def home_of(param: Any) -> tuple[Any, tuple[bool, ...]]:
    """Return the mesh that a parameter is spread over and along which of its dimensions all have a copy.

    For a plain tensor they are None and nothing. Parameters of one home are summed over the processes together.
    """
    if not is_shard(param):
        return None, ()
    return param.device_mesh, tuple(placement.is_replicate() for placement in param.placements)


def counts_here(home: tuple[Any, tuple[bool, ...]]) -> bool:
    """Whether this process' part counts where parts are summed: of several copies the first alone does."""
    mesh, is_copied = home
    here = () if mesh is None else mesh.get_coordinate()
    return here is not None and not any(at and copied for at, copied in zip(here, is_copied, strict=True))
