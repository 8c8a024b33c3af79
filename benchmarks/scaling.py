"""Bytes and messages of a training step, and what a checkpoint holds, on paper: `docs/scaling.md` shows the tables.

Run as ``python -m benchmarks.scaling``. `tests/torch/test_distributed.py` counts collectives of real process groups,
and the bytes of their buffers, and compares them with the functions here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rmsprop.codes import BLOCK

DEVICE, FREE = 80e9, 0.3  # bytes of a device, and the share of them that activations get
MACHINE = 8  # devices
BUCKET, FIRST_BUCKET = (
    25 * 2**20,
    2**20,
)  # bytes that DistributedDataParallel sums at once: bucket_cap_mb, and its first


@dataclass(frozen=True)
class Storage:
    """Bytes per parameter of what training keeps.

    Args:
        name: What it is called.
        weights: Of the weights; gradients are kept alike.
        state: Of the optimizer's state, with a float32 copy of the weights where there is one.
        saved: Of the state in a distributed checkpoint.
    """

    name: str
    weights: float
    state: float
    saved: float

    @property
    def together(self) -> float:
        """Weights, gradients and state."""
        return 2 * self.weights + self.state


EIGHT_BITS = 1 + 2 / BLOCK
STORAGES = (
    Storage("Adam, float32", 4, 8, 8),
    Storage("Adam, bfloat16 with float32 weights beside", 2, 12, 12),
    Storage("RMSProp, float32", 4, 4, 4),
    Storage("RMSProp, bfloat16 (stochastic)", 2, 4, 4),
    Storage("RMSProp, bfloat16, state in bfloat16", 2, 2, 2),
    Storage("RMSProp, bfloat16, state in 8 bits", 2, EIGHT_BITS, 4),
)
STRATEGIES = ("DDP", "ZeRO-1", "FSDP2")


def memory(strategy: str, storage: Storage, params: float, ranks: int) -> float:
    """Return the bytes that each rank keeps, without activations and what is gathered for a moment."""
    if strategy == "FSDP2":
        return storage.together * params / ranks
    state = storage.state / ranks if strategy == "ZeRO-1" else storage.state
    return (2 * storage.weights + state) * params


def buffers(strategy: str, weights: float, root: float = 0.0) -> dict[str, float]:
    """Return the bytes of the buffers that collectives work on in a step, whole, as a rank sees them.

    Args:
        strategy: A name of `STRATEGIES`.
        weights: The bytes of all weights.
        root: The bytes of the outermost module's own weights, which stay gathered between forward and backward.
    """
    if strategy == "FSDP2":
        return {"all-gather": 2 * weights - root, "reduce-scatter": weights}
    return {"all-reduce": weights} | ({"broadcast": weights} if strategy == "ZeRO-1" else {})


def sent(strategy: str, weights: float, ranks: int) -> float:
    """Return the bytes that a rank sends in a step, where rings and chains share the work evenly.

    An all-gather and a reduce-scatter of B bytes send B·(n − 1)/n, an all-reduce is both, and broadcasts that each rank
    begins for its share are an all-gather.
    """
    passes = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "broadcast": 1}
    share = (ranks - 1) / ranks
    return sum(passes[kind] * share * size for kind, size in buffers(strategy, weights).items())


def collectives(strategy: str, weights: float, ranks: int, units: int, tensors: int = 0) -> int:
    """Return how many collectives a step has.

    Args:
        strategy: A name of `STRATEGIES`.
        weights: The bytes of all weights.
        ranks: The ranks.
        units: The modules that FSDP2 gathers one by one; the outermost, with weights of its own, comes on top.
        tensors: The tensors that ZeRO-1 sends one by one; 0 if it sends one stretch of memory per rank
            (``parameters_as_bucket_view=True``).
    """
    if strategy == "FSDP2":
        return 3 * units + 2  # the outermost module is gathered once
    buckets = 1 + math.ceil(max(0.0, weights - FIRST_BUCKET) / BUCKET)
    return buckets + (0 if strategy == "DDP" else tensors or ranks)


def checkpoint(storage: Storage, params: float) -> float:
    """Return the bytes of weights and state in a distributed checkpoint, on all ranks together."""
    return (storage.weights + storage.saved) * params


def machines(storage: Storage, params: float, strategy: str = "FSDP2") -> int | None:
    """Return how many machines hold a model, None if no number of them does."""
    room = DEVICE * (1 - FREE)
    for count in range(1, 4096 // MACHINE + 1):
        if memory(strategy, storage, params, MACHINE * count) <= room:
            return count
    return None


SIZES = {"1 B": 1e9, "8 B": 8e9, "70 B": 70e9, "405 B": 405e9, "1 T": 1e12}
RANKS = (8, 64, 512, 4096)


def tables() -> Iterator[str]:
    """Yield the tables of the page, each as Markdown."""
    yield _table(
        ("GB per rank, 8 B parameters", *(f"{s} × {n}" for s in STRATEGIES for n in (8, 512))),
        [(k.name, *(_gb(memory(s, k, 8e9, n)) for s in STRATEGIES for n in (8, 512))) for k in STORAGES],
    )
    yield _table(
        ("GB that a rank sends in a step", *(f"{s}, {n} ranks" for s in STRATEGIES for n in RANKS[::3])),
        [
            (f"{name}, {kind}", *(_gb(sent(s, width * size, n)) for s in STRATEGIES for n in RANKS[::3]))
            for name, size in SIZES.items()
            for kind, width in (("float32", 4), ("bfloat16", 2))
        ],
    )
    yield _table(
        ("checkpoint, TB", *SIZES),
        [(k.name, *(f"{checkpoint(k, size) / 1e12:.3g}" for size in SIZES.values())) for k in STORAGES],
    )
    yield _table(
        ("machines of 8 under FSDP2", *SIZES),
        [(k.name, *(str(machines(k, size) or "–") for size in SIZES.values())) for k in STORAGES],
    )
    yield _table(
        ("collectives in a step, bfloat16", *(f"{s}, {n} ranks" for s in STRATEGIES for n in RANKS[::3])),
        [
            (
                f"{name}, {units} layers",
                *(f"{collectives(s, 2 * SIZES[name], n, units):,}" for s in STRATEGIES for n in RANKS[::3]),
            )
            for name, units in (("1 B", 16), ("8 B", 32), ("70 B", 80), ("405 B", 126), ("1 T", 128))
        ],
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the tables."""
    print("\n\n".join(tables()))


if __name__ == "__main__":
    main()
