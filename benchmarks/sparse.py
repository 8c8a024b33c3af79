"""What a step on some rows of a table costs, beside the dense step, torch's SparseAdam and the bytes moved, by turns.

``python -m benchmarks.sparse`` prints a table per number of rows. Times are medians of turns; with other programs
beside it the processor time tells more than the clock. All do with one thread, because the processor time of several
holds their waiting. The floor reads and writes the touched rows of parameter and average once, by torch's own gathering
and scattering, and reads the gradient; it computes nothing. The largest table needs 8 GB.
"""

from __future__ import annotations

from itertools import cycle

import torch
from torch import Tensor

from benchmarks.clipping import Turn, by_turns, line
from rmsprop.torch import RMSprop

WIDTH, ENTRIES, ROUNDS = 64, 4096, 60
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
    following = cycle(grads)

    def next_gradient() -> None:
        param.grad = next(following)

    return Turn(optimizer.step, next_gradient)


def floor_turn(param: Tensor, grads: list[Tensor]) -> Turn:
    """Return what moves the bytes of a step on the next gradient."""
    average, following = torch.zeros_like(param), cycle(grads)

    def move() -> None:
        grad = next(following)
        rows = grad._indices()[0]
        for table in (param, average):
            table.index_copy_(0, rows, table.index_select(0, rows))
        grad._values().sum()

    return Turn(move)


def turns(rows: int, entries: int = ENTRIES) -> dict[str, Turn]:
    """Return the contenders for a table of so many rows."""
    grads = gradients(rows, entries)

    def table() -> Tensor:
        return torch.randn(rows, WIDTH).requires_grad_()

    param = table()
    found = {
        "rmsprop": sparse_turn(RMSprop([param]), param, grads),
        "bytes touched": floor_turn(param.detach(), grads),
    }
    if rows <= LARGEST_DENSE:
        dense, adams = table(), table()
        dense.grad = torch.randn(rows, WIDTH)
        found["rmsprop, dense gradient"] = Turn(RMSprop([dense]).step)
        found["torch SparseAdam"] = sparse_turn(torch.optim.SparseAdam([adams]), adams, grads)
    return found


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    for rows in SIZES:
        print(f"\n{rows:,} rows of {WIDTH}, {ENTRIES:,} a step: milliseconds, of processor time, times the first's")
        for name, numbers in by_turns(turns(rows), ROUNDS).items():
            print(line(name, numbers), flush=True)


if __name__ == "__main__":
    main()
