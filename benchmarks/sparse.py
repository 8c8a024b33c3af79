"""What a step on some rows of a table costs, beside the dense step, torch's SparseAdam, FBGEMM and the bytes moved.

``python -m benchmarks.sparse`` prints a table per number of rows, or of those numbers of rows alone that it is given.
Times are medians of steps: first of contenders that take turns, so that all have cold caches, then of one after the
other, each of them alone. With other programs beside it the processor time tells more than the clock. All do with one
thread, because the processor time of several holds their waiting.

- Before each step a forward reads the rows of the parameter, as in training; it isn't timed.
- The floors read and write the touched rows of parameter and average once, and read the gradient; they compute nothing.
  One is a loop in C++ that is given the rows in their order, the other gathers and scatters by torch's own operations.
- With momentum, a step counts with the `prepare` of its rows before it.
- FBGEMM's ``ROWWISE_RMSPROP_AR`` takes its step in the backward of an embedding: here each row that is looked up is a
  bag of its own, so that the backward is a step on that gradient and nothing else. Its wheel (fbgemm-gpu-cpu 1.9.0)
  loads beside PyTorch 2.14 alone: where it doesn't, a line says so, and its row is missing.

The largest table needs 12 GB.
"""

from __future__ import annotations

import sys
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from benchmarks.clipping import Step, Turn, alone, by_turns, line
from benchmarks.floor import pass_over_rows
from rmsprop.torch import RMSprop

WIDTH, ENTRIES, ROUNDS = 64, 4096, 60
COLUMNS = "milliseconds, of processor time, times the first's"
# The dense step and torch's Adam have further arrays of that size.
SIZES, LARGEST_DENSE = (10_000, 100_000, 1_000_000, 10_000_000), 1_000_000


def gradients(rows: int, entries: int, count: int = 8) -> list[Tensor]:
    """Return sparse gradients of rows drawn at random, some of them several times."""
    return [
        torch.sparse_coo_tensor(
            torch.randint(0, rows, (1, entries)), torch.randn(entries, WIDTH), (rows, WIDTH), check_invariants=True
        )
        for _ in range(count)
    ]


def sparse_turn(optimizer: torch.optim.Optimizer, param: Tensor, grads: list[Tensor]) -> Turn:
    """Return a step on the next gradient."""
    return Turn(optimizer.step, forward(param, grads))


def forward(param: Tensor, grads: list[Tensor]) -> Step:
    """Return what gives a parameter its next gradient, after reading the rows that it has."""
    following = cycle(grads)

    def read() -> None:
        param.grad = grad = next(following)
        param.detach().index_select(0, grad._indices()[0])

    return read


def floor_turn(param: Tensor, average: Tensor, grads: list[Tensor]) -> Turn:
    """Return what moves the bytes of a step on the next gradient, in C++."""
    following = cycle([(*grad._indices()[0].sort(), grad._values()) for grad in grads])
    now: list[tuple[Tensor, Tensor, Tensor]] = []

    def read() -> None:
        now[:] = [next(following)]
        param.index_select(0, now[0][0])

    def move() -> None:
        rows, places, values = now[0]
        pass_over_rows(rows, places, param, average, values)

    return Turn(move, read)


def gathering_turn(param: Tensor, average: Tensor, grads: list[Tensor]) -> Turn:
    """Return what moves the bytes of a step on the next gradient, by torch's operations."""

    def move() -> None:
        grad: Any = param.grad
        rows = grad._indices()[0]
        for table in (param, average):
            table.index_copy_(0, rows, table.index_select(0, rows))
        grad._values().sum()

    return Turn(move, forward(param, grads))


def prepared_turn(optimizer: RMSprop, param: Tensor, grads: list[Tensor]) -> Turn:
    """Return a step on the next gradient, whose rows are prepared first."""

    def step() -> None:
        grad: Any = param.grad
        optimizer.prepare(grad._indices())
        optimizer.step()

    return Turn(step, forward(param, grads))


def fbgemm_turn(rows: int, grads: list[Tensor]) -> Turn | None:
    """Return FBGEMM's step on the next gradient, or None after saying why there is none."""
    try:
        from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType
        from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
        from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
            ComputeDevice,
            SplitTableBatchedEmbeddingBagsCodegen,
        )
    except (ImportError, OSError) as error:
        print(f"without FBGEMM, which can't be loaded beside PyTorch {torch.__version__}: {type(error).__name__}")
        return None
    bags = SplitTableBatchedEmbeddingBagsCodegen(
        [(rows, WIDTH, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.ROWWISE_RMSPROP_AR,
        weights_precision=SparseType.FP32,
        output_dtype=SparseType.FP32,
    )
    following, offsets = cycle(grads), torch.arange(len(grads[0]._values()) + 1)
    looked_up: list[Any] = []

    def look_up() -> None:
        grad = next(following)
        looked_up[:] = bags(grad._indices()[0], offsets), grad._values()

    return Turn(lambda: looked_up[0].backward(looked_up[1]), look_up)


def turns(rows: int, entries: int = ENTRIES) -> dict[str, Turn]:
    """Return the contenders for a table of so many rows."""
    grads = gradients(rows, entries)

    def table() -> Tensor:
        return torch.randn(rows, WIDTH).requires_grad_()

    param = table()
    average = torch.zeros(rows, WIDTH)
    found = {
        "rmsprop": sparse_turn(RMSprop([param]), param, grads),
        "bytes touched, C++": floor_turn(param.detach(), average, grads),
        "bytes touched, torch": gathering_turn(param.detach(), average, grads),
    }
    one_average, moving = table(), table()
    found["rmsprop, one average per row"] = sparse_turn(RMSprop([one_average], sparse="rowwise"), one_average, grads)
    if fbgemm := fbgemm_turn(rows, grads):
        found["FBGEMM, one average per row"] = fbgemm
    found["rmsprop, momentum, prepared"] = prepared_turn(RMSprop([moving], momentum=0.9), moving, grads)
    if rows <= LARGEST_DENSE:
        dense, adams = table(), table()
        dense.grad = torch.randn(rows, WIDTH)
        found["rmsprop, dense gradient"] = Turn(RMSprop([dense]).step)
        found["torch SparseAdam"] = sparse_turn(torch.optim.SparseAdam([adams]), adams, grads)
    return found


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    for rows in [int(size) for size in sys.argv[1:]] or SIZES:
        contenders = turns(rows)
        for how, measured in (("by turns", by_turns(contenders, ROUNDS)), ("alone", alone(contenders, ROUNDS))):
            print(f"\n{rows:,} rows of {WIDTH}, {ENTRIES:,} a step, {how}: {COLUMNS}")
            for name, numbers in measured.items():
                print(line(name, numbers), flush=True)


if __name__ == "__main__":
    main()
