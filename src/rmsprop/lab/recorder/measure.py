"""What one step did to each layer, measured on a few coordinates before and after it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from rmsprop.lab.recorder.layers import Sampling, as_real, members
from rmsprop.lab.recorder.moments import Moments, denominator, moments, number_of

# What is measured of each layer -> what it means. The keys name the entries of the recorder's file.
STATISTICS: Mapping[str, str] = {
    "gradient": "norm of the gradient",
    "effective_q10": "effective step lr/√v, 10 % quantile",
    "effective_q50": "effective step lr/√v, median",
    "effective_q90": "effective step lr/√v, 90 % quantile",
    "ratio": "norm of the update over norm of the weights",
    "stride": "root mean square of the update in units of the learning rate",
    "eps": "share of the coordinates where ε outweighs √v",
    "still": "share of the coordinates whose gradient is exactly 0",
    "still_weights": "share of the weights, without biases and the like, whose gradient is exactly 0",
    "underflow": "share of the coordinates whose squared gradient is lost to underflow",
    "held": "share of the coordinates with a gradient whose weight rounding to nearest left where it was",
    "collapsed": "share of the coordinates whose standard deviation is below 1 % of their root mean square (centered)",
    "jitter": "typical relative change of √v in one step",
    "agreement": "cosine between the gradients of two steps in a row",
}
QUANTILES = (0.1, 0.5, 0.9)
# A standard deviation that is so small a part of the root mean square makes steps a hundred times as large.
_COLLAPSED = 0.01


@dataclass(frozen=True)
class Before:
    """What is kept of the step before the one that is measured: sampled gradients and averages of squares."""

    gradient: Tensor
    second: Tensor | None


@dataclass(frozen=True)
class Start:
    """What is known when a step that is measured begins: sampled weights and gradients, and whole gradients' norms."""

    weight: Tensor
    gradient: Tensor
    norms: list[float]


def before(optimizer: Optimizer, sampling: Sampling) -> Before:
    """Return what to keep of the step before the one that is measured.

    Args:
        optimizer: The optimizer, right after a step.
        sampling: The coordinates.

    Returns:
        Copies.
    """
    found = members(optimizer)
    seconds = [moments(optimizer, group, parameter).second for group, parameter in found]
    known = any(second is not None for second in seconds)
    gradient = sampling.take([parameter.grad for _, parameter in found])
    return Before(gradient, sampling.take(seconds) if known else None)


def start(optimizer: Optimizer, sampling: Sampling) -> Start:
    """Return what is to be known when a step begins.

    Args:
        optimizer: The optimizer, right before the step.
        sampling: The coordinates.

    Returns:
        Copies. Gradients are divided by GradScaler's scale where the optimizer is to do that itself.
    """
    parameters = [parameter for _, parameter in members(optimizer)]
    scale = getattr(optimizer, "grad_scale", None)
    unscale = 1.0 if scale is None else 1.0 / float(scale)
    gradients = [parameter.grad for parameter in parameters]
    return Start(sampling.take(parameters), sampling.take(gradients) * unscale, _norms(gradients, unscale))


def finish(optimizer: Optimizer, sampling: Sampling, began: Start, earlier: Before | None) -> dict[str, list[float]]:
    """Return what a step did.

    Args:
        optimizer: The optimizer, right after the step.
        sampling: The coordinates.
        began: What was known when the step began.
        earlier: What was kept of the step before, if it was.

    Returns:
        For each of `STATISTICS` a number per layer; NaN where it can't be told.
    """
    found = members(optimizer)
    kept = [moments(optimizer, group, parameter) for group, parameter in found]
    lr = sampling.spread([number_of(group, "lr") for group, _ in found], began.weight)
    are_weights = sampling.spread([float(each) for each in sampling.are_weights], lr).bool()
    to_nearest = sampling.spread([float(group.get("rounding", "nearest") == "nearest") for group, _ in found], lr)
    step = sampling.take([parameter for _, parameter in found]) - began.weight
    means = _of_step(began, step, lr, are_weights) | {"held": _held(began, step, lr * to_nearest)}
    spreads: dict[str, Tensor] = {}
    if any(each.second is not None for each in kept):
        of_moments, spreads = _of_moments(sampling, began, kept, lr, earlier)
        means |= of_moments
    if earlier is not None:
        means |= _of_two(began.gradient, earlier.gradient)
    rows = _averaged(means, sampling) | _quantiles(spreads, sampling)
    rows["gradient"] = _by_layer(began.norms, sampling)
    unknown = [math.nan] * len(sampling.layers)
    return {name: rows.get(name, unknown) for name in STATISTICS}


def _norms(gradients: Sequence[Tensor | None], unscale: float) -> list[float]:
    """Return whole gradients' norms, read in one go: infinite where one isn't finite, NaN where there is none."""
    norms = [_norm(gradient) for gradient in gradients if gradient is not None]
    known = iter(torch.stack([norm.to(norms[0].device) for norm in norms]).tolist() if norms else ())
    found = (math.nan if gradient is None else next(known) for gradient in gradients)
    return [
        unscale * (norm if gradient is None or 0.0 < norm < math.inf else _scaled_norm(gradient))
        for norm, gradient in zip(found, gradients, strict=True)
    ]


def _norm(gradient: Tensor) -> Tensor:
    values = _as_values(gradient)
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    norm: Tensor = torch.linalg.vector_norm(values, dtype=dtype)
    return norm


def _scaled_norm(gradient: Tensor) -> float:
    """Return the norm of a gradient whose squares may be too large or too small; infinite if it isn't finite."""
    values = _as_values(gradient)
    largest = float(values.abs().max()) if values.numel() else 0.0
    if not largest < math.inf:
        return math.inf
    return largest * float(_norm(values / largest)) if largest else 0.0


def _as_values(gradient: Tensor) -> Tensor:
    return as_real(gradient.coalesce().values() if gradient.layout == torch.sparse_coo else gradient)


def _by_layer(norms: Sequence[float], sampling: Sampling) -> list[float]:
    squares = [math.nan] * len(sampling.layers)
    for norm, layer in zip(norms, sampling.layer_of, strict=True):
        if not math.isnan(norm):
            squares[layer] = norm * norm + (0.0 if math.isnan(squares[layer]) else squares[layer])
    return [math.sqrt(square) for square in squares]


def _of_step(began: Start, step: Tensor, lr: Tensor, are_weights: Tensor) -> dict[str, Tensor]:
    moved = torch.where(began.gradient.isnan(), math.nan, step)
    still = torch.where(began.gradient.isnan(), math.nan, (began.gradient == 0.0).to(lr.dtype))
    return {
        "weight": began.weight.square(),
        "change": moved.square(),
        "stride": (moved / lr).square(),
        "still": still,
        "still_weights": torch.where(are_weights, still, math.nan),
    }


def _held(began: Start, step: Tensor, lr: Tensor) -> Tensor:
    """Tell the coordinates that have a gradient and didn't move; NaN where none could, or none had to."""
    could = began.gradient.isfinite() & (began.gradient != 0.0) & (lr > 0.0)
    return torch.where(could, (step == 0.0).to(lr.dtype), math.nan)


def _of_moments(
    sampling: Sampling, began: Start, kept: Sequence[Moments], lr: Tensor, earlier: Before | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what is averaged over a layer, and what its quantiles are taken of."""
    raw = sampling.take([each.second for each in kept])
    scaled = raw * sampling.spread([each.scale for each in kept], raw)
    means = sampling.take([each.mean for each in kept]).nan_to_num(0.0).square().to(raw.device)
    subtracted = sampling.spread([each.subtracted for each in kept], raw).bool()
    square = torch.where(subtracted, scaled + means, scaled)
    average = torch.where(subtracted, scaled, scaled - means).clamp(min=0.0)
    eps = sampling.spread([each.eps for each in kept], raw)
    inside = sampling.spread([each.eps_inside_sqrt for each in kept], raw).bool()
    live = square > 0.0
    shares = {
        "eps": (torch.where(inside, average < eps, average.sqrt() < eps), live),
        "underflow": (~live & (began.gradient != 0.0), ~began.gradient.isnan() & ~square.isnan()),
    }
    if any(each.mean is not None for each in kept):
        shares["collapsed"] = (average < _COLLAPSED**2 * square, live)
    spreads = {"effective": lr / denominator(average, eps, inside)}
    if earlier is not None and earlier.second is not None:
        change = (raw / earlier.second).log().abs() / 2
        spreads["jitter"] = torch.where(change.isfinite(), change, math.nan)
    return {name: torch.where(among, which.to(raw.dtype), math.nan) for name, (which, among) in shares.items()}, spreads


def _of_two(one: Tensor, other: Tensor) -> dict[str, Tensor]:
    return {"product": one * other, "one": one.square(), "other": other.square()}


def _averaged(vectors: Mapping[str, Tensor], sampling: Sampling) -> dict[str, list[float]]:
    means = dict(zip(vectors, sampling.by_layer(list(vectors.values())).nanmean(2), strict=True))
    shares = ("still", "still_weights", "eps", "underflow", "held", "collapsed")
    rows: dict[str, Tensor] = {name: means[name] for name in shares if name in means}
    rows["ratio"] = (means["change"] / means["weight"]).sqrt()
    rows["stride"] = means["stride"].sqrt()
    if "product" in means:
        rows["agreement"] = means["product"] / (means["one"] * means["other"]).sqrt()
    return dict(zip(rows, torch.stack(list(rows.values())).tolist(), strict=True))


def _quantiles(vectors: Mapping[str, Tensor], sampling: Sampling) -> dict[str, list[float]]:
    if not vectors:
        return {}
    matrices = sampling.by_layer(list(vectors.values()))
    found = matrices.nanquantile(torch.tensor(QUANTILES, dtype=matrices.dtype, device=matrices.device), dim=2).tolist()
    rows = {f"effective_q{round(100 * q)}": found[i][0] for i, q in enumerate(QUANTILES)}
    return rows | ({"jitter": found[1][1]} if "jitter" in vectors else {})
