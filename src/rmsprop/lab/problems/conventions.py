"""What all runs of a problem do alike, whoever trains them: the order of the rows, and when a run counts as lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

# An objective above so many times the initial one doesn't come back in any run worth waiting for.
DIVERGED = 10.0
# Multiplications per step below which one core does it in about a millisecond. More cores then mostly wait for each
# other (measured: digits on two busy cores, 30 s instead of 0.5 s), and with one the bits don't depend on their number.
_SMALL_STEP = 10_000_000


def row_order(seed: int, epoch: int, rows: int) -> Tensor:
    """Return the order in which an epoch goes through the training rows.

    Every epoch draws from a seed of its own, so that none depends on an earlier one's random numbers and there is no
    random state to keep. Torch's global random state is neither read nor changed.

    Args:
        seed: The run's seed, from 0 to 2³² − 1.
        epoch: The epoch, counted from 1.
        rows: How many rows there are.

    Returns:
        The indices of the rows.

    Examples:
        >>> sorted(row_order(0, 1, 4).tolist())
        [0, 1, 2, 3]
    """
    return torch.randperm(rows, generator=torch.Generator().manual_seed((seed << 24) + epoch))


def is_lost(objective: float, initial: float) -> bool:
    """Whether an objective is not finite, or above ten times the initial one.

    Args:
        objective: The objective now.
        initial: The objective before the first step. To one below 0 nine times its size is added, as some surfaces
            have it; 0 gives no scale, so that only what isn't finite is lost.

    Returns:
        The answer.

    Examples:
        >>> is_lost(9.9, 1.0), is_lost(10.1, 1.0), is_lost(math.nan, 1.0), is_lost(7.0, -1.0)
        (False, True, True, False)
    """
    highest = initial + (DIVERGED - 1.0) * abs(initial) if initial else math.inf
    return not (math.isfinite(objective) and objective <= highest)


def few_threads(model: nn.Module, batch_size: int) -> AbstractContextManager[None]:
    """Let a small model have one thread, and torch its own number back afterwards.

    Args:
        model: What is trained.
        batch_size: Rows per step.

    Returns:
        The context.
    """
    size = sum(parameter.numel() for parameter in model.parameters())
    return one_thread() if size * batch_size < _SMALL_STEP else nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work with one thread, and with its own number afterwards.

    Threads that share operations of a fraction of a millisecond wait for each other: two are 1.4 times as fast as one
    on two quiet cores, and 30 times slower on two busy ones (measured with digits). Processes don't wait.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
