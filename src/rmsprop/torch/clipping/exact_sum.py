"""The exact sum of squares of `rmsprop.clipping` by tensor operations, for what no kernel reads."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import clipping
from rmsprop.clipping import INFINITE, LIMB_BITS, LIMBS, LOWEST_LIMB, WORDS
from rmsprop.torch.local import as_real, is_shard

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
            words += _of_part(part.double()[None])[0]
    return words


def norms_of_rows(rows: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, as `rmsprop.clipping.norms` has it; nothing waits for the device.

    Args:
        rows: Real floats of any width, in two dimensions.
    """
    most = max(1, _PART // max(1, rows.shape[1]))
    found = [norms(_row_squares(part)) for part in rows.split(most)] if rows.shape[0] else []
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64, device=rows.device)


def _row_squares(rows: Tensor) -> Tensor:
    words = torch.zeros(rows.shape[0], WORDS, dtype=torch.int64, device=rows.device)
    for part in rows.split(_PART, dim=1):
        if part.numel():
            words += _of_part(part.double())
    return words


def norms(words: Tensor) -> Tensor:
    """Return the Euclidean norm of each row of sums, as `rmsprop.clipping.norms` does."""
    limbs = words[:, :-2].view(-1, LIMBS, 2)
    low, high = limbs[..., 0] & 0xFFFFFFFF, limbs[..., 1] + (limbs[..., 0] >> 32)
    places = torch.arange(LIMBS, device=words.device)
    top = torch.where((low | high) != 0, places, 1).amax(1).clamp(min=1)[:, None]
    sums = high.double() * 2.0**32 + low.double()
    scaled = sums.gather(1, top) * 2.0**LIMB_BITS + sums.gather(1, top - 1)
    found = _root(scaled * _weights(words.device)[top - 1])[:, 0]
    found = torch.where(words[:, -2] != 0, torch.inf, found)
    return torch.where(words[:, -1] != 0, torch.nan, found)


def update_scales(words: Tensor, sizes: Tensor, max_rms: Tensor) -> Tensor:
    """Return what the quotients of tensors are multiplied with, as `rmsprop.clipping.update_scales` does.

    Args:
        words: A row per tensor, the sum of the squares of its quotients.
        sizes: How many they are, at least 1, in float64.
        max_rms: The largest allowed root mean square of each.
    """
    rms = norms(words) / _root(sizes)
    return torch.where((max_rms < rms) & (rms < torch.inf), max_rms / rms, 1.0)


def _root(numbers: Tensor) -> Tensor:
    """Return roots that are rounded correctly, as they are on a GPU; torch's own on the CPU may be a unit off."""
    return numbers.sqrt() if numbers.device.type != "cpu" else torch.from_numpy(np.sqrt(numbers.numpy()))


def _of_part(values: Tensor) -> Tensor:
    terms = values * values
    largest = terms.amax(1, keepdim=True)
    is_nan, is_finite = largest.isnan(), largest < INFINITE
    terms = torch.where(is_finite, terms, 0.0)
    mantissa, exponent = torch.frexp(torch.where(is_finite, largest, 0.0))
    limb = torch.div(exponent - (mantissa == 0.5).int(), LIMB_BITS, rounding_mode="floor") - LOWEST_LIMB
    limb = limb.clamp(1, LIMBS - 1).long()
    weights = _weights(values.device)
    above = torch.round(terms / weights[limb])
    below = torch.round((terms - above * weights[limb]) / weights[limb - 1])
    sums = torch.cat([above.long().sum(1, keepdim=True), below.long().sum(1, keepdim=True)], 1)
    places = 2 * torch.cat([limb, limb - 1], 1)
    words = torch.zeros(len(values), WORDS, dtype=torch.int64, device=values.device)
    words.scatter_add_(1, places, sums & 0xFFFFFFFF).scatter_add_(1, places + 1, sums >> 32)
    words[:, -1] += is_nan[:, 0]
    words[:, -2] += ~(is_nan | is_finite)[:, 0]
    return words


@cache
def _weights(device: torch.device) -> Tensor:
    weights = [2.0 ** (LIMB_BITS * (limb + LOWEST_LIMB)) for limb in range(LIMBS)]
    return torch.tensor(weights, dtype=torch.float64, device="cpu").to(device, non_blocking=True)


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
