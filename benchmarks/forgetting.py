"""How well an average of squares forgets in few bits: ours, and other schemes, by the recursion.

    python -m benchmarks.forgetting > benchmarks/results/<date>-<machine>/forgetting.txt

docs/torch.md quotes what it prints. All coordinates begin with their stationary v; then 31 of 32 get gradients 20 times
smaller, and √(v/exact) is taken of all after 4/(1 − ρ) steps. Where bitsandbytes is installed, its RMSprop8bit runs
(`pip install --no-deps bitsandbytes`); the other schemes are restated here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rmsprop.storage import Packing, decode, encode, noise, round_to_nearest, state_noise, widened

Array = np.ndarray[Any, Any]
# From the new v and the number of the step to what is kept of it.
Scheme = Callable[[Array, int], Array]

SIZE, QUIETER, DECAYS = 4096, 20, (0.9, 0.99, 0.999)
INDEX = np.arange(SIZE)
# σ of the logarithm of v within a block, before the change.
BLOCKS = {"equal": 0.0, "lognormal, σ = 2.5": 2.5}


def packed(packing: Packing, spread: bool = True) -> Scheme:
    """Return `rmsprop.storage`'s scheme, with chances that are spread over the steps, or with those of coins."""

    def keep(v: Array, step: int) -> Array:
        bits = state_noise(0, step, 0, "square_avg", INDEX) if spread else noise(0, step, 0, INDEX)
        return decode("square_avg", encode("square_avg", v, bits, packing), packing)

    return keep


def bfloat16_to_nearest(v: Array, step: int) -> Array:
    """Round to the nearest bfloat16."""
    return widened(round_to_nearest(v, "bfloat16"), "bfloat16")


def fixed_digits(digits: int) -> Scheme:
    """Return a float of 8 bits with so many digits, rounded by coins, whose octaves end with a block's largest."""

    def keep(v: Array, step: int) -> Array:
        raw = v.view(np.uint32).astype(np.int64).reshape(-1, 128)
        offset = np.maximum((raw.max(axis=1, keepdims=True) >> 23) - (256 >> digits) + 2, 0) << 23
        chance = noise(0, step, 0, INDEX).reshape(raw.shape).astype(np.int64) >> (9 + digits)
        code = np.clip((np.maximum(raw - offset, 0) + chance) >> (23 - digits), 1, 253)
        kept = np.where(raw == 0, 0, (code << (23 - digits)) + offset)
        return kept.astype(np.uint32).view(np.float32).reshape(-1)

    return keep


def octaves(count: int) -> Scheme:
    """Return a logarithmic code of 255 values over so many octaves below the largest of 128, to the nearest."""

    def keep(v: Array, step: int) -> Array:
        blocks = v.reshape(-1, 128)
        largest = blocks.max(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            code = np.round(np.log2(blocks / largest) * 254 / count)
        return np.where(code < -254, 0, largest * np.exp2(code * count / 254)).astype(np.float32).reshape(-1)

    return keep


def roots(v: Array, step: int) -> Array:
    """Keep √v as a share of the largest of 32 in whole numbers up to 255, to the nearest, as FlashOptim does."""
    root = np.sqrt(v.reshape(-1, 32))
    largest = root.max(axis=1, keepdims=True)
    return np.square(np.round(root / largest * 255) / 255 * largest).astype(np.float32).reshape(-1)


def dynamic_values() -> Array:
    """Return the 256 values of Dettmers' dynamic map: as many decades as leading zeros, the other bits a fraction."""
    edges = [np.linspace(0.1, 1, 2 ** (decade + 1) + 1) for decade in range(7)]
    means = [10.0 ** (decade - 6) * (edge[1:] + edge[:-1]) / 2 for decade, edge in enumerate(edges)]
    return np.sort(np.concatenate([[0.0, 1.0], *means])).astype(np.float32)


def dynamic(v: Array, step: int) -> Array:
    """Keep v as a share of the largest of 256 in the dynamic map, to the nearest, as torchao's 8-bit state does."""
    values, blocks = dynamic_values(), v.reshape(-1, 256)
    largest = blocks.max(axis=1, keepdims=True)
    code = np.searchsorted((values[1:] + values[:-1]) / 2, blocks / largest)
    return (values[code] * largest).reshape(-1)


SCHEMES: dict[str, tuple[float, Scheme]] = {
    "rmsprop, torch.bfloat16": (2, packed("bfloat16")),
    "bfloat16 by coins": (2, packed("bfloat16", spread=False)),
    "bfloat16 to the nearest": (2, bfloat16_to_nearest),
    'rmsprop, "8bit"': (1.016, packed("8bit")),
    "our codes by coins": (1.016, packed("8bit", spread=False)),
    "3 digits everywhere, by coins": (1.008, fixed_digits(3)),
    "24 octaves to the nearest": (1.03, octaves(24)),
    "roots in groups of 32": (1.06, roots),
    "dynamic map": (1.016, dynamic),
}


def gradients(decay: float, spread: float) -> tuple[Array, list[Array]]:
    """Return v before the change, and the gradients after it."""
    rng = np.random.default_rng(0)
    is_loud = INDEX % 32 == 0  # and hold the largest v of their block, lest all follow a scale that forgets
    scale = np.exp(spread * np.where(is_loud, 3, rng.standard_normal(SIZE).clip(-3, 3)) / 2)
    now = scale * np.where(is_loud, 1, 1 / QUIETER)
    steps = round(4 / (1 - decay))
    return (scale**2).astype(np.float32), [(rng.standard_normal(SIZE) * now).astype(np.float32) for _ in range(steps)]


def exact(v: Array, decay: float, grads: list[Array]) -> Array:
    """Return v in float64."""
    v = v.astype(np.float64)
    for grad in grads:
        v += (1 - decay) * (np.square(grad.astype(np.float64)) - v)
    return v


def kept(scheme: Scheme, v: Array, decay: float, grads: list[Array]) -> Array:
    """Return v as a scheme has it after all steps."""
    for step, grad in enumerate(grads, 1):
        v = scheme(v + np.float32(1 - decay) * (grad * grad - v), step)
    return v


def of_bitsandbytes(v: Array, decay: float, grads: list[Array]) -> Array:
    """Return v as bitsandbytes' RMSprop8bit has it after all steps, on the CPU."""
    import bitsandbytes  # type: ignore[import-not-found, unused-ignore]  # whoever has it

    param = torch.zeros(SIZE, requires_grad=True)
    optimizer = bitsandbytes.optim.RMSprop8bit([param], lr=0.0, alpha=decay)
    param.grad = torch.from_numpy(np.sqrt(v / (1 - decay)))  # one step from 0 leads to v
    for grad in [None, *grads]:
        if grad is not None:
            param.grad = torch.from_numpy(grad)
        optimizer.step()
    state = optimizer.state[param]
    size = SIZE // state["absmax1"].numel()
    found: Array = (state["qmap1"][state["state1"].long()] * state["absmax1"].repeat_interleave(size)).numpy()
    return found


def line(name: str, size: float, ratios: list[Array]) -> str:
    """Return a line of the table."""
    words = [f"{np.median(r):8.3f} {np.quantile(r, 0.05):5.2f}–{np.quantile(r, 0.95):5.2f}" for r in ratios]
    return f"{name:32}  {size:5}" + " ".join(words)


def main() -> None:
    """Print a line per scheme."""
    for title, spread in BLOCKS.items():
        print(f"\n{title}: √(v/exact), median and 5–95 %, by ρ")
        print(f"{'':32}  bytes" + "".join(f"{decay:>20}" for decay in DECAYS))
        runs = [(v, decay, grads) for decay in DECAYS for v, grads in [gradients(decay, spread)]]
        wanted = [exact(*run) for run in runs]
        for name, (size, scheme) in SCHEMES.items():
            found = [np.sqrt(kept(scheme, *run) / v) for run, v in zip(runs, wanted, strict=True)]
            print(line(name, size, found), flush=True)
        try:
            found = [np.sqrt(of_bitsandbytes(*run) / v) for run, v in zip(runs, wanted, strict=True)]
            print(line("bitsandbytes, RMSprop8bit", 1.016, found), flush=True)
        except ImportError:
            print("bitsandbytes is not installed")


if __name__ == "__main__":
    main()
